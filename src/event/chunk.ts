import type { PooledBuffer } from "./pooled_buffer.ts";
import type { Stream } from "./stream.ts";

/**
 * Bytes as a source offers them. `data` always starts where a line starts (or in the middle of a line whose head was already cut off as
 * too long): what the taker leaves at the end is offered again, with what follows it.
 */
export interface Chunk {
  readonly stream: Stream;
  /** Offset of `data[0]` in the stream, in raw bytes. */
  readonly offset: number;
  /** A view into `owner.data`; valid during the call, longer for who retains `owner`. */
  readonly data: Buffer;
  readonly owner: PooledBuffer;
  /**
   * True when a last line without newline is taken too: the stream ends here, or has been quiet for partial_flush_after_ms. In the
   * second case more may come, as a line of its own; only `Outlet.endStream` ends a stream.
   */
  readonly isFinal: boolean;
  /** Time of reading, milliseconds since the epoch. */
  readonly receivedMs: number;
}

/**
 * What to do with bytes that an earlier run has seen. "skip": somebody has them, go on at `endOffset`. "gap": read them, in as many chunks as it
 * takes, none beyond `endOffset`; the chunk that ends there is final. "region": offer exactly the bytes up to `endOffset` in one
 * chunk, final.
 */
export interface Piece {
  readonly kind: "skip" | "gap" | "region";
  readonly endOffset: number;
}

/** `offer` found other bytes than an earlier run had read there: the file was truncated and written anew, or lost its tail. */
export const OTHER_BYTES = -1;

/**
 * Where a source puts its bytes: one outlet for each (source, sink), because every sink has its own positions and buffer.
 *
 * Usage: `await outlet.waitForRoom()` when `hasRoom()` is false, read, `offer`, go on at `offset + taken`.
 */
export interface Outlet {
  /** Name of the sink behind it. */
  readonly sink: string;
  /** False while the buffer is full and `when_full = "block"`. */
  hasRoom(): boolean;
  /** Resolves when there is room, or when `signal` aborts. Never rejects. */
  waitForRoom(signal: AbortSignal): Promise<void>;
  /**
   * Takes as many whole lines from the front of the chunk as there is room for, synchronously. Returns the bytes taken, 0 to
   * `chunk.data.length`. 0 means: no complete line yet, or no room (see `hasRoom`). Less than all does not mean that
   * the rest is incomplete: offer it again until 0. A line longer than max_line_bytes is cut as soon as
   * it is seen, so a buffer of `readBufferBytes` is always enough to make progress.
   *
   * `OTHER_BYTES` for a chunk that is a "region" and does not hold what it held before: nothing was taken.
   */
  offer(chunk: Chunk): number;
  /** What an earlier run has done with the bytes at `offset`; null when they are new to this sink. Ask before each read. */
  pieceAt(stream: Stream, offset: number): Piece | null;
  /** The stream has ended and everything was offered: forget its decoder state. Its position stays. */
  endStream(stream: Stream): void;
}
