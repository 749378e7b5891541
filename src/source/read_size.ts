import type { Piece } from "../event/chunk.ts";
import { POOLED_SIZES_BYTES } from "../event/pooled_buffer.ts";

const READ_BYTES_MIN: number = POOLED_SIZES_BYTES[0];
/** Large enough to make the cost of a chunk small, small enough that its JSON still fits into a pooled buffer. */
const READ_BYTES_MAX = 524_288;
/** A buffer that was filled is followed by one this many times larger. */
const BURST_GROWTH = 4;
/** A line of the longest length ends in "\r\n". */
const DELIMITER_BYTES_MAX = 2;

/** How much of a file to read next. */
export class ReadSize {
  /** A longer rest than this holds a whole line. */
  readonly #lineBytesMax: number;
  /** A line did not fit: the next read is at least this long. */
  #readBytesMin = READ_BYTES_MIN;
  /** What the last reads say that the next one will find: a busy writer's file grows faster than its size is looked at. */
  #burstBytes = 0;

  constructor(maxLineBytes: number) {
    this.#lineBytesMax = maxLineBytes + DELIMITER_BYTES_MAX;
  }

  /** Bytes to read behind the position: as much as is known to be left, within the sizes of the pool. `before`: in front of it. */
  next(leftBytes: number, before: number): number {
    const wanted = Math.min(
      Math.max(leftBytes + 1, this.#burstBytes, READ_BYTES_MIN - before),
      READ_BYTES_MAX - before,
    );
    return Math.max(wanted, this.#readBytesMin > READ_BYTES_MIN ? this.#readBytesMin : 0);
  }

  /** The same for a piece: a region is read whole; a gap in as many reads as new bytes would be. */
  ofPiece({ kind, endOffset }: Piece, offset: number, before: number): number {
    const left = endOffset - offset;
    return kind === "region" ? left : Math.min(left, Math.max(READ_BYTES_MAX - before, this.#readBytesMin));
  }

  /** A read of new bytes found the file's end behind `newBytes`, or filled its buffer. */
  found(newBytes: number, bufferBytes: number, isAtEnd: boolean): void {
    this.#burstBytes = isAtEnd ? newBytes : bufferBytes * BURST_GROWTH;
  }

  /**
   * Of a full buffer, `restBytes` were not taken. When that is all of it, no line fitted in, and the next one is larger. False when the
   * rest is longer than any line.
   */
  leaves(restBytes: number, bufferBytes: number, before: number): boolean {
    if (restBytes + before < bufferBytes) this.#readBytesMin = READ_BYTES_MIN;
    else if (restBytes >= this.#lineBytesMax) return false;
    else this.#readBytesMin = Math.min(restBytes * 4, this.#lineBytesMax);
    return true;
  }
}
