import { formatBytes, formatCount, formatDuration } from "../telemetry/format.ts";
import type { Metrics } from "../telemetry/metrics.ts";

/** Between two updates: five a second. */
const INTERVAL_MS = 200;
/** An update may cost at most a twentieth of the time: with many files it comes less often. */
const COST_SHARE_MAX = 1 / 20;
/** The rate is a mean over about this time. */
const RATE_WINDOW_MS = 3_000;
const BAR_CELLS = 20;
/** Columns when the terminal does not tell. */
const COLUMNS_DEFAULT = 80;

export interface ProgressOptions {
  /** False when nothing is to be shown: not asked for, or no terminal. */
  readonly isWanted: boolean;
  readonly metrics: Metrics;
  /** Shows, replaces or (null) removes the line: `StderrWriter.setStatusLine`, which keeps it below the log. */
  readonly setLine: (text: string | null) => void;
  /** Width of the terminal, asked for every time. */
  readonly columns?: () => number | undefined;
  /** Milliseconds; a clock that jumps makes one wrong rate. */
  readonly now?: () => number;
}

export interface Progress {
  /** Removes the line. */
  stop(): void;
}

/** What the line is made of. */
export interface ProgressFigures {
  readonly deliveredBytes: number;
  /** 0 when it is not known, as for stdin. */
  readonly totalBytes: number;
  readonly deliveredEvents: number;
  readonly bytesPerSecond: number;
}

/**
 * Shows how far `--once` is, on a terminal:
 *
 *     [=======>            ]  37 %  1.1 GiB of 3.0 GiB  6,543,210 events  178.2 MiB/s  0:11 left
 */
export function startProgress(options: ProgressOptions): Progress {
  if (!options.isWanted) return { stop: () => {} };
  const progress = new TerminalProgress(options);
  progress.start();
  return progress;
}

class TerminalProgress implements Progress {
  readonly #options: ProgressOptions;
  readonly #now: () => number;
  readonly #rate = new RateMeter();
  #timer: ReturnType<typeof setTimeout> | null = null;

  constructor(options: ProgressOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  start(): void {
    this.#update();
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#options.setLine(null);
  }

  #update(): void {
    const startMs = this.#now();
    const { metrics, setLine, columns } = this.#options;
    const { deliveredBytes, totalBytes, deliveredEvents } = collect(metrics);
    const bytesPerSecond = this.#rate.observe(deliveredBytes, startMs);
    const line = progressLine({ deliveredBytes, totalBytes, deliveredEvents, bytesPerSecond });
    setLine(line.slice(0, (columns?.() ?? COLUMNS_DEFAULT) - 1));
    const costMs = this.#now() - startMs;
    this.#timer = setTimeout(() => this.#update(), Math.max(INTERVAL_MS, costMs / COST_SHARE_MAX));
    this.#timer.unref();
  }
}

/** Bytes per second over the last moments: a mean in which older time counts less and less. */
class RateMeter {
  #lastBytes = 0;
  #lastMs: number | null = null;
  #bytesPerSecond = 0;

  observe(bytes: number, nowMs: number): number {
    if (this.#lastMs === null) {
      this.#lastMs = nowMs;
      this.#lastBytes = bytes;
      return 0;
    }
    const elapsedMs = nowMs - this.#lastMs;
    if (elapsedMs <= 0) return this.#bytesPerSecond;
    const current = Math.max(0, bytes - this.#lastBytes) * 1_000 / elapsedMs;
    const weight = this.#bytesPerSecond === 0 ? 1 : 1 - Math.exp(-elapsedMs / RATE_WINDOW_MS);
    this.#bytesPerSecond += (current - this.#bytesPerSecond) * weight;
    this.#lastMs = nowMs;
    this.#lastBytes = bytes;
    return this.#bytesPerSecond;
  }
}

/** Files tell how much there is; without any (stdin) only what went through is known. Several sinks are added up. */
function collect(metrics: Metrics): Omit<ProgressFigures, "bytesPerSecond"> {
  let totalBytes = 0;
  let deliveredBytes = 0;
  for (const source of metrics.sources.values()) {
    for (const file of source.fileLags()) {
      totalBytes += file.sizeBytes;
      deliveredBytes += Math.min(file.deliveredBytes, file.sizeBytes);
    }
  }
  let deliveredEvents = 0;
  let sinkBytes = 0;
  for (const sink of metrics.sinks.values()) {
    deliveredEvents += sink.deliveredEventsCount;
    sinkBytes += sink.deliveredBytesCount;
  }
  return { totalBytes, deliveredBytes: totalBytes === 0 ? sinkBytes : deliveredBytes, deliveredEvents };
}

/** The text of the line; the caller cuts it to the terminal's width. */
export function progressLine(figures: ProgressFigures): string {
  const { deliveredBytes, totalBytes, deliveredEvents, bytesPerSecond } = figures;
  const events = `${formatCount(deliveredEvents)} events`;
  const rate = `${formatBytes(bytesPerSecond)}/s`;
  if (totalBytes === 0) return `${formatBytes(deliveredBytes)}  ${events}  ${rate}`;
  const share = Math.min(1, deliveredBytes / totalBytes);
  const cells = Math.floor(share * BAR_CELLS);
  const bar = ("=".repeat(cells) + (cells < BAR_CELLS ? ">" : "")).padEnd(BAR_CELLS);
  // 100 % is for the end only.
  const percent = String(Math.floor(share * 100)).padStart(3);
  const done = `${formatBytes(deliveredBytes)} of ${formatBytes(totalBytes)}`;
  const left = bytesPerSecond === 0
    ? ""
    : `  ${formatDuration((totalBytes - deliveredBytes) * 1000 / bytesPerSecond)} left`;
  return `[${bar}] ${percent} %  ${done}  ${events}  ${rate}${left}`;
}
