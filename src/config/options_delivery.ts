import { choice, seconds, size } from "./option.ts";
import { MIB } from "./options_sink_common.ts";

/** Options of the Kafka sink that say what a restart may repeat. They stand behind `acks`, which decides their default. */
export const deliveryOptions = {
  delivery: choice({
    values: ["exactly_once", "at_least_once", "transactional"],
    default: null,
    defaultText: '`"exactly_once"` with `acks = "all"`, `"at_least_once"` with any other',
    doc:
      "`exactly_once`: each batch is written to the journal in `data_dir` before it is sent, and a start asks the " +
      "brokers what became of the batches that were on their way, so that a crash repeats no line of a file. Needs " +
      "brokers from 2.8 on; the right to read the topic lets it find batches whose numbers the brokers have forgotten. " +
      "`at_least_once`: no journal of batches, and a crash repeats what was sent since the positions were stored. " +
      "`transactional`: batches and positions go to Kafka in one transaction, nothing is stored in `data_dir`, and a " +
      "crash repeats no line for readers with `isolation.level=read_committed`. For hosts and pods without a lasting " +
      "disk; others see lines of aborted transactions.",
    example: '"at_least_once"',
  }),
  durability: choice({
    values: ["machine", "process"],
    default: "machine",
    doc:
      "What exactly-once delivery has to survive. `machine`: a power cut too; batches wait until the journal is on the " +
      "disk. `process`: a crash of shipper alone; nothing waits for the disk, and a power cut may repeat lines. Change " +
      "it where the disk is slow or wears out.",
    example: '"process"',
  }),
  dedup_window_secs: seconds({
    default: 86_400,
    min: 60,
    max: 31_536_000,
    doc:
      "How long brokers remember a producer that sends nothing: their `producer.id.expiration.ms`. A batch whose fate is " +
      "unknown for half of this is looked for in the topic before it is sent again. Set it to what the brokers have.",
    example: "604800",
  }),
  on_undecidable: choice({
    values: ["duplicate", "drop", "stop"],
    default: "duplicate",
    doc:
      "What to do with a batch of which nobody can say any more whether it arrived: the brokers have forgotten its " +
      "producer, and its place in the topic was deleted or cannot be read. `duplicate`: send it again, so its lines may " +
      "be there twice. `drop`: leave it, so they may be missing. `stop`: stop the sink until somebody decides. Each " +
      "case is counted and logged with the file's bytes.",
    example: '"stop"',
  }),
  on_cloned_state: choice({
    values: ["adopt", "stop"],
    default: "adopt",
    doc:
      "What to do when `data_dir` comes from another machine or is a copy. `adopt`: go on from its positions; the " +
      "lines that the original has shipped since the copy was made are shipped again. `stop`: end with exit code 78. " +
      "Use it where images with a filled `data_dir` are rolled out.",
    example: '"stop"',
  }),
  resolve_scan_max_bytes: size({
    default: 256 * MIB,
    min: MIB,
    max: 1_099_511_627_776,
    doc:
      "How much of a partition is read back at most to find one batch whose fate is unknown. When that is not enough, " +
      "`on_undecidable` decides. Raise it where much is written to a partition while shipper is down.",
    example: '"1GiB"',
  }),
};
