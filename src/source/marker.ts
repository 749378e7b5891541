/** Bytes in front of the position that are read again with every read: if they changed, the file was truncated and written anew. */
export const MARKER_BYTES = 64;

/** The last bytes in front of a position. */
export class Marker {
  readonly #bytes = Buffer.allocUnsafe(MARKER_BYTES);
  #length = 0;

  /** False until something was read in front of the position. */
  get isKnown(): boolean {
    return this.#length > 0;
  }

  /** The position moved over bytes that were not read. */
  forget(): void {
    this.#length = 0;
  }

  /** Remembers the bytes in front of `data[end]`. */
  set(data: Buffer, end: number): void {
    this.#length = Math.min(MARKER_BYTES, end);
    data.copy(this.#bytes, 0, end - this.#length, end);
  }

  /** Whether other bytes are in front of `data[end]` now. False when none are remembered. */
  hasChanged(data: Buffer, end: number): boolean {
    const length = this.#length;
    return length > 0 && data.compare(this.#bytes, 0, length, end - length, end) !== 0;
  }
}
