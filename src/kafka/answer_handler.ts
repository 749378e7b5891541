import { countOf } from "../telemetry/format.ts";
import { backoffMs } from "./backoff.ts";
import { sequenceAfter } from "./batch_header.ts";
import type { KafkaError } from "./errors.ts";
import { fencedMessage } from "./live_doubt.ts";
import { isRefusedRight, missingRightHint, missingRightText, type Operation } from "./missing_right.ts";
import { EPOCH_MAX, type PartitionSender, type ProducerIdentity } from "./partition_sender.ts";
import type { ProduceBatch } from "./produce_batch.ts";
import { certaintyOf, outcomeOf } from "./produce_outcome.ts";
import { ErrorCode, errorInfo } from "./protocol/error_codes.ts";
import type { ProduceResult } from "./protocol/produce.ts";
import type { TimeLimits } from "./record_times.ts";
import { RefusedRecords, type RefusedRecordsOptions } from "./refused_records.ts";

export interface AnswerHandlerOptions extends Omit<RefusedRecordsOptions, "replaceBy"> {
  readonly monotonic: () => number;
  readonly random: () => number;
  readonly compress: (batch: ProduceBatch) => void;
  /** The topic takes less than was thought: asks how much. */
  readonly learnLimit: (topic: string) => void;
  readonly wantMetadata: (topic: string) => void;
  /** This identity is used up: what is numbered from now on needs another one. */
  readonly renewIdentity: (spent: ProducerIdentity | null) => void;
  readonly problem: (message: string, hint: string | null) => void;
  /** What times of events the topic takes now, as far as that is known. */
  readonly timeLimits: (topic: string) => TimeLimits;
  /** The sink must not go on. */
  readonly onFatal: (message: string) => void;
}

/** Does what a broker's answer for a partition asks for. */
export class AnswerHandler {
  readonly refused: RefusedRecords;
  readonly #options: AnswerHandlerOptions;

  constructor(options: AnswerHandlerOptions) {
    this.#options = options;
    this.refused = new RefusedRecords({
      ...options,
      replaceBy: (queue, batch, parts, reason) => this.#replaceBy(queue, batch, parts, reason),
    });
  }

  /** `result` is null under acks = none: the batch was written to the socket, and that is all there will ever be. */
  answered(queue: PartitionSender, batch: ProduceBatch, result: ProduceResult | null, nodeId: number): void {
    batch.isInFlight = false;
    queue.answeredMs = this.#options.monotonic();
    const errorCode = result === null ? ErrorCode.NONE : result.errorCode;
    const outcome = outcomeOf(errorCode);
    if (result !== null && outcome !== "delivered") {
      if (certaintyOf(errorCode) === "unknown") batch.isInDoubt = true;
      if (this.#isDoubtful(queue, batch, result, nodeId)) return;
    }
    switch (outcome) {
      case "delivered":
        if (result !== null && result.baseOffset >= 0) queue.logEndOffset = result.baseOffset + batch.count;
        this.delivered(queue, batch, result === null);
        return;
      case "split":
        this.#split(queue, batch, errorCode);
        return;
      case "take-out":
        this.#takeOut(queue, batch, result!);
        return;
      case "redate":
        if (!this.#isGivenUp(queue, batch, result!)) this.#redate(queue, batch, result!, nodeId);
        return;
      case "renumber":
        this.#renumber(queue, batch, errorCode, nodeId);
        return;
      case "retry":
        if (!this.#isGivenUp(queue, batch, result!)) {
          this.#retryAfterAnswer(queue, errorCode, result!.errorMessage, nodeId);
        }
        return;
    }
  }

  /** No usable answer: the same bytes go out again, and the broker recognises them if it has them. */
  failed(queue: PartitionSender, batch: ProduceBatch, error: KafkaError, nodeId: number): void {
    batch.isInFlight = false;
    batch.isInDoubt = true;
    this.#backOff(queue, error.code, nodeId);
    this.#options.wantMetadata(queue.topic);
    this.#options.problem(
      `Cannot send to partition ${queue.id} of topic "${queue.topic}": ${error.message}`,
      error.hint,
    );
  }

  /** The answer says for the last time that `retry.max_attempts` allows that the batch was not written. */
  isLastRefusal(batch: ProduceBatch, errorCode: number): boolean {
    const { retryMaxAttempts } = this.#options.config;
    return retryMaxAttempts > 0 && batch.failedCount + 1 >= retryMaxAttempts &&
      certaintyOf(errorCode) === "not-written" && !batch.mayBeWritten;
  }

  /** What is numbered from now on gets numbers that no batch of this partition had. */
  spendNumbers(queue: PartitionSender): void {
    if (queue.epoch < EPOCH_MAX) queue.bumpEpoch();
    else this.#options.renewIdentity(queue.identity);
  }

  /** Whether what became of the batch has to be found out first; that is then under way. */
  #isDoubtful(queue: PartitionSender, batch: ProduceBatch, result: ProduceResult, nodeId: number): boolean {
    const exact = this.#options.exact();
    if (exact === null || batch.numbers === null) return false;
    const { errorCode } = result;
    const { name } = errorInfo(errorCode);
    switch (certaintyOf(errorCode)) {
      case "unknown":
        return false;
      case "not-written": {
        if (!batch.isInDoubt || outcomeOf(errorCode) === "retry") return false;
        const refusal = () => this.answered(queue, batch, result, nodeId);
        this.#backOff(queue, name, nodeId);
        exact.doubts.startLive(queue, batch, { refusal, isRefused: false });
        return true;
      }
      case "fenced":
        if (!batch.isRecovered) {
          this.#options.onFatal(fencedMessage(queue));
          return true;
        }
        break;
      case "numbers-refused":
        break;
    }
    this.#backOff(queue, name, nodeId);
    if (batch.isLastTry) exact.exactlyOnce.renumber(queue, [batch], "undecidable");
    else exact.doubts.startLive(queue, batch, { refusal: null, isRefused: true });
    return true;
  }

  /** The batch is in the log of all replicas in sync (or, `isUnconfirmed`, was written to a socket). */
  delivered(queue: PartitionSender, batch: ProduceBatch, isUnconfirmed: boolean): void {
    const { metrics, accumulator, now } = this.#options;
    const exact = this.#options.exact();
    if (exact !== null) exact.exactlyOnce.acknowledged(queue, batch);
    else if (batch.numbers !== null) {
      queue.nextSequence = sequenceAfter(batch.numbers.baseSequence, batch.count);
    }
    if (queue.failureCount > 0) {
      this.#options.log.info(`Delivery to partition ${queue.id} of topic "${queue.topic}" goes on`);
    }
    queue.succeeded();
    const nowMs = now();
    metrics.deliveredEventsCount += batch.count;
    metrics.deliveredBytesCount += batch.payloadBytes;
    metrics.sentBatchesCount++;
    metrics.sentBytesCount += batch.wireBytes().length;
    if (isUnconfirmed) metrics.sentUnconfirmedEventsCount += batch.count;
    metrics.inFlightEvents -= batch.count;
    metrics.lastAckMs = nowMs;
    metrics.lastError = null;
    metrics.batchEvents.observe(batch.count);
    metrics.batchBytes.observe(batch.sizeBytes);
    batch.members.forEachRun((delivery, _first, count) => {
      metrics.latencySeconds.observe((nowMs - delivery.batch.receivedMs) / 1000, count);
    });
    metrics.waitingSinceMs = metrics.inFlightEvents + metrics.bufferedEvents > 0 ? nowMs : 0;
    accumulator.finish(queue, batch);
    batch.members.settle("delivered");
    batch.release();
  }

  /** Too large for the broker: halves, down to the single record that is to blame. */
  #split(queue: PartitionSender, batch: ProduceBatch, errorCode: number): void {
    const { pool, log } = this.#options;
    if (batch.count === 1) {
      const why = `its record of ${batch.sizeBytes} bytes is larger than topic "${queue.topic}" allows`;
      // What is known of the limit is not what holds.
      this.#options.learnLimit(queue.topic);
      this.refused.tooLarge(queue, batch, why);
      return;
    }
    log.info(`A batch for topic "${queue.topic}" is larger than the broker takes and is split`, {
      events: batch.count,
      bytes: batch.wireBytes().length,
      error: errorInfo(errorCode).name,
    });
    this.#options.learnLimit(queue.topic);
    const middle = batch.count >> 1;
    const parts = [batch.copyRecords(0, middle, pool), batch.copyRecords(middle, batch.count, pool)];
    this.#replaceBy(queue, batch, parts, "split");
  }

  #replaceBy(queue: PartitionSender, batch: ProduceBatch, parts: ProduceBatch[], reason: string): void {
    const { accumulator, compress } = this.#options;
    for (const part of parts) {
      part.isCovered = batch.isCovered;
      part.sealNumber = batch.sealNumber;
      part.place = batch.place;
      part.isMadeAgain = batch.isMadeAgain;
      part.isTruncated ||= batch.isTruncated;
    }
    accumulator.replace(queue, batch, parts);
    if (batch.isNumbered) this.#options.exact()?.exactlyOnce.replace(queue, [batch], [], reason);
    batch.release();
    for (const part of parts) compress(part);
  }

  /** Single records were refused (KIP-467 names them): they are given up, their neighbours go out again. */
  #takeOut(queue: PartitionSender, batch: ProduceBatch, result: ProduceResult): void {
    const { pool } = this.#options;
    const name = errorInfo(result.errorCode).name;
    const bad = result.recordErrors.map((each) => each.index).filter((index) =>
      index >= 0 && index < batch.count
    );
    if (batch.count === 1) {
      const said = result.recordErrors[0]?.message ?? result.errorMessage ?? "";
      this.refused.reject(
        queue,
        batch,
        "invalid_record",
        `the broker answers ${name}${said === "" ? "" : ` (${said})`}`,
      );
      return;
    }
    // Without names (a broker before 2.4) the bad ones are found by halves; with them, each gets a batch of its own to be refused in.
    const cuts = bad.length === 0 ? [batch.count >> 1] : bad.flatMap((index) => [index, index + 1]);
    const edges = [...new Set([0, ...cuts, batch.count])].sort((a, b) => a - b);
    const parts: ProduceBatch[] = [];
    for (let i = 1; i < edges.length; i++) parts.push(batch.copyRecords(edges[i - 1]!, edges[i]!, pool));
    this.#replaceBy(queue, batch, parts, "invalid-record");
  }

  /** A clock is wrong, or the batch was on its way for too long: it gets the time of now, however often that takes. */
  #redate(queue: PartitionSender, batch: ProduceBatch, result: ProduceResult, nodeId: number): void {
    const exact = this.#options.exact();
    const { name, hint } = errorInfo(result.errorCode);
    this.#backOff(queue, name, nodeId);
    if (batch.hasOwnTimes) return this.#giveTimes(queue, batch, name);
    const date = new Date(batch.timestampMs).toISOString();
    this.#options.problem(
      `Cannot write to partition ${queue.id} of topic "${queue.topic}": the broker refuses records of ${date} (${name}), which was the time ` +
        `here when they were sent; trying again with the time of then`,
      hint,
    );
    if (exact !== null) exact.exactlyOnce.renumber(queue, [batch], "invalid-timestamp");
    else batch.clearNumbers();
  }

  /** The topic does not take times of events: they get the time of now, all of them where it is not known what it takes. */
  #giveTimes(queue: PartitionSender, batch: ProduceBatch, name: string): void {
    const { pool, timeLimits, metrics, now, learnLimit } = this.#options;
    learnLimit(queue.topic);
    let fitting = batch.withTimes(timeLimits(queue.topic), pool);
    if (fitting.redatedCount === 0) {
      fitting.release();
      const nowMs = now();
      fitting = batch.withTimes({ minMs: nowMs, maxMs: nowMs, insteadMs: nowMs }, pool);
    }
    const { redatedCount } = fitting;
    metrics.redatedRecordsCount += redatedCount;
    this.#options.problem(
      `Topic "${queue.topic}" does not take the times of ${
        countOf(redatedCount, "event")
      } (${name}): their records get the time of now`,
      "raise message.timestamp.before.max.ms and message.timestamp.after.max.ms of the topic",
    );
    this.#replaceBy(queue, batch, [fitting], "invalid-timestamp");
  }

  #renumber(queue: PartitionSender, batch: ProduceBatch, errorCode: number, nodeId: number): void {
    const { name } = errorInfo(errorCode);
    this.spendNumbers(queue);
    batch.clearNumbers();
    batch.isSuspected = true;
    this.#backOff(queue, name, nodeId);
    this.#options.problem(
      `The broker no longer knows what this producer wrote to partition ${queue.id} of topic "${queue.topic}" (${name}); ` +
        `its last batch is sent again under a new epoch and may be there twice`,
      null,
    );
  }

  /** Counts a refusal that can pass; true: it was the last one, and the batch is dropped. */
  #isGivenUp(
    queue: PartitionSender,
    batch: ProduceBatch,
    { errorCode, errorMessage }: ProduceResult,
  ): boolean {
    const isLast = this.isLastRefusal(batch, errorCode);
    batch.failedCount++;
    if (!isLast) return false;
    const said = errorMessage === null || errorMessage === "" ? "" : ` (${errorMessage})`;
    const { name } = errorInfo(errorCode);
    const why =
      `it was refused ${batch.failedCount} times, as often as retry.max_attempts allows, with ${name}${said}`;
    this.refused.reject(queue, batch, "retries_exhausted", why);
    // The next one has attempts of its own.
    queue.failureCount = 0;
    return true;
  }

  #retryAfterAnswer(queue: PartitionSender, errorCode: number, said: string | null, nodeId: number): void {
    const info = errorInfo(errorCode);
    this.#backOff(queue, info.name, nodeId);
    if (info.refreshMetadata) this.#options.wantMetadata(queue.topic);
    if (isRefusedRight(errorCode)) return this.#tellRight(queue, errorCode);
    const detail = said === null || said === "" ? "" : ` (${said})`;
    const message =
      `Cannot write to partition ${queue.id} of topic "${queue.topic}": ${info.name}${detail}; trying again`;
    this.#options.problem(message, info.hint);
  }

  /** A right is missing, or was taken away: nothing is given up, and it goes on when the right is there. */
  #tellRight(queue: PartitionSender, errorCode: number): void {
    const { config, problem } = this.#options;
    const { topic } = queue;
    // Before Kafka 2.8 an idempotent producer needs a right of the cluster's, too.
    const isCluster = errorCode === ErrorCode.CLUSTER_AUTHORIZATION_FAILED;
    const resource = isCluster ? { kind: "cluster" as const } : { kind: "topic" as const, name: topic };
    const operations: Operation[] = isCluster ? ["IDEMPOTENT_WRITE"] : ["WRITE"];
    const { name } = errorInfo(errorCode);
    problem(
      `Cannot write to topic "${topic}": ${
        missingRightText(config, resource, operations)
      } (${name}); events wait, and it is tried again`,
      missingRightHint(config, resource, operations),
    );
  }

  #backOff(queue: PartitionSender, errorName: string, nodeId: number): void {
    const { config, metrics, monotonic, random } = this.#options;
    queue.failureCount++;
    queue.failedLeader = nodeId;
    queue.retryAtMs = monotonic() +
      backoffMs(queue.failureCount, config.retryIntervalMs, config.retryMaxIntervalMs, random());
    metrics.retries.add(errorName);
  }
}
