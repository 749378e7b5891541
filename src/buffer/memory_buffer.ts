import type { Delivery } from "../event/delivery.ts";
import type { SinkMetrics } from "../telemetry/metrics.ts";
import type { EventBuffer } from "./event_buffer.ts";
import { RoomQueue } from "./room_queue.ts";

export interface MemoryBufferOptions {
  /** Events that may wait; a writer that asks `roomEvents` never passes it. */
  readonly maxEvents: number;
  /** Memory that waiting batches may keep alive; passed by at most one batch. */
  readonly maxSizeBytes: number;
  readonly metrics: SinkMetrics;
}

/**
 * A full buffer has room again for who can wait when so many events fit, or an eighth of all: chunks that are taken in small pieces cost more on
 * the way, and in the journal, than in one.
 */
const REFILL_EVENTS_MAX = 4_096;

/** Slots of the queue's ring at the start; it doubles when full and is bounded by `maxEvents` (a batch holds one event at least). */
const RING_SLOTS_MIN = 64;

/**
 * The buffer in memory: a ring of deliveries, bounded by events and by the bytes that they pin. A file source reads again from its
 * stored position after a crash, so nothing is written twice; what comes from stdin is lost with the process.
 */
export class MemoryBuffer implements EventBuffer {
  readonly #maxEvents: number;
  readonly #maxSizeBytes: number;
  readonly #refillEvents: number;
  readonly #metrics: SinkMetrics;
  #ring: (Delivery | null)[] = new Array<Delivery | null>(RING_SLOTS_MIN).fill(null);
  #head = 0;
  #length = 0;
  #eventCount = 0;
  #pinnedBytes = 0;
  #hasEnded = false;
  /** It was full, and has not become empty enough since for who can wait. */
  #isFull = false;
  readonly #roomWaiters = new RoomQueue();
  #dataWaiter: ((hasData: boolean) => void) | null = null;

  constructor(options: MemoryBufferOptions) {
    this.#maxEvents = options.maxEvents;
    this.#maxSizeBytes = options.maxSizeBytes;
    this.#refillEvents = Math.max(1, Math.min(REFILL_EVENTS_MAX, options.maxEvents >> 3));
    this.#metrics = options.metrics;
    this.#metrics.bufferMaxEvents = options.maxEvents;
    this.#metrics.bufferMaxBytes = options.maxSizeBytes;
  }

  get eventCount(): number {
    return this.#eventCount;
  }

  get pinnedBytes(): number {
    return this.#pinnedBytes;
  }

  roomEvents(): number {
    return this.#pinnedBytes >= this.#maxSizeBytes ? 0 : Math.max(0, this.#maxEvents - this.#eventCount);
  }

  hasRoom(): boolean {
    return !this.#isFull && this.roomEvents() > 0;
  }

  isBusy(): boolean {
    return false;
  }

  /** Nothing of it is stored. */
  skip(): void {}

  waitForRoom(signal: AbortSignal): Promise<void> {
    if (this.hasRoom() || signal.aborted) return Promise.resolve();
    return this.#roomWaiters.wait(signal);
  }

  write(delivery: Delivery): void {
    if (this.#hasEnded) {
      if (delivery.tally !== null) delivery.tally.inFlightCount += delivery.batch.count;
      delivery.abandon("errored");
      return;
    }
    if (this.#length === this.#ring.length) this.#grow();
    this.#ring[(this.#head + this.#length) & (this.#ring.length - 1)] = delivery;
    this.#length++;
    if (delivery.tally !== null) delivery.tally.bufferedCount += delivery.batch.count;
    this.#count(delivery.batch.count, delivery.batch.pinnedBytes);
    if (this.roomEvents() === 0) this.#isFull = true;
    this.#wakeReader(true);
  }

  read(): Delivery | null {
    if (this.#length === 0) return null;
    const delivery = this.#ring[this.#head]!;
    this.#ring[this.#head] = null;
    this.#head = (this.#head + 1) & (this.#ring.length - 1);
    this.#length--;
    const { tally } = delivery;
    if (tally !== null) {
      tally.bufferedCount -= delivery.batch.count;
      tally.inFlightCount += delivery.batch.count;
    }
    this.#count(-delivery.batch.count, -delivery.batch.pinnedBytes);
    if (this.#isFull && (this.#length === 0 || this.roomEvents() >= this.#refillEvents)) this.#isFull = false;
    if (!this.#roomWaiters.isEmpty && this.hasRoom()) this.#roomWaiters.wake();
    return delivery;
  }

  waitForData(): Promise<boolean> {
    if (this.#length > 0) return Promise.resolve(true);
    if (this.#hasEnded) return Promise.resolve(false);
    if (this.#dataWaiter !== null) {
      throw new Error("Cannot wait twice for the same buffer: it has one reader");
    }
    return new Promise((resolve) => this.#dataWaiter = resolve);
  }

  end(): void {
    this.#hasEnded = true;
    if (this.#length === 0) this.#wakeReader(false);
  }

  abandon(): void {
    for (let delivery = this.read(); delivery !== null; delivery = this.read()) {
      delivery.abandon("errored");
    }
    this.end();
  }

  #count(events: number, bytes: number): void {
    this.#eventCount += events;
    this.#pinnedBytes += bytes;
    this.#metrics.bufferedEvents += events;
    this.#metrics.bufferedBytes += bytes;
  }

  #grow(): void {
    const larger = new Array<Delivery | null>(this.#ring.length * 2).fill(null);
    for (let i = 0; i < this.#length; i++) {
      larger[i] = this.#ring[(this.#head + i) & (this.#ring.length - 1)]!;
    }
    this.#ring = larger;
    this.#head = 0;
  }

  #wakeReader(hasData: boolean): void {
    const waiter = this.#dataWaiter;
    this.#dataWaiter = null;
    waiter?.(hasData);
  }
}
