import { buildSasl, buildTls } from "./build_security.ts";
import type { CheckedTable } from "./check.ts";
import type {
  ApiConfig,
  BufferConfig,
  ConsoleSinkConfig,
  DeadLetterConfig,
  EncodingConfig,
  FileSourceConfig,
  KafkaSinkConfig,
  LogConfig,
  StdinSourceConfig,
} from "./config.ts";
import type { OptionGroup, Values } from "./option.ts";
import type { consoleSinkGroup } from "./options_console_sink.ts";
import type { kafkaSinkGroup } from "./options_kafka_sink.ts";
import type { fileSourceGroup, stdinSourceGroup } from "./options_sources.ts";
import type { apiGroup, logGroup } from "./options_top.ts";

/** From checked values, in the units of the file, to the values that stages get. Nothing is checked here. */

/** What a buffer in memory holds when nothing is said. */
export const BUFFER_MEMORY_BYTES = 67_108_864;

type Of<G> = G extends OptionGroup<infer O> ? Values<O> : never;
type KafkaValues = Of<typeof kafkaSinkGroup>;
type ConsoleValues = Of<typeof consoleSinkGroup>;

export function buildApi(table: CheckedTable | null): ApiConfig | null {
  if (table === null) return null;
  const values = table.values as Of<typeof apiGroup>;
  return values.enabled ? { address: values.address, connectionsMax: values.max_connections } : null;
}

export function buildLog(table: CheckedTable): LogConfig {
  const values = table.values as Of<typeof logGroup>;
  return { level: values.level, format: values.format };
}

export function buildFileSource(name: string, table: CheckedTable): FileSourceConfig {
  const values = table.values as Of<typeof fileSourceGroup>;
  return {
    type: "file",
    name,
    include: values.include,
    exclude: values.exclude,
    readFrom: values.read_from,
    ignoreOlderMs: values.ignore_older_secs === null ? null : toMs(values.ignore_older_secs),
    maxLineBytes: values.max_line_bytes,
    globMinimumCooldownMs: values.glob_minimum_cooldown_ms,
    rotateWaitMs: toMs(values.rotate_wait_secs),
    partialFlushAfterMs: values.partial_flush_after_ms,
    maxOpenFiles: values.max_open_files,
    fingerprintBytes: values.fingerprint_bytes,
    rotated: values.rotated,
    decoding: { codec: values["decoding.codec"] },
  };
}

export function buildStdinSource(name: string, table: CheckedTable): StdinSourceConfig {
  const values = table.values as Of<typeof stdinSourceGroup>;
  return {
    type: "stdin",
    name,
    maxLineBytes: values.max_line_bytes,
    decoding: { codec: values["decoding.codec"] },
  };
}

export function buildConsoleSink(name: string, table: CheckedTable): ConsoleSinkConfig {
  const values = table.values as ConsoleValues;
  return {
    type: "console",
    name,
    inputs: values.inputs,
    target: values.target,
    encoding: buildEncoding(values),
    buffer: buildBuffer(values),
    gapMarkers: values.gap_markers,
    healthcheck: values.healthcheck,
  };
}

export function buildKafkaSink(
  name: string,
  table: CheckedTable,
  hostname: string,
  env: Readonly<Record<string, string | undefined>>,
): KafkaSinkConfig {
  const values = table.values as KafkaValues;
  const clientId = values.client_id ?? "shipper-{{host}}-{{sink_id}}";
  return {
    type: "kafka",
    name,
    inputs: values.inputs,
    bootstrapServers: [...new Set(values.bootstrap_servers)],
    topic: values.topic,
    onTemplateError: values.on_template_error ?? (buildDeadLetter(values) === null ? "drop" : "dead_letter"),
    topicMissingTimeoutMs: values.on_topic_missing === "wait" ? null : values.topic_missing_timeout_ms,
    onTopicMissing: values.on_topic_missing,
    topicPolicy: {
      allowed: values.allowed_topics,
      fallback: values.on_template_error === "fallback_topic" ? values.fallback_topic : null,
      reserved: [
        ...(values.delivery === "transactional" ? [values.position_topic] : []),
        ...(values["dead_letter.topic"] === null ? [] : [values["dead_letter.topic"]]),
      ],
    },
    keyField: values.key_field,
    key: values.key,
    headers: (values.headers ?? []).map(([header, value]) => ({ name: header, value })),
    timestampSource: values.timestamp_source,
    ...buildPartitioner(values),
    acks: values.acks,
    ...buildDelivery(values),
    transactionalId: values.transactional_id ?? `shipper.${hostname}.${name}`,
    transactionTimeoutMs: values.transaction_timeout_ms,
    commitIntervalMs: values.commit_interval_ms,
    positionTopic: values.position_topic,
    compression: values.compression,
    compressionLevel: values.compression_level,
    batchMaxBytes: values["batch.max_bytes"],
    batchMaxEvents: values["batch.max_events"],
    batchTimeoutMs: values["batch.timeout_ms"],
    maxMessageBytes: values.max_message_bytes,
    onTooLarge: values.on_too_large ?? (buildDeadLetter(values) === null ? "drop" : "dead_letter"),
    deadLetter: buildDeadLetter(values),
    clientId: expandClientId(clientId, hostname, name),
    topicsAutocreate: values.topics_autocreate,
    autocreatePartitions: values["autocreate.partitions"],
    autocreateReplicationFactor: values["autocreate.replication_factor"],
    retryIntervalMs: values["retry.interval_ms"],
    retryMaxIntervalMs: values["retry.max_interval_ms"],
    retryMaxAttempts: values["retry.max_attempts"],
    messageTimeoutMs: values.message_timeout_ms,
    socketTimeoutMs: values.socket_timeout_ms,
    requestTimeoutMs: values.request_timeout_ms ?? Math.min(30_000, values.socket_timeout_ms),
    connectTimeoutMs: values.connect_timeout_ms,
    connectTimeoutMaxMs: values.connect_timeout_max_ms ?? Math.max(30_000, values.connect_timeout_ms),
    dnsLookup: values.dns_lookup,
    sendBufferBytes: values.send_buffer_bytes,
    receiveBufferBytes: values.receive_buffer_bytes,
    metricsIntervalMs: toMs(values.metrics_interval_secs),
    metadataRefreshMs: values.metadata_refresh_ms,
    maxInFlight: values.max_in_flight,
    gapMarkersTopic: values.gap_markers ? values.gap_markers_topic ?? values.topic : null,
    healthcheck: values.healthcheck,
    sasl: buildSasl(values, env),
    tls: buildTls(values),
    encoding: buildEncoding(values),
    buffer: buildBuffer(values),
  };
}

function buildPartitioner(values: KafkaValues): Pick<KafkaSinkConfig, "partitioner" | "partitionField"> {
  const { key, key_field: keyField, partition_field: partitionField } = values;
  const hasKey = key !== null || keyField !== null;
  const partitioner = values.partitioner ??
    (hasKey ? "murmur2_random" : partitionField === null ? "sticky" : "field");
  return { partitioner, partitionField: partitioner === "field" ? partitionField : null };
}

type DeliveryConfig = Pick<
  KafkaSinkConfig,
  | "delivery"
  | "deliveryReason"
  | "durability"
  | "dedupWindowMs"
  | "onUndecidable"
  | "onClonedState"
  | "resolveScanMaxBytes"
>;

function buildDelivery(values: KafkaValues): DeliveryConfig {
  const isPossible = values.acks === "all";
  return {
    delivery: values.delivery ?? (isPossible ? "exactly_once" : "at_least_once"),
    deliveryReason: values.delivery !== null || isPossible ? null : `acks = "${values.acks}"`,
    durability: values.durability,
    dedupWindowMs: toMs(values.dedup_window_secs),
    onUndecidable: values.on_undecidable,
    onClonedState: values.on_cloned_state,
    resolveScanMaxBytes: values.resolve_scan_max_bytes,
  };
}

function buildDeadLetter(values: KafkaValues): DeadLetterConfig | null {
  const { "dead_letter.file": path, "dead_letter.topic": topic, "dead_letter.max_size": sizeBytesMax } =
    values;
  if (topic !== null) return { kind: "topic", topic };
  return path === null ? null : { kind: "file", path, sizeBytesMax };
}

function buildEncoding(values: ConsoleValues | KafkaValues): EncodingConfig {
  return {
    codec: values["encoding.codec"],
    onlyFields: values["encoding.only_fields"],
    exceptFields: values["encoding.except_fields"],
    timestampFormat: values["encoding.timestamp_format"],
  };
}

function buildBuffer(values: ConsoleValues | KafkaValues): BufferConfig {
  return {
    type: values["buffer.type"],
    maxEvents: values["buffer.max_events"],
    maxSizeBytes: values["buffer.max_size"] ?? BUFFER_MEMORY_BYTES,
    whenFull: values["buffer.when_full"],
  };
}

function expandClientId(template: string, hostname: string, sinkName: string): string {
  return template.replace(
    /\{\{\s*(host|sink_id)\s*\}\}/gu,
    (_, name) => name === "host" ? hostname : sinkName,
  );
}

export function toMs(seconds: number): number {
  return Math.round(seconds * 1_000);
}
