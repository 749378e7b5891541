/** The wall clock has been set, or the machine was asleep, when it moves against the one that never jumps by more than this. */
const JUMP_MIN_MS = 1_000;
/** Settings of the clock that are remembered; events are older than the ones before are not there any more. */
const JUMPS_MAX = 16;

interface Jump {
  /** What the wall clock said right before it. */
  readonly beforeMs: number;
  readonly byMs: number;
}

/**
 * How old events are. They carry the time of the wall clock, which may be set: what it jumps ahead by is not counted for events that were read
 * before, or one correction of a clock would make everything that waits too old at once. Where it is set back, events that were read before
 * seem younger than they are.
 */
export class EventAges {
  readonly #now: () => number;
  readonly #monotonic: () => number;
  #jumps: Jump[] = [];
  #lastWallMs: number;
  #lastMonotonicMs: number;

  /** `now`: the wall clock; `monotonic`: one that never jumps; milliseconds. */
  constructor(now: () => number, monotonic: () => number) {
    this.#now = now;
    this.#monotonic = monotonic;
    this.#lastWallMs = now();
    this.#lastMonotonicMs = monotonic();
  }

  /** Compares the clocks. To be called often: a jump is noticed from one call to the next. */
  look(): void {
    const wallMs = this.#now();
    const monotonicMs = this.#monotonic();
    const byMs = wallMs - this.#lastWallMs - (monotonicMs - this.#lastMonotonicMs);
    if (byMs > JUMP_MIN_MS) this.#jumps.push({ beforeMs: wallMs - byMs, byMs });
    if (this.#jumps.length > JUMPS_MAX) this.#jumps = this.#jumps.slice(-JUMPS_MAX);
    this.#lastWallMs = wallMs;
    this.#lastMonotonicMs = monotonicMs;
  }

  /** Milliseconds since an event was read, at the last `look`. */
  ageMs(receivedMs: number): number {
    let ageMs = this.#lastWallMs - receivedMs;
    for (const { beforeMs, byMs } of this.#jumps) if (receivedMs <= beforeMs) ageMs -= byMs;
    return ageMs;
  }
}
