import { addAudit } from "./audit_exposition.ts";
import type { EventLoopLagFigures } from "./event_loop_lag.ts";
import { Exposition } from "./exposition.ts";
import { FAMILIES as F } from "./metric_families.ts";
import type {
  FileLag,
  JournalFigures,
  Metrics,
  ReloadFigures,
  SinkMetrics,
  SourceMetrics,
} from "./metrics.ts";

/** Pairs of file and sink with series of their own; a page for ten thousand files would be some megabytes. */
export const FILE_SERIES_MAX = 1_000;

/** What a page says beyond the pipeline's own counters. */
export interface PrometheusExtra {
  readonly version: string;
  readonly nowMs: number;
  readonly process: ProcessFigures;
  /** Null when it is not measured. */
  readonly eventLoopLag: EventLoopLagFigures | null;
  /** By sink; sinks that are not in it have no `shipper_sink_ready`. */
  readonly readyBySink: ReadonlyMap<string, boolean>;
}

export interface ProcessFigures {
  readonly cpuSeconds: number;
  readonly residentBytes: number;
}

/** Asked for at a scrape, not kept: both are one system call. */
export function readProcessFigures(): ProcessFigures {
  const { user, system } = process.cpuUsage();
  return { cpuSeconds: (user + system) / 1e6, residentBytes: process.memoryUsage.rss() };
}

/**
 * Everything as a page in the Prometheus text format.
 *
 * Own code and not prom-client: the stages already keep their figures as plain numbers, so only the text is missing, which is less code
 * than copying them into another registry. prom-client adds 7 ms to a start that is 5 ms without it and 3 MB to the binary (measured,
 * compiled with bytecode), and its default metrics run timers while nothing happens.
 */
export function renderPrometheus(metrics: Metrics, extra: PrometheusExtra): string {
  const page = new Exposition();
  page.add(F.buildInfo, [extra.version, `bun ${Bun.version}`, process.platform, process.arch], 1);
  addReloads(page, metrics.reloads);
  for (const [name, source] of metrics.sources) addSource(page, name, source);
  addFiles(page, metrics);
  for (const [name, sink] of metrics.sinks) addSink(page, name, sink, extra);
  addAudit(page, metrics, FILE_SERIES_MAX);
  addJournal(page, metrics.journal);
  const lag = extra.eventLoopLag;
  if (lag !== null) {
    page.add(F.eventLoopLag, ["0.5"], lag.p50Ms / 1000);
    page.add(F.eventLoopLag, ["0.99"], lag.p99Ms / 1000);
    page.add(F.eventLoopLag, ["1"], lag.maxMs / 1000);
  }
  page.add(F.cpu, [], extra.process.cpuSeconds);
  page.add(F.residentMemory, [], extra.process.residentBytes);
  page.add(F.startTime, [], metrics.startedMs / 1000);
  return page.render();
}

function addReloads(page: Exposition, { counts, last }: ReloadFigures): void {
  for (const [result, count] of counts) page.add(F.configReloads, [result], count);
  page.add(F.configLastReloadSuccess, [], last === null || last.failure === null ? 1 : 0);
  if (last !== null) page.add(F.configLastReload, [], last.atMs / 1000);
}

function addJournal(page: Exposition, journal: JournalFigures | null): void {
  if (journal === null) return;
  page.add(F.journalBytes, [], journal.writtenBytes);
  page.add(F.journalCommits, [], journal.commitCount);
  page.add(F.journalLive, [], journal.liveCount);
  page.add(F.journalFailing, [], journal.failure === null ? 0 : 1);
}

function addSource(page: Exposition, name: string, source: SourceMetrics): void {
  const labels = [name];
  page.add(F.sourceEventsIn, labels, source.eventsInCount);
  page.add(F.sourceBytesIn, labels, source.bytesInCount);
  page.add(F.sourceTruncatedLines, labels, source.truncatedLinesCount);
  page.add(F.sourceInvalidUtf8, labels, source.invalidUtf8Count);
  page.add(F.sourceDecodeErrors, labels, source.decodeErrorsCount);
  page.add(F.sourceMissingMessage, labels, source.missingMessageCount);
  for (const [error, count] of source.errors.values) page.add(F.sourceErrors, [name, error], count);
  page.add(F.sourceOpenFiles, labels, source.openFiles);
  page.add(F.sourceWatchedFiles, labels, source.watchedFiles);
  page.add(F.sourceRotations, labels, source.rotationsCount);
  page.add(F.sourceTruncations, labels, source.truncationsCount);
  for (const [cause, bytes] of source.lostBytes.values) page.add(F.sourceLostBytes, [name, cause], bytes);
  page.add(F.sourceRescuedBytes, labels, source.rescuedBytesCount);
  page.add(F.sourceRescueFailures, labels, source.rescueFailuresCount);
  page.add(F.sourceRescueHeld, labels, source.rescueHeldBytes());
}

function addFiles(page: Exposition, metrics: Metrics): void {
  for (const [source, { fileLags }] of metrics.sources) {
    const files = fileLags();
    for (const file of files) page.add(F.sourceLag, [source, file.sink], lagBytes(file));
    const listed = largestLags(files, FILE_SERIES_MAX);
    for (const file of listed) {
      const labels = [source, file.sink, file.path];
      page.add(F.fileLag, labels, lagBytes(file));
      page.add(F.fileRead, labels, file.readBytes);
      page.add(F.fileDelivered, labels, file.deliveredBytes);
    }
    if (files.length > 0) page.add(F.sourceUnlistedFiles, [source], files.length - listed.length);
  }
}

/** Bytes that are not delivered; never negative: a file that was truncated is shorter than what was delivered. */
export function lagBytes(file: FileLag): number {
  return Math.max(0, file.sizeBytes - file.deliveredBytes);
}

/** The files with the largest lag first, at most `countMax`. */
export function largestLags(files: readonly FileLag[], countMax: number): readonly FileLag[] {
  return [...files].sort((a, b) => lagBytes(b) - lagBytes(a)).slice(0, countMax);
}

function addSink(page: Exposition, name: string, sink: SinkMetrics, extra: PrometheusExtra): void {
  const labels = [name];
  page.add(F.sinkEventsIn, labels, sink.eventsInCount);
  for (const [source, count] of sink.eventsInBySource.values) {
    page.add(F.sinkEventsInBySource, [name, source], count);
  }
  page.add(F.sinkGivenBack, labels, sink.givenBackCount);
  page.add(F.sinkDelivered, labels, sink.deliveredEventsCount);
  page.add(F.sinkDeliveredBytes, labels, sink.deliveredBytesCount);
  page.add(F.sinkUnconfirmed, labels, sink.sentUnconfirmedEventsCount);
  page.add(F.sinkSentBytes, labels, sink.sentBytesCount);
  page.add(F.sinkSentBatches, labels, sink.sentBatchesCount);
  for (const [key, count] of sink.dropped.values) {
    const { source, reason } = splitDropKey(key);
    page.add(F.sinkDropped, [name, source, reason], count);
  }
  for (const [key, count] of sink.fallbacks.values) {
    const { source, reason } = splitDropKey(key);
    page.add(F.sinkFallbacks, [name, source, reason], count);
  }
  for (const [key, count] of sink.deadLettered.values) {
    const { source, reason } = splitDropKey(key);
    page.add(F.sinkDeadLettered, [name, source, reason], count);
  }
  page.add(F.sinkHeld, labels, sink.heldEvents);
  page.add(F.sinkTruncated, labels, sink.truncatedRecordsCount);
  page.add(F.sinkRedated, labels, sink.redatedRecordsCount);
  for (const [source, count] of sink.undelivered.values) page.add(F.sinkUndelivered, [name, source], count);
  for (const [error, count] of sink.retries.values) page.add(F.sinkRetries, [name, error], count);
  for (const [step, count] of sink.stalls.values) page.add(F.sinkStalls, [name, step], count);
  page.add(F.sinkThrottled, labels, sink.throttledMs / 1000);
  page.add(F.sinkInFlight, labels, sink.inFlightEvents);
  const isReady = extra.readyBySink.get(name);
  if (isReady !== undefined) page.add(F.sinkReady, labels, isReady ? 1 : 0);
  if (sink.lastAckMs > 0) page.add(F.sinkLastAck, labels, sink.lastAckMs / 1000);
  const waitingMs = sink.waitingSinceMs === 0 ? 0 : Math.max(0, extra.nowMs - sink.waitingSinceMs);
  page.add(F.sinkWaiting, labels, waitingMs / 1000);
  page.add(F.bufferEvents, labels, sink.bufferedEvents);
  page.add(F.bufferBytes, labels, sink.bufferedBytes);
  page.add(F.bufferCarried, labels, sink.carriedEvents);
  page.add(F.bufferFailing, labels, sink.bufferFailure === null ? 0 : 1);
  if (sink.bufferMaxEvents > 0) page.add(F.bufferMaxEvents, labels, sink.bufferMaxEvents);
  page.add(F.bufferMaxBytes, labels, sink.bufferMaxBytes);
  page.addHistogram(F.batchEvents, labels, sink.batchEvents);
  page.addHistogram(F.batchBytes, labels, sink.batchBytes);
  page.addHistogram(F.latency, labels, sink.latencySeconds);
  addFates(page, name, sink);
}

function addFates(page: Exposition, name: string, sink: SinkMetrics): void {
  for (const [cause, count] of sink.lost.values) page.add(F.sinkLost, [name, cause], count);
  for (const [result, count] of sink.resolved.values) page.add(F.sinkResolved, [name, result], count);
  for (const [reason, count] of sink.replaced.values) page.add(F.sinkReplaced, [name, reason], count);
  page.add(F.sinkInDoubt, [name], sink.partitionsInDoubt);
  page.add(F.sinkUnprotected, [name], sink.unprotectedPartitions);
  page.add(F.sinkBrokerLost, [name], sink.brokerLostAckedCount);
  page.add(F.sinkJournalBehind, [name], sink.journalBehindBrokerCount);
  for (const { role, notAfterMs } of sink.certificates) {
    page.add(F.sinkCertificate, [name, role], notAfterMs / 1000);
  }
  const { transactionsCommittedCount: committed, transactionsAbortedCount: aborted } = sink;
  if (committed + aborted === 0) return;
  page.add(F.sinkTransactions, [name, "committed"], committed);
  page.add(F.sinkTransactions, [name, "aborted"], aborted);
  if (sink.lastCommitMs > 0) page.add(F.sinkLastCommit, [name], sink.lastCommitMs / 1000);
}

/** The two parts of a key of `SinkMetrics.dropped`; what was counted after its table was full has neither. */
export function splitDropKey(key: string): { source: string; reason: string } {
  const at = key.indexOf("\u0000");
  return at < 0 ? { source: key, reason: key } : { source: key.slice(0, at), reason: key.slice(at + 1) };
}
