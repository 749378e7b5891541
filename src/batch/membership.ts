import type { BatchStatus, Delivery } from "../event/delivery.ts";
import { eventOffset } from "../event/event_batch.ts";

/** Growth start of the index column; it doubles up to batch.max_events. */
const INDEXES_MIN = 64;

/**
 * Which events a record batch holds, in order: runs of (delivery, how many), and for each record the index of its event. It is the way
 * back of the acknowledgement, what names a record's place in its file, and what the exactly-once journal writes down.
 */
export class Membership {
  readonly #deliveries: Delivery[] = [];
  readonly #counts: number[] = [];
  #indexes = new Uint32Array(INDEXES_MIN);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** Adds events `[from, to)` of a delivery. */
  addRange(delivery: Delivery, from: number, to: number): void {
    if (to <= from) return;
    this.#reserve(to - from);
    for (let i = from; i < to; i++) this.#indexes[this.#count++] = i;
    this.#addToRun(delivery, to - from);
  }

  /** Adds one event of a delivery. */
  addOne(delivery: Delivery, index: number): void {
    this.#reserve(1);
    this.#indexes[this.#count++] = index;
    this.#addToRun(delivery, 1);
  }

  /** Members `[from, to)` as a membership of their own. */
  slice(from: number, to: number): Membership {
    const part = new Membership();
    this.forEach((delivery, eventIndex, member) => {
      if (member >= from && member < to) part.addOne(delivery, eventIndex);
    });
    return part;
  }

  /** Calls back for each member in order. Not for the hot path. */
  forEach(callback: (delivery: Delivery, eventIndex: number, member: number) => void): void {
    let member = 0;
    for (let run = 0; run < this.#deliveries.length; run++) {
      for (let left = this.#counts[run]!; left > 0; left--, member++) {
        callback(this.#deliveries[run]!, this.#indexes[member]!, member);
      }
    }
  }

  /** Calls back for each run of events of one delivery. */
  forEachRun(callback: (delivery: Delivery, eventCount: number) => void): void {
    for (let run = 0; run < this.#deliveries.length; run++) {
      callback(this.#deliveries[run]!, this.#counts[run]!);
    }
  }

  /** "file.log" at byte 1234: where member `index` came from, for messages. */
  describe(index: number): { source: string; path: string; offset: number } {
    let found = { source: "", path: "", offset: 0 };
    this.forEach((delivery, eventIndex, member) => {
      if (member !== index) return;
      const { source, path } = delivery.batch.origin.stream;
      found = { source, path, offset: eventOffset(delivery.batch, eventIndex) };
    });
    return found;
  }

  /** Settles all members. */
  settle(status: BatchStatus): void {
    for (let run = 0; run < this.#deliveries.length; run++) {
      this.#deliveries[run]!.settle(this.#counts[run]!, status);
    }
  }

  #addToRun(delivery: Delivery, count: number): void {
    const last = this.#deliveries.length - 1;
    if (last >= 0 && this.#deliveries[last] === delivery) this.#counts[last]! += count;
    else {
      this.#deliveries.push(delivery);
      this.#counts.push(count);
    }
  }

  #reserve(more: number): void {
    const wanted = this.#count + more;
    if (wanted <= this.#indexes.length) return;
    let size = this.#indexes.length;
    while (size < wanted) size *= 2;
    const larger = new Uint32Array(size);
    larger.set(this.#indexes);
    this.#indexes = larger;
  }
}
