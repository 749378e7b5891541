import { Accumulator, NO_PARTITION } from "../batch/accumulator.ts";
import type { Membership } from "../batch/membership.ts";
import type { Delivery } from "../event/delivery.ts";
import { countOf } from "../telemetry/format.ts";
import { recheckMs as recheckKnobMs } from "../telemetry/test_knobs.ts";
import { AlarmClock } from "./alarm_clock.ts";
import { ArenaPool } from "./arena_pool.ts";
import type { Expiry } from "./expiry.ts";
import { GivenUpBatches } from "./given_up_batches.ts";
import { KnownTopics } from "./known_topics.ts";
import { MissingTopics, TOPIC_MISSING } from "./missing_topics.ts";
import type { PartitionSender } from "./partition_sender.ts";
import { ProduceBatch } from "./produce_batch.ts";
import type { ProducerOptions } from "./producer_options.ts";
import { ErrorCode } from "./protocol/error_codes.ts";
import { BATCH_HEADER_BYTES, type RecordBatchLimits } from "./record_batch.ts";
import { ANY_TIME, type TimeLimits } from "./record_times.ts";
import { RECHECK_MS } from "./resolve/resolver.ts";
import { RoomWaiters } from "./room_waiters.ts";
import { STALL_SOCKET_TIMEOUTS, StallWatch } from "./stall_watch.ts";
import { TopicDirectory } from "./topic_directory.ts";
import { TopicLimitsStore } from "./topic_limits.ts";

/** Memory of all record batches of a sink before compression: filled, waiting and in flight. */
export const BATCH_MEMORY_MAX_BYTES = 24 * 1_048_576;

/** Batches in flight or in the compressor may be read for a moment after they were abandoned: connections and the Worker are being closed. */
const ABANDONED_KEPT_MS = 2_000;

export interface BatchIntakeOptions extends
  Pick<
    ProducerOptions,
    | "config"
    | "cluster"
    | "compressor"
    | "log"
    | "hasTopicTemplate"
    | "random"
    | "metrics"
    | "now"
    | "recheckMs"
    | "stallMs"
  > {
  readonly monotonic: () => number;
  readonly newQueue: (topic: string, partition: number) => PartitionSender;
  /** As `KnownTopicsOptions.onKnown`. */
  readonly onTopicKnown: (topic: string, partitionCount: number, isNew: boolean) => void;
  /** The only record of the batch will never be taken. */
  readonly onTooLarge: (queue: PartitionSender, batch: ProduceBatch, why: string) => void;
  /** The batch can never be sent, and was not: it becomes dead letters, or is dropped. `why` is a clause. */
  readonly onDiverted: (queue: PartitionSender, batch: ProduceBatch, reason: string, why: string) => void;
  /** As in `GivenUpBatchesOptions`. */
  readonly isHeld: (batch: ProduceBatch) => boolean;
  readonly beforeGiveUp: (queue: PartitionSender, batch: ProduceBatch) => void;
  readonly dropBatch: (queue: PartitionSender, batch: ProduceBatch, reason: string) => void;
  /** Events of the topic wait no longer for it, nor does anything of an earlier run. */
  readonly onTopicGivenUp: (topic: string) => void;
  /** As `MissingTopicsOptions.dropEvents`. */
  readonly dropEvents: (members: Membership, reason: string) => void;
  /** Something may be sealed or sent. */
  readonly pump: () => void;
  readonly problem: (message: string, hint: string | null) => void;
}

/**
 * What every producer has in front of its sending: deliveries are sorted into batches by topic and partition, and sealed batches are
 * compressed; topics are asked for until they are known.
 */
export class BatchIntake {
  readonly #options: BatchIntakeOptions;
  readonly #batchLimits: RecordBatchLimits;
  readonly #abort = new AbortController();
  readonly pool: ArenaPool;
  readonly accumulator: Accumulator<ProduceBatch, PartitionSender>;
  readonly topics: TopicDirectory;
  readonly known: KnownTopics;
  readonly #missing: MissingTopics;
  readonly #givenUp: GivenUpBatches;
  /** What the topics take. */
  readonly limits: TopicLimitsStore;
  readonly alarm = new AlarmClock(() => this.#isClosed ? undefined : this.#options.pump());
  /** A topic may become known, or a batch be finished, before anyone waits for it. */
  readonly room = new RoomWaiters();
  #sealCount = 0;
  #sweepAtMs = 0;
  #isClosed = false;
  #isPumpQueued = false;

  constructor(options: BatchIntakeOptions) {
    this.#options = options;
    const { config, cluster, log, random } = options;
    this.pool = new ArenaPool(options.compressor);
    this.#batchLimits = {
      batchMaxBytes: Math.min(config.batchMaxBytes, config.maxMessageBytes),
      batchMaxEvents: config.batchMaxEvents,
    };
    this.accumulator = new Accumulator<ProduceBatch, PartitionSender>({
      newBatch: ({ topic }) => new ProduceBatch(this.pool, this.#limitsOf(topic)),
      newQueue: options.newQueue,
      onSealed: (queue, batch) => this.#sealed(queue, batch),
      isAvailable: (topic, partition) => cluster.leaderOf(topic, partition) >= 0,
      partitioner: config.partitioner,
      memoryMaxBytes: BATCH_MEMORY_MAX_BYTES,
      canPark: options.hasTopicTemplate,
      onGivenUp: (topic, members) => this.#missing.drop(topic, members),
    });
    this.#missing = this.#missingTopics();
    this.#givenUp = new GivenUpBatches({
      ...options,
      accumulator: this.accumulator,
      missing: this.#missing,
      isKept: config.onTopicMissing === "dead_letter",
      drop: options.dropBatch,
      divert: options.onDiverted,
    });
    this.topics = new TopicDirectory({
      cluster,
      retryIntervalMs: config.retryIntervalMs,
      retryMaxIntervalMs: config.retryMaxIntervalMs,
      autocreate: config.topicsAutocreate
        ? { partitions: config.autocreatePartitions, replicationFactor: config.autocreateReplicationFactor }
        : null,
      log,
      random,
      onKnown: (topic, count) => this.known.told(topic, count),
      onMissing: (topic) => {
        this.known.missing(topic);
        this.#missing.missing(topic);
        const isGivenUp = this.#missing.isGivenUp(topic);
        // What could not be given up before may be now.
        if (isGivenUp) this.queuePump();
        return !isGivenUp;
      },
      onProblem: (_code, message, hint) => options.problem(message, hint),
    });
    this.limits = new TopicLimitsStore({ ...options, signal: this.signal });
    this.known = new KnownTopics({
      ...options,
      want: (topic) => this.topics.want(topic),
      onKnown: (topic, count, isNew) => {
        this.#missing.known(topic, !isNew && (cluster.topic(topic)?.topicId ?? null) !== null);
        options.onTopicKnown(topic, count, isNew);
      },
      wantLimits: (topic) => this.limits.want(topic),
    });
  }

  /** Aborted by `stop`. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Nothing that was appended waits here. */
  get isEmpty(): boolean {
    return this.accumulator.active.size === 0 && this.accumulator.parkedEvents === 0;
  }

  /**
   * Looks for partitions that stand still, until it is closed. `isSendable`: as `StallWatchOptions`. `forget`: what the producer knows of how
   * things stand with a broker.
   */
  watchStalls(isSendable: (batch: ProduceBatch) => boolean, forget: (nodeId: number) => void): void {
    const { config, cluster, stallMs } = this.#options;
    new StallWatch({
      ...this.#options,
      stallMs: stallMs ?? STALL_SOCKET_TIMEOUTS * config.socketTimeoutMs,
      signal: this.signal,
      queues: () => this.accumulator.active,
      isSendable,
      wantMetadata: (topic) => this.topics.want(topic),
      rebuild: (nodeId) => {
        forget(nodeId);
        cluster.forget(nodeId);
        this.queuePump();
      },
    });
  }

  /** Takes events of the delivery from index `from` on; returns the index of the first one that did not fit. */
  append(delivery: Delivery, from: number): number {
    this.room.look();
    const next = this.accumulator.append(delivery, from, this.#options.monotonic());
    for (const topic of this.accumulator.unknownTopics) this.known.use(topic);
    this.queuePump();
    return next;
  }

  /** Drops what is too old, and what is for topics that were given up. Returns when to come back, by the monotonic clock. */
  sweep(expiry: Expiry | null, nowMs: number): number {
    if (this.#givenUp.sweep()) this.room.wake();
    if (expiry === null) return Infinity;
    const nextMs = expiry.sweep(nowMs);
    const isAwaited = this.room.isAwaited;
    // Who waits in front of the accumulator has events that grow old, too.
    if (isAwaited && nextMs !== this.#sweepAtMs) this.room.wake();
    this.#sweepAtMs = nextMs;
    return isAwaited || !this.isEmpty ? nextMs : Infinity;
  }

  /** Nothing is sent to the topic: it is not there, and what is for it is given up. */
  isGivenUp(topic: string): boolean {
    return this.#missing.isGivenUp(topic);
  }

  /** What became of batches is to be found out: asks for the topic where it is not there. True: there is nothing to be found out any more. */
  isGone(topic: string): boolean {
    const { cluster } = this.#options;
    if (cluster.topic(topic)?.errorCode === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION) this.topics.want(topic);
    return this.#missing.isGone(topic);
  }

  #missingTopics(): MissingTopics {
    const { config, monotonic, recheckMs, onTopicGivenUp } = this.#options;
    return new MissingTopics({
      ...this.#options,
      timeoutMs: config.topicMissingTimeoutMs,
      certainMs: recheckMs ?? recheckKnobMs() ?? RECHECK_MS,
      giveUp: (topic) => {
        if (config.onTopicMissing !== "dead_letter") this.accumulator.giveUpTopic(topic);
        else {
          // No event may be sorted into it before it is known to be sorted out.
          this.accumulator.queueBeyond(topic, NO_PARTITION).divertedFor = TOPIC_MISSING;
          this.accumulator.divertTopic(topic, monotonic());
        }
        onTopicGivenUp(topic);
        this.wake();
      },
      forget: (topic) => {
        this.accumulator.forgetTopic(topic);
        this.topics.forget(topic);
      },
    });
  }

  /** Resolves when something was finished or became known, so that `append` may take more, or after `abandon`. */
  waitForRoom(): Promise<void> {
    return this.#isClosed ? Promise.resolve() : this.room.wait();
  }

  /** Has the pump run in this turn, once. */
  queuePump(): void {
    if (this.#isPumpQueued || this.#isClosed) return;
    this.#isPumpQueued = true;
    queueMicrotask(() => {
      this.#isPumpQueued = false;
      if (!this.#isClosed) this.#options.pump();
    });
  }

  /** Something can go on that could not before, and there may be room. */
  wake(): void {
    this.queuePump();
    this.room.wake();
  }

  /** Compresses the batch, or makes it ready as it is where that is no larger; then the pump runs. */
  compress(batch: ProduceBatch): void {
    const { compressor, log } = this.#options;
    const ready = () => {
      batch.isReady = true;
      this.queuePump();
    };
    if (compressor.codecId === 0) return ready();
    compressor.compress(batch.recordBytes(), BATCH_HEADER_BYTES).then(
      (compressed) => {
        if (this.#isClosed) return compressed.release();
        if (compressed.buffer.length >= batch.sizeBytes) {
          // Noise grows, and could become more than its topic takes, which the records are not.
          compressed.release();
          return ready();
        }
        batch.setCompressed(compressed, compressor.codecId);
        this.queuePump();
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

  /** Nothing is taken, asked for or pumped any more. `abandon` follows, when nobody sends. */
  stop(): void {
    this.#isClosed = true;
    this.#abort.abort();
    this.topics.close();
    this.alarm.stop();
  }

  /** Settles what is not settled as "errored". */
  abandon(): void {
    const abandoned: ProduceBatch[] = [];
    this.accumulator.abandon((batch) => abandoned.push(batch));
    this.pool.clear();
    this.room.wake();
    // Where the process goes on, the memory is needed.
    setTimeout(() => {
      for (const batch of abandoned) batch.release();
      this.pool.clear();
    }, ABANDONED_KEPT_MS).unref();
  }

  /** No batch is larger than its topic takes, before compression; a single record may be, as it may be smaller when it is compressed. */
  #limitsOf(topic: string): RecordBatchLimits {
    const { maxMessageBytes } = this.limits.of(topic);
    const { batchMaxBytes, batchMaxEvents } = this.#batchLimits;
    const limits = maxMessageBytes === null || maxMessageBytes >= batchMaxBytes
      ? this.#batchLimits
      : { batchMaxBytes: maxMessageBytes, batchMaxEvents };
    if (this.#options.config.timestampSource === "ship") return limits;
    return { ...limits, times: this.timeLimitsOf(topic) };
  }

  /** What times of events the topic takes now, as far as that is known; it takes the time of now in any case. */
  timeLimitsOf(topic: string): TimeLimits {
    const { timestampType, timestampBeforeMsMax, timestampAfterMsMax } = this.limits.of(topic);
    const nowMs = this.#options.now();
    // The brokers put their own time there.
    if (timestampType === "LogAppendTime") return { ...ANY_TIME, insteadMs: nowMs };
    return {
      minMs: Math.max(0, nowMs - (timestampBeforeMsMax ?? Infinity)),
      maxMs: nowMs + (timestampAfterMsMax ?? Infinity),
      insteadMs: nowMs,
    };
  }

  /**
   * Why the batch, which holds one record, can never be taken, as far as that is known beforehand: a clause. Null: it can, or must not be judged
   * here, because the brokers may have it already.
   */
  tooLarge(queue: PartitionSender, batch: ProduceBatch): string | null {
    if (batch.count !== 1 || batch.isInDoubt) return null;
    const { config, compressor } = this.#options;
    const { sizeBytes } = batch;
    if (sizeBytes > config.maxMessageBytes) return `${sizeBytes} bytes exceed max_message_bytes`;
    const known = this.limits.of(queue.topic).maxMessageBytes;
    if (known === null || sizeBytes <= known) return null;
    // The limit may have been raised meanwhile: then the brokers decide.
    const { maxMessageBytes, compressionType } = this.limits.freshOf(queue.topic);
    // Where brokers decompress, the whole size counts in the end.
    const isWhole = compressor.codecId === 0 || compressionType === "uncompressed";
    if (maxMessageBytes === null || sizeBytes <= maxMessageBytes || !isWhole && !batch.isReady) return null;
    const sentBytes = isWhole ? sizeBytes : batch.wireBytes().length;
    if (sentBytes <= maxMessageBytes) return null;
    const how = isWhole ? "" : " compressed";
    return `${sentBytes} bytes${how} exceed max.message.bytes of topic "${queue.topic}", which is ${maxMessageBytes}`;
  }

  #sealed(queue: PartitionSender, batch: ProduceBatch): void {
    batch.sealNumber = ++this.#sealCount;
    if (batch.redatedCount > 0) this.#tellRedated(queue, batch.redatedCount);
    if (queue.divertedFor !== null) {
      this.#options.onDiverted(queue, batch, queue.divertedFor, "the cluster has no such topic");
      return this.room.wake();
    }
    // A record that is larger than a batch is always alone in one.
    const why = this.tooLarge(queue, batch);
    if (why !== null) {
      this.#options.onTooLarge(queue, batch, why);
      this.room.wake();
    } else this.compress(batch);
  }

  #tellRedated({ topic }: PartitionSender, count: number): void {
    const { metrics, log } = this.#options;
    metrics.redatedRecordsCount += count;
    log.warn(
      `Topic "${topic}" does not take the times of ${
        countOf(count, "event")
      }: their records get the time of now`,
      {
        topic,
        hint: "raise message.timestamp.before.max.ms and message.timestamp.after.max.ms of the topic",
      },
    );
  }
}
