/** Regions that are remembered to find out where a file was cut back to. */
export const MARKS_MAX = 16;

/** Bytes that were read once, and their checksum. */
export interface Mark {
  readonly startOffset: number;
  readonly endOffset: number;
  readonly crc32: number;
}

/**
 * The last regions of a stream that are covered, by ascending end. After a power cut an application's unsynced tail may be gone and other
 * lines written in its place: the last mark whose bytes are still the same is where reading goes on.
 */
export class Marks {
  #marks: Mark[] = [];

  get all(): readonly Mark[] {
    return this.#marks;
  }

  /** Keeps it when it ends behind the ones that are kept. */
  add({ startOffset, endOffset, crc32 }: Mark): void {
    const last = this.#marks.at(-1);
    if (endOffset <= startOffset || (last !== undefined && endOffset <= last.endOffset)) return;
    this.#marks.push({ startOffset, endOffset, crc32 });
    if (this.#marks.length > 2 * MARKS_MAX) this.#marks = this.#marks.slice(-MARKS_MAX);
  }

  /** Forgets those that end behind `offset`. */
  cut(offset: number): void {
    this.#marks = this.#marks.filter((mark) => mark.endOffset <= offset);
  }
}
