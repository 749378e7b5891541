import { type EventBatch, releaseBatch } from "./event_batch.ts";
import type { Tally } from "./tally.ts";
import type { TrackedRegion } from "./tracked_region.ts";

/**
 * What became of events. "delivered": acknowledged by the sink as asked. "rejected": will never be taken (counted with its reason; the
 * position passes). "errored": not delivered and not given up; the stream's position stops here and is read again after a restart.
 */
export type BatchStatus = "delivered" | "rejected" | "errored";

/** Called once, synchronously, when the last event of a delivery is settled, with the worst status. Must not throw. */
export type Ack = (status: BatchStatus, delivery: Delivery) => void;

/**
 * A batch and its way back. The ack rides with the batch, not with the event: a delivery that is split over several record batches is
 * counted down, and the worst status wins.
 */
export class Delivery {
  readonly batch: EventBatch;
  /** The bytes that its events were read from; null where nobody keeps account of them. */
  readonly region: TrackedRegion | null;
  readonly tally: Tally | null;
  /** Its events share a record batch with no others. */
  isAlone = false;
  #unsettledCount: number;
  #untakenCount: number;
  #rejectedCount = 0;
  #leftCount = 0;
  #worst: BatchStatus = "delivered";
  readonly #ack: Ack;

  constructor(batch: EventBatch, ack: Ack, region: TrackedRegion | null = null, tally: Tally | null = null) {
    this.batch = batch;
    this.region = region;
    this.tally = tally;
    this.#unsettledCount = batch.count;
    this.#untakenCount = batch.count;
    this.#ack = ack;
    if (batch.count > 0) return;
    releaseBatch(batch);
    batch.rawEndsOwner?.release();
    ack("delivered", this);
  }

  /** Events that were given up for good. */
  get rejectedCount(): number {
    return this.#rejectedCount;
  }

  /** Events that were not delivered and are read again by the next run. */
  get leftCount(): number {
    return this.#leftCount;
  }

  /** Events that are neither acknowledged nor given up. */
  get unsettledCount(): number {
    return this.#unsettledCount;
  }

  /** Events whose bytes nobody has copied out yet. */
  get untakenCount(): number {
    return this.#untakenCount;
  }

  /**
   * Says that the bytes of `eventCount` events were copied or are not wanted any more. After the last one the batch's memory goes back to
   * its pool, so the columns must not be read again (`rawEnds` lives until all is
   * settled). Taking more than there are is a bug and throws.
   */
  take(eventCount: number): void {
    if (eventCount > this.#untakenCount) {
      throw new Error(`Cannot take ${eventCount} events: only ${this.#untakenCount} are left`);
    }
    this.#untakenCount -= eventCount;
    if (this.#untakenCount === 0 && eventCount > 0) releaseBatch(this.batch);
  }

  /** Says of events `[first, first + count)` that a restart does not read them again; see `TrackedRegion.cover`. */
  cover(first: number, count: number): void {
    if (this.region === null) return;
    const numbers = this.batch.lineNumbers;
    if (numbers === null) return this.region.cover(first, count);
    for (let event = first; event < first + count; event++) this.region.cover(numbers[event]!, 1);
  }

  /** Takes and settles what is left, whatever that is: the events go nowhere. */
  abandon(status: BatchStatus): void {
    this.take(this.#untakenCount);
    this.settle(this.#unsettledCount, status);
  }

  /**
   * Says that another one answers for all its events from now on, and goes on with their `tally`: for the source they are settled. Their bytes
   * were taken before.
   */
  handOver(): void {
    if (this.#unsettledCount === 0) return;
    this.#unsettledCount = 0;
    this.batch.rawEndsOwner?.release();
    this.#ack("delivered", this);
  }

  /** Settles `eventCount` of the batch's events. Settling more than there are is a bug and throws. */
  settle(eventCount: number, status: BatchStatus): void {
    if (eventCount > this.#unsettledCount) {
      throw new Error(`Cannot settle ${eventCount} events: only ${this.#unsettledCount} are open`);
    }
    if (status === "errored" || (status === "rejected" && this.#worst === "delivered")) this.#worst = status;
    this.#unsettledCount -= eventCount;
    if (status === "rejected") this.#rejectedCount += eventCount;
    else if (status === "errored") this.#leftCount += eventCount;
    if (this.tally !== null) this.#tell(this.tally, eventCount, status);
    if (this.#unsettledCount > 0 || eventCount === 0) return;
    this.batch.rawEndsOwner?.release();
    this.#ack(this.#worst, this);
  }

  #tell(tally: Tally, eventCount: number, status: BatchStatus): void {
    tally.inFlightCount -= eventCount;
    if (status === "delivered") tally.deliveredCount += eventCount;
    else if (status === "rejected") tally.rejectedCount += eventCount;
    else tally.leftCount += eventCount;
  }
}
