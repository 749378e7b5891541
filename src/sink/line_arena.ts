import type { Delivery } from "../event/delivery.ts";

/** Bytes that go out in one write. */
export const ARENA_BYTES = 262_144;

/** Lines that one write can hold; bounds the table of their ends. */
export const ARENA_LINES_MAX = 16_384;

/**
 * Values and their newlines, copied one after the other for a single write, with the memory of where each one ends:
 *
 *     value newline value newline value ...        a value that does not fit goes on in the next write
 *                 ^             ^
 *                 lineEnds[0]   lineEnds[1]
 *
 * Deliveries stay open until their lines are out, because only then it is known what became of them.
 */
export class LineArena {
  readonly data = Buffer.allocUnsafeSlow(ARENA_BYTES);
  readonly #lineEnds = new Uint32Array(ARENA_LINES_MAX);
  #lineCount = 0;
  #byteCount = 0;
  /** Deliveries that are not settled, oldest first; the last one may be copied in part. */
  readonly #open: Delivery[] = [];
  /** Next event of the last delivery to copy, and how much of its value is copied already. */
  #nextEvent = 0;
  #nextByte = 0;
  #isLastCopied = true;

  /** Bytes to write. */
  get byteCount(): number {
    return this.#byteCount;
  }

  /** False when a value goes on in the next write. */
  get endsAtLine(): boolean {
    return this.#nextByte === 0;
  }

  /** True when another delivery can be added: the last one is copied, and there is room. */
  get wantsMore(): boolean {
    return this.#isLastCopied && this.#byteCount < ARENA_BYTES && this.#lineCount < ARENA_LINES_MAX;
  }

  /** Takes charge of a delivery and copies what fits. Only when `wantsMore`. */
  add(delivery: Delivery): void {
    if (delivery.batch.count === 0) return;
    this.#open.push(delivery);
    this.#nextEvent = 0;
    this.#nextByte = 0;
    this.#isLastCopied = false;
    this.#copy();
  }

  /**
   * Settles the lines that ended within the first `writtenBytes` as delivered, and tells each (delivery, events) of them. After a whole
   * write the arena starts anew and copies on where it stopped.
   */
  settleWritten(writtenBytes: number, onSettled: (delivery: Delivery, eventCount: number) => void): void {
    let lines = 0;
    while (lines < this.#lineCount && this.#lineEnds[lines]! <= writtenBytes) lines++;
    while (lines > 0) {
      const delivery = this.#open[0]!;
      const count = Math.min(lines, delivery.unsettledCount);
      lines -= count;
      if (count === delivery.unsettledCount) this.#open.shift();
      onSettled(delivery, count);
      delivery.take(count);
      delivery.settle(count, "delivered");
    }
    this.#lineCount = 0;
    this.#byteCount = 0;
    if (!this.#isLastCopied) this.#copy();
  }

  /** Settles everything that is left as not delivered. Returns how many events that were. */
  abandon(): number {
    let count = 0;
    for (const delivery of this.#open) {
      count += delivery.unsettledCount;
      delivery.abandon("errored");
    }
    this.#open.length = 0;
    this.#lineCount = 0;
    this.#byteCount = 0;
    this.#isLastCopied = true;
    return count;
  }

  #copy(): void {
    const { count, values } = this.#open[this.#open.length - 1]!.batch;
    const { data, starts, ends } = values;
    let at = this.#byteCount;
    while (this.#nextEvent < count && this.#lineCount < ARENA_LINES_MAX) {
      at += data.copy(this.data, at, starts[this.#nextEvent]! + this.#nextByte, ends[this.#nextEvent]!);
      const copied = at - this.#byteCount;
      const left = ends[this.#nextEvent]! - starts[this.#nextEvent]! - this.#nextByte - copied;
      this.#byteCount = at;
      if (left > 0 || at === ARENA_BYTES) {
        this.#nextByte += copied;
        return;
      }
      this.data[at++] = 10;
      this.#byteCount = at;
      this.#lineEnds[this.#lineCount++] = at;
      this.#nextEvent++;
      this.#nextByte = 0;
    }
    this.#isLastCopied = this.#nextEvent === count;
  }
}
