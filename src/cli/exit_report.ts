import { GAP_MARKER_SOURCE } from "../event/stream.ts";
import type { Config } from "../config/config.ts";
import { countOf } from "../telemetry/format.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";

export interface ExitReport {
  /** 0: all delivered, or what is left is safe in its file. 1: data was lost, dropped under `--once`, or the run failed. */
  readonly exitCode: 0 | 1;
  readonly deliveredCount: number;
  readonly droppedCount: number;
  /** Events that were kept as dead letters: they are not lost, and not delivered. */
  readonly deadLetteredCount: number;
  /** Events that were read from files, not delivered, and will be read again by the next run. */
  readonly leftInFilesCount: number;
  /** Events that wait in disk buffers, or left them without being delivered: the next run delivers them. */
  readonly leftInBuffersCount: number;
  /** Events that came from stdin and went nowhere: they exist no more. */
  readonly lostCount: number;
  /** Events whose bytes are nowhere any more, or whose fate was given up. */
  readonly lostBatchEventsCount: number;
  /** Bytes of files that were gone before they could be read (truncated, deleted), as far as they are known. */
  readonly lostBytes: number;
  /** Times that a file could not be opened or read for want of the right to. */
  readonly refusedCount: number;
  /** Files that `--once` could not open, for whatever reason. */
  readonly unopenedCount: number;
  readonly isStored: boolean;
  readonly isOnce: boolean;
}

export interface ExitFacts {
  readonly isOnce: boolean;
  readonly hasFailed: boolean;
  /** The last positions are on disk. */
  readonly isStored: boolean;
  /** stdin is a file whose position is kept. */
  readonly isStdinStored: boolean;
}

/** Errno names of what a change of rights heals, or of a name: EILSEQ stands for one that is not UTF-8. */
const REFUSALS = ["EACCES", "EPERM", "EILSEQ"];

/** Adds up what became of everything that was read. */
export function exitReport(metrics: Metrics, config: Config, facts: ExitFacts): ExitReport {
  const finite = new Set(
    config.sources.filter(({ type }) => type === "stdin" && !facts.isStdinStored).map(({ name }) => name),
  );
  let deliveredCount = 0;
  let droppedCount = 0;
  let deadLetteredCount = 0;
  let leftInFilesCount = 0;
  let lostCount = 0;
  let lostBatchEventsCount = 0;
  let leftInBuffersCount = 0;
  for (const sink of metrics.sinks.values()) {
    deliveredCount += sink.deliveredEventsCount;
    droppedCount += sink.dropped.total();
    deadLetteredCount += sink.deadLettered.total();
    lostBatchEventsCount += sink.lost.total();
    leftInBuffersCount += sink.leftInBufferCount;
    for (const source of sink.undelivered.values.keys()) {
      const count = sink.undeliveredOf(source);
      // No event of anybody, and told by who made them.
      if (source === GAP_MARKER_SOURCE) continue;
      if (finite.has(source)) lostCount += count;
      else leftInFilesCount += count;
    }
  }
  let lostBytes = 0;
  let refusedCount = 0;
  let unopenedCount = 0;
  for (const source of metrics.sources.values()) {
    lostBytes += source.lostBytes.total();
    for (const name of REFUSALS) refusedCount += source.errors.values.get(name) ?? 0;
    unopenedCount += source.unopenedFilesCount;
  }
  const isIncomplete = droppedCount + refusedCount + unopenedCount > 0;
  const isBad = facts.hasFailed || lostCount + lostBatchEventsCount + lostBytes > 0 ||
    (facts.isOnce && isIncomplete);
  const { isStored, isOnce } = facts;
  return {
    exitCode: isBad ? 1 : 0,
    deliveredCount,
    droppedCount,
    deadLetteredCount,
    leftInFilesCount,
    leftInBuffersCount,
    lostCount,
    lostBatchEventsCount,
    lostBytes,
    refusedCount,
    unopenedCount,
    isStored,
    isOnce,
  };
}

/** Says it, in one line for each thing that matters. */
export function describeExit(report: ExitReport, log: Log): void {
  const { deliveredCount, droppedCount, leftInFilesCount, lostCount, isStored, isOnce } = report;
  if (lostCount > 0) {
    log.error(
      `Lost up to ${lostCount} events from stdin: they were read and could not be delivered before the end`,
    );
  }
  if (report.lostBatchEventsCount > 0) {
    log.error(
      `Lost ${report.lostBatchEventsCount} events of batches or of the disk buffer: each case was logged; the exit code is 1`,
    );
  }
  if (report.lostBytes > 0) {
    log.error(
      `Lost ${report.lostBytes} bytes of files that were gone before they could be read; the exit code is 1`,
    );
  }
  if (report.refusedCount > 0 && isOnce) {
    log.error(
      "Not everything could be read: some files could not be opened, each was named; the exit code is 1",
    );
  } else if (report.unopenedCount > 0 && isOnce) {
    log.error(
      `Not everything could be read: ${
        countOf(report.unopenedCount, "file")
      } could not be opened, each was named; the exit code is 1`,
    );
  }
  if (droppedCount > 0) {
    const text = `Dropped ${countOf(droppedCount, "event")}: each was counted, with its reason`;
    if (isOnce) log.error(`${text}; the exit code is 1, because --once is to deliver everything`);
    else log.warn(text);
  }
  if (report.deadLetteredCount > 0) {
    log.warn(
      `Kept ${
        countOf(report.deadLetteredCount, "event")
      } as dead letters: what is one cannot be delivered as it is`,
      {
        hint: "shipper dlq ls shows them, shipper dlq replay sends them again",
      },
    );
  }
  if (!isStored) {
    log.warn("The last positions could not be stored; the next run sends what came after them again");
  }
  if (leftInFilesCount > 0) {
    log.warn(
      `Up to ${leftInFilesCount} events were read and not delivered; the next run reads them from their files again`,
    );
  }
  if (report.leftInBuffersCount > 0) {
    log.info(`${report.leftInBuffersCount} events wait in the disk buffer; the next run delivers them`);
  }
  log.info("Stopped", {
    delivered: deliveredCount,
    dropped: droppedCount,
    ...(report.deadLetteredCount === 0 ? {} : { dead_lettered: report.deadLetteredCount }),
  });
}
