import type { Accumulator } from "../../batch/accumulator.ts";
import type { KafkaSinkConfig } from "../../config/config.ts";
import type { Log } from "../../telemetry/log.ts";
import type { SinkMetrics } from "../../telemetry/metrics.ts";
import type { AnswerHandler } from "../answer_handler.ts";
import { backoffMs } from "../backoff.ts";
import { sequenceAfter } from "../batch_header.ts";
import { BrokerSenders } from "../broker_senders.ts";
import type { Cluster } from "../cluster.ts";
import { KafkaError } from "../errors.ts";
import type { PartitionSender } from "../partition_sender.ts";
import type { ProduceBatch } from "../produce_batch.ts";
import { certaintyOf, outcomeOf } from "../produce_outcome.ts";
import { BATCH_MEMORY_MAX_BYTES } from "../batch_intake.ts";
import { ErrorCode, errorInfo } from "../protocol/error_codes.ts";
import type { ProduceResult } from "../protocol/produce.ts";
import { pause } from "../../pause.ts";
import { tellThrottled } from "../throttling.ts";
import { CONCURRENT_PAUSE_MS } from "./concurrent.ts";
import { produceTransactionOf } from "./coordinator.ts";
import { JoinRules } from "./join_rules.ts";
import { Transaction, uncount } from "./transaction.ts";
import { failureOf } from "./transaction_failure.ts";
import type { TransactionPositions } from "./transaction_positions.ts";
import { TransactionSession } from "./transaction_session.ts";

export interface TransactionRunnerOptions {
  readonly config: KafkaSinkConfig;
  readonly cluster: Cluster;
  readonly hostname: string;
  readonly fixedTopic: string | null;
  readonly accumulator: Accumulator<ProduceBatch, PartitionSender>;
  readonly answers: AnswerHandler;
  readonly positions: TransactionPositions;
  readonly metrics: SinkMetrics;
  readonly log: Log;
  readonly now: () => number;
  readonly monotonic: () => number;
  readonly random: () => number;
  readonly signal: AbortSignal;
  readonly fenceWaitMs?: number;
  /** Of a topic that is known; null: it is not. */
  readonly partitionCount: (topic: string) => number | null;
  readonly wantMetadata: (topic: string) => void;
  readonly problem: (message: string, hint: string | null) => void;
  readonly onStarted: () => void;
  /** Something can be done that could not be before. */
  readonly onReady: () => void;
  /** Batches were settled, or are back in their queues. */
  readonly onSettled: () => void;
}

/** Memory of the batches of one transaction, passed by at most one batch: the next ones are filled meanwhile. */
export const TRANSACTION_MAX_BYTES = BATCH_MEMORY_MAX_BYTES / 3;

/** Puts batches into transactions, one transaction after the other, until it is closed or must not go on. */
export class TransactionRunner {
  readonly #options: TransactionRunnerOptions;
  readonly #session: TransactionSession;
  readonly #senders: BrokerSenders;
  readonly #rules: JoinRules;
  #transaction: Transaction | null = null;
  #isStarted = false;
  #hasWork = false;
  #onWork: () => void = () => {};
  /** Aborted ones in a row. */
  #failureCount = 0;
  /** Since when it is being found out what became of a transaction, by the monotonic clock; Infinity: it is not. */
  #recoveringMs = Infinity;

  constructor(options: TransactionRunnerOptions) {
    this.#options = options;
    this.#session = new TransactionSession(options);
    this.#rules = new JoinRules({
      ...options,
      isBlocked: (topic, id) => this.#session.unended.has(topic, id),
    });
    this.#senders = this.#makeSenders();
  }

  /** Everything that was acknowledged is committed, and all positions are stored. */
  get isIdle(): boolean {
    // Nothing was read before the start, but from stdin, and that waits in the accumulator.
    if (!this.#isStarted) return true;
    return this.#transaction === null && !this.#options.positions.hasChanges && !this.#session.isUnannounced;
  }

  /** Rejects when the sink must not go on; resolves when it was closed. */
  async run(): Promise<void> {
    const { signal, metrics, onStarted } = this.#options;
    metrics.startFailure = {
      code: "not-started",
      message: "Positions are not read from Kafka yet: nothing is read before",
      hint: null,
    };
    try {
      await this.#session.start();
      metrics.startFailure = null;
      this.#isStarted = true;
      onStarted();
      while (!signal.aborted) {
        await this.#untilWork();
        if (signal.aborted) break;
        if (this.#session.unended.canMend) await this.#session.mend();
        else await this.#transact();
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  /** Has the transaction go on, or begins one. Returns when to come back, by the monotonic clock. */
  pump(nowMs: number, isFlushing: boolean): number {
    if (!this.#isStarted) return Infinity;
    const transaction = this.#transaction;
    if (transaction !== null) return this.#send(transaction, nowMs, isFlushing);
    const { canJoin, isHeld, wakeAtMs } = this.#rules.look(nowMs);
    const isWanted = canJoin || this.#options.positions.hasChanges || this.#session.isUnannounced;
    this.#hasWork = (isWanted && !isHeld) || this.#session.unended.canMend;
    if (this.#hasWork) this.#onWork();
    return wakeAtMs;
  }

  /** Batches that were set aside are back in their queues, where whoever closes finds them. */
  close(): void {
    this.#senders.close();
    this.#onWork();
    const transaction = this.#transaction;
    if (transaction === null) return;
    this.#putBack(transaction);
    transaction.leave();
  }

  /** What becomes of the batch is decided with a transaction that is not ended. */
  holds(batch: ProduceBatch): boolean {
    return this.#transaction !== null && this.#transaction.joined.has(batch);
  }

  /** The batch waits for the leader of its partition alone: not for the end of the transaction before, nor for a coordinator that is away. */
  isSendable(batch: ProduceBatch): boolean {
    if (!this.#isStarted || !batch.isReady) return false;
    if (this.#options.monotonic() - this.#recoveringMs > this.#options.config.socketTimeoutMs) return false;
    return this.#transaction === null || this.#transaction.joined.has(batch);
  }

  /** Leaders have changed, or what is known of them. */
  metadataChanged(): void {
    this.#session.unended.suspectLeaderless();
  }

  /** Begins anew with a broker. */
  forget(nodeId: number): void {
    this.#senders.forget(nodeId);
  }

  async abortOpen(): Promise<void> {
    if (this.#transaction !== null) await this.#session.abort();
  }

  #untilWork(): Promise<void> {
    this.#hasWork = false;
    this.#options.onReady();
    return new Promise((resolve) => this.#onWork = resolve);
  }

  async #transact(): Promise<void> {
    const { config, monotonic, now, signal, metrics, log } = this.#options;
    const transaction = new Transaction(monotonic(), now(), {
      intervalMs: config.commitIntervalMs,
      timeoutMs: config.transactionTimeoutMs,
    });
    this.#transaction = transaction;
    this.#options.onReady();
    await transaction.done;
    if (this.#rules.hasCoveredLeft && transaction.failure === null) {
      const message = "a batch that an earlier transaction was to commit could not be sent";
      transaction.fail({ kind: "unknown", message, hint: null });
    }
    let inDoubt = false;
    try {
      if (transaction.failure === null && !signal.aborted) {
        transaction.isEnding = true;
        this.#cover(transaction);
        await this.#session.writePositions(transaction.partitions);
        inDoubt = true;
        await this.#session.commit(transaction.partitions);
        if (!signal.aborted) this.#settle(transaction);
        return;
      }
    } catch (error) {
      if (!(error instanceof KafkaError)) throw error;
      transaction.fail(failureOf(error));
    }
    if (signal.aborted) return;
    metrics.transactionsAbortedCount++;
    const { kind, message, hint } = transaction.failure!;
    if (kind === "refused") log.info(`A transaction is aborted and sent again: ${message}`);
    else this.#options.problem(`A transaction is aborted, and its lines are sent again: ${message}`, hint);
    this.#recoveringMs = monotonic();
    if (kind === "fenced") await this.#session.findSuccessor(transaction.ageMs(monotonic(), now()));
    const { partitions, certainPartitions } = transaction;
    const end = await this.#session.recover(inDoubt, partitions, certainPartitions);
    this.#recoveringMs = Infinity;
    if (end === "committed") this.#settle(transaction);
    else await this.#aborted(transaction);
  }

  /** Lines are covered exactly when their batch is acknowledged in the transaction whose positions are written now. */
  #cover({ acknowledged }: Transaction): void {
    const { positions } = this.#options;
    for (const { batch } of acknowledged) {
      if (!batch.isCovered) batch.members.cover();
      batch.isCovered = true;
      for (const { region, streamNumber, count } of batch.members.heldLines()) {
        if (!batch.isCounted) region.countDelivered(count);
        positions.touch(streamNumber);
      }
      batch.isCounted = true;
    }
  }

  #settle(transaction: Transaction): void {
    const { metrics, now, answers, accumulator, onSettled } = this.#options;
    this.#transaction = null;
    this.#failureCount = 0;
    metrics.transactionsCommittedCount++;
    metrics.lastCommitMs = now();
    metrics.lastError = null;
    for (const { queue, batch } of transaction.acknowledged) {
      accumulator.putBack(queue, [batch]);
      answers.delivered(queue, batch, false);
    }
    onSettled();
  }

  async #aborted(transaction: Transaction): Promise<void> {
    const { answers, config, random, signal, onSettled } = this.#options;
    this.#putBack(transaction);
    for (const batch of transaction.joined) batch.clearNumbers();
    for (const { queue, batch, result, nodeId } of transaction.refused) {
      uncount(batch);
      answers.answered(queue, batch, result, nodeId);
    }
    // What it has to do with next is smaller, or less.
    if (transaction.failure?.kind === "refused") this.#failureCount = 0;
    else {
      this.#failureCount++;
      const { retryIntervalMs, retryMaxIntervalMs } = config;
      await pause(backoffMs(this.#failureCount, retryIntervalMs, retryMaxIntervalMs, random()), signal);
    }
    if (signal.aborted) return;
    this.#transaction = null;
    onSettled();
  }

  /** Acknowledged batches go back in front of their queues, in their order. */
  #putBack({ acknowledged }: Transaction): void {
    const batches = new Map<PartitionSender, ProduceBatch[]>();
    for (const { queue, batch } of acknowledged) {
      const list = batches.get(queue);
      if (list === undefined) batches.set(queue, [batch]);
      else list.push(batch);
    }
    for (const [queue, list] of batches) this.#options.accumulator.putBack(queue, list);
    acknowledged.length = 0;
  }

  #send(transaction: Transaction, nowMs: number, isFlushing: boolean): number {
    if (transaction.failure !== null || transaction.isEnding) return Infinity;
    if (!transaction.isClosed) this.#joinAndClose(transaction, nowMs, isFlushing);
    if (nowMs >= transaction.giveUpAtMs) {
      const message = "it was open for half of transaction_timeout_ms";
      transaction.fail({ kind: "unknown", message, hint: null });
      return Infinity;
    }
    let wakeAtMs = transaction.isClosed ? transaction.giveUpAtMs : transaction.closeAtMs;
    const groups = new Map<number, PartitionSender[]>();
    const unadded: PartitionSender[] = [];
    for (const queue of this.#options.accumulator.active) {
      const head = queue.sealed[0];
      if (head === undefined || !head.isReady || head.isInFlight || !transaction.joined.has(head)) continue;
      const leader = this.#options.cluster.leaderOf(queue.topic, queue.id);
      if (leader < 0 || this.#session.unended.has(queue.topic, queue.id)) {
        this.#options.wantMetadata(queue.topic);
        const message = `partition ${queue.id} of topic "${queue.topic}" has ${
          leader < 0 ? "" : "had "
        }no leader`;
        transaction.fail({ kind: "unknown", message, hint: null });
        return Infinity;
      }
      if (queue.retryAtMs > nowMs) wakeAtMs = Math.min(wakeAtMs, queue.retryAtMs);
      else if (!this.#session.identity!.isVersion2 && !transaction.added.has(queue)) unadded.push(queue);
      else groups.set(leader, [...groups.get(leader) ?? [], queue]);
    }
    if (unadded.length > 0) this.#add(transaction, unadded);
    for (const [leader, queues] of groups) this.#senders.send(leader, queues);
    return wakeAtMs;
  }

  #joinAndClose(transaction: Transaction, nowMs: number, isFlushing: boolean): void {
    const isFirst = transaction.joined.size === 0;
    this.#rules.join(transaction, nowMs, TRANSACTION_MAX_BYTES);
    const isFull = transaction.bytes >= TRANSACTION_MAX_BYTES;
    // Without batches there are only positions to write, or this process's own marker.
    const isEmpty = isFirst && transaction.joined.size === 0;
    const { hasNew } = this.#options.positions;
    if (isFull || isEmpty || isFlushing || hasNew || nowMs >= transaction.closeAtMs) transaction.close();
  }

  /** Before transaction.version 2 the coordinator has to know a partition before anything is sent to it. */
  #add(transaction: Transaction, queues: readonly PartitionSender[]): void {
    for (const queue of queues) transaction.added.add(queue);
    // Not to be sent to before the answer.
    for (const queue of queues) queue.sealed[0]!.isInFlight = true;
    const ready = () => {
      for (const queue of queues) queue.sealed[0]!.isInFlight = false;
      transaction.answered();
      this.#options.onReady();
    };
    this.#session.addPartitions(queues.map(({ topic, id }) => ({ topic, partition: id }))).then(
      () => this.#options.signal.aborted ? undefined : ready(),
      (error: unknown) => {
        if (this.#options.signal.aborted) return;
        transaction.fail(failureOf(error));
        ready();
      },
    );
  }

  #makeSenders(): BrokerSenders {
    const { config, now, metrics, wantMetadata, problem, onReady, signal } = this.#options;
    return new BrokerSenders({
      ...this.#options,
      acks: -1,
      requestTimeoutMs: config.requestTimeoutMs,
      answerTimeoutMs: config.socketTimeoutMs,
      maxInFlight: config.maxInFlight,
      retryIntervalMs: config.retryIntervalMs,
      transaction: () => produceTransactionOf(this.#session.identity!, config.transactionalId),
      prepare: (queue, batch) => {
        this.#transaction!.sentTo.add(queue);
        if (!batch.isNumbered) batch.number(queue.nextNumbers(this.#session.identity!), now(), true);
      },
      onAnswer: (queue, batch, result, nodeId) => {
        if (!signal.aborted) this.#answered(queue, batch, result!, nodeId);
      },
      onFailure: (queue, batch, error, nodeId) => {
        if (signal.aborted) return;
        this.#options.answers.failed(queue, batch, error, nodeId);
        this.#transaction!.fail(failureOf(error));
        this.#transaction!.answered();
      },
      onUnreachable: (nodeId, error) => {
        metrics.retries.add(error.code);
        problem(error.message, error.hint);
        for (const { topic, id } of this.#options.accumulator.active) {
          if (this.#options.cluster.leaderOf(topic, id) === nodeId) wantMetadata(topic);
        }
      },
      onThrottled: (ms, broker) => tellThrottled(ms, broker, config.clientId, this.#options),
      onReady,
    });
  }

  #answered(queue: PartitionSender, batch: ProduceBatch, result: ProduceResult, nodeId: number): void {
    const transaction = this.#transaction!;
    const { errorCode } = result;
    const outcome = outcomeOf(errorCode);
    batch.isInFlight = false;
    queue.answeredMs = this.#options.monotonic();
    if (outcome === "delivered") {
      queue.nextSequence = sequenceAfter(batch.numbers!.baseSequence, batch.count);
      this.#options.accumulator.setAside(queue, batch);
      transaction.acknowledged.push({ queue, batch });
    } else if (errorCode === ErrorCode.CONCURRENT_TRANSACTIONS) {
      queue.retryAtMs = this.#options.monotonic() + CONCURRENT_PAUSE_MS;
    } else {
      const { name, hint } = errorInfo(errorCode);
      const message = `partition ${queue.id} of topic "${queue.topic}" answers ${name}`;
      const isLast = outcome === "retry" && this.#options.answers.isLastRefusal(batch, errorCode);
      if (outcome === "split" || outcome === "take-out" || outcome === "redate" || isLast) {
        transaction.refused.push({ queue, batch, result, nodeId });
        transaction.fail({ kind: "refused", message, hint });
      } else {
        if (outcome === "retry") this.#options.answers.answered(queue, batch, result, nodeId);
        const kind = certaintyOf(errorCode) === "fenced" ? "fenced" : "unknown";
        transaction.fail({ kind, message, hint });
      }
    }
    transaction.answered();
  }
}
