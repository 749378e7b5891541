import { milliseconds, text } from "./option.ts";
import { checkTopicName, checkTransactionalId } from "./string_checks.ts";

/** Options of the Kafka sink that have an effect under `delivery = "transactional"` alone. */
export const transactionOptions = {
  transactional_id: text({
    default: null,
    defaultText: '`"shipper.HOST.SINK"`, with the names of the host and of the sink',
    check: checkTransactionalId,
    doc:
      "Who this sink is to the brokers, over restarts. Positions are stored under this name, and a process that starts " +
      "with it ends the one that used it before. Set it where host names change, as those of pods do, to something " +
      "that stays with the files that are read, such as the name of the node. No two sinks may share one.",
    example: '"shipper.node-7.events"',
  }),
  transaction_timeout_ms: milliseconds({
    default: 60_000,
    min: 1_000,
    max: 900_000,
    doc:
      "After this time the brokers abort a transaction that shipper left open, because it was killed or stopped. Until " +
      "then readers with `read_committed` wait behind it. At most the brokers' `transaction.max.timeout.ms`.",
    example: "30000",
  }),
  commit_interval_ms: milliseconds({
    default: 100,
    min: 1,
    max: 10_000,
    doc:
      "How long a transaction takes up batches before it is committed; one that is large is committed earlier. Readers " +
      "with `read_committed` see a line that much later. Each commit writes the positions to `position_topic`.",
    example: "1000",
  }),
  position_topic: text({
    default: "__shipper_positions",
    check: checkTopicName,
    doc:
      "The topic that positions are stored in. It is created where it is missing, compacted, with 16 partitions. " +
      "Several sinks and hosts share it. Do not change its number of partitions.",
    example: '"shipper-positions"',
  }),
};
