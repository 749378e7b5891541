import { countOf } from "../telemetry/format.ts";
import type { DoubtOptions } from "./doubt_keeper.ts";
import type { PartitionSender } from "./partition_sender.ts";
import type { ProduceBatch } from "./produce_batch.ts";
import { waitReplicated } from "./resolve/replication.ts";
import { RECHECK_MS, resolvePartition } from "./resolve/resolver.ts";
import { pause } from "../pause.ts";
import type { DoubtfulBatch, Verdict } from "./resolve/verdict.ts";

/** The wall clock and the one that never jumps may drift apart so far. */
const CLOCK_JUMP_MS = 60_000;

export interface LiveDoubtReason {
  /** What the last answer asks for, once it is certain that the batch was not written; null: it is sent again. */
  readonly refusal: (() => void) | null;
  /** The broker does not take its numbers. */
  readonly isRefused: boolean;
}

/** Finds out what became of a batch of this process; its bytes are at hand. */
export class LiveDoubt {
  readonly #options: DoubtOptions;

  constructor(options: DoubtOptions) {
    this.#options = options;
  }

  mustResolve(batch: ProduceBatch, leaderEpoch: number): boolean {
    if (!batch.isInDoubt || batch.firstSentMs === 0) return false;
    const ageMs = this.#options.monotonic() - batch.firstSentMonotonicMs;
    const halfMs = this.#options.config.dedupWindowMs / 2;
    // Brokers count from the records' time.
    const isOld = batch.hasOwnTimes && this.#options.now() - batch.timestampMs > halfMs;
    return isOld || ageMs > halfMs || this.#hasClockJumped(batch) ||
      (leaderEpoch >= 0 && batch.leaderEpoch >= 0 && leaderEpoch !== batch.leaderEpoch);
  }

  async resolve(queue: PartitionSender, batch: ProduceBatch, why: LiveDoubtReason): Promise<void> {
    const { metrics, signal, config, recheckMs } = this.#options;
    let unwrittenCount = 0;
    while (!signal.aborted) {
      const verdict = await resolvePartition({
        ...this.#options,
        topic: queue.topic,
        partition: queue.id,
        batches: [doubtOf(batch)],
        dedupWindowMs: config.dedupWindowMs,
        scanBytesMax: config.resolveScanMaxBytes,
        hasClockJumped: this.#hasClockJumped(batch),
        ...(recheckMs === undefined ? {} : { recheckMs }),
      });
      // What the refusal asks for, or new numbers: either way the broker's protection ends.
      const isLast = why.refusal !== null || (why.isRefused && batch.refusedCount > 0);
      if (verdict.kind === "unwritten" && isLast && ++unwrittenCount < 2) {
        // The late request of an earlier attempt would have shown itself by then.
        await pause(recheckMs ?? RECHECK_MS, signal);
        continue;
      }
      if (verdict.kind === "written" && !(await this.#isReplicated(queue, batch, verdict))) continue;
      // What cannot be decided is counted where the policy is applied.
      if (verdict.kind !== "undecidable") {
        const isGone = verdict.kind === "replace" && verdict.reason === "topic-missing";
        metrics.resolved.add(
          isGone ? verdict.reason : verdict.kind === "replace" ? "replaced" : verdict.kind,
        );
      }
      return this.#act(queue, batch, verdict, why);
    }
  }

  #act(queue: PartitionSender, batch: ProduceBatch, verdict: Verdict, why: LiveDoubtReason): void {
    const { exactlyOnce, deliver, metrics } = this.#options;
    if (verdict.kind === "resend" || verdict.kind === "undecidable") batch.adoptTopic(verdict.topicId);
    switch (verdict.kind) {
      case "written":
        return deliver(queue, batch);
      case "unwritten":
        if (why.refusal !== null) {
          batch.isInDoubt = false;
          return why.refusal();
        }
        if (why.isRefused && ++batch.refusedCount > 1) {
          return exactlyOnce.renumber(queue, [batch], "numbers-refused");
        }
        return this.#forgetAttempts(batch);
      case "resend":
        if (why.refusal !== null || why.isRefused) return this.#decide(queue, batch, verdict.reason, why);
        // Nothing was found: its age counts on, or brokers could forget it without anybody asking.
        batch.leaderEpoch = -1;
        return;
      case "replace":
        if (verdict.isDataLossAtBroker) this.#tellLost(queue, batch);
        return exactlyOnce.renumber(queue, [batch], verdict.reason);
      case "journal-behind":
        if (batch.isRecovered) {
          metrics.journalBehindBrokerCount++;
          if (verdict.writtenCount > 0) return deliver(queue, batch);
          if (verdict.isRestUnwritten) return exactlyOnce.renumber(queue, [batch], verdict.reason);
          return this.#decide(queue, batch, verdict.reason, why);
        }
        return this.#fence(queue);
      case "undecidable":
        return this.#decide(queue, batch, verdict.reason, why);
    }
  }

  /** Another process writes under our producer id: a copy of this one, resumed from a snapshot. Whatever the broker says is not about us. */
  #fence(queue: PartitionSender): void {
    this.#options.onFatal(fencedMessage(queue));
  }

  async #isReplicated(
    queue: PartitionSender,
    batch: ProduceBatch,
    verdict: Extract<Verdict, { kind: "written" }>,
  ): Promise<boolean> {
    if (verdict.isReplicated || verdict.provenOffset < 0) return true;
    return await waitReplicated({
      ...this.#options,
      topic: queue.topic,
      partition: queue.id,
      topicId: verdict.topicId ?? batch.topicId,
      offset: verdict.provenOffset,
      leaderEpoch: verdict.leaderEpoch,
    });
  }

  /** The policy for a batch of which nobody can say whether it was written. */
  #decide(queue: PartitionSender, batch: ProduceBatch, reason: string, why: LiveDoubtReason): void {
    const { config, log, onFatal, exactlyOnce, accumulator, metrics } = this.#options;
    // Every attempt was answered, with a refusal: what cannot be found out is known.
    if (!batch.isInDoubt) return exactlyOnce.renumber(queue, [batch], "numbers-refused");
    metrics.resolved.add("undecidable");
    const { path, source, offset } = batch.members.describe(0);
    const where = path === "" ? `source "${source}"` : `"${path}" from byte ${offset} on`;
    const what = `Cannot tell whether ${
      countOf(batch.count, "event")
    } of ${where} arrived in partition ${queue.id} of topic "${queue.topic}": ${reason}`;
    switch (config.onUndecidable) {
      case "duplicate":
        log.warn(`${what}; sent again, as on_undecidable = "duplicate" asks, and perhaps there twice`);
        if (why.refusal !== null) {
          batch.isInDoubt = false;
          return why.refusal();
        }
        if (why.isRefused) return exactlyOnce.renumber(queue, [batch], "undecidable");
        batch.isLastTry = true;
        return this.#forgetAttempts(batch);
      case "drop":
        log.error(`${what}; not sent again, as on_undecidable = "drop" asks, and perhaps lost`);
        metrics.inFlightEvents -= batch.count;
        metrics.lost.add("undecidable", batch.count);
        accumulator.finish(queue, batch);
        exactlyOnce.replaceIds(
          queue,
          batch.intentId === null ? [] : [batch.intentId],
          [{ kind: "lost", reason: "undecidable", lines: batch.members.heldLines() }],
          "undecidable",
        );
        batch.members.lose("undecidable", metrics.gaps);
        batch.members.settle("rejected");
        batch.release();
        return;
      case "stop":
        return onFatal(`${what}; on_undecidable = "stop" ends the run, and the next one asks again`);
    }
  }

  /** What was found says what is so now: age and leader count from here. */
  #forgetAttempts(batch: ProduceBatch): void {
    batch.firstSentMs = 0;
    batch.leaderEpoch = -1;
  }

  #tellLost(queue: PartitionSender, batch: ProduceBatch): void {
    const { metrics, log } = this.#options;
    metrics.brokerLostAckedCount++;
    const { path, offset } = batch.members.describe(0);
    log.error(
      `The cluster has lost records of partition ${queue.id} of topic "${queue.topic}" that it had acknowledged`,
      { before: path === "" ? "stdin" : `"${path}" byte ${offset}` },
    );
  }

  #hasClockJumped(batch: ProduceBatch): boolean {
    if (batch.firstSentMs === 0) return false;
    const { now, monotonic } = this.#options;
    const wallMs = now() - batch.firstSentMs;
    return Math.abs(wallMs - (monotonic() - batch.firstSentMonotonicMs)) > CLOCK_JUMP_MS;
  }
}

/** Why a sink ends whose producer id is used by another process. */
export function fencedMessage(queue: PartitionSender): string {
  return `Another process writes to partition ${queue.id} of topic "${queue.topic}" under the producer id of this one, which must be a copy that ` +
    `goes on from the same memory (a resumed snapshot of a virtual machine): stopping, nothing more is acknowledged`;
}

function doubtOf(batch: ProduceBatch): DoubtfulBatch {
  return {
    producer: batch.numbers!,
    count: batch.count,
    baseTimestampMs: batch.timestampMs,
    hintOffset: batch.hintOffset,
    clusterId: batch.clusterId,
    topicId: batch.topicId,
    sentMs: sentMsOf(batch),
  };
}

/** Brokers count from the records' time where that is an earlier one; a later one has them remember the producer for longer. */
function sentMsOf({ firstSentMs, timestampMs, hasOwnTimes }: ProduceBatch): number {
  if (firstSentMs === 0) return timestampMs;
  return hasOwnTimes ? Math.min(timestampMs, firstSentMs) : firstSentMs;
}
