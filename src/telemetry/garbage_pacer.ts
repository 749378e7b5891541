/**
 * Full collections are asked for after this many bytes of input. The runtime counts the shared memory of the record batches as heap, finds
 * the heap large, and rarely looks at what has grown old: resident memory crept up with the input (92 MB at 1 million lines, 111 MB at
 * 6 million). A collection holds the main thread for 6 to 14 ms (measured at full speed): about 1 % of the time. An asynchronous one
 * holds it for 0.1 ms, but lets memory creep (96 to 112 MB); every 128 MiB, 88 MB become 96.
 */
export const COLLECT_AFTER_BYTES = 96 * 1_048_576;

/** Counts input and asks for a collection now and then. One for each thread; an idle one never collects by it. */
export class GarbagePacer {
  readonly #collect: () => void;
  readonly #everyBytes: number;
  #uncollectedBytes = 0;

  constructor(collect: () => void = () => Bun.gc(true), everyBytes = COLLECT_AFTER_BYTES) {
    this.#collect = collect;
    this.#everyBytes = everyBytes;
  }

  /** To be called with the bytes that were worked on. */
  add(inputBytes: number): void {
    this.#uncollectedBytes += inputBytes;
    if (this.#uncollectedBytes < this.#everyBytes) return;
    this.#uncollectedBytes = 0;
    this.#collect();
  }
}
