/** One timer that is set to the earliest time at which there is something to do. */
export class AlarmClock {
  readonly #ring: () => void;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #atMs = Infinity;

  constructor(ring: () => void) {
    this.#ring = ring;
  }

  /** Rings at `atMs` in place of an earlier setting; both times are of one clock. Infinity: not at all. */
  set(atMs: number, nowMs: number): void {
    if (atMs === this.#atMs) return;
    this.stop();
    this.#atMs = atMs;
    if (atMs === Infinity) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#atMs = Infinity;
      this.#ring();
    }, Math.max(atMs - nowMs, 0));
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#atMs = Infinity;
  }
}
