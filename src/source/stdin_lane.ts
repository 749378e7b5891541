import type { Outlet } from "../event/chunk.ts";
import type { BufferPool, PooledBuffer } from "../event/pooled_buffer.ts";
import type { Stream } from "../event/stream.ts";

/** Bytes that wait for one outlet before stdin is read on; a line that is still incomplete may need more, up to its own limit. */
export const LANE_HELD_BYTES_MAX = 262_144;

const NEWLINE = 10;

/**
 * The bytes of stdin that one outlet has not taken yet, in one pooled buffer: `data[start .. end)`.
 *
 * Small input gets a small buffer, because an event in the sink's buffer pins the whole of it. Bytes are only ever appended behind what
 * readers have seen, or copied to a new buffer.
 */
export class StdinLane {
  #outlet: Outlet;
  readonly #stream: Stream;
  readonly #pool: BufferPool;
  #buffer: PooledBuffer | null = null;
  #start = 0;
  #end = 0;
  /** Offset in the stream of `data[start]`. */
  #offset = 0;
  #receivedMs = 0;
  #isInputEnded = false;
  #wake: (() => void) | null = null;
  /** Called when bytes were taken. */
  #onTaken: (() => void) | null = null;
  /** What is left holds no complete line. */
  #isStarved = true;
  /** Nothing is offered: another outlet comes. */
  #isHeld = false;
  #hasLeft = false;
  /** The bytes up to the next newline belong to a line that began before this lane did. */
  #isInsideLine: boolean;
  /** Ends the wait for room in an outlet that is not the one any more. */
  #waiting: AbortController | null = null;

  /** `start`: where it begins in the stream, perhaps inside a line, of which it gets nothing. Default: at its first byte. */
  constructor(
    outlet: Outlet,
    stream: Stream,
    pool: BufferPool,
    start: { readonly offset: number; readonly isInsideLine: boolean } = { offset: 0, isInsideLine: false },
  ) {
    this.#outlet = outlet;
    this.#stream = stream;
    this.#pool = pool;
    this.#offset = start.offset;
    this.#isInsideLine = start.isInsideLine;
  }

  get outlet(): Outlet {
    return this.#outlet;
  }

  /** Whether nothing is left of what was appended but a line that is not complete. */
  get isDrained(): boolean {
    return this.#isStarved || this.#start === this.#end;
  }

  /** Offers nothing until `setOutlet`; what is appended waits. */
  hold(): void {
    this.#isHeld = true;
    this.#waiting?.abort();
  }

  /** What is left, and what is appended from now on, goes there. */
  setOutlet(outlet: Outlet): void {
    this.#outlet = outlet;
    this.#isHeld = false;
    // The new one may see a line where the old one saw none.
    this.#isStarved = false;
    this.#waiting?.abort();
    this.#signalWork();
  }

  /** Takes and offers nothing any more; `run` resolves. */
  leave(): void {
    this.#hasLeft = true;
    this.#waiting?.abort();
    this.#signalWork();
    this.#signalTaken();
  }

  /** True when so much waits for room in the outlet that no more should be read. */
  isFull(): boolean {
    return !this.#isStarved && this.#end - this.#start >= LANE_HELD_BYTES_MAX;
  }

  /** Resolves when `isFull` may have changed. */
  waitForTaken(): Promise<void> {
    return new Promise((resolve) => this.#onTaken = resolve);
  }

  /** Lets `waitForTaken` resolve. */
  stopWaiting(): void {
    this.#signalTaken();
  }

  append(bytes: Uint8Array, receivedMs: number): void {
    if (this.#hasLeft) return;
    const own = this.#isInsideLine ? this.#behindLine(bytes) : bytes;
    if (own.length === 0) return;
    this.#reserve(own.length);
    this.#buffer!.data.set(own, this.#end);
    this.#end += own.length;
    this.#receivedMs = receivedMs;
    this.#isStarved = false;
    this.#signalWork();
  }

  end(): void {
    this.#isInputEnded = true;
    this.#isStarved = false;
    this.#signalWork();
  }

  /** Offers what is appended, waiting for room, until the input has ended and all was taken, or `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    signal.addEventListener("abort", () => this.#signalWork(), { once: true });
    try {
      await this.#offerAll(signal);
      if (!signal.aborted && !this.#hasLeft) this.#outlet.endStream(this.#stream);
    } finally {
      this.#drop();
      this.#signalTaken();
    }
  }

  async #offerAll(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && !this.#hasLeft) {
      const isEmpty = this.#start === this.#end;
      if (isEmpty && this.#isInputEnded) return;
      if (isEmpty || this.#isStarved || this.#isHeld) {
        await new Promise<void>((resolve) => this.#wake = resolve);
      } else if (!this.#outlet.hasRoom()) {
        await this.#waitForRoom(signal);
      } else {
        this.#offer();
      }
    }
  }

  async #waitForRoom(signal: AbortSignal): Promise<void> {
    const waiting = this.#waiting = new AbortController();
    await this.#outlet.waitForRoom(AbortSignal.any([signal, waiting.signal]));
    this.#waiting = null;
  }

  /** Passes over what belongs to a line that is not its own. */
  #behindLine(bytes: Uint8Array): Uint8Array {
    const newlineAt = bytes.indexOf(NEWLINE);
    if (newlineAt === -1) {
      this.#offset += bytes.length;
      return bytes.subarray(bytes.length);
    }
    this.#isInsideLine = false;
    this.#offset += newlineAt + 1;
    return bytes.subarray(newlineAt + 1);
  }

  #offer(): void {
    const owner = this.#buffer!;
    const data = owner.data.subarray(this.#start, this.#end);
    const taken = this.#outlet.offer({
      stream: this.#stream,
      offset: this.#offset,
      data,
      owner,
      isFinal: this.#isInputEnded,
      receivedMs: this.#receivedMs,
    });
    this.#start += taken;
    this.#offset += taken;
    if (this.#start === this.#end) this.#drop();
    else if (this.#outlet.hasRoom()) {
      if (this.#isInputEnded && taken === 0) {
        throw new Error(
          `Cannot end stdin: ${data.length} final bytes were offered with room and none was taken`,
        );
      }
      // An outlet may take a part, and have room for more: nothing is left to take only when it took nothing.
      this.#isStarved = !this.#isInputEnded && taken === 0;
    }
    this.#signalTaken();
  }

  /** Makes room for `length` bytes behind `#end`, in place where that is possible. */
  #reserve(length: number): void {
    const left = this.#end - this.#start;
    const old = this.#buffer;
    if (old !== null && left > 0 && this.#end + length <= old.data.length) return;
    // Twice what is left: a line that comes in small pieces is copied a few times, not once for every piece.
    const fresh = this.#pool.take(left === 0 ? length : Math.max(left + length, left * 2));
    if (old !== null) {
      old.data.copy(fresh.data, 0, this.#start, this.#end);
      old.release();
    }
    this.#buffer = fresh;
    this.#start = 0;
    this.#end = left;
  }

  #drop(): void {
    this.#buffer?.release();
    this.#buffer = null;
    this.#start = 0;
    this.#end = 0;
  }

  #signalWork(): void {
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  }

  #signalTaken(): void {
    const resolve = this.#onTaken;
    this.#onTaken = null;
    resolve?.();
  }
}
