import { type EventBatch, releaseBatch } from "./event_batch.ts";

/**
 * What became of events. "delivered": acknowledged by the sink as asked. "rejected": will never be taken (counted with its reason; the
 * position passes). "errored": not delivered and not given up; the stream's position stops here and is read again after a restart.
 */
export type BatchStatus = "delivered" | "rejected" | "errored";

/** Called once, synchronously, when the last event of a delivery is settled, with the worst status. Must not throw. */
export type Ack = (status: BatchStatus) => void;

/**
 * A batch and its way back. The ack rides with the batch, not with the event: a delivery that is split over several record batches is
 * counted down, and the worst status wins.
 */
export class Delivery {
  readonly batch: EventBatch;
  #unsettledCount: number;
  #untakenCount: number;
  #worst: BatchStatus = "delivered";
  readonly #ack: Ack;

  constructor(batch: EventBatch, ack: Ack) {
    this.batch = batch;
    this.#unsettledCount = batch.count;
    this.#untakenCount = batch.count;
    this.#ack = ack;
    if (batch.count > 0) return;
    releaseBatch(batch);
    batch.rawEndsOwner?.release();
    ack("delivered");
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

  /** Takes and settles what is left, whatever that is: the events go nowhere. */
  abandon(status: BatchStatus): void {
    this.take(this.#untakenCount);
    this.settle(this.#unsettledCount, status);
  }

  /** Settles `eventCount` of the batch's events. Settling more than there are is a bug and throws. */
  settle(eventCount: number, status: BatchStatus): void {
    if (eventCount > this.#unsettledCount) {
      throw new Error(`Cannot settle ${eventCount} events: only ${this.#unsettledCount} are open`);
    }
    if (status === "errored" || (status === "rejected" && this.#worst === "delivered")) this.#worst = status;
    this.#unsettledCount -= eventCount;
    if (this.#unsettledCount > 0 || eventCount === 0) return;
    this.batch.rawEndsOwner?.release();
    this.#ack(this.#worst);
  }
}
