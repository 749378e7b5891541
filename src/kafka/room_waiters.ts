/** Who waits for room, and whether there is something to wait for. */
export class RoomWaiters {
  #waiters: (() => void)[] = [];
  /** Something changed since the last look: waiting would miss it. */
  #hasNews = false;

  /** Somebody waits. */
  get isAwaited(): boolean {
    return this.#waiters.length > 0;
  }

  /** Resolves when something changes that has not been looked at yet. */
  wait(): Promise<void> {
    if (this.#hasNews) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  /** Whoever calls this sees everything that has happened by now. */
  look(): void {
    this.#hasNews = false;
  }

  wake(): void {
    this.#hasNews = true;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const resolve of waiters) resolve();
  }
}
