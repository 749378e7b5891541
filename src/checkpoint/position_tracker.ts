import type { BatchStatus } from "../event/delivery.ts";
import type { PositionTracker } from "./checkpoint.ts";

/**
 * Ranges that are kept at once in one tracker, 9 bytes each. The buffer's limit on events bounds those that are open; behind one that
 * stays open while others settle, settled ones wait too, and those are bounded by this.
 */
export const OPEN_RANGES_MAX = 1 << 20;

const OPEN_RANGES_MIN = 8;
const OPEN = 0;
const PASSED = 1;
/** Added to the state of a range that ends inside a cut line. */
const INSIDE_CUT_LINE = 2;

/**
 * The ranges of one (stream, sink) that are on their way, as a ring of numbers: two typed arrays, no object per range.
 *
 *     tickets:   head ............................ next
 *     ends[]:    end of each range
 *     states[]:  open | passed, and whether it ends inside a cut line
 *     position = end of the last range in front of `head`
 *
 * Ranges settle in any order; the position moves over the unbroken run of passed ranges at the head. An errored range ends it for good:
 * nothing behind it can ever move the position, so those ranges are no longer kept.
 */
export class RangeTracker implements PositionTracker {
  #ends = new Float64Array(OPEN_RANGES_MIN);
  #states = new Uint8Array(OPEN_RANGES_MIN);
  /** Ticket of the oldest range that is kept; tickets are numbered from 0 and never used twice. */
  #head = 0;
  #next = 0;
  /** Ticket of the first errored range: ranges from it on are not kept. */
  #stopTicket = Infinity;
  #position: number;
  #isPositionInsideCutLine: boolean;
  #trackedEnd: number;
  #isEndInsideCutLine: boolean;
  readonly #onAdvance: () => void;

  /** `onAdvance` is called after each change of `position`, synchronously. */
  constructor(startOffset: number, onAdvance: () => void, startsInsideCutLine = false) {
    this.#position = startOffset;
    this.#isPositionInsideCutLine = startsInsideCutLine;
    this.#trackedEnd = startOffset;
    this.#isEndInsideCutLine = startsInsideCutLine;
    this.#onAdvance = onAdvance;
  }

  get position(): number {
    return this.#position;
  }

  /** What has to be stored with `position`. */
  get isPositionInsideCutLine(): boolean {
    return this.#isPositionInsideCutLine;
  }

  get startsInsideCutLine(): boolean {
    return this.#isEndInsideCutLine;
  }

  /** Where the next range has to start. */
  get trackedEnd(): number {
    return this.#trackedEnd;
  }

  /** Ranges that are neither passed nor behind an errored one. */
  get openCount(): number {
    return Math.max(0, Math.min(this.#next, this.#stopTicket) - this.#head);
  }

  get hasRoom(): boolean {
    return this.openCount < OPEN_RANGES_MAX || this.#next >= this.#stopTicket;
  }

  track(startOffset: number, endOffset: number, endsInsideCutLine = false): number {
    if (startOffset !== this.#trackedEnd || endOffset < startOffset) {
      throw new Error(
        `Cannot track bytes ${startOffset} to ${endOffset}: the next range has to start at ${this.#trackedEnd}`,
      );
    }
    this.#trackedEnd = endOffset;
    this.#isEndInsideCutLine = endsInsideCutLine;
    const ticket = this.#next++;
    if (ticket >= this.#stopTicket) return ticket;
    if (ticket - this.#head === this.#ends.length) this.#grow();
    const slot = ticket & (this.#ends.length - 1);
    this.#ends[slot] = endOffset;
    this.#states[slot] = endsInsideCutLine ? OPEN + INSIDE_CUT_LINE : OPEN;
    return ticket;
  }

  settle(ticket: number, status: BatchStatus): void {
    if (ticket >= this.#stopTicket) return;
    const mask = this.#ends.length - 1;
    if (ticket < this.#head || ticket >= this.#next || (this.#states[ticket & mask]! & PASSED) !== 0) {
      throw new Error(`Cannot settle range ${ticket}: it is settled already, or was never tracked`);
    }
    if (status === "errored") {
      this.#stopTicket = ticket;
      return;
    }
    this.#states[ticket & mask]! |= PASSED;
    if (ticket !== this.#head) return;
    const kept = Math.min(this.#next, this.#stopTicket);
    while (this.#head < kept && (this.#states[this.#head & mask]! & PASSED) !== 0) {
      this.#position = this.#ends[this.#head & mask]!;
      this.#isPositionInsideCutLine = (this.#states[this.#head & mask]! & INSIDE_CUT_LINE) !== 0;
      this.#head++;
    }
    this.#onAdvance();
  }

  #grow(): void {
    const size = this.#ends.length * 2;
    if (size > OPEN_RANGES_MAX) throw new Error(`Cannot track more than ${OPEN_RANGES_MAX} open ranges`);
    const ends = new Float64Array(size);
    const states = new Uint8Array(size);
    const mask = this.#ends.length - 1;
    for (let ticket = this.#head; ticket < this.#next - 1; ticket++) {
      ends[ticket & (size - 1)] = this.#ends[ticket & mask]!;
      states[ticket & (size - 1)] = this.#states[ticket & mask]!;
    }
    this.#ends = ends;
    this.#states = states;
  }
}
