/** Changes are written together, at most this often. */
export const WRITE_INTERVAL_MS = 1_000;
/**
 * A stream that was not known is written this soon: a file that is rotated after a crash is only found by what is stored of it. Several that
 * come together are written together.
 */
export const NEW_STREAM_WRITE_MS = 10;
/** Streams that keep coming do not have the disk written more often than this. */
const NEW_STREAMS_WRITE_INTERVAL_MS = 200;

/** Calls back after a time; returns how to stop that. For tests. */
export type WriteLater = (callback: () => void, delayMs: number) => () => void;

const byTimer: WriteLater = (callback, delayMs) => {
  const timer = setTimeout(callback, delayMs);
  return () => clearTimeout(timer);
};

/** When to write what has changed: nothing runs while nothing changes, and one write at a time. */
export class WriteTimer {
  readonly #write: () => Promise<void>;
  readonly #later: WriteLater;
  #cancel: (() => void) | null = null;
  #atMs = Infinity;
  #lastMs = -Infinity;
  #isWriting = false;
  #isWanted = false;
  #isClosed = false;

  constructor(write: () => Promise<void>, later: WriteLater = byTimer) {
    this.#write = write;
    this.#later = later;
  }

  /** Something changed. */
  want(): void {
    this.#plan(WRITE_INTERVAL_MS);
  }

  /** Something changed that a crash must not forget. */
  wantSoon(): void {
    const sinceMs = performance.now() - this.#lastMs;
    this.#plan(Math.max(NEW_STREAM_WRITE_MS, NEW_STREAMS_WRITE_INTERVAL_MS - sinceMs));
  }

  close(): void {
    this.#isClosed = true;
    this.#cancel?.();
    this.#cancel = null;
  }

  #plan(delayMs: number): void {
    if (this.#isClosed) return;
    this.#isWanted = true;
    const atMs = performance.now() + delayMs;
    if (this.#isWriting || atMs >= this.#atMs) return;
    this.#cancel?.();
    this.#atMs = atMs;
    this.#cancel = this.#later(() => this.#run(), delayMs);
  }

  #run(): void {
    this.#cancel = null;
    this.#atMs = Infinity;
    this.#lastMs = performance.now();
    this.#isWriting = true;
    this.#isWanted = false;
    // Whoever closes the log learns that something is not stored; it rejects for no other reason.
    this.#write().catch(() => {}).finally(() => {
      this.#isWriting = false;
      if (this.#isWanted) this.#plan(WRITE_INTERVAL_MS);
    });
  }
}
