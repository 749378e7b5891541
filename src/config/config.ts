import type { PartitionerName } from "../batch/partitioners.ts";
import type { SaslConfig, TlsConfig } from "./config_security.ts";

/**
 * A configuration after it was checked: every default filled in, every size in bytes, every time in milliseconds, every path as written.
 * Stages get their part of it as a value; nothing below `cli/` reads files, environment or argv.
 */
export interface Config {
  readonly dataDir: string;
  readonly api: ApiConfig | null;
  readonly log: LogConfig;
  readonly shutdownTimeoutMs: number;
  readonly rescueSizeBytesMax: number;
  /** Its files are looked at for changes. */
  readonly watchConfig: boolean;
  /** Those that at least one sink reads. */
  readonly sources: readonly SourceConfig[];
  readonly sinks: readonly SinkConfig[];
}

export interface ApiConfig {
  /** "127.0.0.1:8686", "[::1]:8686" or "unix:/path". */
  readonly address: string;
  readonly connectionsMax: number;
}

export type LogLevel = "debug" | "info" | "warn" | "error";

export interface LogConfig {
  readonly level: LogLevel;
  /** "auto": pretty on a terminal, json otherwise. */
  readonly format: "auto" | "pretty" | "json";
}

export type SourceConfig = FileSourceConfig | StdinSourceConfig;

export interface DecodingConfig {
  readonly codec: "text" | "json";
}

export interface FileSourceConfig {
  readonly type: "file";
  readonly name: string;
  readonly include: readonly string[];
  readonly exclude: readonly string[];
  readonly readFrom: "beginning" | "end";
  readonly ignoreOlderMs: number | null;
  readonly maxLineBytes: number;
  readonly globMinimumCooldownMs: number;
  readonly rotateWaitMs: number;
  readonly partialFlushAfterMs: number;
  readonly maxOpenFiles: number | null;
  readonly fingerprintBytes: number;
  readonly rotated: "auto" | "none";
  readonly decoding: DecodingConfig;
}

export interface StdinSourceConfig {
  readonly type: "stdin";
  readonly name: string;
  readonly maxLineBytes: number;
  readonly decoding: DecodingConfig;
}

export type SinkConfig = KafkaSinkConfig | ConsoleSinkConfig;

export interface BufferConfig {
  readonly type: "memory" | "disk";
  /** Of the buffer in memory. */
  readonly maxEvents: number;
  /** Memory that its events pin, or room that its files take up. */
  readonly maxSizeBytes: number;
  /** "drop_oldest" with "disk" alone. */
  readonly whenFull: "block" | "drop_newest" | "drop_oldest";
}

export interface EncodingConfig {
  readonly codec: "text" | "json" | "raw";
  /** Dotted paths, or null when not set. Never both. */
  readonly onlyFields: readonly string[] | null;
  readonly exceptFields: readonly string[] | null;
  readonly timestampFormat: "rfc3339" | "unix" | "unix_ms" | "unix_ns";
}

export interface ConsoleSinkConfig {
  readonly type: "console";
  readonly name: string;
  readonly inputs: readonly string[];
  readonly target: "stdout" | "stderr";
  readonly encoding: EncodingConfig;
  readonly buffer: BufferConfig;
  readonly gapMarkers: boolean;
  readonly healthcheck: boolean;
}

/** What is looked up for a server to begin with: its addresses, or the canonical names of these too. */
export type DnsLookup = "use_all_dns_ips" | "resolve_canonical_bootstrap_servers_only";
export type CompressionCodec = "none" | "gzip" | "snappy" | "lz4" | "zstd";
export interface HeaderConfig {
  readonly name: string;
  /** Template: `{{field}}`, strftime. */
  readonly value: string;
}

export type DeadLetterConfig =
  | {
    readonly kind: "file";
    readonly path: string;
    /** The file is not written to beyond this. */
    readonly sizeBytesMax: number;
  }
  | { readonly kind: "topic"; readonly topic: string };

/** Which topics a template may name, and what becomes of events for which it names none. */
export interface TopicPolicyConfig {
  /** Patterns, with "*" for any text; null: all that begin as the template does. */
  readonly allowed: readonly string[] | null;
  /** Where events go for which no topic can be named; null: to no topic. */
  readonly fallback: string | null;
  /** Topics that hold something else, such as positions. */
  readonly reserved: readonly string[];
}

export interface KafkaSinkConfig {
  readonly type: "kafka";
  readonly name: string;
  readonly inputs: readonly string[];
  /** "host:port" each, at least one. */
  readonly bootstrapServers: readonly string[];
  /** Template: `{{field}}`, strftime. */
  readonly topic: string;
  readonly topicPolicy: TopicPolicyConfig;
  readonly onTemplateError: "drop" | "fallback_topic" | "dead_letter";
  /** How long events wait for a topic that is not there; null: until it is. */
  readonly topicMissingTimeoutMs: number | null;
  /** What becomes of them then. */
  readonly onTopicMissing: "wait" | "drop" | "dead_letter";
  /** Dotted path of the field that becomes the key; null: `key` does, if that is there. */
  readonly keyField: string | null;
  /** Template of the key: `{{field}}`, `{{uuid}}`, strftime. */
  readonly key: string | null;
  /** Of every record, in the order in which they are written. */
  readonly headers: readonly HeaderConfig[];
  /** The time that records carry: that of sending, or the event's own. */
  readonly timestampSource: "ship" | "event";
  readonly partitioner: PartitionerName;
  /** Dotted path of the field that holds the number of the partition, for "field" alone; else null. */
  readonly partitionField: string | null;
  readonly acks: "all" | "one" | "none";
  readonly delivery: "exactly_once" | "at_least_once" | "transactional";
  /** Why it is "at_least_once" though nobody asked for that, as a clause for a log message: `acks = "one"`. Null otherwise. */
  readonly deliveryReason: string | null;
  /** What exactly-once delivery survives: a power cut ("machine"), or a crash of the process alone. */
  readonly durability: "machine" | "process";
  /** How long brokers are taken to remember a producer that sends nothing. */
  readonly dedupWindowMs: number;
  readonly onUndecidable: "duplicate" | "drop" | "stop";
  readonly onClonedState: "adopt" | "stop";
  /** What is read back of a partition at most, to find one batch. */
  readonly resolveScanMaxBytes: number;
  /** The following have a meaning under "transactional" alone. Expanded: never empty. */
  readonly transactionalId: string;
  readonly transactionTimeoutMs: number;
  readonly commitIntervalMs: number;
  readonly positionTopic: string;
  readonly compression: CompressionCodec;
  /** null: the codec's default here (1 for zstd and gzip). */
  readonly compressionLevel: number | null;
  readonly batchMaxBytes: number;
  readonly batchMaxEvents: number;
  readonly batchTimeoutMs: number;
  readonly maxMessageBytes: number;
  readonly onTooLarge: "drop" | "truncate" | "dead_letter";
  /** Where events go that the brokers will never take; null: they are dropped. */
  readonly deadLetter: DeadLetterConfig | null;
  /** Expanded. The loader always sets it; null leaves it to the sink. */
  readonly clientId: string | null;
  readonly topicsAutocreate: boolean;
  readonly autocreatePartitions: number;
  readonly autocreateReplicationFactor: number;
  readonly retryIntervalMs: number;
  readonly retryMaxIntervalMs: number;
  /** Refusals after which a batch is dropped; 0: it never is. */
  readonly retryMaxAttempts: number;
  /** From reading an event to dropping it; 0: never. */
  readonly messageTimeoutMs: number;
  readonly socketTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly connectTimeoutMs: number;
  /** What it grows to while attempts fail. */
  readonly connectTimeoutMaxMs: number;
  readonly dnsLookup: DnsLookup;
  /** Of sockets; 0: the system's. */
  readonly sendBufferBytes: number;
  readonly receiveBufferBytes: number;
  /** How often a line of figures is logged; 0: never. */
  readonly metricsIntervalMs: number;
  readonly metadataRefreshMs: number;
  readonly maxInFlight: number;
  /** Where gap markers go; null: none are sent. */
  readonly gapMarkersTopic: string | null;
  readonly healthcheck: boolean;
  readonly sasl: SaslConfig | null;
  readonly tls: TlsConfig | null;
  readonly encoding: EncodingConfig;
  readonly buffer: BufferConfig;
}
