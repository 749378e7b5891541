import type { Outlet } from "../event/chunk.ts";
import type { BufferPool, PooledBuffer } from "../event/pooled_buffer.ts";
import type { Stream } from "../event/stream.ts";

/** Bytes that wait for one outlet before stdin is read on; a line that is still incomplete may need more, up to its own limit. */
export const LANE_HELD_BYTES_MAX = 262_144;

/**
 * The bytes of stdin that one outlet has not taken yet, in one pooled buffer: `data[start .. end)`.
 *
 * Small input gets a small buffer, because an event in the sink's buffer pins the whole of it. Bytes are only ever appended behind what
 * readers have seen, or copied to a new buffer.
 */
export class StdinLane {
  readonly outlet: Outlet;
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

  constructor(outlet: Outlet, stream: Stream, pool: BufferPool) {
    this.outlet = outlet;
    this.#stream = stream;
    this.#pool = pool;
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
    this.#reserve(bytes.length);
    this.#buffer!.data.set(bytes, this.#end);
    this.#end += bytes.length;
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
      if (!signal.aborted) this.outlet.endStream(this.#stream);
    } finally {
      this.#drop();
      this.#signalTaken();
    }
  }

  async #offerAll(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const isEmpty = this.#start === this.#end;
      if (isEmpty && this.#isInputEnded) return;
      if (isEmpty || this.#isStarved) {
        await new Promise<void>((resolve) => this.#wake = resolve);
      } else if (!this.outlet.hasRoom()) {
        await this.outlet.waitForRoom(signal);
      } else {
        this.#offer();
      }
    }
  }

  #offer(): void {
    const owner = this.#buffer!;
    const data = owner.data.subarray(this.#start, this.#end);
    const taken = this.outlet.offer({
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
    else if (this.outlet.hasRoom()) {
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
