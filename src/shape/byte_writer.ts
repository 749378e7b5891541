import type { BufferPool, PooledBuffer } from "../event/pooled_buffer.ts";

/** Bytes of a batch and who owns them. */
export interface OwnedBytes {
  readonly data: Buffer;
  /** To be released once; null when the memory is exact and left to the garbage collector. */
  readonly owner: PooledBuffer | null;
}

/** A buffer of which less than this share is used is copied into an exact one, so that a small append does not pin a large buffer. */
export const USED_SHARE_MIN = 1 / 4;

/** Appends bytes to pooled memory, which grows as needed. */
export class ByteWriter {
  readonly #pool: BufferPool;
  #owner: PooledBuffer;
  /** The memory; `[0, length)` is written. Replaced by `reserve`. */
  data: Buffer;
  length = 0;

  constructor(pool: BufferPool, estimateBytes: number) {
    this.#pool = pool;
    this.#owner = pool.take(estimateBytes);
    this.data = this.#owner.data;
  }

  /** Makes room for `bytes` more. */
  reserve(bytes: number): void {
    const neededBytes = this.length + bytes;
    if (neededBytes <= this.data.length) return;
    const larger = this.#pool.take(Math.max(neededBytes, this.data.length * 2));
    this.data.copy(larger.data, 0, 0, this.length);
    this.#owner.release();
    this.#owner = larger;
    this.data = larger.data;
  }

  /** Appends `source[start .. end)`. */
  copy(source: Buffer, start: number, end: number): void {
    this.reserve(end - start);
    source.copy(this.data, this.length, start, end);
    this.length += end - start;
  }

  /** Appends a text as UTF-8; a lone surrogate becomes U+FFFD. */
  text(text: string): void {
    this.reserve(text.length * 3);
    this.length += this.data.write(text, this.length);
  }

  /** Ends the writing and hands the bytes over. The writer must not be used afterwards. */
  finish(): OwnedBytes {
    if (this.length >= this.data.length * USED_SHARE_MIN) return { data: this.data, owner: this.#owner };
    const exact = exactCopy(this.data, 0, this.length);
    this.#owner.release();
    return { data: exact, owner: null };
  }
}

/** A copy of `source[start .. end)` in memory of its own. */
export function exactCopy(source: Buffer, start: number, end: number): Buffer {
  const copy = Buffer.allocUnsafeSlow(end - start);
  source.copy(copy, 0, start, end);
  return copy;
}
