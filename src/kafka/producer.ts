import type { Delivery } from "../event/delivery.ts";
import { recheckMs } from "../telemetry/test_knobs.ts";
import { AnswerHandler } from "./answer_handler.ts";
import { BatchIntake } from "./batch_intake.ts";
import { BrokerSenders } from "./broker_senders.ts";
import { withDeadline } from "./deadline.ts";
import type { KafkaError } from "./errors.ts";
import { ExactDelivery } from "./exact_delivery.ts";
import { Expiry } from "./expiry.ts";
import { IdentityKeeper } from "./identity_keeper.ts";
import type { IntentLog } from "./intent_log.ts";
import { PartitionSender, type ProducerIdentity } from "./partition_sender.ts";
import type { ProduceBatch } from "./produce_batch.ts";
import type { ProducerOptions } from "./producer_options.ts";
import { tellThrottled } from "./throttling.ts";

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
  readonly #intake: BatchIntake;
  readonly #answers: AnswerHandler;
  readonly #identities: IdentityKeeper;
  readonly #expiry: Expiry | null;
  #exact: ExactDelivery | null = null;
  readonly #monotonic: () => number;
  readonly #senders: BrokerSenders;
  readonly #unsubscribe: () => void;
  #isFlushing = false;

  constructor(options: ProducerOptions) {
    this.#options = options;
    const { config, cluster, random } = options;
    this.#monotonic = options.monotonic ?? (() => performance.now());
    this.#intake = new BatchIntake({
      ...options,
      monotonic: this.#monotonic,
      newQueue: (topic, partition) => this.#newQueue(topic, partition),
      onTopicKnown: (topic, count, isNew) => this.#topicKnown(topic, count, isNew),
      onTooLarge: (queue, batch, why) => this.#answers.refused.tooLarge(queue, batch, why),
      dropEvents: (members, reason) => this.#answers.refused.dropMembers(members, reason),
      onDiverted: (queue, batch, reason, why) => this.#answers.refused.reject(queue, batch, reason, why),
      isHeld: () => false,
      beforeGiveUp: (queue, batch) => {
        // Under exactly-once delivery the journal sees to it.
        if (this.#exact === null && batch.mayBeWritten) this.#answers.spendNumbers(queue);
      },
      dropBatch: (queue, batch, reason) => this.#answers.refused.drop(queue, batch, reason),
      onTopicGivenUp: (topic) => this.#attachRecovered(topic, 0),
      pump: () => this.#pump(),
      problem: (message, hint) => this.#problem(message, hint),
    });
    const { accumulator, pool, known, limits, topics, signal } = this.#intake;
    this.#senders = this.#makeSenders();
    this.#answers = new AnswerHandler({
      ...options,
      monotonic: this.#monotonic,
      accumulator,
      pool,
      compress: (batch) => this.#intake.compress(batch),
      learnLimit: (topic) => limits.want(topic),
      wantMetadata: (topic) => topics.want(topic),
      renewIdentity: (spent) => this.#identities.renew(spent),
      problem: (message, hint) => this.#problem(message, hint),
      topicBytesMax: (topic) => limits.of(topic).maxMessageBytes,
      timeLimits: (topic) => this.#intake.timeLimitsOf(topic),
      deadLetters: options.deadLetters ?? null,
      onSafe: () => this.#intake.queuePump(),
      exact: () => this.#exact,
      onFatal: (message) => this.#fatal(message),
    });
    this.#expiry = Expiry.for({
      ...options,
      monotonic: this.#monotonic,
      accumulator,
      refused: this.#answers.refused,
      isExact: () => this.#exact !== null,
      isHeld: () => false,
    });
    this.#identities = new IdentityKeeper({
      ...config,
      cluster,
      random,
      signal,
      problem: (message, hint) => this.#problem(message, hint),
      onIdentity: (identity, canResolve) => this.#identityObtained(identity, canResolve),
    });
    if (options.intents) this.#exact = this.#deliverExactlyOnce(options.intents);
    this.#intake.watchStalls((batch) => this.#isSendable(batch), (nodeId) => this.#senders.forget(nodeId));
    this.#unsubscribe = cluster.onChange(() => this.#metadataChanged());
    if (config.acks === "all") this.#identities.obtain();
    for (const topic of this.#exact?.doubts.recoveredTopics() ?? []) known.use(topic);
  }

  /** Events that were appended and are not settled yet wait here, in flight or parked. */
  get isIdle(): boolean {
    return this.#intake.isEmpty && !this.isRecovering;
  }

  /** What became of batches of earlier runs is not known yet. */
  get isRecovering(): boolean {
    return this.#exact !== null && !this.#exact.doubts.isIdle;
  }

  /** It was closed, or must not go on. */
  get isClosed(): boolean {
    return this.#intake.isClosed;
  }

  /** The topic's own limit, where it is known. */
  maxMessageBytes(topic: string): number | null {
    return this.#intake.limits.of(topic).maxMessageBytes;
  }

  /** Takes events of the delivery from index `from` on; returns the index of the first one that did not fit. */
  append(delivery: Delivery, from: number): number {
    return this.#intake.append(delivery, from);
  }

  /** Drops the events from index `from` on if `message_timeout_ms` has passed for them: true. */
  dropLate(delivery: Delivery, from: number): boolean {
    return this.#expiry !== null && this.#expiry.dropLate(delivery, from);
  }

  /** Resolves when something was finished or became known, so that `append` may take more, or when the producer was closed. */
  waitForRoom(): Promise<void> {
    return this.#intake.waitForRoom();
  }

  /** Sends everything without lingering; resolves when all is settled or the producer was closed. */
  async flush(): Promise<void> {
    this.#isFlushing = true;
    this.#intake.queuePump();
    while (!this.isIdle && !this.isClosed) {
      this.#intake.room.look();
      await this.waitForRoom();
    }
    if (this.#options.config.acks === "none" && !this.isClosed) await this.#waitUntilRead();
  }

  /** A connection that is closed takes with it what its broker has not read, and under acks = none no answer tells that it has. */
  async #waitUntilRead(): Promise<void> {
    const { config, log } = this.#options;
    try {
      await withDeadline(this.#senders.waitUntilRead(), config.socketTimeoutMs, this.#intake.signal);
    } catch (error) {
      if (this.isClosed) return;
      log.warn(
        `What was sent last under acks = "none" may be lost: ${
          error instanceof Error ? error.message : error
        }`,
        { hint: 'acks = "one" or "all" has brokers confirm what they have' },
      );
    }
  }

  /** Stops at once: what is not settled is settled as "errored". Connections are the cluster's to close. */
  close(): void {
    if (this.isClosed) return;
    this.#intake.stop();
    this.#unsubscribe();
    this.#senders.close();
    this.#exact?.close();
    this.#intake.abandon();
  }

  #deliverExactlyOnce(intents: IntentLog): ExactDelivery {
    const { accumulator, pool, signal } = this.#intake;
    const wake = () => this.#intake.wake();
    const recheck = this.#options.recheckMs ?? recheckMs();
    return new ExactDelivery({
      ...this.#options,
      ...(recheck === null ? {} : { recheckMs: recheck }),
      intents,
      accumulator,
      pool,
      monotonic: this.#monotonic,
      isTopicGone: (topic) => this.#intake.isGone(topic),
      identity: () => this.#identities.identity,
      renewIdentity: (spent) => this.#identities.renew(spent),
      compress: (batch) => this.#intake.compress(batch),
      deliver: (queue, batch) => {
        this.#answers.delivered(queue, batch, false);
        wake();
      },
      onReady: wake,
      onFatal: (message) => this.#fatal(message),
      signal,
    });
  }

  /** It waits for nothing here: no disk, no producer id. */
  #isSendable(batch: ProduceBatch): boolean {
    return batch.isReady && (this.#exact === null || batch.isDurable) &&
      (this.#options.config.acks !== "all" || this.#identities.identity !== null);
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
    this.#intake.queuePump();
  }

  #fatal(message: string): void {
    if (this.isClosed) return;
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
    this.#intake.accumulator.setPartitionCount(topic, partitionCount, this.#monotonic());
    this.#attachRecovered(topic, partitionCount);
    this.#intake.wake();
  }

  /** Takes up what an earlier run left open in partitions that the topic does not have. */
  #attachRecovered(topic: string, partitionCount: number): void {
    this.#exact?.doubts.attachMissing(
      topic,
      partitionCount,
      (id) => this.#intake.accumulator.queueBeyond(topic, id),
    );
  }

  #metadataChanged(): void {
    this.#identities.checkCluster();
    this.#intake.known.refresh();
    // A partition that has got a leader, or all have lost theirs: what found no room may find some.
    this.#intake.wake();
  }

  /** What waits for a partition that is no more (the topic was made again with fewer) goes to one that is there. */
  #moveAway(queue: PartitionSender): void {
    // Who takes over gets new numbers for all that it has, which must not be on its way meanwhile; its answer starts the next round.
    const heir = this.#intake.accumulator.heirOf(queue);
    if (heir === null) return;
    const first = heir.sealed[0];
    if (heir.isInDoubt || first?.isInFlight === true || first?.isInDoubt === true) return;
    const ids = queue.sealed.map((batch) => batch.intentId).filter((id) => id !== null);
    for (const batch of queue.sealed) batch.clearNumbers();
    this.#intake.accumulator.moveAway(queue, heir);
    this.#exact?.movedAway(queue, heir, ids);
    this.#intake.queuePump();
  }

  /** Seals what has lingered long enough and sends every head that can be sent now, then sleeps until the next deadline. */
  #pump(): void {
    const { cluster, config } = this.#options;
    const nowMs = this.#monotonic();
    this.#intake.accumulator.retryParked(nowMs);
    const sweepAtMs = this.#intake.sweep(this.#expiry, nowMs);
    this.#sealDue(nowMs);
    this.#exact?.exactlyOnce.journalSealed();
    const groups = new Map<number, PartitionSender[]>();
    let wakeAtMs = sweepAtMs;
    for (const queue of this.#intake.accumulator.active) {
      if (queue.open !== null && queue.sealed.length === 0) {
        wakeAtMs = Math.min(wakeAtMs, queue.openedMs + config.batchTimeoutMs);
      }
      const head = queue.sealed[0];
      if (head !== undefined && head.hold !== null) this.#finishHeld(queue, head);
      if (head === undefined || head.hold !== null || !head.isReady || head.isInFlight || queue.isInDoubt) {
        continue;
      }
      if (this.#intake.isGivenUp(queue.topic)) continue;
      if (config.acks === "all" && this.#identities.identity === null) continue;
      if (this.#isRejected(queue, head)) continue;
      if (this.#exact !== null && !this.#exact.canSend(queue, head)) continue;
      const leader = cluster.leaderOf(queue.topic, queue.id);
      if (leader < 0) {
        if (queue.id >= (this.#intake.known.partitionCount(queue.topic) ?? Infinity)) this.#moveAway(queue);
        else this.#intake.topics.want(queue.topic);
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
    this.#intake.alarm.set(wakeAtMs, nowMs);
  }

  /** A single record that the topic does not take even compressed, which is known once it is: it is not sent. */
  #isRejected(queue: PartitionSender, head: ProduceBatch): boolean {
    if (head.attemptCount > 0 || queue.replacement !== null) return false;
    const why = this.#intake.tooLarge(queue, head);
    if (why === null) return false;
    this.#answers.refused.tooLarge(queue, head, why);
    // What is behind it is the head now.
    this.#intake.wake();
    return true;
  }

  /** Its dead letters are safe, or may be: it goes, and what is behind it can be sent. */
  #finishHeld(queue: PartitionSender, head: ProduceBatch): void {
    if (queue.isInDoubt || queue.replacement !== null) return;
    if (this.#answers.refused.finishSafe(queue, head)) this.#intake.wake();
  }

  #sealDue(nowMs: number): void {
    const { batchTimeoutMs } = this.#options.config;
    for (const queue of this.#intake.accumulator.active) {
      if (queue.open === null || queue.sealed.length > 0) continue;
      if (this.#isFlushing || queue.openedMs + batchTimeoutMs <= nowMs) this.#intake.accumulator.seal(queue);
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
        if (this.isClosed) return;
        this.#answers.answered(queue, batch, result, nodeId);
        this.#intake.room.wake();
      },
      onFailure: (queue, batch, error, nodeId) => {
        if (!this.isClosed) this.#answers.failed(queue, batch, error, nodeId);
      },
      onUnreachable: (nodeId, error) => this.#unreachable(nodeId, error),
      onThrottled: (ms, broker) => tellThrottled(ms, broker, config.clientId, this.#options),
      onReady: () => this.#intake.queuePump(),
    });
  }

  /** No connection to a broker: perhaps its partitions have moved. */
  #unreachable(nodeId: number, error: KafkaError): void {
    this.#options.metrics.retries.add(error.code);
    this.#problem(error.message, error.hint);
    const { cluster } = this.#options;
    const topics = new Set<string>();
    for (const queue of this.#intake.accumulator.active) {
      if (cluster.leaderOf(queue.topic, queue.id) === nodeId) topics.add(queue.topic);
    }
    for (const topic of topics) this.#intake.topics.want(topic);
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
