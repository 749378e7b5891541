import type { Accumulator } from "../batch/accumulator.ts";
import type { SinkMetrics } from "../telemetry/metrics.ts";
import { type MissingTopics, TOPIC_MISSING } from "./missing_topics.ts";
import type { PartitionSender } from "./partition_sender.ts";
import type { ProduceBatch } from "./produce_batch.ts";

export interface GivenUpBatchesOptions {
  readonly accumulator: Accumulator<ProduceBatch, PartitionSender>;
  readonly missing: MissingTopics;
  readonly metrics: SinkMetrics;
  /** They become dead letters; else they are dropped. */
  readonly isKept: boolean;
  /** The batch belongs to something that is not ended yet: a transaction. */
  readonly isHeld: (batch: ProduceBatch) => boolean;
  /** The batch is given up next. Where it may have been written, no other one may get its numbers. */
  readonly beforeGiveUp: (queue: PartitionSender, batch: ProduceBatch) => void;
  /** As `RefusedRecords.drop`. */
  readonly drop: (queue: PartitionSender, batch: ProduceBatch, reason: string) => void;
  /** As `BatchIntakeOptions.onDiverted`. */
  readonly divert: (queue: PartitionSender, batch: ProduceBatch, reason: string, why: string) => void;
}

/**
 * Gives up what is in batches for topics that were deleted, once they do not wait for them any more (`on_topic_missing`).
 *
 * A batch may have been written before its topic was deleted: its request was on its way, or was answered with an error that says so of
 * nothing. It is gone with the topic then, so that it is given up as the others are; but not before the topic is certainly gone, nor is what is
 * behind it in its partition.
 */
export class GivenUpBatches {
  readonly #options: GivenUpBatchesOptions;

  constructor(options: GivenUpBatchesOptions) {
    this.#options = options;
  }

  /** To be called before each round of sending. True: there is room now. */
  sweep(): boolean {
    const { accumulator, missing } = this.#options;
    if (!missing.hasGivenUp) return false;
    let hasRoom = false;
    for (const queue of [...accumulator.active]) {
      if (queue.divertedFor !== null || !missing.isGivenUp(queue.topic)) continue;
      if (this.#sweepQueue(queue)) hasRoom = true;
    }
    return hasRoom;
  }

  #sweepQueue(queue: PartitionSender): boolean {
    const { accumulator, missing, isKept, isHeld } = this.#options;
    accumulator.seal(queue);
    // New numbers are on their way for all that is here: it is clear what is to be cancelled once they are given.
    if (queue.isInDoubt || queue.replacement !== null) return false;
    // One that is not ready is in the hands of the compressor.
    if (queue.sealed.some((batch) => !batch.isReady && batch.hold === null || batch.isInFlight)) return false;
    if (queue.sealed.some(({ mayBeWritten }) => mayBeWritten) && !missing.isGone(queue.topic)) return false;
    let count = 0;
    let doubtfulCount = 0;
    for (const batch of [...queue.sealed]) {
      if (batch.hold !== null || isHeld(batch)) continue;
      count += batch.count;
      if (batch.mayBeWritten) doubtfulCount += batch.count;
      this.#giveUp(queue, batch);
    }
    if (count > 0 && !isKept) missing.tellDropped(queue.topic, count, doubtfulCount);
    return count > 0;
  }

  #giveUp(queue: PartitionSender, batch: ProduceBatch): void {
    const { missing, metrics, isKept, beforeGiveUp, drop, divert } = this.#options;
    const { mayBeWritten } = batch;
    missing.givenUp(queue.topic, batch.count, mayBeWritten);
    if (mayBeWritten) metrics.resolved.add("topic-missing");
    beforeGiveUp(queue, batch);
    if (!isKept) return drop(queue, batch, TOPIC_MISSING);
    const why = "the cluster has no such topic any more";
    divert(
      queue,
      batch,
      TOPIC_MISSING,
      mayBeWritten ? `${why}; it may have been written to it before it was deleted` : why,
    );
  }
}
