/** Upper bounds of the steps that delays are sorted into, milliseconds: each is a quarter above the one before, from 0.1 ms to 2 minutes. */
const BOUNDS_MS: readonly number[] = Array.from({ length: 64 }, (_, i) => 0.1 * 1.25 ** i);

/** The last minute is kept as six parts of ten seconds; the oldest one is dropped when a new one begins. */
const PARTS = 6;
const PART_MS = 10_000;

const INTERVAL_MS = 250;
/** While there is work: enough samples for a percentile, and too few to matter beside the work. */
const BUSY_INTERVAL_MS = 20;
/** Samples without work after which it counts as idle again. */
const BUSY_SAMPLES = 50;

export interface EventLoopLagFigures {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  readonly samplesCount: number;
}

export interface EventLoopLagOptions {
  /** Between two samples. The default, 250 ms, costs 0.06 % of a core when the process is idle (measured: 160 us for each wake-up). */
  readonly intervalMs?: number;
  /** A figure that moves while there is work, such as a count of events: then samples are taken more often. */
  readonly progress?: () => number;
  /** Monotonic milliseconds. */
  readonly now?: () => number;
}

/**
 * How much later than asked a timer runs: how long other work holds the main thread. One timer that keeps no process alive, figures of
 * fixed size over the last 50 to 60 seconds. Costs wake-ups, so it is started only when somebody reads it (`[api]`, the benchmarks).
 */
export class EventLoopLag {
  readonly #idleIntervalMs: number;
  readonly #progress: () => number;
  readonly #now: () => number;
  readonly #counts = new Uint32Array(PARTS * BOUNDS_MS.length);
  readonly #maxMs = new Float64Array(PARTS);
  #part = 0;
  #partStartMs = 0;
  #lastMs = 0;
  #intervalMs: number;
  #lastProgress = 0;
  #busySamplesLeft = 0;
  #timer: ReturnType<typeof setInterval> | null = null;

  constructor(options: EventLoopLagOptions = {}) {
    this.#idleIntervalMs = this.#intervalMs = options.intervalMs ?? INTERVAL_MS;
    this.#progress = options.progress ?? (() => 0);
    this.#now = options.now ?? (() => performance.now());
  }

  start(): void {
    if (this.#timer !== null) return;
    this.#partStartMs = this.#now();
    this.#arm(this.#idleIntervalMs);
  }

  #arm(intervalMs: number): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#intervalMs = intervalMs;
    this.#lastMs = this.#now();
    // An interval costs 40 % less than a chain of timeouts (measured).
    this.#timer = setInterval(() => this.#sample(), intervalMs);
    this.#timer.unref();
  }

  #sample(): void {
    const nowMs = this.#now();
    this.record(Math.max(0, nowMs - this.#lastMs - this.#intervalMs), nowMs);
    this.#lastMs = nowMs;
    const progress = this.#progress();
    if (progress !== this.#lastProgress) this.#busySamplesLeft = BUSY_SAMPLES;
    else if (this.#busySamplesLeft > 0) this.#busySamplesLeft--;
    this.#lastProgress = progress;
    const wantedMs = this.#busySamplesLeft > 0
      ? Math.min(BUSY_INTERVAL_MS, this.#idleIntervalMs)
      : this.#idleIntervalMs;
    if (wantedMs !== this.#intervalMs) this.#arm(wantedMs);
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  /** Takes one sample; public for tests, which have no use for a timer. */
  record(lagMs: number, nowMs: number): void {
    while (nowMs - this.#partStartMs >= PART_MS) this.#nextPart(nowMs);
    let step = 0;
    while (step < BOUNDS_MS.length - 1 && lagMs > BOUNDS_MS[step]!) step++;
    this.#counts[this.#part * BOUNDS_MS.length + step]!++;
    if (lagMs > this.#maxMs[this.#part]!) this.#maxMs[this.#part] = lagMs;
  }

  /** Null before the first sample. Percentiles are the upper bounds of their steps, so at most a quarter too high. */
  figures(): EventLoopLagFigures | null {
    let samplesCount = 0;
    for (const count of this.#counts) samplesCount += count;
    if (samplesCount === 0) return null;
    const maxMs = Math.max(...this.#maxMs);
    return {
      p50Ms: Math.min(maxMs, this.#percentile(samplesCount * 0.5)),
      p99Ms: Math.min(maxMs, this.#percentile(samplesCount * 0.99)),
      maxMs,
      samplesCount,
    };
  }

  #nextPart(nowMs: number): void {
    this.#part = (this.#part + 1) % PARTS;
    this.#counts.fill(0, this.#part * BOUNDS_MS.length, (this.#part + 1) * BOUNDS_MS.length);
    this.#maxMs[this.#part] = 0;
    // After a stop of minutes (SIGSTOP, a suspended machine) all parts are cleared, not one for each ten seconds that went by.
    const missed = Math.floor((nowMs - this.#partStartMs) / PART_MS);
    this.#partStartMs += Math.max(1, missed - PARTS) * PART_MS;
  }

  #percentile(rank: number): number {
    let seen = 0;
    for (let step = 0; step < BOUNDS_MS.length; step++) {
      for (let part = 0; part < PARTS; part++) seen += this.#counts[part * BOUNDS_MS.length + step]!;
      if (seen >= rank) return BOUNDS_MS[step]!;
    }
    return Infinity;
  }
}
