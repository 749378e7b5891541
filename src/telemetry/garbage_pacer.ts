/**
 * Full collections are asked for after this many bytes of input. The runtime counts the shared memory of the record batches as heap, finds
 * the heap large, and rarely looks at what has grown old: resident memory crept up with the input (92 MB at 1 million lines, 111 MB at
 * 6 million). A collection holds the main thread for 6 to 14 ms (measured at full speed): about 1 % of the time. An asynchronous one
 * holds it for 0.1 ms, but lets memory creep (96 to 112 MB); every 128 MiB, 88 MB become 96.
 */
export const COLLECT_AFTER_BYTES = 96 * 1_048_576;

/** No input for so long: what a burst has left is given back. Less than this much input leaves nothing to speak of. */
const IDLE_MS = 1_000;
const IDLE_AFTER_BYTES = 4 * 1_048_576;

export interface GarbagePacerOptions {
  /** Default: a full collection. */
  readonly collect?: () => void;
  readonly everyBytes?: number;
  /** Called once when input has paused, before a collection. Default: a pause changes nothing. */
  readonly onIdle?: () => void;
  readonly idleMs?: number;
}

/** Counts input and asks for a collection now and then. One for each thread; one that little is read by never collects. */
export class GarbagePacer {
  readonly #collect: () => void;
  readonly #everyBytes: number;
  readonly #onIdle: (() => void) | null;
  readonly #idleMs: number;
  #uncollectedBytes = 0;
  /** Since the last pause. */
  #burstBytes = 0;
  #hadInput = false;
  #idleTimer: ReturnType<typeof setTimeout> | null = null;

  constructor(
    { collect = () => Bun.gc(true), everyBytes = COLLECT_AFTER_BYTES, onIdle, idleMs = IDLE_MS }:
      GarbagePacerOptions = {},
  ) {
    this.#collect = collect;
    this.#everyBytes = everyBytes;
    this.#onIdle = onIdle ?? null;
    this.#idleMs = idleMs;
  }

  /** To be called with the bytes that were worked on. */
  add(inputBytes: number): void {
    this.#uncollectedBytes += inputBytes;
    if (this.#onIdle !== null) this.#watch(inputBytes);
    if (this.#uncollectedBytes < this.#everyBytes) return;
    this.#uncollectedBytes = 0;
    this.#collect();
  }

  #watch(inputBytes: number): void {
    this.#burstBytes += inputBytes;
    this.#hadInput = true;
    if (this.#burstBytes >= IDLE_AFTER_BYTES) this.#idleTimer ??= this.#look();
  }

  #look(): ReturnType<typeof setTimeout> {
    this.#hadInput = false;
    const timer = setTimeout(() => {
      this.#idleTimer = null;
      if (this.#hadInput) {
        this.#idleTimer = this.#look();
        return;
      }
      this.#burstBytes = 0;
      this.#uncollectedBytes = 0;
      this.#onIdle!();
      this.#collect();
    }, this.#idleMs);
    timer.unref();
    return timer;
  }
}
