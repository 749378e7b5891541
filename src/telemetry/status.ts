import { countOf } from "./format.ts";
import type { Failure, JournalFigures, Metrics, Reload, SinkMetrics, SourceMetrics } from "./metrics.ts";
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
    /** "exactly_once": nothing is sent while the journal cannot be written. */
    readonly delivery?: string;
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
  /** What became of the configuration that was read last; null: it is the one of the start. */
  readonly reload: Reload | null;
  /** Null where none is written. */
  readonly journal: JournalStatus | null;
  readonly sources: readonly SourceStatus[];
  readonly sinks: readonly SinkStatus[];
}

export interface JournalStatus {
  readonly liveBatches: number;
  readonly writtenBytes: number;
  readonly commits: number;
  /** Why it cannot be written; null while it can. */
  readonly failure: string | null;
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
  /** Events that were kept as dead letters, in the same way. */
  readonly deadLettered: SinkStatus["dropped"];
  readonly retries: number;
  /** Partitions that wait until it is found out what became of a batch. */
  readonly partitionsInDoubt: number;
  /** Partitions on which the broker's de-duplication cannot be relied on. */
  readonly unprotectedPartitions: number;
  /** Null where it delivers otherwise, and before the first one has ended. */
  readonly transactions: {
    readonly committed: number;
    readonly aborted: number;
    /** Milliseconds since the epoch; null before the first. */
    readonly lastCommitMs: number | null;
  } | null;
  /** Events by cause whose bytes are nowhere any more, or whose fate was given up. */
  readonly lost: readonly { readonly cause: string; readonly events: number }[];
  readonly bufferedBytes: number;
  /** Events that an earlier run left in a disk buffer and this one has not read yet: they are in no figure of the account. */
  readonly carriedEvents: number;
  /** 0: no limit. */
  readonly bufferMaxEvents: number;
  readonly bufferMaxBytes: number;
  /** Milliseconds since the epoch; null before the first acknowledgement. */
  readonly lastAckMs: number | null;
}

/**
 * What became of every event: read = delivered + dropped + deadLettered + lost + buffered + inFlight + left.
 *
 * `left` is 0 while the process runs. After an end that did not wait for everything it is what was neither delivered nor dropped: its
 * position did not move, so it is read again at the next start. Any other value is a mistake in the program.
 */
export interface Audit {
  readonly read: number;
  readonly delivered: number;
  readonly dropped: number;
  readonly deadLettered: number;
  readonly lost: number;
  readonly buffered: number;
  readonly inFlight: number;
  readonly left: number;
}

export function auditOf(sink: SinkMetrics): Audit {
  const dropped = sink.dropped.total();
  const deadLettered = sink.deadLettered.total();
  const lost = sink.lost.total();
  const { deliveredEventsCount: delivered } = sink;
  const read = sink.eventsInCount - sink.givenBackCount;
  const { inFlightEvents: inFlight } = sink;
  const buffered = sink.bufferedEvents - sink.carriedEvents;
  return {
    read,
    delivered,
    dropped,
    deadLettered,
    lost,
    buffered,
    inFlight,
    left: read - delivered - dropped - deadLettered - lost - buffered - inFlight,
  };
}

/** Reads the metrics at `nowMs`; keeps nothing of them. Without `facts`, sources and sinks are those that have metrics, of type "". */
export function computeStatus(
  metrics: Metrics,
  nowMs: number,
  facts: StatusFacts = factsOf(metrics),
): Status {
  const sinks = facts.sinks.map((sink) => sinkStatus(sink, metrics, nowMs));
  return {
    startedMs: metrics.startedMs,
    nowMs,
    state: facts.isStopping === true ? "stopping" : "running",
    ready: sinks.every((sink) => sink.ready),
    reload: metrics.reloads.last,
    journal: journalStatus(metrics.journal),
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

function journalStatus(journal: JournalFigures | null): JournalStatus | null {
  if (journal === null) return null;
  const { liveCount: liveBatches, writtenBytes, commitCount: commits, failure } = journal;
  return { liveBatches, writtenBytes, commits, failure };
}

function sinkStatus(facts: StatusFacts["sinks"][number], metrics: Metrics, nowMs: number): SinkStatus {
  const sink = metrics.sink(facts.name);
  const needsJournal = facts.delivery === "exactly_once";
  const cause = (needsJournal ? journalCause(metrics.journal) : null) ?? bufferCause(sink) ??
    causeOf(sink, nowMs);
  return {
    name: facts.name,
    type: facts.type,
    inputs: facts.inputs,
    ready: cause === null,
    cause,
    lastError: sink.lastError,
    audit: auditOf(sink),
    dropped: [...sink.dropped.values].map(([key, events]) => ({ ...splitDropKey(key), events })),
    deadLettered: [...sink.deadLettered.values].map(([key, events]) => ({ ...splitDropKey(key), events })),
    retries: sink.retries.total(),
    partitionsInDoubt: sink.partitionsInDoubt,
    unprotectedPartitions: sink.unprotectedPartitions,
    transactions: transactionsOf(sink),
    lost: [...sink.lost.values].map(([cause, events]) => ({ cause, events })),
    bufferedBytes: sink.bufferedBytes,
    carriedEvents: sink.carriedEvents,
    bufferMaxEvents: sink.bufferMaxEvents,
    bufferMaxBytes: sink.bufferMaxBytes,
    lastAckMs: sink.lastAckMs === 0 ? null : sink.lastAckMs,
  };
}

function transactionsOf(sink: SinkMetrics): SinkStatus["transactions"] {
  const { transactionsCommittedCount: committed, transactionsAbortedCount: aborted, lastCommitMs } = sink;
  if (committed + aborted === 0) return null;
  return { committed, aborted, lastCommitMs: lastCommitMs === 0 ? null : lastCommitMs };
}

/** Null while the sink delivers, or has nothing to deliver and is not known to be unable to. */
function causeOf(sink: SinkMetrics, nowMs: number): Failure | null {
  // An acknowledgement proves more than a check that failed before it.
  if (sink.healthFailure !== null && sink.lastAckMs === 0) return sink.healthFailure;
  if (sink.startFailure !== null) return sink.startFailure;
  const doubt = doubtCause(sink, nowMs);
  const waitingEvents = sink.bufferedEvents + sink.inFlightEvents;
  if (waitingEvents === 0 || sink.waitingSinceMs === 0) return doubt;
  const waitingMs = nowMs - sink.waitingSinceMs;
  if (waitingMs < READY_WAIT_MAX_MS) return doubt;
  const why = sink.lastError ?? "no error was reported; the sink is slow or does not answer";
  return {
    code: "not-delivering",
    message: `${waitingEvents} events wait, and nothing was acknowledged for ${
      Math.floor(waitingMs / 1000)
    } s: ${why}`,
    hint: null,
  };
}

/** Finding out what became of a batch takes a moment, or some seconds; longer when its partition cannot be reached. */
function doubtCause(
  { partitionsInDoubt, doubtSinceMs, lastError }: SinkMetrics,
  nowMs: number,
): Failure | null {
  const doubtMs = nowMs - doubtSinceMs;
  if (partitionsInDoubt === 0 || doubtSinceMs === 0 || doubtMs < READY_WAIT_MAX_MS) return null;
  const why = lastError === null ? "" : `: ${lastError}`;
  return {
    code: "in-doubt",
    message: `${countOf(partitionsInDoubt, "partition waits", "partitions wait")} for ${
      Math.floor(doubtMs / 1000)
    } s until it is found out what became of a batch${why}`,
    hint: null,
  };
}

function journalCause(journal: JournalFigures | null): Failure | null {
  if (journal === null || journal.failure === null) return null;
  return {
    code: "journal-unwritable",
    message: `The journal cannot be written (${journal.failure}): delivery waits, and writing is tried again`,
    hint: "look at the disk, its free space and the owner of data_dir",
  };
}

function bufferCause({ bufferFailure }: SinkMetrics): Failure | null {
  if (bufferFailure === null) return null;
  return {
    code: "buffer-unwritable",
    message:
      `The disk buffer cannot be written (${bufferFailure}): it counts as full, and writing is tried again`,
    hint: "look at the disk, its free space and the owner of data_dir",
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
