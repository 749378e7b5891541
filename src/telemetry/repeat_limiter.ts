/** The same text this often in a window is written; what comes after is only counted, and in the windows that follow at once all of it. */
export const REPEATS_MAX = 5;
export const REPEAT_WINDOW_MS = 10_000;

/** Different texts that are followed at the same time; more of them share one entry with a limit of its own. */
export const REPEAT_TEXTS_MAX = 256;
const OTHERS_PER_WINDOW_MAX = 100;

/** Characters of a text that tell it from another one. */
const KEY_CHARS_MAX = 256;

/** What was held back in a window that has ended. */
export interface Repeats<T> {
  /** The last one that was held back; null when different texts shared the entry. */
  readonly last: T | null;
  readonly heldBackCount: number;
}

interface Window<T> {
  startMs: number;
  count: number;
  /** Of these, so many are written. */
  limit: number;
  last: T | null;
}

/**
 * Decides which messages are written, by their text without its numbers. Never holds more than `REPEAT_TEXTS_MAX` texts. Windows that
 * have ended are handed out by `takeEnded`; who holds something back has to ask for it.
 */
export class RepeatLimiter<T> {
  readonly #windows = new Map<string, Window<T>>();
  readonly #others: Window<T> = { startMs: 0, count: 0, limit: OTHERS_PER_WINDOW_MAX, last: null };
  #heldBackCount = 0;

  /** True while something that was held back has not been handed out. */
  get hasHeldBack(): boolean {
    return this.#heldBackCount > 0;
  }

  /** True when `item` may be written now. Ask `takeEnded` first. */
  admit(text: string, item: T, nowMs: number): boolean {
    const key = text.slice(0, KEY_CHARS_MAX).replace(/\d+/g, "#");
    let window = this.#windows.get(key);
    if (window === undefined && this.#windows.size < REPEAT_TEXTS_MAX) {
      this.#windows.set(key, window = { startMs: nowMs, count: 0, limit: REPEATS_MAX, last: null });
    }
    window ??= this.#others;
    if (window.count === 0) window.startMs = nowMs;
    window.count++;
    if (window.count <= window.limit) return true;
    if (window !== this.#others) window.last = item;
    this.#heldBackCount++;
    return false;
  }

  /** Forgets the windows that have ended (all of them when `nowMs` is Infinity), and tells what was held back in them. */
  takeEnded(nowMs: number): Repeats<T>[] {
    const ended: Repeats<T>[] = [];
    for (const [key, window] of this.#windows) {
      if (!hasEnded(window, nowMs)) continue;
      const heldBackCount = this.#handOut(window, ended);
      // A trouble that lasts is told once in each window, with how often it came.
      if (heldBackCount > 0 && nowMs - window.startMs < 2 * REPEAT_WINDOW_MS && nowMs >= window.startMs) {
        this.#windows.set(key, {
          startMs: window.startMs + REPEAT_WINDOW_MS,
          count: 0,
          limit: 0,
          last: null,
        });
      } else {
        this.#windows.delete(key);
      }
    }
    if (this.#others.count > 0 && hasEnded(this.#others, nowMs)) {
      this.#handOut(this.#others, ended);
      this.#others.count = 0;
    }
    return ended;
  }

  /** Returns how many were held back. */
  #handOut(window: Window<T>, ended: Repeats<T>[]): number {
    const heldBackCount = window.count - window.limit;
    if (heldBackCount <= 0) return 0;
    this.#heldBackCount -= heldBackCount;
    ended.push({ last: window.last, heldBackCount });
    return heldBackCount;
  }
}

/** A clock that was set back ends a window too, or nothing would be written until it has caught up. */
function hasEnded(window: { readonly startMs: number }, nowMs: number): boolean {
  return nowMs - window.startMs >= REPEAT_WINDOW_MS || nowMs < window.startMs;
}
