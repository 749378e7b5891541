import type { Gaps } from "../event/gaps.ts";
import type { StreamAccount } from "../event/tally.ts";
import type { HeldLines } from "../event/tracked_region.ts";

/**
 * Counters and gauges as plain numbers, written by the stages a batch at a time, read by `http/` and by the audit at exit. Nothing here
 * renders: `prometheus.ts` does. All counters only grow; "Events" are lines or records, "Bytes" are raw bytes unless said otherwise.
 */
export class Metrics {
  readonly startedMs: number;
  readonly sources = new Map<string, SourceMetrics>();
  readonly sinks = new Map<string, SinkMetrics>();
  /** Null where no journal is written. */
  journal: JournalFigures | null = null;
  /** What became of configurations that were to take over while shipper runs. */
  readonly reloads = new ReloadFigures();
  /** What became of the events of each stream in this run; asked for only when it is shown or checked. */
  accounts: () => Iterable<StreamAccount> = () => [];

  constructor(nowMs: number) {
    this.startedMs = nowMs;
  }

  /** The metrics of a source; made when first asked for. */
  source(name: string): SourceMetrics {
    let found = this.sources.get(name);
    if (found === undefined) this.sources.set(name, found = new SourceMetrics());
    return found;
  }

  /** The metrics of a sink; made when first asked for. */
  sink(name: string): SinkMetrics {
    let found = this.sinks.get(name);
    if (found === undefined) this.sinks.set(name, found = new SinkMetrics());
    return found;
  }
}

/** "taken": it is at work. "unchanged": it says the same. "partly": at work but for what could not be started. The others changed nothing. */
export const RELOAD_RESULTS = ["taken", "unchanged", "partly", "invalid", "refused"] as const;
export type ReloadResult = typeof RELOAD_RESULTS[number];

/** A reload that came to its end. */
export interface Reload {
  readonly result: ReloadResult;
  /** Milliseconds since the epoch. */
  readonly atMs: number;
  /** Why not all of it is at work; null when it is. */
  readonly failure: Failure | null;
}

export class ReloadFigures {
  readonly counts = new Map<ReloadResult, number>(RELOAD_RESULTS.map((result) => [result, 0]));
  last: Reload | null = null;

  ended(reload: Reload): void {
    this.counts.set(reload.result, this.counts.get(reload.result)! + 1);
    this.last = reload;
  }
}

/** What is shown of the journal; `Journal` fits. */
export interface JournalFigures {
  /** Bytes that were handed to the system so far. */
  readonly writtenBytes: number;
  readonly commitCount: number;
  /** Batches in it that are neither acknowledged nor replaced. */
  readonly liveCount: number;
  /** Why it cannot be written now; null while it can. */
  readonly failure: string | null;
}

/** What a source saw. Counted for each sink that reads the source. */
export class SourceMetrics {
  eventsInCount = 0;
  bytesInCount = 0;
  truncatedLinesCount = 0;
  /** Events whose value held bytes that are not UTF-8 and were replaced in JSON. */
  invalidUtf8Count = 0;
  /** Lines that `decoding.codec` could not read and that were kept as text. */
  decodeErrorsCount = 0;
  /** Events without a field `message` under `encoding.codec = "text"`: their value is empty. */
  missingMessageCount = 0;
  /** Errors while opening, reading or watching, by errno name. */
  readonly errors = new LabelledCounter();
  /** Files that `--once` was to read and that could not be opened. */
  unopenedFilesCount = 0;
  openFiles = 0;
  watchedFiles = 0;
  rotationsCount = 0;
  truncationsCount = 0;
  /** Bytes that existed and are gone before they could be read, by cause ("truncated_unread", "unreadable", "deleted"). */
  readonly lostBytes = new LabelledCounter();
  /** Bytes of files without a name that were copied to data_dir. */
  rescuedBytesCount = 0;
  /** Times that such bytes could not be copied. */
  rescueFailuresCount = 0;
  /** Bytes in such copies now. */
  rescueHeldBytes: () => number = () => 0;
  /** Each gives the lags of some files; who is not there any more takes its own out. */
  readonly lagParts = new Set<() => readonly FileLag[]>();
  /** Lag in bytes (size minus delivered position), by path and sink; asked for only when rendered. */
  fileLags: () => readonly FileLag[] = () => [...this.lagParts].flatMap((part) => [...part()]);
}

/** Why something does not work, in a full sentence, with a hint that can be typed where there is one. Never holds a secret. */
export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly hint: string | null;
}

/** When a certificate ends that the connections of a sink rest on. */
export interface CertificateFigure {
  readonly role: "client" | "ca" | "broker";
  /** Milliseconds since the epoch. */
  readonly notAfterMs: number;
}

export interface FileLag {
  readonly path: string;
  readonly sink: string;
  readonly sizeBytes: number;
  readonly readBytes: number;
  readonly deliveredBytes: number;
}

/** What became of events on the way to one sink. in - given back = delivered + dropped + dead-lettered + lost + buffered + in flight. */
export class SinkMetrics {
  /** Events that were accepted from sources (before the buffer), and those of an earlier run's batches that were taken up. */
  eventsInCount = 0;
  /** Of those, events that were given back undelivered when the sink was started anew: they are read again, and count again. */
  givenBackCount = 0;
  /** Of those, by source. */
  readonly eventsInBySource = new LabelledCounter();
  deliveredEventsCount = 0;
  /** Key and value bytes of delivered events, before compression. */
  deliveredBytesCount = 0;
  /** Bytes of record batches that were written to the network, after compression, retries included. */
  sentBytesCount = 0;
  sentBatchesCount = 0;
  /** Written to a socket under acks = none: nobody confirms them. */
  sentUnconfirmedEventsCount = 0;
  /** Key is "source\u0000reason": "buffer_full", "record_too_large", "invalid_record", "template_error", ... */
  readonly dropped = new LabelledCounter();
  /** Events that went to the fallback topic, with the same keys. */
  readonly fallbacks = new LabelledCounter();
  /** Events that were kept as dead letters, with the same keys. */
  readonly deadLettered = new LabelledCounter();
  /** Events whose dead letters are not safe yet: their partitions wait. */
  heldEvents = 0;
  /** Records whose value was cut because they were too large. */
  truncatedRecordsCount = 0;
  /** Records that did not get the time of their event, because their topic does not take it. */
  redatedRecordsCount = 0;
  /** Events whose bytes were taken and are nowhere any more, or whose fate was given up, by cause. */
  readonly lost = new LabelledCounter();
  /** Of those, events of an earlier run's batches that could not be made again. */
  lostRecoveredCount = 0;
  /** Retried produce attempts by error name, for example "NOT_LEADER_OR_FOLLOWER", "ECONNRESET". */
  readonly retries = new LabelledCounter();
  /** Times that a partition was taken up again because no broker answered for it, by what was done. */
  readonly stalls = new LabelledCounter();
  /** Milliseconds that brokers have asked to wait, because a quota was used up. */
  throttledMs = 0;
  /** Events of batches that were given up at the end of the run without being delivered whole, by source. */
  readonly undelivered = new LabelledCounter();
  readonly #takenUp = new Map<string, number>();
  /** Batches whose fate was open and was found out, by what was found: "written", "unwritten", "replaced", "undecidable". */
  readonly resolved = new LabelledCounter();
  /** Batches that got new numbers, by reason. */
  readonly replaced = new LabelledCounter();
  /** Partitions whose batches are in doubt now. */
  partitionsInDoubt = 0;
  /** Since when there are some, milliseconds since the epoch; 0 while there is none. */
  doubtSinceMs = 0;
  /** Times that a broker no longer had what it had acknowledged. */
  brokerLostAckedCount = 0;
  /** Times that the journal was older than what the broker has of this producer. */
  journalBehindBrokerCount = 0;
  /** Partitions on which the broker's de-duplication cannot be relied on, by the last look. */
  unprotectedPartitions = 0;
  /** Events that are in the buffer now, and the memory they pin. */
  bufferedEvents = 0;
  bufferedBytes = 0;
  /** 0: no limit. */
  bufferMaxEvents = 0;
  bufferMaxBytes = 0;
  /** Of the buffered ones, events that an earlier run put into a disk buffer. */
  carriedEvents = 0;
  /** Events that left a disk buffer at the end of the run without being delivered: they are still in it. */
  leftInBufferCount = 0;
  /** Why the disk buffer cannot be written; null while it can. */
  bufferFailure: string | null = null;
  /** Events that left the buffer and are not settled. */
  inFlightEvents = 0;
  /** Last acknowledgement, milliseconds since the epoch; 0 before the first. */
  lastAckMs = 0;
  /** Since when events wait without any acknowledgement, milliseconds since the epoch; 0 when nothing waits. */
  waitingSinceMs = 0;
  /** Transactions that were committed, and those that were aborted or whose fate was not known; their lines were sent again, or were there. */
  transactionsCommittedCount = 0;
  transactionsAbortedCount = 0;
  /** Milliseconds since the epoch; 0 before the first. */
  lastCommitMs = 0;
  /** Why nothing is read for this sink yet; null once it is. */
  startFailure: Failure | null = null;
  /** Why delivery does not go on, in words; null while it does. */
  lastError: string | null = null;
  /** The last health check's failure; null before the first check and after one that passed. */
  healthFailure: Failure | null = null;
  /** The one of each role that ends first; empty without TLS. */
  certificates: readonly CertificateFigure[] = [];
  /** Where drops and losses are noted, so that they can be told downstream; null where nobody asked for that. */
  gaps: Gaps | null = null;
  readonly batchEvents = new Histogram([1, 10, 100, 1_000, 5_000, 10_000, 50_000]);
  readonly batchBytes = new Histogram([1_000, 10_000, 100_000, 500_000, 1_000_000, 2_000_000]);
  /** From reading a chunk to the acknowledgement of its record batch, seconds. */
  readonly latencySeconds = new Histogram([
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
    60,
  ]);

  /** Events of an earlier run's batch that cannot be made again: taken up and given up at once. `lines`: those of which more is known. */
  loseRecovered(cause: string, count: number, lines: readonly HeldLines[] = []): void {
    this.gaps?.noteHeld(lines, count, cause);
    this.eventsInCount += count;
    this.lostRecoveredCount += count;
    this.lost.add(cause, count);
  }

  /**
   * The sink has ended and starts anew, or is gone, while the run goes on: nothing is in it, and nothing is known of how it works. `givenBack`: events
   * that came to nothing in it. Counters go on.
   */
  startAnew(givenBack: number): void {
    this.givenBackCount += givenBack;
    this.bufferedEvents = 0;
    this.bufferedBytes = 0;
    this.carriedEvents = 0;
    this.leftInBufferCount = 0;
    this.bufferFailure = null;
    this.inFlightEvents = 0;
    this.lastAckMs = 0;
    this.waitingSinceMs = 0;
    this.unprotectedPartitions = 0;
    this.heldEvents = 0;
    this.certificates = [];
    this.startFailure = null;
    this.lastError = null;
    this.healthFailure = null;
  }

  /** A sink takes the place of one that has ended. What of these sources that one has not delivered is read for it. */
  takeUp(sources: Iterable<string>): void {
    for (const source of sources) this.#takenUp.set(source, this.undelivered.values.get(source) ?? 0);
  }

  /** Events of a source that were given up at the end, and that nobody in this run has read again. */
  undeliveredOf(source: string): number {
    return (this.undelivered.values.get(source) ?? 0) - (this.#takenUp.get(source) ?? 0);
  }

  /** A partition's batches are in doubt from now on. */
  doubtStarted(nowMs: number): void {
    if (this.partitionsInDoubt++ === 0) this.doubtSinceMs = nowMs;
  }

  doubtEnded(): void {
    if (--this.partitionsInDoubt === 0) this.doubtSinceMs = 0;
  }
}

/** Label values per counter beyond this are counted under "other", so that no counter grows with the input. */
export const LABELS_MAX = 200;

/** A counter by one label. */
export class LabelledCounter {
  readonly values = new Map<string, number>();

  add(label: string, amount = 1): void {
    const key = this.values.has(label) || this.values.size < LABELS_MAX ? label : "other";
    this.values.set(key, (this.values.get(key) ?? 0) + amount);
  }

  total(): number {
    let sum = 0;
    for (const value of this.values.values()) sum += value;
    return sum;
  }
}

/** Cumulative histogram with fixed upper bounds, as Prometheus wants it. */
export class Histogram {
  readonly bounds: readonly number[];
  /** `counts[i]`: observations in (bounds[i-1], bounds[i]]; the last one is above all bounds. */
  readonly counts: Float64Array;
  sum = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number, times = 1): void {
    let i = 0;
    while (i < this.bounds.length && value > this.bounds[i]!) i++;
    this.counts[i]! += times;
    this.sum += value * times;
  }
}
