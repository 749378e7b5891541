import type { EventBatch } from "../event/event_batch.ts";

/** The times that a topic takes, when records carry those of their events. */
export interface TimeLimits {
  /** Milliseconds since the epoch. */
  readonly minMs: number;
  readonly maxMs: number;
  /** What a record gets whose own time lies outside: a time that the topic takes for certain. */
  readonly insteadMs: number;
}

/** Whatever the events say. */
export const ANY_TIME: TimeLimits = { minMs: 0, maxMs: Infinity, insteadMs: 0 };

/** The time of event `index`: its own, else that of reading. */
export function eventTimeMs({ timestamps, receivedMs }: EventBatch, index: number): number {
  return timestamps === null ? Math.max(0, Math.trunc(receivedMs)) : timestamps[index]!;
}

/**
 * Times of the records of one batch. The first record's is the base, which the others are written relative to: so the latest one, by which
 * brokers remember the producer, is never before the base.
 */
export class RecordTimes {
  #baseMs = 0;
  #maxMs = 0;
  #replacedCount = 0;

  /** Of the first record. */
  get baseMs(): number {
    return this.#baseMs;
  }

  get maxMs(): number {
    return this.#maxMs;
  }

  /** Records that got another time than their event's. */
  get replacedCount(): number {
    return this.#replacedCount;
  }

  /** The time that a record of that time gets. */
  fit(timeMs: number, { minMs, maxMs, insteadMs }: TimeLimits): number {
    return timeMs >= minMs && timeMs <= maxMs ? timeMs : insteadMs;
  }

  /** What is written for record `index` that has time `fitMs`. */
  deltaOf(fitMs: number, index: number): number {
    return index === 0 ? 0 : fitMs - this.#baseMs;
  }

  /** Record `index` was added with `fitMs` in place of `timeMs`. */
  added(timeMs: number, fitMs: number, index: number): void {
    if (index === 0) this.#baseMs = this.#maxMs = fitMs;
    else if (fitMs > this.#maxMs) this.#maxMs = fitMs;
    if (fitMs !== timeMs) this.#replacedCount++;
  }
}
