import { Accumulator } from "../../batch/accumulator.ts";
import type { Delivery } from "../../event/delivery.ts";
import { AlarmClock } from "../alarm_clock.ts";
import { AnswerHandler } from "../answer_handler.ts";
import { ArenaPool } from "../arena_pool.ts";
import { KnownTopics } from "../known_topics.ts";
import { PartitionSender } from "../partition_sender.ts";
import { ProduceBatch } from "../produce_batch.ts";
import { BATCH_MEMORY_MAX_BYTES } from "../producer.ts";
import type { ProducerOptions } from "../producer_options.ts";
import { BATCH_HEADER_BYTES } from "../record_batch.ts";
import { RoomWaiters } from "../room_waiters.ts";
import { TopicDirectory } from "../topic_directory.ts";
import { TransactionRunner } from "./transaction_runner.ts";
import type { TransactionPositions } from "./transaction_positions.ts";

export interface TransactionalProducerOptions
  extends Omit<ProducerOptions, "intents" | "onDowngrade" | "recheckMs"> {
  readonly hostname: string;
  readonly positions: TransactionPositions;
  /** The positions of an earlier run are there: what is to be sent may be read. */
  readonly onStarted: () => void;
  /** See `TransactionSessionOptions`. */
  readonly fenceWaitMs?: number;
}

/** A request to abort what is open is not waited for longer when the process ends. */
const ABORT_WAIT_MAX_MS = 500;

/**
 * Turns deliveries into batches, as `Producer` does, and leaves it to `TransactionRunner` to send them:
 *
 *     append -> accumulator -> seal -> compress -> joins a transaction -> sent, set aside -> committed: settled
 *                  ^                                     ^                                |
 *                  +------------- room                   +---- aborted: put back <--------+
 */
export class TransactionalProducer {
  readonly #options: TransactionalProducerOptions;
  readonly #accumulator: Accumulator<ProduceBatch, PartitionSender>;
  readonly #pool: ArenaPool;
  readonly #limits: { batchMaxBytes: number; batchMaxEvents: number };
  readonly #topics: TopicDirectory;
  readonly #known: KnownTopics;
  readonly #answers: AnswerHandler;
  readonly #runner: TransactionRunner;
  readonly #monotonic: () => number;
  readonly #abort = new AbortController();
  readonly #unsubscribe: () => void;
  readonly #alarm = new AlarmClock(() => this.#isClosed ? undefined : this.#pump());
  readonly #room = new RoomWaiters();
  #sealCount = 0;
  #isFlushing = false;
  #isClosed = false;
  #isPumpQueued = false;

  constructor(options: TransactionalProducerOptions) {
    this.#options = options;
    const { config, cluster, random, log } = options;
    this.#monotonic = options.monotonic ?? (() => performance.now());
    this.#pool = new ArenaPool(options.compressor);
    this.#limits = {
      batchMaxBytes: Math.min(config.batchMaxBytes, config.maxMessageBytes),
      batchMaxEvents: config.batchMaxEvents,
    };
    this.#accumulator = new Accumulator<ProduceBatch, PartitionSender>({
      newBatch: () => new ProduceBatch(this.#pool, this.#limits),
      newQueue: (topic, partition) => new PartitionSender(topic, partition),
      onSealed: (queue, batch) => this.#sealed(queue, batch),
      isAvailable: (topic, partition) => cluster.leaderOf(topic, partition) >= 0,
      partitioner: config.partitioner,
      memoryMaxBytes: BATCH_MEMORY_MAX_BYTES,
      canPark: options.hasTopicTemplate,
    });
    this.#topics = new TopicDirectory({
      ...config,
      cluster,
      autocreate: config.topicsAutocreate
        ? { partitions: config.autocreatePartitions, replicationFactor: config.autocreateReplicationFactor }
        : null,
      log,
      random,
      onKnown: (topic, count) => this.#known.told(topic, count),
      onProblem: (_code, message, hint) => this.#problem(message, hint),
    });
    this.#known = new KnownTopics({
      ...options,
      signal: this.#abort.signal,
      want: (topic) => this.#topics.want(topic),
      onKnown: (topic, count) => this.#topicKnown(topic, count),
      onLimit: (maxBytes) => this.#limits.batchMaxBytes = Math.min(this.#limits.batchMaxBytes, maxBytes),
    });
    this.#answers = this.#makeAnswers();
    this.#runner = new TransactionRunner({
      ...options,
      monotonic: this.#monotonic,
      accumulator: this.#accumulator,
      answers: this.#answers,
      signal: this.#abort.signal,
      partitionCount: (topic) => this.#known.partitionCount(topic),
      wantMetadata: (topic) => this.#topics.want(topic),
      problem: (message, hint) => this.#problem(message, hint),
      onReady: () => this.#queuePump(),
      onSettled: () => this.#room.wake(),
    });
    options.positions.onChange = () => this.#queuePump();
    this.#unsubscribe = cluster.onChange(() => this.#metadataChanged());
    this.#runner.run().catch((error: unknown) =>
      this.#fatal(error instanceof Error ? error.message : String(error))
    );
  }

  /** Nothing waits here, and all positions are stored. */
  get isIdle(): boolean {
    return this.#accumulator.active.size === 0 && this.#accumulator.parkedEvents === 0 && this.#runner.isIdle;
  }

  /** It was closed, or must not go on. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Takes events of the delivery from index `from` on; returns the index of the first one that did not fit. */
  append(delivery: Delivery, from: number): number {
    this.#room.look();
    const next = this.#accumulator.append(delivery, from, this.#monotonic());
    for (const topic of this.#accumulator.unknownTopics) this.#known.use(topic);
    this.#queuePump();
    return next;
  }

  /** Resolves when something was finished or became known, so that `append` may take more, or when the producer was closed. */
  waitForRoom(): Promise<void> {
    return this.#isClosed ? Promise.resolve() : this.#room.wait();
  }

  /** Commits everything without lingering; resolves when all is settled and stored, or the producer was closed. */
  async flush(): Promise<void> {
    this.#isFlushing = true;
    for (;;) {
      this.#options.positions.flush();
      if (this.isIdle || this.#isClosed) return;
      this.#room.look();
      this.#queuePump();
      await this.waitForRoom();
    }
  }

  /** Stops at once: what is not committed is settled as "errored". Connections are the cluster's to close. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#abort.abort();
    this.#unsubscribe();
    this.#topics.close();
    this.#runner.close();
    this.#alarm.stop();
    // Batches in flight or in the compressor are left to the process's end: their bytes may still be read.
    this.#accumulator.abandon(() => {});
    this.#pool.clear();
    this.#room.wake();
  }

  /** After `close`, while there are connections: aborts what is open, so that readers do not wait for its timeout. Never rejects. */
  async abortOpen(): Promise<void> {
    await Promise.race([this.#runner.abortOpen(), Bun.sleep(ABORT_WAIT_MAX_MS)]);
  }

  #makeAnswers(): AnswerHandler {
    return new AnswerHandler({
      ...this.#options,
      monotonic: this.#monotonic,
      accumulator: this.#accumulator,
      pool: this.#pool,
      compress: (batch) => this.#compress(batch),
      learnLimit: (topic) => this.#known.learnLimit(topic),
      wantMetadata: (topic) => this.#topics.want(topic),
      // Numbers are refused only where the transaction is over: the next InitProducerId gives others.
      renewIdentity: () => {},
      problem: (message, hint) => this.#problem(message, hint),
      exact: () => null,
      onFatal: (message) => this.#fatal(message),
    });
  }

  #topicKnown(topic: string, partitionCount: number): void {
    this.#accumulator.setPartitionCount(topic, partitionCount, this.#monotonic());
    this.#queuePump();
    this.#room.wake();
  }

  #metadataChanged(): void {
    this.#known.refresh();
    this.#queuePump();
    this.#room.wake();
  }

  #sealed(queue: PartitionSender, batch: ProduceBatch): void {
    batch.sealNumber = ++this.#sealCount;
    // A record that is larger than a batch is always alone in one.
    if (batch.count === 1 && batch.sizeBytes > this.#options.config.maxMessageBytes) {
      const why = `${batch.sizeBytes} bytes exceed max_message_bytes`;
      this.#answers.reject(queue, batch, "record_too_large", why);
      this.#room.wake();
    } else this.#compress(batch);
  }

  #compress(batch: ProduceBatch): void {
    const { compressor, log } = this.#options;
    const ready = () => {
      batch.isReady = true;
      this.#queuePump();
    };
    if (compressor.codecId === 0) return ready();
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
        ready();
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

  /** Seals what has lingered long enough, has the transaction go on, and sleeps until the next deadline. */
  #pump(): void {
    const { batchTimeoutMs } = this.#options.config;
    const nowMs = this.#monotonic();
    this.#accumulator.retryParked(nowMs);
    let wakeAtMs = Infinity;
    for (const queue of this.#accumulator.active) {
      if (queue.open === null || queue.sealed.length > 0) continue;
      const dueMs = this.#isFlushing ? nowMs : queue.openedMs + batchTimeoutMs;
      if (dueMs <= nowMs) this.#accumulator.seal(queue);
      else wakeAtMs = Math.min(wakeAtMs, dueMs);
    }
    wakeAtMs = Math.min(wakeAtMs, this.#runner.pump(nowMs, this.#isFlushing));
    if (!this.#isClosed) this.#alarm.set(wakeAtMs, nowMs);
  }

  #fatal(message: string): void {
    if (this.#isClosed) return;
    this.#options.onFatal?.(message);
    this.close();
  }

  #problem(message: string, hint: string | null): void {
    const { metrics, log } = this.#options;
    metrics.lastError = message;
    if (metrics.startFailure !== null) metrics.startFailure = { code: "not-started", message, hint };
    log.warn(message, hint === null ? {} : { hint });
  }
}
