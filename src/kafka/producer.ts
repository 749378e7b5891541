import { Accumulator } from "../batch/accumulator.ts";
import type { KafkaSinkConfig } from "../config/config.ts";
import type { Delivery } from "../event/delivery.ts";
import type { Log } from "../telemetry/log.ts";
import type { SinkMetrics } from "../telemetry/metrics.ts";
import { AnswerHandler } from "./answer_handler.ts";
import { ArenaPool } from "./arena_pool.ts";
import { backoffMs } from "./backoff.ts";
import { BrokerSender } from "./broker_sender.ts";
import type { Cluster } from "./cluster.ts";
import type { Compressor } from "./compression.ts";
import type { KafkaError } from "./errors.ts";
import { PartitionSender, type ProducerIdentity } from "./partition_sender.ts";
import { ProduceBatch } from "./produce_batch.ts";
import { BATCH_HEADER_BYTES, type RecordBatchLimits } from "./record_batch.ts";
import { TopicDirectory } from "./topic_directory.ts";

/** Memory of all record batches of a sink before compression: filled, waiting and in flight. */
export const BATCH_MEMORY_MAX_BYTES = 24 * 1_048_576;

export interface ProducerOptions {
  readonly config: KafkaSinkConfig;
  readonly cluster: Cluster;
  readonly compressor: Compressor;
  readonly metrics: SinkMetrics;
  readonly log: Log;
  /** The topic is a template: events of a topic that is unknown must not hold those of others. */
  readonly hasTopicTemplate: boolean;
  /** Wall clock, milliseconds: the records' time, and what metrics show. */
  readonly now: () => number;
  /** Clock of lingering and back-off, milliseconds: one that is never set. */
  readonly monotonic?: () => number;
  readonly random: () => number;
}

interface KnownTopic {
  readonly partitionCount: number;
  /** Null where brokers are too old to tell. */
  readonly topicId: string | null;
}

const ACKS = { all: -1, one: 1, none: 0 } as const;

/**
 * Turns deliveries into Produce requests and their answers into acknowledgements. One batch in flight for each partition, while the
 * next one is filled and compressed: order is free, a repeat is always the newest batch that the broker remembers, and from three
 * partitions on it is as fast as five in flight.
 *
 *     append -> accumulator -> seal -> compress -> pump: heads of all partitions, by leader -> one request a broker
 *                  ^                                                                              |
 *                  +--------- room <---------- settle, or the same bytes again  <-----------------+
 */
export class Producer {
  readonly #options: ProducerOptions;
  readonly #accumulator: Accumulator<ProduceBatch, PartitionSender>;
  readonly #pool: ArenaPool;
  readonly #limits: { batchMaxBytes: number; batchMaxEvents: number };
  readonly #topics: TopicDirectory;
  readonly #answers: AnswerHandler;
  readonly #monotonic: () => number;
  readonly #known = new Map<string, KnownTopic>();
  readonly #senders = new Map<number, BrokerSender>();
  readonly #abort = new AbortController();
  readonly #unsubscribe: () => void;
  #identity: ProducerIdentity | null = null;
  #isFlushing = false;
  #isClosed = false;
  #isPumpQueued = false;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #timerAtMs = Infinity;
  #waiters: (() => void)[] = [];
  /** Something changed since the last `append`: a topic may become known, or a batch be finished, before anyone waits for it. */
  #hasNews = false;

  constructor(options: ProducerOptions) {
    this.#options = options;
    const { config, cluster, log, random } = options;
    this.#monotonic = options.monotonic ?? (() => performance.now());
    this.#pool = new ArenaPool(options.compressor);
    this.#limits = {
      batchMaxBytes: Math.min(config.batchMaxBytes, config.maxMessageBytes),
      batchMaxEvents: config.batchMaxEvents,
    };
    const limits: RecordBatchLimits = this.#limits;
    this.#accumulator = new Accumulator<ProduceBatch, PartitionSender>({
      newBatch: () => new ProduceBatch(this.#pool, limits),
      newQueue: (topic, partition) => new PartitionSender(topic, partition),
      onSealed: (queue, batch) => this.#sealed(queue, batch),
      isAvailable: (topic, partition) => cluster.leaderOf(topic, partition) >= 0,
      partitioner: config.partitioner,
      memoryMaxBytes: BATCH_MEMORY_MAX_BYTES,
      canPark: options.hasTopicTemplate,
    });
    this.#topics = new TopicDirectory({
      cluster,
      retryIntervalMs: config.retryIntervalMs,
      retryMaxIntervalMs: config.retryMaxIntervalMs,
      autocreate: config.topicsAutocreate
        ? { partitions: config.autocreatePartitions, replicationFactor: config.autocreateReplicationFactor }
        : null,
      log,
      random,
      onKnown: (topic, count) => this.#topicKnown(topic, count),
      onProblem: (_code, message, hint) => this.#problem(message, hint),
    });
    this.#answers = new AnswerHandler({
      ...options,
      monotonic: this.#monotonic,
      accumulator: this.#accumulator,
      pool: this.#pool,
      compress: (batch) => this.#compress(batch),
      learnLimit: (topic) => this.#learnLimit(topic),
      wantMetadata: (topic) => this.#topics.want(topic),
      renewIdentity: (spent) => {
        if (this.#identity === spent) this.#requestIdentity();
      },
      problem: (message, hint) => this.#problem(message, hint),
    });
    this.#unsubscribe = cluster.onChange(() => this.#metadataChanged());
    if (config.acks === "all") this.#requestIdentity();
  }

  /** Events that were appended and are not settled yet wait here, in flight or parked. */
  get isIdle(): boolean {
    return this.#accumulator.active.size === 0 && this.#accumulator.parkedEvents === 0;
  }

  /** Takes events of the delivery from index `from` on; returns the index of the first one that did not fit. */
  append(delivery: Delivery, from: number): number {
    this.#hasNews = false;
    const next = this.#accumulator.append(delivery, from, this.#monotonic());
    for (const topic of this.#accumulator.unknownTopics) this.#wantUnknown(topic);
    this.#queuePump();
    return next;
  }

  /** Resolves when something was finished or became known, so that `append` may take more, or when the producer was closed. */
  waitForRoom(): Promise<void> {
    if (this.#isClosed || this.#hasNews) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  /** Sends everything without lingering; resolves when all is settled or the producer was closed. */
  async flush(): Promise<void> {
    this.#isFlushing = true;
    this.#queuePump();
    while (!this.isIdle && !this.#isClosed) {
      this.#hasNews = false;
      await this.waitForRoom();
    }
  }

  /** Stops at once: what is not settled is settled as "errored". Connections are the cluster's to close. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#abort.abort();
    this.#unsubscribe();
    this.#topics.close();
    for (const sender of this.#senders.values()) sender.close();
    if (this.#timer !== null) clearTimeout(this.#timer);
    // Batches in flight or in the compressor are left to the process's end: their bytes may still be read.
    this.#accumulator.abandon(() => {});
    this.#pool.clear();
    this.#wake();
  }

  /** Nothing is sent until the answer is there. */
  #requestIdentity(): void {
    this.#identity = null;
    this.#obtainIdentity().catch((error: unknown) => this.#options.log.error(`Cannot go on: ${error}`));
  }

  async #obtainIdentity(): Promise<void> {
    const { cluster, config, random } = this.#options;
    for (let failureCount = 0; this.#identity === null && !this.#isClosed;) {
      try {
        const { id, epoch } = await cluster.initProducerId(this.#abort.signal);
        this.#identity = { producerIdHigh: id.readInt32BE(0), producerIdLow: id.readInt32BE(4), epoch };
      } catch (error) {
        if (this.#isClosed) return;
        failureCount++;
        const hint = (error as KafkaError).hint ?? null;
        this.#problem(`Cannot get a producer id: ${(error as Error).message}`, hint);
        await Bun.sleep(backoffMs(failureCount, config.retryIntervalMs, config.retryMaxIntervalMs, random()));
      }
    }
    this.#queuePump();
  }

  #wantUnknown(topic: string): void {
    const metadata = this.#options.cluster.topic(topic);
    if (metadata !== undefined && metadata.errorCode === 0 && metadata.partitions.length > 0) {
      this.#topicKnown(topic, metadata.partitions.length);
    } else this.#topics.want(topic);
  }

  #topicKnown(topic: string, count: number): void {
    const topicId = this.#options.cluster.topic(topic)?.topicId ?? null;
    const before = this.#known.get(topic);
    // A broker that lags behind tells fewer partitions; there are fewer only where the topic was deleted and made again.
    const isSame = before !== undefined && (topicId === null || topicId === before.topicId);
    const partitionCount = isSame ? Math.max(count, before.partitionCount) : count;
    if (!isSame) this.#learnLimit(topic);
    this.#known.set(topic, { partitionCount, topicId });
    this.#accumulator.setPartitionCount(topic, partitionCount, this.#monotonic());
    this.#queuePump();
    this.#wake();
  }

  #metadataChanged(): void {
    for (const [name, before] of this.#known) {
      const topic = this.#options.cluster.topic(name);
      const count = topic?.partitions.length ?? 0;
      if (count > before.partitionCount || (count > 0 && topic!.topicId !== before.topicId)) {
        this.#topicKnown(name, count);
      }
    }
    this.#queuePump();
    // A partition that has got a leader, or all have lost theirs: what found no room may find some.
    this.#wake();
  }

  /** What waits for a partition that is no more (the topic was made again with fewer) goes to one that is there. */
  #moveAway(queue: PartitionSender): void {
    for (const batch of queue.sealed) batch.clearNumbers();
    this.#accumulator.moveAway(queue);
    this.#queuePump();
  }

  /**
   * The topic's own limit may be lower than ours, or may have been lowered. Without the right to ask, the broker's refusal teaches it batch
   * by batch; so it does for templates, where the limit of one topic would shape the batches of all.
   */
  #learnLimit(topic: string): void {
    const { cluster, log, hasTopicTemplate } = this.#options;
    if (hasTopicTemplate) return;
    cluster.maxMessageBytes(topic, this.#abort.signal).then(
      (maxBytes) => {
        if (maxBytes !== null) this.#limits.batchMaxBytes = Math.min(this.#limits.batchMaxBytes, maxBytes);
      },
      (error: unknown) => log.debug(`Cannot ask for max.message.bytes of topic "${topic}": ${error}`),
    );
  }

  #sealed(queue: PartitionSender, batch: ProduceBatch): void {
    // A record that is larger than a batch is always alone in one.
    if (batch.count === 1 && batch.sizeBytes > this.#options.config.maxMessageBytes) {
      this.#answers.reject(
        queue,
        batch,
        "record_too_large",
        `${batch.sizeBytes} bytes exceed max_message_bytes`,
      );
      this.#wake();
    } else this.#compress(batch);
  }

  #compress(batch: ProduceBatch): void {
    const { compressor, log } = this.#options;
    if (compressor.codecId === 0) {
      batch.isReady = true;
      this.#queuePump();
      return;
    }
    compressor.compress(batch.recordBytes(), BATCH_HEADER_BYTES).then(
      (compressed) => {
        if (this.#isClosed) compressed.release();
        else batch.setCompressed(compressed, compressor.codecId);
        this.#queuePump();
      },
      (error: unknown) => {
        log.warn(
          `Cannot compress a batch, it is sent uncompressed: ${
            error instanceof Error ? error.message : error
          }`,
        );
        batch.isReady = true;
        this.#queuePump();
      },
    );
  }

  #queuePump(): void {
    if (this.#isPumpQueued || this.#isClosed) return;
    this.#isPumpQueued = true;
    queueMicrotask(() => {
      this.#isPumpQueued = false;
      if (!this.#isClosed) this.#pump();
    });
  }

  /** Seals what has lingered long enough and sends every head that can be sent now, then sleeps until the next deadline. */
  #pump(): void {
    const { cluster, config } = this.#options;
    const nowMs = this.#monotonic();
    this.#accumulator.retryParked(nowMs);
    const groups = new Map<number, PartitionSender[]>();
    let wakeAtMs = Infinity;
    for (const queue of this.#accumulator.active) {
      if (queue.open !== null && queue.sealed.length === 0) {
        const dueMs = this.#isFlushing ? nowMs : queue.openedMs + config.batchTimeoutMs;
        if (dueMs <= nowMs) this.#accumulator.seal(queue);
        else wakeAtMs = Math.min(wakeAtMs, dueMs);
      }
      const head = queue.sealed[0];
      if (head === undefined || !head.isReady || head.isInFlight) continue;
      if (config.acks === "all" && this.#identity === null) continue;
      const leader = cluster.leaderOf(queue.topic, queue.id);
      if (leader < 0) {
        const known = this.#known.get(queue.topic);
        if (known !== undefined && queue.id >= known.partitionCount) this.#moveAway(queue);
        else this.#topics.want(queue.topic);
        continue;
      }
      if (queue.retryAtMs > nowMs && (queue.failedLeader < 0 || queue.failedLeader === leader)) {
        wakeAtMs = Math.min(wakeAtMs, queue.retryAtMs);
        continue;
      }
      const group = groups.get(leader);
      if (group === undefined) groups.set(leader, [queue]);
      else group.push(queue);
    }
    for (const [leader, queues] of groups) this.#sender(leader).send(queues);
    this.#wakeAt(wakeAtMs, nowMs);
  }

  #sender(nodeId: number): BrokerSender {
    let sender = this.#senders.get(nodeId);
    if (sender === undefined) {
      const { cluster, config, log } = this.#options;
      sender = new BrokerSender({
        nodeId,
        cluster,
        acks: ACKS[config.acks],
        requestTimeoutMs: config.requestTimeoutMs,
        answerTimeoutMs: config.socketTimeoutMs,
        maxInFlight: config.maxInFlight,
        retryIntervalMs: config.retryIntervalMs,
        log,
        prepare: (queue, batch) => this.#number(queue, batch),
        onAnswer: (queue, batch, result) => {
          if (this.#isClosed) return;
          this.#answers.answered(queue, batch, result, nodeId);
          this.#wake();
        },
        onFailure: (queue, batch, error) => {
          if (!this.#isClosed) this.#answers.failed(queue, batch, error, nodeId);
        },
        onUnreachable: (error) => this.#unreachable(nodeId, error),
        onReady: () => this.#queuePump(),
      });
      this.#senders.set(nodeId, sender);
    }
    return sender;
  }

  /** No connection to a broker: perhaps its partitions have moved. */
  #unreachable(nodeId: number, error: KafkaError): void {
    this.#options.metrics.retries.add(error.code);
    this.#problem(error.message, error.hint);
    const { cluster } = this.#options;
    const topics = new Set<string>();
    for (const queue of this.#accumulator.active) {
      if (cluster.leaderOf(queue.topic, queue.id) === nodeId) topics.add(queue.topic);
    }
    for (const topic of topics) this.#topics.want(topic);
  }

  #number(queue: PartitionSender, batch: ProduceBatch): void {
    if (batch.isNumbered) return;
    const numbers = this.#identity === null ? null : queue.nextNumbers(this.#identity);
    batch.number(numbers, this.#options.now());
  }

  #problem(message: string, hint: string | null): void {
    this.#options.metrics.lastError = message;
    this.#options.log.warn(message, hint === null ? {} : { hint });
  }

  #wakeAt(atMs: number, nowMs: number): void {
    if (atMs === this.#timerAtMs) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#timerAtMs = atMs;
    if (atMs === Infinity) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#timerAtMs = Infinity;
      if (!this.#isClosed) this.#pump();
    }, Math.max(atMs - nowMs, 0));
  }

  #wake(): void {
    this.#hasNews = true;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const resolve of waiters) resolve();
  }
}
