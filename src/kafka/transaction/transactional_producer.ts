import type { Delivery } from "../../event/delivery.ts";
import { AnswerHandler } from "../answer_handler.ts";
import { BatchIntake } from "../batch_intake.ts";
import { Expiry } from "../expiry.ts";
import { PartitionSender } from "../partition_sender.ts";
import type { ProducerOptions } from "../producer_options.ts";
import { uncount } from "./transaction.ts";
import { TransactionRunner } from "./transaction_runner.ts";
import type { TransactionPositions } from "./transaction_positions.ts";

export interface TransactionalProducerOptions
  extends Omit<ProducerOptions, "intents" | "onDowngrade" | "recheckMs"> {
  readonly hostname: string;
  /** The topic of the events when it is the same for all; null: it is a template. */
  readonly fixedTopic: string | null;
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
  readonly #intake: BatchIntake;
  readonly #answers: AnswerHandler;
  readonly #runner: TransactionRunner;
  readonly #expiry: Expiry | null;
  readonly #monotonic: () => number;
  readonly #unsubscribe: () => void;
  #isFlushing = false;

  constructor(options: TransactionalProducerOptions) {
    this.#options = options;
    this.#monotonic = options.monotonic ?? (() => performance.now());
    this.#intake = new BatchIntake({
      ...options,
      monotonic: this.#monotonic,
      newQueue: (topic, partition) => new PartitionSender(topic, partition),
      onTopicKnown: (topic, count) => this.#topicKnown(topic, count),
      onTooLarge: (queue, batch, why) => this.#answers.refused.tooLarge(queue, batch, why),
      dropEvents: (members, reason) => this.#answers.refused.dropMembers(members, reason),
      onDiverted: (queue, batch, reason, why) => this.#answers.refused.reject(queue, batch, reason, why),
      isHeld: (batch) => this.#runner.holds(batch),
      beforeGiveUp: (_queue, batch) => uncount(batch),
      dropBatch: (queue, batch, reason) => this.#answers.refused.drop(queue, batch, reason),
      onTopicGivenUp: () => {},
      pump: () => this.#pump(),
      problem: (message, hint) => this.#problem(message, hint),
    });
    const { accumulator, known, topics, room, signal } = this.#intake;
    this.#answers = this.#makeAnswers();
    this.#runner = new TransactionRunner({
      ...options,
      monotonic: this.#monotonic,
      accumulator,
      answers: this.#answers,
      signal,
      partitionCount: (topic) => known.partitionCount(topic),
      wantMetadata: (topic) => topics.want(topic),
      problem: (message, hint) => this.#problem(message, hint),
      onReady: () => this.#intake.queuePump(),
      onSettled: () => room.wake(),
    });
    this.#expiry = Expiry.for({
      ...options,
      monotonic: this.#monotonic,
      accumulator,
      refused: this.#answers.refused,
      isExact: () => false,
      isHeld: (batch) => this.#runner.holds(batch),
    });
    const runner = this.#runner;
    // A connection that is closed ends the transaction; its lines are sent again in the next one.
    this.#intake.watchStalls((batch) => runner.isSendable(batch), (nodeId) => runner.forget(nodeId));
    options.positions.onChange = () => this.#intake.queuePump();
    this.#unsubscribe = options.cluster.onChange(() => this.#metadataChanged());
    this.#runner.run().catch((error: unknown) =>
      this.#fatal(error instanceof Error ? error.message : String(error))
    );
  }

  /** Nothing waits here, and all positions are stored. */
  get isIdle(): boolean {
    return this.#intake.isEmpty && this.#runner.isIdle;
  }

  /** It was closed, or must not go on. */
  get isClosed(): boolean {
    return this.#intake.isClosed;
  }

  /** Takes events of the delivery from index `from` on; returns the index of the first one that did not fit. */
  append(delivery: Delivery, from: number): number {
    return this.#intake.append(delivery, from);
  }

  /** As `Producer.dropLate`. */
  dropLate(delivery: Delivery, from: number): boolean {
    return this.#expiry !== null && this.#expiry.dropLate(delivery, from);
  }

  /** Resolves when something was finished or became known, so that `append` may take more, or when the producer was closed. */
  waitForRoom(): Promise<void> {
    return this.#intake.waitForRoom();
  }

  /** Commits everything without lingering; resolves when all is settled and stored, or the producer was closed. */
  async flush(): Promise<void> {
    this.#isFlushing = true;
    for (;;) {
      this.#options.positions.flush();
      if (this.isIdle || this.isClosed) return;
      this.#intake.room.look();
      this.#intake.queuePump();
      await this.waitForRoom();
    }
  }

  /** Stops at once: what is not committed is settled as "errored". Connections are the cluster's to close. */
  close(): void {
    if (this.isClosed) return;
    this.#intake.stop();
    this.#unsubscribe();
    this.#runner.close();
    this.#intake.abandon();
  }

  /** After `close`, while there are connections: aborts what is open, so that readers do not wait for its timeout. Never rejects. */
  async abortOpen(): Promise<void> {
    await Promise.race([this.#runner.abortOpen(), Bun.sleep(ABORT_WAIT_MAX_MS)]);
  }

  #makeAnswers(): AnswerHandler {
    const { accumulator, pool, limits, topics } = this.#intake;
    return new AnswerHandler({
      ...this.#options,
      monotonic: this.#monotonic,
      accumulator,
      pool,
      compress: (batch) => this.#intake.compress(batch),
      learnLimit: (topic) => limits.want(topic),
      wantMetadata: (topic) => topics.want(topic),
      // Numbers are refused only where the transaction is over: the next InitProducerId gives others.
      renewIdentity: () => {},
      problem: (message, hint) => this.#problem(message, hint),
      topicBytesMax: (topic) => limits.of(topic).maxMessageBytes,
      timeLimits: (topic) => this.#intake.timeLimitsOf(topic),
      deadLetters: this.#options.deadLetters ?? null,
      onSafe: () => this.#intake.queuePump(),
      exact: () => null,
      onFatal: (message) => this.#fatal(message),
    });
  }

  #topicKnown(topic: string, partitionCount: number): void {
    this.#intake.accumulator.setPartitionCount(topic, partitionCount, this.#monotonic());
    this.#intake.wake();
  }

  #metadataChanged(): void {
    this.#intake.known.refresh();
    this.#runner.metadataChanged();
    this.#intake.wake();
  }

  /** Seals what has lingered long enough, has the transaction go on, and sleeps until the next deadline. */
  #pump(): void {
    const { batchTimeoutMs } = this.#options.config;
    const nowMs = this.#monotonic();
    this.#intake.accumulator.retryParked(nowMs);
    this.#finishHeld();
    let wakeAtMs = this.#intake.sweep(this.#expiry, nowMs);
    for (const queue of this.#intake.accumulator.active) {
      if (queue.open === null || queue.sealed.length > 0) continue;
      const dueMs = this.#isFlushing ? nowMs : queue.openedMs + batchTimeoutMs;
      if (dueMs <= nowMs) this.#intake.accumulator.seal(queue);
      else wakeAtMs = Math.min(wakeAtMs, dueMs);
    }
    wakeAtMs = Math.min(wakeAtMs, this.#runner.pump(nowMs, this.#isFlushing));
    if (!this.isClosed) this.#intake.alarm.set(wakeAtMs, nowMs);
  }

  /** Batches whose dead letters are safe go; they are in no transaction. */
  #finishHeld(): void {
    for (const queue of [...this.#intake.accumulator.active]) {
      for (const batch of [...queue.sealed]) {
        if (this.#answers.refused.finishSafe(queue, batch)) this.#intake.room.wake();
      }
    }
  }

  #fatal(message: string): void {
    if (this.isClosed) return;
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
