import type { KafkaSinkConfig } from "../../../src/config/config.ts";
import type { DeadLetters } from "../../../src/event/dead_letters.ts";
import type { BatchStatus } from "../../../src/event/delivery.ts";
import type { Cluster } from "../../../src/kafka/cluster.ts";
import { createCompressor } from "../../../src/kafka/compression.ts";
import { TransactionalProducer } from "../../../src/kafka/transaction/transactional_producer.ts";
import type {
  PositionChange,
  TransactionPositions,
} from "../../../src/kafka/transaction/transaction_positions.ts";
import { SinkMetrics } from "../../../src/telemetry/metrics.ts";
import { delivery, type TestBatchOptions } from "../../support/events.ts";
import type { FakeKafka } from "../../support/fake_kafka.ts";
import { waitUntil } from "../../support/wait_until.ts";
import { KeptLog, plainSink } from "../producer_harness.ts";
import { newCluster, silentLog } from "../support.ts";

/** Positions that a test sets by hand. */
export class HandPositions implements TransactionPositions {
  onChange: () => void = () => {};
  /** What `restore` was given. */
  restored: Record<string, string> | null = null;
  storedCount = 0;
  readonly hasNew = false;
  readonly #changes = new Map<string, string | null>();
  #taken = new Map<string, string | null>();

  get hasChanges(): boolean {
    return this.#changes.size + this.#taken.size > 0;
  }

  set(key: string, value: string | null): void {
    this.#changes.set(key, value);
    this.onChange();
  }

  restore(stored: ReadonlyMap<string, Buffer>): void {
    this.restored = Object.fromEntries([...stored].map(([key, value]) => [key, String(value)]));
  }

  touch(): void {}

  flush(): void {}

  takeChanges(): PositionChange[] {
    this.#taken = new Map(this.#changes);
    this.#changes.clear();
    return [...this.#taken].map(([key, value]) => ({
      key,
      value: value === null ? null : Buffer.from(value),
    }));
  }

  stored(): void {
    this.storedCount++;
    this.#taken.clear();
  }

  notStored(): void {
    for (const [key, value] of this.#taken) if (!this.#changes.has(key)) this.#changes.set(key, value);
    this.#taken.clear();
  }

  changeAll(): void {}
}

/** A producer in transactions at the brokers of a FakeKafka. `await using` closes it. */
export class TransactionHarness implements AsyncDisposable {
  readonly producer: TransactionalProducer;
  readonly cluster: Cluster;
  readonly metrics = new SinkMetrics();
  readonly log = new KeptLog();
  readonly positions = new HandPositions();
  readonly statuses: BatchStatus[] = [];
  readonly id: string;
  isStarted = false;
  failure: string | null = null;
  offeredCount = 0;
  settledCount = 0;

  constructor(
    kafka: FakeKafka,
    config: Partial<KafkaSinkConfig> = {},
    stallMs?: number,
    deadLetters: DeadLetters | null = null,
  ) {
    const whole: KafkaSinkConfig = {
      ...plainSink,
      delivery: "transactional",
      partitioner: "sticky",
      bootstrapServers: kafka.bootstrapServers,
      ...config,
    };
    this.id = whole.transactionalId;
    const { socketTimeoutMs, requestTimeoutMs, retryIntervalMs, retryMaxIntervalMs, metadataRefreshMs } =
      whole;
    this.cluster = newCluster(whole.bootstrapServers, {
      socketTimeoutMs,
      requestTimeoutMs,
      retryIntervalMs,
      retryMaxIntervalMs,
      metadataRefreshMs,
    });
    this.producer = new TransactionalProducer({
      config: whole,
      cluster: this.cluster,
      compressor: createCompressor(whole.compression, null, silentLog),
      metrics: this.metrics,
      log: this.log,
      hasTopicTemplate: false,
      hostname: "here",
      fixedTopic: "logs",
      positions: this.positions,
      deadLetters,
      onStarted: () => this.isStarted = true,
      onFatal: (message) => this.failure = message,
      fenceWaitMs: 50,
      ...(stallMs === undefined ? {} : { stallMs }),
      now: Date.now,
      random: () => 0.5,
    });
  }

  /** Offers until all is taken, as KafkaSink does. */
  async send(values: readonly string[], options: TestBatchOptions = {}): Promise<void> {
    const made = delivery(values, options, (status) => {
      this.statuses.push(status);
      this.settledCount += values.length;
    }).delivery;
    this.metrics.eventsInCount += values.length;
    this.metrics.inFlightEvents += values.length;
    this.offeredCount += values.length;
    for (let next = this.producer.append(made, 0); next < values.length && !this.producer.isClosed;) {
      await this.producer.waitForRoom();
      next = this.producer.append(made, next);
    }
  }

  async started(): Promise<void> {
    await waitUntil("it is started", () => this.isStarted, { timeoutMs: 20_000, pollMs: 2 }).catch(
      (error) => {
        throw new Error(`${error.message}\n${this.log.texts("warn").join("\n")}`);
      },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.producer.close();
    this.cluster.close();
    await Promise.resolve();
  }
}
