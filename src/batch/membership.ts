import type { BatchStatus, Delivery } from "../event/delivery.ts";
import { eventOffset } from "../event/event_batch.ts";
import type { Gaps } from "../event/gaps.ts";
import type { HeldLines, TrackedRegion } from "../event/tracked_region.ts";

/**
 * Which events a record batch holds, in order, as runs: (delivery, index of the first event, how many). It is the way back of the
 * acknowledgement, what names a record's place in its file, and what the exactly-once journal will write down. Without keys a batch has
 * about one run for each delivery in it.
 */
export class Membership {
  readonly #deliveries: Delivery[] = [];
  readonly #firsts: number[] = [];
  readonly #counts: number[] = [];
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** Some of them can be read again after a restart, so that an intent has something to name. */
  get isStored(): boolean {
    return this.#deliveries.some(({ region }) => region !== null && region.streamNumber !== 0);
  }

  /** Adds events `[from, to)` of a delivery. */
  addRange(delivery: Delivery, from: number, to: number): void {
    if (to <= from) return;
    this.#count += to - from;
    const last = this.#counts.length - 1;
    if (
      last >= 0 && this.#deliveries[last] === delivery && this.#firsts[last]! + this.#counts[last]! === from
    ) {
      this.#counts[last]! += to - from;
      return;
    }
    this.#deliveries.push(delivery);
    this.#firsts.push(from);
    this.#counts.push(to - from);
  }

  /** Members `[from, to)` as a membership of their own. */
  slice(from: number, to: number): Membership {
    const part = new Membership();
    let runStart = 0;
    this.forEachRun((delivery, first, count) => {
      const start = Math.max(from - runStart, 0);
      const end = Math.min(to - runStart, count);
      part.addRange(delivery, first + start, first + end);
      runStart += count;
    });
    return part;
  }

  /** Calls back for each run in order: events `[first, first + count)` of the delivery. */
  forEachRun(callback: (delivery: Delivery, first: number, count: number) => void): void {
    for (let run = 0; run < this.#deliveries.length; run++) {
      callback(this.#deliveries[run]!, this.#firsts[run]!, this.#counts[run]!);
    }
  }

  /** Where member `index` came from, for messages. */
  describe(index: number): { source: string; path: string; offset: number } {
    let runStart = 0;
    for (let run = 0; run < this.#deliveries.length; run++) {
      const { batch } = this.#deliveries[run]!;
      const eventIndex = this.#firsts[run]! + index - runStart;
      runStart += this.#counts[run]!;
      if (index >= runStart) continue;
      const { source, path } = batch.origin.stream;
      return { source, path, offset: eventOffset(batch, eventIndex) };
    }
    throw new RangeError(`Cannot describe member ${index} of a batch of ${this.#count}`);
  }

  /** Says of all members that a restart does not read their lines again. */
  cover(): void {
    for (let run = 0; run < this.#deliveries.length; run++) {
      this.#deliveries[run]!.cover(this.#firsts[run]!, this.#counts[run]!);
    }
  }

  /** The regions that can be read again which the members came from, and how many lines of each. */
  heldLines(): HeldLines[] {
    const counts = new Map<TrackedRegion, number>();
    this.forEachRun(({ region }, _first, count) => {
      if (region !== null && region.streamNumber !== 0) counts.set(region, (counts.get(region) ?? 0) + count);
    });
    return [...counts].map(([region, count]) => ({ region, streamNumber: region.streamNumber, count }));
  }

  /** Counts all members as given up for good, in the account of their streams, and notes them where gaps are told. */
  drop(reason: string, gaps: Gaps | null): void {
    this.forEachRun(({ tally, batch }, first, count) => {
      tally?.drop(reason, count);
      gaps?.noteEvents(batch, first, count, reason);
    });
  }

  /** Counts all members as events whose fate was given up, in the account of their streams, and notes them where gaps are told. */
  lose(cause: string, gaps: Gaps | null): void {
    this.forEachRun(({ tally, batch }, first, count) => {
      tally?.lose(cause, count);
      gaps?.noteEvents(batch, first, count, cause);
    });
  }

  /** Settles all members. */
  settle(status: BatchStatus): void {
    for (let run = 0; run < this.#deliveries.length; run++) {
      this.#deliveries[run]!.settle(this.#counts[run]!, status);
    }
  }
}
