import { RequestError } from "../errors.ts";
import { ErrorCode } from "../protocol/error_codes.ts";
import type { FetchedPartition } from "../protocol/fetch.ts";
import { ProtocolError } from "../protocol/wire.ts";
import { HeaderScan } from "./header_scan.ts";
import type { DoubtfulBatch, Evidence, Scan } from "./verdict.ts";

/** Bytes in one answer, but for a larger batch. */
export const SCAN_FETCH_BYTES = 1024 * 1024;
/** How long the leader holds an answer back while there is nothing new. */
const FETCH_WAIT_MS = 500;
/** Without anything new for this long, the scan gives up until the next try: replicas are missing. */
export const SCAN_IDLE_MS = 30_000;

const COMPACTED = "the log was compacted";

export type FetchedRecords = Pick<FetchedPartition, "highWatermark" | "records">;

export interface ScanOptions {
  readonly batches: readonly DoubtfulBatch[];
  readonly evidence: Evidence;
  /** Bytes of the log that are read at most (a batch more, where the last one is larger than what is left). */
  readonly bytesMax: number;
  /** Like PartitionProbe.fetch, of the leader that gave the evidence. */
  readonly fetch: (offset: number, sizeBytesMax: number, waitMs: number) => Promise<FetchedRecords>;
  readonly signal: AbortSignal;
  /** Default: SCAN_IDLE_MS. */
  readonly idleMs?: number;
}

/** Where a scan starts, and why not finding anything from there on proves nothing; "" when it does. */
export interface ScanStart {
  readonly offset: number;
  readonly gap: string;
}

/** The hint, while the log still has it; else all of the log, which is proof as long as nothing was ever removed from it. */
export function scanStart(hintOffset: number, evidence: Evidence): ScanStart {
  const { logStartOffset, logEndOffset, highWatermark } = evidence;
  const endOffset = logEndOffset ?? highWatermark;
  if (hintOffset >= logStartOffset && hintOffset <= endOffset) return { offset: hintOffset, gap: "" };
  if (logStartOffset === 0) return { offset: 0, gap: "" };
  const begins = `the log begins at offset ${logStartOffset} now`;
  if (hintOffset < 0) {
    return { offset: logStartOffset, gap: `${begins}, and where they would be is not known` };
  }
  const gap = hintOffset < logStartOffset
    ? `${begins}, and they may have been written from offset ${hintOffset} on`
    : `the log ends at offset ${endOffset} now, before, it had reached ${hintOffset}`;
  return { offset: logStartOffset, gap };
}

/**
 * Reads batch headers from the hint of the oldest batch to the log end of the evidence, or until the newest batch was found. Rejects
 * with RequestError when the leader refuses or nothing new is replicated for `idleMs`; when `signal` aborts, with its reason.
 */
export async function scanTail(options: ScanOptions): Promise<Scan> {
  const { batches, evidence, bytesMax, fetch, signal } = options;
  const idleMs = options.idleMs ?? SCAN_IDLE_MS;
  const start = scanStart(batches[0]!.hintOffset, evidence);
  const endOffset = evidence.logEndOffset ?? evidence.highWatermark;
  const scan = new HeaderScan(batches, start.offset);
  let readBytes = 0;
  let progressMs = performance.now();
  while (scan.nextOffset < endOffset && !scan.isDone) {
    if (readBytes >= bytesMax) {
      const rest = `the log was read from offset ${start.offset} to ${scan.nextOffset}`;
      return finding(scan, `${rest} (resolve_scan_max_bytes), it ends at ${endOffset}`);
    }
    const sizeBytesMax = Math.min(SCAN_FETCH_BYTES, bytesMax - readBytes);
    const fetched = await fetchOrDenied(() => fetch(scan.nextOffset, sizeBytesMax, FETCH_WAIT_MS));
    signal.throwIfAborted();
    if (fetched === "denied") return "denied";
    const { records } = fetched;
    if (records.length > 0) {
      takeRecords(scan, records);
      readBytes += records.length;
      progressMs = performance.now();
    } else if (performance.now() - progressMs >= idleMs) {
      // Everything up to there is replicated, and nothing is there.
      if (fetched.highWatermark >= endOffset) return finding(scan, COMPACTED);
      throw new RequestError(
        "not-replicated",
        `Cannot read the log from offset ${scan.nextOffset} to ${endOffset}: its replicas do not have it yet`,
        { hint: "Start the brokers that hold the partition's replicas" },
      );
    }
  }
  if (evidence.logEndOffset === null) return finding(scan, "the broker does not tell where its log ends");
  return finding(scan, scan.hasHole ? COMPACTED : start.gap);
}

async function fetchOrDenied(fetch: () => Promise<FetchedRecords>): Promise<FetchedRecords | "denied"> {
  try {
    return await fetch();
  } catch (error) {
    const isDenied = error instanceof RequestError &&
      error.errorCode === ErrorCode.TOPIC_AUTHORIZATION_FAILED;
    if (isDenied) return "denied";
    throw error;
  }
}

function takeRecords(scan: HeaderScan, records: Buffer): void {
  const before = scan.nextOffset;
  try {
    scan.take(records);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw new RequestError("bad-answer", `Cannot read the log from offset ${before} on: ${error.message}`, {
      cause: error,
    });
  }
  if (scan.nextOffset > before) return;
  // To ask again from the same offset would go on for ever.
  throw new RequestError(
    "bad-answer",
    `Cannot read the log from offset ${before} on: the leader gave batches before it`,
  );
}

/** When the newest batch was found, what was not looked at does not matter. */
function finding(scan: HeaderScan, gap: string): Scan {
  const { endOffsets, isNumberTaken, isDone } = scan;
  return { endOffsets, isNumberTaken, isComplete: isDone || gap === "", gap: isDone ? "" : gap };
}
