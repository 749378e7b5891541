import { addresses, choice, flag, group, integer, milliseconds, size, text } from "./option.ts";
import { PROPERTIES_KEY } from "./librdkafka_table.ts";
import { deliveryOptions } from "./options_delivery.ts";
import { expiryOptions } from "./options_expiry.ts";
import { networkOptions } from "./options_network.ts";
import { routingOptions, topicOptions } from "./options_routing.ts";
import { refusedOptions } from "./options_refused.ts";
import { securityOptions } from "./options_security.ts";
import { transactionOptions } from "./options_transaction.ts";
import {
  bufferOptions,
  encodingOptions,
  gapMarkersOption,
  healthcheckOption,
  inputsOption,
  MIB,
  plannedEncodingOptions,
} from "./options_sink_common.ts";
import { checkClientId, checkTopic, checkTopicName } from "./string_checks.ts";

const batchOptions = {
  "batch.max_bytes": size({
    default: 1_000_000,
    min: 1_000,
    max: 100 * MIB,
    doc: "A batch of records is sent when it holds this much, counted before compression.",
    example: '"512KiB"',
  }),
  "batch.max_events": integer({
    default: 50_000,
    min: 1,
    max: 10_000_000,
    unit: "events",
    doc: "A batch of records is sent when it holds this many.",
    example: "10000",
  }),
  "batch.timeout_ms": milliseconds({
    default: 5,
    min: 0,
    max: 3_600_000,
    aliases: ["linger_ms"],
    doc: "A batch that is not full is sent after this time. Longer makes larger batches.",
    example: "50",
  }),
};

const connectionOptions = {
  client_id: text({
    default: null,
    defaultText: '`"shipper-{{host}}-{{sink_id}}"`',
    check: checkClientId,
    doc: "The name in the brokers' logs and quotas. `{{host}}` and `{{sink_id}}` are replaced.",
    example: '"edge-{{host}}"',
  }),
  connect_timeout_ms: milliseconds({
    default: 5_000,
    min: 100,
    max: 600_000,
    doc: "How long a connection may take, TLS and login included.",
    example: "10000",
  }),
  socket_timeout_ms: milliseconds({
    default: 60_000,
    min: 100,
    max: 3_600_000,
    doc: "A connection is given up when a request waits and no byte went either way for this long.",
    example: "30000",
  }),
  request_timeout_ms: milliseconds({
    default: null,
    defaultText: "`30000`, or `socket_timeout_ms` where that is less",
    min: 10,
    max: 3_600_000,
    doc: "How long the broker may wait for its replicas before it answers. At most `socket_timeout_ms`.",
    example: "15000",
  }),
  metadata_refresh_ms: milliseconds({
    default: 300_000,
    min: 100,
    max: 86_400_000,
    doc: "How often partitions and leaders are asked for. After an error they are asked for at once.",
    example: "60000",
  }),
  max_in_flight: integer({
    default: 5,
    min: 1,
    max: 1_000,
    unit: "requests",
    doc:
      "Requests that wait for an answer on one connection. A partition has one batch in flight whatever this says.",
    example: "1",
  }),
  "retry.interval_ms": milliseconds({
    default: 100,
    min: 1,
    max: 3_600_000,
    doc:
      "The pause before the first retry. It doubles with each, and is made uneven so that clients do not retry in step.",
    example: "500",
  }),
  "retry.max_interval_ms": milliseconds({
    default: 10_000,
    min: 1,
    max: 3_600_000,
    doc: "The longest pause between retries. Retries never end while the error can pass.",
    example: "60000",
  }),
};

export const kafkaSinkGroup = group({
  table: "sinks.NAME",
  type: "kafka",
  title: "Sink: kafka",
  doc:
    "Delivers to Apache Kafka, 1.0 or later (tried from 3.0 on: [kafka_versions.md](kafka_versions.md)).\n\n" +
    "A table `librdkafka_options` may hold properties by the names that librdkafka and Kafka's Java producer have for them, such as " +
    '`librdkafka_options."linger.ms" = 50`. [librdkafka_options.md](librdkafka_options.md) says which option each stands for.',
  options: {
    type: choice({ values: ["kafka"], required: true, doc: "The kind of sink.", example: '"kafka"' }),
    inputs: inputsOption,
    bootstrap_servers: addresses({
      required: true,
      aliases: ["brokers"],
      doc: "Brokers to ask for the cluster's others, as `host:port`: a comma list or an array.",
      example: '"kafka-1:9092,kafka-2:9092"',
    }),
    topic: text({
      required: true,
      check: checkTopic,
      doc:
        "The topic. `{{field}}` takes a field of the event, dots reach into objects; `%Y-%m-%d` and other strftime " +
        "specifiers take its time, in UTC.",
      example: '"logs-{{unit}}-%Y-%m-%d"',
    }),
    ...topicOptions,
    ...routingOptions,
    acks: choice({
      values: ["all", "one", "none"],
      choiceAliases: { "-1": "all", "1": "one", "0": "none", "leader": "one" },
      ignoreCase: true,
      default: "all",
      doc:
        "Who confirms a batch: all replicas in sync, the leader alone, or nobody. `-1`, `1` and `0` mean the same. " +
        "With `none`, records may be lost without notice.",
      example: '"one"',
    }),
    ...deliveryOptions,
    ...transactionOptions,
    compression: choice({
      values: ["none", "gzip", "snappy", "lz4", "zstd"],
      ignoreCase: true,
      default: "none",
      doc: "How batches are compressed. One that would not become smaller is sent as it is.",
      example: '"zstd"',
    }),
    compression_level: integer({
      default: null,
      defaultText: "`1`",
      min: 1,
      max: 22,
      doc: "`1` to `9` for gzip, `1` to `22` for zstd; the others have none. Higher is smaller and slower.",
      example: "3",
    }),
    max_message_bytes: size({
      default: MIB,
      min: 1_000,
      max: 1_000_000_000,
      doc:
        "The largest record, before compression; `on_too_large` says what becomes of a larger one. The topic's own " +
        "`max.message.bytes` holds too.",
      example: '"512KiB"',
    }),
    ...refusedOptions,
    topics_autocreate: flag({
      default: false,
      doc: "Create a topic that does not exist. Without it, events wait until somebody does.",
      example: "true",
    }),
    "autocreate.partitions": integer({
      default: -1,
      min: 1,
      max: 100_000,
      special: -1,
      unit: "partitions",
      doc: "Partitions of a created topic; `-1` leaves it to the broker.",
      example: "6",
    }),
    "autocreate.replication_factor": integer({
      default: -1,
      min: 1,
      max: 32_767,
      special: -1,
      unit: "replicas",
      doc: "Replicas of a created topic; `-1` leaves it to the broker.",
      example: "3",
    }),
    ...batchOptions,
    ...encodingOptions,
    ...bufferOptions,
    gap_markers: gapMarkersOption,
    gap_markers_topic: text({
      default: null,
      defaultText: "`topic`, where that holds no field and no time",
      check: checkTopicName,
      doc: "Where gap markers go. Needed with `gap_markers` where `topic` is a template.",
      example: '"gaps"',
    }),
    ...connectionOptions,
    ...expiryOptions,
    ...networkOptions,
    healthcheck: healthcheckOption,
    ...securityOptions,
  },
  tables: [PROPERTIES_KEY],
  impliedBy: {
    "sasl.mechanism": ["sasl.jaas_config"],
    "sasl.username": ["sasl.jaas_config"],
    "sasl.password": ["sasl.jaas_config"],
  },
  planned: [
    ...plannedEncodingOptions,
    "on_lost_state",
  ],
});
