import { splitDropped } from "../event/dead_letters.ts";
import { type StreamAccount, Tally } from "../event/tally.ts";
import type { Metrics, SinkMetrics } from "./metrics.ts";

/** Streams that are listed one by one; more of them are in the sums alone. */
export const AUDIT_STREAMS_MAX = 1_000;

/** What became of events that were read in this run. */
export interface AuditFigures {
  readonly read: number;
  /** Of those, events of batches that an earlier run had begun to send. */
  readonly recovered: number;
  readonly acknowledged: number;
  readonly inFlight: number;
  readonly buffered: number;
  /** By reason. */
  readonly dropped: Readonly<Record<string, number>>;
  /** Kept as dead letters, by reason. */
  readonly deadLettered: Readonly<Record<string, number>>;
  /** By cause. */
  readonly lost: Readonly<Record<string, number>>;
  /** Not delivered at the end of the run; read again by the next one. */
  readonly left: number;
  /** 0 when the sum adds up; positive: nobody knows where they are; negative: more came out than went in. */
  readonly missing: number;
  /** 0 when everything that was given up has a reason. */
  readonly unexplained: number;
}

export interface StreamAudit extends AuditFigures {
  readonly source: string;
  readonly sink: string;
  /** "" for stdin; null for all that are forgotten (file gone, all delivered), as a sum. */
  readonly path: string | null;
  readonly streamId: string | null;
}

/** A figure that the sink counts by itself and that its streams do not add up to. */
export interface SinkDifference {
  readonly figure: string;
  readonly streams: number;
  readonly sink: number;
}

export interface SinkAudit extends AuditFigures {
  readonly sink: string;
  /** Events by which streams fail to add up, whatever their sign. */
  readonly missingInStreams: number;
  readonly differences: readonly SinkDifference[];
}

/** The account of a run at one moment. */
export interface RunAudit {
  readonly addsUp: boolean;
  readonly sinks: readonly SinkAudit[];
  /** Those that do not add up first, then by events that were read; at most `AUDIT_STREAMS_MAX`. */
  readonly streams: readonly StreamAudit[];
  readonly unlistedStreams: number;
  /** Bytes that were gone before they could be read: they are in no sum. */
  readonly lostBytes: readonly { readonly source: string; readonly cause: string; readonly bytes: number }[];
}

/** What a running shipper tells at /audit. */
export interface LiveAudit extends RunAudit {
  readonly version: string;
  /** Null where it keeps none. */
  readonly dataDir: string | null;
  readonly pid: number | null;
}

/** Adds everything up. Only at a turn of the event loop, when no stage is at work. */
export function auditRun(metrics: Metrics): RunAudit {
  const accounts = [...metrics.accounts()];
  const bySink = new Map<string, { sum: Tally; missing: number }>();
  for (const name of metrics.sinks.keys()) bySink.set(name, { sum: new Tally(), missing: 0 });
  for (const { sink, tally } of accounts) {
    const found = bySink.get(sink);
    // A sink that left the configuration has nothing to do in this run.
    if (found === undefined) continue;
    found.sum.add(tally);
    found.missing += discrepancyOf(tally);
  }
  const sinks = [...bySink].map(([sink, { sum, missing }]) =>
    sinkAudit(sink, metrics.sink(sink), sum, missing)
  );
  const active = accounts.filter(({ tally }) => tally.readCount > 0 || discrepancyOf(tally) > 0);
  active.sort((a, b) =>
    discrepancyOf(b.tally) - discrepancyOf(a.tally) || b.tally.readCount - a.tally.readCount
  );
  const listed = active.slice(0, AUDIT_STREAMS_MAX).map(streamAudit);
  return {
    addsUp: sinks.every((each) => each.missingInStreams === 0 && each.differences.length === 0),
    sinks,
    streams: listed,
    unlistedStreams: active.length - listed.length,
    lostBytes: [...metrics.sources].flatMap(([source, { lostBytes }]) =>
      [...lostBytes.values].map(([cause, bytes]) => ({ source, cause, bytes }))
    ),
  };
}

/** Events by which an account fails to add up; 0 when it does. */
export function discrepancyOf(tally: Tally): number {
  return Math.abs(tally.missingCount) + Math.abs(tally.unexplainedCount);
}

export function streamAudit({ source, sink, path, streamId, tally }: StreamAccount): StreamAudit {
  return { source, sink, path, streamId, ...figuresOf(tally) };
}

function figuresOf(tally: Tally): AuditFigures {
  return {
    read: tally.readCount,
    recovered: tally.recoveredCount,
    acknowledged: tally.deliveredCount,
    inFlight: tally.inFlightCount,
    buffered: tally.bufferedCount,
    ...splitDropped(tally.dropped),
    lost: Object.fromEntries(tally.lost),
    left: tally.leftCount,
    missing: tally.missingCount,
    unexplained: tally.unexplainedCount,
  };
}

/** The sum of a sink's streams beside what the sink, its buffer and its lanes have counted by themselves. */
function sinkAudit(name: string, sink: SinkMetrics, sum: Tally, missingInStreams: number): SinkAudit {
  const compared: [figure: string, streams: number, sink: number][] = [
    ["read", sum.readCount, sink.eventsInCount - sink.lostRecoveredCount - sink.givenBackCount],
    ["acknowledged", sum.deliveredCount, sink.deliveredEventsCount],
    ["dropped", sum.droppedCount, sink.dropped.total() + sink.deadLettered.total()],
    ["lost", sum.lostCount, sink.lost.total() - sink.lostRecoveredCount],
    ["buffered", sum.bufferedCount, sink.bufferedEvents - sink.carriedEvents],
  ];
  // What a run that was cut short leaves behind stays in the sink's figure.
  if (sum.leftCount === 0) compared.push(["in flight", sum.inFlightCount, sink.inFlightEvents]);
  const differences = compared.filter(([, a, b]) => a !== b).map(([figure, streams, sink]) => ({
    figure,
    streams,
    sink,
  }));
  return { sink: name, missingInStreams, differences, ...figuresOf(sum) };
}
