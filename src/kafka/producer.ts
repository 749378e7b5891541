import { Accumulator } from "../batch/accumulator.ts";
import type { Delivery } from "../event/delivery.ts";
import { recheckMs } from "../telemetry/test_knobs.ts";
import { AlarmClock } from "./alarm_clock.ts";
import { AnswerHandler } from "./answer_handler.ts";
import { ArenaPool } from "./arena_pool.ts";
import { BrokerSenders } from "./broker_senders.ts";
import type { KafkaError } from "./errors.ts";
import { ExactDelivery } from "./exact_delivery.ts";
import { IdentityKeeper } from "./identity_keeper.ts";
import type { IntentLog } from "./intent_log.ts";
import { KnownTopics } from "./known_topics.ts";
import { PartitionSender, type ProducerIdentity } from "./partition_sender.ts";
import { ProduceBatch } from "./produce_batch.ts";
import { BATCH_HEADER_BYTES, type RecordBatchLimits } from "./record_batch.ts";
import type { ProducerOptions } from "./producer_options.ts";
import { RoomWaiters } from "./room_waiters.ts";
import { TopicDirectory } from "./topic_directory.ts";

/** Memory of all record batches of a sink before compression: filled, waiting and in flight. */
export const BATCH_MEMORY_MAX_BYTES = 24 * 1_048_576;

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
  readonly #identities: IdentityKeeper;
  #exact: ExactDelivery | null = null;
  readonly #monotonic: () => number;
  readonly #known: KnownTopics;
  readonly #senders: BrokerSenders;
  readonly #abort = new AbortController();
  readonly #unsubscribe: () => void;
  #sealCount = 0;
  #isFlushing = false;
  #isClosed = false;
  #isPumpQueued = false;
  readonly #alarm = new AlarmClock(() => this.#isClosed ? undefined : this.#pump());
  /** A topic may become known, or a batch be finished, before anyone waits for it. */
  readonly #room = new RoomWaiters();

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
      newQueue: (topic, partition) => this.#newQueue(topic, partition),
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
      onKnown: (topic, count) => this.#known.told(topic, count),
      onProblem: (_code, message, hint) => this.#problem(message, hint),
    });
    this.#known = new KnownTopics({
      ...options,
      signal: this.#abort.signal,
      want: (topic) => this.#topics.want(topic),
      onKnown: (topic, count, isNew) => this.#topicKnown(topic, count, isNew),
      onLimit: (maxBytes) => this.#limits.batchMaxBytes = Math.min(this.#limits.batchMaxBytes, maxBytes),
    });
    this.#senders = this.#makeSenders();
    this.#answers = new AnswerHandler({
      ...options,
      monotonic: this.#monotonic,
      accumulator: this.#accumulator,
      pool: this.#pool,
      compress: (batch) => this.#compress(batch),
      learnLimit: (topic) => this.#known.learnLimit(topic),
      wantMetadata: (topic) => this.#topics.want(topic),
      renewIdentity: (spent) => this.#identities.renew(spent),
      problem: (message, hint) => this.#problem(message, hint),
      exact: () => this.#exact,
      onFatal: (message) => this.#fatal(message),
    });
    this.#identities = new IdentityKeeper({
      ...config,
      cluster,
      random,
      signal: this.#abort.signal,
      problem: (message, hint) => this.#problem(message, hint),
      onIdentity: (identity, canResolve) => this.#identityObtained(identity, canResolve),
    });
    if (options.intents) this.#exact = this.#deliverExactlyOnce(options.intents);
    this.#unsubscribe = cluster.onChange(() => this.#metadataChanged());
    if (config.acks === "all") this.#identities.obtain();
    for (const topic of this.#exact?.doubts.recoveredTopics() ?? []) this.#known.use(topic);
  }

  /** Events that were appended and are not settled yet wait here, in flight or parked. */
  get isIdle(): boolean {
    return this.#accumulator.active.size === 0 && this.#accumulator.parkedEvents === 0 && !this.isRecovering;
  }

  /** What became of batches of earlier runs is not known yet. */
  get isRecovering(): boolean {
    return this.#exact !== null && !this.#exact.doubts.isIdle;
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

  /** Sends everything without lingering; resolves when all is settled or the producer was closed. */
  async flush(): Promise<void> {
    this.#isFlushing = true;
    this.#queuePump();
    while (!this.isIdle && !this.#isClosed) {
      this.#room.look();
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
    this.#senders.close();
    this.#exact?.close();
    this.#alarm.stop();
    // Batches in flight or in the compressor are left to the process's end: their bytes may still be read.
    this.#accumulator.abandon(() => {});
    this.#pool.clear();
    this.#room.wake();
  }

  #deliverExactlyOnce(intents: IntentLog): ExactDelivery {
    const wake = () => {
      this.#queuePump();
      this.#room.wake();
    };
    const recheck = this.#options.recheckMs ?? recheckMs();
    return new ExactDelivery({
      ...this.#options,
      ...(recheck === null ? {} : { recheckMs: recheck }),
      intents,
      accumulator: this.#accumulator,
      pool: this.#pool,
      monotonic: this.#monotonic,
      identity: () => this.#identities.identity,
      renewIdentity: (spent) => this.#identities.renew(spent),
      compress: (batch) => this.#compress(batch),
      deliver: (queue, batch) => {
        this.#answers.delivered(queue, batch, false);
        wake();
      },
      onReady: wake,
      onFatal: (message) => this.#fatal(message),
      signal: this.#abort.signal,
    });
  }

  #identityObtained(identity: ProducerIdentity, canResolve: boolean): void {
    if (this.#exact !== null) {
      if (canResolve || this.#exact.isCommitted) this.#exact.identityObtained(identity);
      else {
        // Nothing was journalled yet: intents are written once there is an id.
        this.#exact = null;
        this.#options.onDowngrade?.("brokers before Kafka 2.8 cannot say what became of a batch");
      }
    }
    this.#queuePump();
  }

  #fatal(message: string): void {
    if (this.#isClosed) return;
    this.#options.onFatal?.(message);
    this.close();
  }

  #newQueue(topic: string, partition: number): PartitionSender {
    const queue = new PartitionSender(topic, partition);
    this.#exact?.doubts.attach(queue);
    return queue;
  }

  #topicKnown(topic: string, partitionCount: number, isNew: boolean): void {
    if (isNew) this.#exact?.exactlyOnce.topicKnown(topic);
    this.#accumulator.setPartitionCount(topic, partitionCount, this.#monotonic());
    this.#exact?.doubts.attachMissing(
      topic,
      partitionCount,
      (id) => this.#accumulator.queueBeyond(topic, id),
    );
    this.#queuePump();
    this.#room.wake();
  }

  #metadataChanged(): void {
    this.#identities.checkCluster();
    this.#known.refresh();
    this.#queuePump();
    // A partition that has got a leader, or all have lost theirs: what found no room may find some.
    this.#room.wake();
  }

  /** What waits for a partition that is no more (the topic was made again with fewer) goes to one that is there. */
  #moveAway(queue: PartitionSender): void {
    // Who takes over gets new numbers for all that it has, which must not be on its way meanwhile; its answer starts the next round.
    const heir = this.#accumulator.heirOf(queue);
    const first = heir.sealed[0];
    if (heir.isInDoubt || first?.isInFlight === true || first?.isInDoubt === true) return;
    const ids = queue.sealed.map((batch) => batch.intentId).filter((id) => id !== null);
    for (const batch of queue.sealed) batch.clearNumbers();
    const target = this.#accumulator.moveAway(queue);
    this.#exact?.movedAway(queue, target, ids);
    this.#queuePump();
  }

  #sealed(queue: PartitionSender, batch: ProduceBatch): void {
    batch.sealNumber = ++this.#sealCount;
    // A record that is larger than a batch is always alone in one.
    if (batch.count === 1 && batch.sizeBytes > this.#options.config.maxMessageBytes) {
      this.#answers.reject(
        queue,
        batch,
        "record_too_large",
        `${batch.sizeBytes} bytes exceed max_message_bytes`,
      );
      this.#room.wake();
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
    this.#sealDue(nowMs);
    this.#exact?.exactlyOnce.journalSealed();
    const groups = new Map<number, PartitionSender[]>();
    let wakeAtMs = Infinity;
    for (const queue of this.#accumulator.active) {
      if (queue.open !== null && queue.sealed.length === 0) {
        wakeAtMs = Math.min(wakeAtMs, queue.openedMs + config.batchTimeoutMs);
      }
      const head = queue.sealed[0];
      if (head === undefined || !head.isReady || head.isInFlight || queue.isInDoubt) continue;
      if (config.acks === "all" && this.#identities.identity === null) continue;
      if (this.#exact !== null && !this.#exact.canSend(queue, head)) continue;
      const leader = cluster.leaderOf(queue.topic, queue.id);
      if (leader < 0) {
        if (queue.id >= (this.#known.partitionCount(queue.topic) ?? Infinity)) this.#moveAway(queue);
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
    for (const [leader, queues] of groups) {
      // One that took something over in this round gets new numbers first.
      this.#senders.send(leader, queues.filter(({ replacement }) => replacement === null));
    }
    this.#alarm.set(wakeAtMs, nowMs);
  }

  #sealDue(nowMs: number): void {
    const { batchTimeoutMs } = this.#options.config;
    for (const queue of this.#accumulator.active) {
      if (queue.open === null || queue.sealed.length > 0) continue;
      if (this.#isFlushing || queue.openedMs + batchTimeoutMs <= nowMs) this.#accumulator.seal(queue);
    }
  }

  #makeSenders(): BrokerSenders {
    const { config } = this.#options;
    return new BrokerSenders({
      ...this.#options,
      acks: ACKS[config.acks],
      requestTimeoutMs: config.requestTimeoutMs,
      answerTimeoutMs: config.socketTimeoutMs,
      maxInFlight: config.maxInFlight,
      retryIntervalMs: config.retryIntervalMs,
      prepare: (queue, batch) => this.#number(queue, batch),
      onAnswer: (queue, batch, result, nodeId) => {
        if (this.#isClosed) return;
        this.#answers.answered(queue, batch, result, nodeId);
        this.#room.wake();
      },
      onFailure: (queue, batch, error, nodeId) => {
        if (!this.#isClosed) this.#answers.failed(queue, batch, error, nodeId);
      },
      onUnreachable: (nodeId, error) => this.#unreachable(nodeId, error),
      onReady: () => this.#queuePump(),
    });
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
    const { identity } = this.#identities;
    const numbers = identity === null ? null : queue.nextNumbers(identity);
    batch.number(numbers, this.#options.now());
  }

  #problem(message: string, hint: string | null): void {
    this.#options.metrics.lastError = message;
    this.#options.log.warn(message, hint === null ? {} : { hint });
  }
}
