import type { Delivery } from "../event/delivery.ts";
import type { TrackedRegion } from "../event/tracked_region.ts";

/**
 * Between the sources and one sink. Single reader, many writers, all on one thread; order is kept.
 * `write` never blocks: writers ask `hasRoom` first. What was read is no longer counted against the limits.
 */
export interface EventBuffer {
  /** Events that still fit; never negative. */
  roomEvents(): number;
  /** False when either limit (events, pinned bytes) is reached, and from then on until there is room worth waiting for. */
  hasRoom(): boolean;
  /** Resolves when there is room or `signal` aborts; never rejects. */
  waitForRoom(signal: AbortSignal): Promise<void>;
  /** It takes nothing just now, but is not full: whatever is to be done with a full buffer, its writers wait. */
  isBusy(): boolean;
  /** Lines of this region were dropped because the buffer is full: a restart must not read them again behind later ones. */
  skip(region: TrackedRegion): void;
  /** Takes ownership of the delivery. */
  write(delivery: Delivery): void;
  /** The oldest delivery, or null when empty now. */
  read(): Delivery | null;
  /** Resolves true when there is something to read, false when `end` was called and everything was read. */
  waitForData(): Promise<boolean>;
  /** No more writes will come. */
  end(): void;
  /** Settles what is still here as "errored" and ends: it was not delivered, and its source has to be read again. */
  abandon(): void;
  readonly eventCount: number;
  readonly pinnedBytes: number;
}
