import type { Log } from "./log.ts";
import type { SinkMetrics } from "./metrics.ts";

export interface FiguresLineOptions {
  readonly sink: string;
  readonly metrics: SinkMetrics;
  readonly log: Log;
  /** 0: nothing is logged. */
  readonly intervalMs: number;
  /** A clock that never jumps, milliseconds. */
  readonly monotonic?: () => number;
}

/** Logs a line with a sink's figures every now and then (`metrics_interval_secs`), from `startFiguresLine` until `stop`. */
export interface FiguresLine {
  stop(): void;
}

export function startFiguresLine(options: FiguresLineOptions): FiguresLine {
  const { intervalMs, monotonic = () => performance.now() } = options;
  if (intervalMs === 0) return { stop() {} };
  let lastMs = monotonic();
  let lastCount = options.metrics.deliveredEventsCount;
  const timer = setInterval(() => {
    const nowMs = monotonic();
    const count = options.metrics.deliveredEventsCount;
    tell(options, (count - lastCount) / Math.max((nowMs - lastMs) / 1_000, 0.001));
    lastMs = nowMs;
    lastCount = count;
  }, intervalMs);
  // The last line is no reason to go on.
  timer.unref();
  return { stop: () => clearInterval(timer) };
}

function tell({ sink, metrics, log }: FiguresLineOptions, perSecond: number): void {
  log.info(
    `Sink "${sink}": ${metrics.deliveredEventsCount} events delivered (${perSecond.toFixed(1)} a second), ` +
      `${metrics.bufferedEvents} in the buffer, ${metrics.inFlightEvents} in flight, ${metrics.dropped.total()} dropped, ` +
      `${metrics.lost.total()} lost`,
    {
      sink,
      delivered_events: metrics.deliveredEventsCount,
      delivered_bytes: metrics.deliveredBytesCount,
      sent_batches: metrics.sentBatchesCount,
      sent_bytes: metrics.sentBytesCount,
      buffered_events: metrics.bufferedEvents,
      in_flight_events: metrics.inFlightEvents,
      dropped_events: metrics.dropped.total(),
      lost_events: metrics.lost.total(),
      retries: metrics.retries.total(),
      last_error: metrics.lastError,
    },
  );
}
