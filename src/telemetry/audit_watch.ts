import { type AuditFigures, auditRun, type SinkAudit, type StreamAudit } from "./audit.ts";
import { countOf } from "./format.ts";
import type { Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";

/** How often the account of a run is checked. */
export const AUDIT_INTERVAL_MS = 10_000;
/** Accounts that were told not to add up are remembered up to this number; more are told again each time. */
const TOLD_MAX = 1_000;
/** Streams that one check tells of. */
const TOLD_AT_ONCE_MAX = 20;

/**
 * Checks while a run goes on that every event that was read is somewhere: each stream's sum, and the sum of all streams against what the sinks
 * count by themselves. What does not add up is a mistake in this program, and is told as an error, once until it changes.
 */
export class AuditWatch {
  readonly #metrics: Metrics;
  readonly #log: Log;
  #told = new Map<string, string>();
  #timer: ReturnType<typeof setInterval> | null = null;

  constructor(metrics: Metrics, log: Log) {
    this.#metrics = metrics;
    this.#log = log;
  }

  start(intervalMs: number = AUDIT_INTERVAL_MS): void {
    this.#timer = setInterval(() => this.check(), intervalMs);
    this.#timer.unref();
  }

  /** Checks a last time. */
  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    this.check();
  }

  /** Returns whether everything adds up. */
  check(): boolean {
    const audit = auditRun(this.#metrics);
    const told = new Map<string, string>();
    if (!audit.addsUp) {
      for (const stream of audit.streams.slice(0, TOLD_AT_ONCE_MAX)) {
        if (stream.missing === 0 && stream.unexplained === 0) break;
        this.#tell(
          told,
          `${stream.source}\u0000${stream.sink}\u0000${stream.streamId}`,
          describeStream(stream),
        );
      }
      for (const sink of audit.sinks) {
        if (sink.differences.length > 0) this.#tell(told, sink.sink, describeSink(sink));
      }
    }
    this.#told = told;
    return audit.addsUp;
  }

  #tell(told: Map<string, string>, key: string, text: string): void {
    if (told.size < TOLD_MAX) told.set(key, text);
    if (this.#told.get(key) !== text) {
      this.#log.error(text, { hint: "this is a mistake in shipper: please report it" });
    }
  }
}

/** "The account of ... does not add up: ..." */
export function describeStream(stream: StreamAudit): string {
  const { path, source, sink, missing, unexplained } = stream;
  const what = path === null
    ? `files of source "${source}" that are gone`
    : path === ""
    ? `source "${source}"`
    : `"${path}"`;
  const problem = missing > 0
    ? `${countOf(missing, "event is", "events are")} missing`
    : missing < 0
    ? `${countOf(-missing, "event is", "events are")} too many`
    : unexplained > 0
    ? `${countOf(unexplained, "event was", "events were")} given up without a reason`
    : `${countOf(-unexplained, "event has", "events have")} a reason, not given up`;
  return `The account of ${what} for sink "${sink}" does not add up: ${problem} (${describeFigures(stream)})`;
}

/** "The account of sink ... does not add up: ..." */
export function describeSink({ sink, differences }: SinkAudit): string {
  const list = differences.map(({ figure, streams, sink: own }) =>
    `${figure} ${streams} by its files, ${own} by itself`
  );
  return `The account of sink "${sink}" does not add up: ${list.join("; ")}`;
}

/** "read 10 = acknowledged 7 + in flight 1 + ...". */
export function describeFigures(figures: AuditFigures): string {
  const parts = [
    `acknowledged ${figures.acknowledged}`,
    `in flight ${figures.inFlight}`,
    `buffered ${figures.buffered}`,
    ...Object.entries(figures.dropped).map(([reason, count]) => `dropped{${reason}} ${count}`),
    ...Object.entries(figures.deadLettered).map(([reason, count]) => `dead-lettered{${reason}} ${count}`),
    ...Object.entries(figures.lost).map(([cause, count]) => `lost{${cause}} ${count}`),
  ];
  if (figures.left > 0) parts.push(`left for the next run ${figures.left}`);
  return `read ${figures.read}; ${parts.join(" + ")}`;
}
