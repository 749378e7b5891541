import type { KafkaSinkConfig } from "../../src/config/config.ts";
import type { BatchStatus, Delivery } from "../../src/event/delivery.ts";
import type { DeadLetters } from "../../src/event/dead_letters.ts";
import type { Cluster } from "../../src/kafka/cluster.ts";
import { type Compressor, createCompressor } from "../../src/kafka/compression.ts";
import { Producer } from "../../src/kafka/producer.ts";
import type { Log } from "../../src/telemetry/log.ts";
import { SinkMetrics } from "../../src/telemetry/metrics.ts";
import { delivery, type TestBatchOptions } from "../support/events.ts";
import type { FakeKafka } from "../support/fake_kafka.ts";
import { newCluster, silentLog } from "./support.ts";

export const plainSink: KafkaSinkConfig = {
  type: "kafka",
  name: "events",
  inputs: ["app"],
  bootstrapServers: [],
  topic: "logs",
  topicPolicy: { allowed: null, fallback: null, reserved: [] },
  onTemplateError: "drop",
  topicMissingTimeoutMs: null,
  onTopicMissing: "wait",
  keyField: null,
  key: null,
  headers: [],
  partitionField: null,
  timestampSource: "ship",
  partitioner: "murmur2_random",
  acks: "all",
  delivery: "at_least_once",
  deliveryReason: null,
  durability: "machine",
  dedupWindowMs: 86_400_000,
  onUndecidable: "duplicate",
  onClonedState: "adopt",
  resolveScanMaxBytes: 256 << 20,
  transactionalId: "shipper.test.events",
  transactionTimeoutMs: 60_000,
  commitIntervalMs: 10,
  positionTopic: "positions",
  compression: "none",
  compressionLevel: null,
  batchMaxBytes: 1_000_000,
  batchMaxEvents: 50_000,
  batchTimeoutMs: 1,
  maxMessageBytes: 1_048_576,
  onTooLarge: "drop",
  deadLetter: null,
  clientId: "test",
  topicsAutocreate: false,
  autocreatePartitions: 2,
  autocreateReplicationFactor: 1,
  retryIntervalMs: 5,
  retryMaxIntervalMs: 20,
  retryMaxAttempts: 0,
  messageTimeoutMs: 0,
  socketTimeoutMs: 5_000,
  requestTimeoutMs: 2_000,
  connectTimeoutMs: 2_000,
  connectTimeoutMaxMs: 2_000,
  dnsLookup: "use_all_dns_ips",
  sendBufferBytes: 0,
  receiveBufferBytes: 0,
  metricsIntervalMs: 0,
  metadataRefreshMs: 300_000,
  maxInFlight: 5,
  gapMarkersTopic: null,
  healthcheck: true,
  sasl: null,
  tls: null,
  encoding: { codec: "text", onlyFields: null, exceptFields: null, timestampFormat: "rfc3339" },
  buffer: { type: "memory", maxEvents: 50_000, maxSizeBytes: 64 << 20, whenFull: "block" },
};

/** A log that keeps what it is told. */
export class KeptLog implements Log {
  readonly lines: { readonly level: string; readonly message: string; readonly fields: object }[] = [];

  debug(): void {}

  info(message: string, fields = {}): void {
    this.lines.push({ level: "info", message, fields });
  }

  warn(message: string, fields = {}): void {
    this.lines.push({ level: "warn", message, fields });
  }

  error(message: string, fields = {}): void {
    this.lines.push({ level: "error", message, fields });
  }

  texts(level: string): string[] {
    return this.lines.filter((line) => line.level === level).map((line) => line.message);
  }
}

export interface HarnessOptions {
  readonly config?: Partial<KafkaSinkConfig>;
  readonly hasTopicTemplate?: boolean;
  readonly now?: () => number;
  readonly compressor?: Compressor;
  readonly deadLetters?: DeadLetters;
  readonly stallMs?: number;
  readonly recheckMs?: number;
}

export interface HarnessBatchOptions extends TestBatchOptions {
  readonly onSettled?: (status: BatchStatus) => void;
}

/** A producer at the brokers of a FakeKafka. `await using` closes it. */
export class ProducerHarness implements AsyncDisposable {
  readonly producer: Producer;
  readonly cluster: Cluster;
  readonly metrics = new SinkMetrics();
  readonly log = new KeptLog();
  readonly statuses: BatchStatus[] = [];
  /** Events that were offered, and those of settled deliveries. */
  offeredCount = 0;
  settledCount = 0;

  constructor(kafka: FakeKafka, options: HarnessOptions = {}) {
    const config = { ...plainSink, bootstrapServers: kafka.bootstrapServers, ...options.config };
    this.cluster = newCluster(config.bootstrapServers, {
      retryIntervalMs: config.retryIntervalMs,
      retryMaxIntervalMs: config.retryMaxIntervalMs,
      socketTimeoutMs: config.socketTimeoutMs,
      requestTimeoutMs: config.requestTimeoutMs,
      metadataRefreshMs: config.metadataRefreshMs,
    });
    this.producer = new Producer({
      config,
      cluster: this.cluster,
      compressor: options.compressor ?? createCompressor(config.compression, null, silentLog),
      metrics: this.metrics,
      log: this.log,
      hasTopicTemplate: options.hasTopicTemplate ?? false,
      deadLetters: options.deadLetters ?? null,
      ...(options.stallMs === undefined ? {} : { stallMs: options.stallMs }),
      ...(options.recheckMs === undefined ? {} : { recheckMs: options.recheckMs }),
      now: options.now ?? Date.now,
      random: () => 0.5,
    });
  }

  /** A delivery of these values, counted as KafkaSink would; its status goes to `statuses`. */
  delivery(values: readonly (string | Buffer)[], options: HarnessBatchOptions = {}): Delivery {
    const made = delivery(values, options, (status) => {
      this.statuses.push(status);
      this.settledCount += values.length;
      options.onSettled?.(status);
    });
    this.metrics.eventsInCount += values.length;
    this.metrics.inFlightEvents += values.length;
    this.offeredCount += values.length;
    return made.delivery;
  }

  /** Offers until all is taken, as KafkaSink does. */
  async send(values: readonly (string | Buffer)[], options: HarnessBatchOptions = {}): Promise<void> {
    const made = this.delivery(values, options);
    for (let next = this.producer.append(made, 0); next < values.length;) {
      await this.producer.waitForRoom();
      next = this.producer.append(made, next);
    }
  }

  /** Everything that was offered has become something: `inFlight` and the parts of the audit add up. */
  audit(): { in: number; delivered: number; dropped: number; inFlight: number } {
    const { eventsInCount, deliveredEventsCount, dropped, inFlightEvents } = this.metrics;
    return {
      in: eventsInCount,
      delivered: deliveredEventsCount,
      dropped: dropped.total(),
      inFlight: inFlightEvents,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.producer.close();
    this.cluster.close();
    await Promise.resolve();
  }
}
