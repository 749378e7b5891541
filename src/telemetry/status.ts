import type { Failure, Metrics, SinkMetrics, SourceMetrics } from "./metrics.ts";
import { lagBytes, largestLags, splitDropKey } from "./prometheus.ts";

/** Events that wait this long without any acknowledgement make a sink not ready. */
export const READY_WAIT_MAX_MS = 30_000;

/** Files that are shown for a source, those with the largest lag. */
export const STATUS_FILES_MAX = 50;

/** What the configuration knows and metrics don't; a Config's sources and sinks fit. */
export interface StatusFacts {
  readonly sources: readonly { readonly name: string; readonly type: string }[];
  readonly sinks: readonly {
    readonly name: string;
    readonly type: string;
    readonly inputs: readonly string[];
  }[];
  /** True from the first signal on, or once all sources have ended. */
  readonly isStopping?: boolean;
}

/** How the process is doing at one moment; what `/ready` and the status page show. Holds no secret and no event. */
export interface Status {
  readonly startedMs: number;
  readonly nowMs: number;
  readonly state: "running" | "stopping";
  /** True when every sink is ready. */
  readonly ready: boolean;
  readonly sources: readonly SourceStatus[];
  readonly sinks: readonly SinkStatus[];
}

export interface SourceStatus {
  readonly name: string;
  readonly type: string;
  readonly eventsIn: number;
  readonly bytesIn: number;
  readonly truncatedLines: number;
  readonly rotations: number;
  readonly truncations: number;
  readonly lostBytes: number;
  readonly errors: number;
  readonly openFiles: number;
  readonly watchedFiles: number;
  /** Those with the largest lag, at most `STATUS_FILES_MAX`. */
  readonly files: readonly FileStatus[];
  /** Files (per sink) that are not in `files`. */
  readonly unlistedFiles: number;
}

export interface FileStatus {
  readonly path: string;
  readonly sink: string;
  readonly sizeBytes: number;
  readonly readBytes: number;
  readonly deliveredBytes: number;
  readonly lagBytes: number;
}

export interface SinkStatus {
  readonly name: string;
  readonly type: string;
  readonly inputs: readonly string[];
  readonly ready: boolean;
  /** Why it is not ready; null when it is. */
  readonly cause: Failure | null;
  readonly lastError: string | null;
  readonly audit: Audit;
  /** Given-up events by source and reason. */
  readonly dropped: readonly { readonly source: string; readonly reason: string; readonly events: number }[];
  readonly retries: number;
  readonly bufferedBytes: number;
  readonly bufferMaxEvents: number;
  readonly bufferMaxBytes: number;
  /** Milliseconds since the epoch; null before the first acknowledgement. */
  readonly lastAckMs: number | null;
}

/**
 * What became of every event: read = delivered + dropped + buffered + inFlight + left.
 *
 * `left` is 0 while the process runs. After an end that did not wait for everything it is what was neither delivered nor dropped: its
 * position did not move, so it is read again at the next start. Any other value is a mistake in the program.
 */
export interface Audit {
  readonly read: number;
  readonly delivered: number;
  readonly dropped: number;
  readonly buffered: number;
  readonly inFlight: number;
  readonly left: number;
}

export function auditOf(sink: SinkMetrics): Audit {
  const dropped = sink.dropped.total();
  const { eventsInCount: read, deliveredEventsCount: delivered } = sink;
  const { bufferedEvents: buffered, inFlightEvents: inFlight } = sink;
  return {
    read,
    delivered,
    dropped,
    buffered,
    inFlight,
    left: read - delivered - dropped - buffered - inFlight,
  };
}

/** Reads the metrics at `nowMs`; keeps nothing of them. Without `facts`, sources and sinks are those that have metrics, of type "". */
export function computeStatus(
  metrics: Metrics,
  nowMs: number,
  facts: StatusFacts = factsOf(metrics),
): Status {
  const sinks = facts.sinks.map((sink) => sinkStatus(sink, metrics.sink(sink.name), nowMs));
  return {
    startedMs: metrics.startedMs,
    nowMs,
    state: facts.isStopping === true ? "stopping" : "running",
    ready: sinks.every((sink) => sink.ready),
    sources: facts.sources.map((source) => sourceStatus(source, metrics.source(source.name))),
    sinks,
  };
}

function factsOf(metrics: Metrics): StatusFacts {
  return {
    sources: [...metrics.sources.keys()].map((name) => ({ name, type: "" })),
    sinks: [...metrics.sinks].map(([name, sink]) => ({
      name,
      type: "",
      inputs: [...sink.eventsInBySource.values.keys()],
    })),
  };
}

function sinkStatus(facts: StatusFacts["sinks"][number], sink: SinkMetrics, nowMs: number): SinkStatus {
  const cause = causeOf(sink, nowMs);
  return {
    name: facts.name,
    type: facts.type,
    inputs: facts.inputs,
    ready: cause === null,
    cause,
    lastError: sink.lastError,
    audit: auditOf(sink),
    dropped: [...sink.dropped.values].map(([key, events]) => ({ ...splitDropKey(key), events })),
    retries: sink.retries.total(),
    bufferedBytes: sink.bufferedBytes,
    bufferMaxEvents: sink.bufferMaxEvents,
    bufferMaxBytes: sink.bufferMaxBytes,
    lastAckMs: sink.lastAckMs === 0 ? null : sink.lastAckMs,
  };
}

/** Null while the sink delivers, or has nothing to deliver and is not known to be unable to. */
function causeOf(sink: SinkMetrics, nowMs: number): Failure | null {
  // An acknowledgement proves more than a check that failed before it.
  if (sink.healthFailure !== null && sink.lastAckMs === 0) return sink.healthFailure;
  const waitingEvents = sink.bufferedEvents + sink.inFlightEvents;
  if (waitingEvents === 0 || sink.waitingSinceMs === 0) return null;
  const waitingMs = nowMs - sink.waitingSinceMs;
  if (waitingMs < READY_WAIT_MAX_MS) return null;
  const why = sink.lastError ?? "no error was reported; the sink is slow or does not answer";
  return {
    code: "not-delivering",
    message: `${waitingEvents} events wait, and nothing was acknowledged for ${
      Math.floor(waitingMs / 1000)
    } s: ${why}`,
    hint: null,
  };
}

function sourceStatus(facts: StatusFacts["sources"][number], source: SourceMetrics): SourceStatus {
  const all = source.fileLags();
  const files = largestLags(all, STATUS_FILES_MAX);
  return {
    name: facts.name,
    type: facts.type,
    eventsIn: source.eventsInCount,
    bytesIn: source.bytesInCount,
    truncatedLines: source.truncatedLinesCount,
    rotations: source.rotationsCount,
    truncations: source.truncationsCount,
    lostBytes: source.lostBytes.total(),
    errors: source.errors.total(),
    openFiles: source.openFiles,
    watchedFiles: source.watchedFiles,
    files: files.map((file) => ({
      path: file.path,
      sink: file.sink,
      sizeBytes: file.sizeBytes,
      readBytes: file.readBytes,
      deliveredBytes: file.deliveredBytes,
      lagBytes: lagBytes(file),
    })),
    unlistedFiles: all.length - files.length,
  };
}
