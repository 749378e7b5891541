import { randomBytes } from "node:crypto";
import type { Ledger } from "../checkpoint/ledger.ts";
import { StartError } from "../errors.ts";
import { LogNewerError } from "../storage/log_errors.ts";
import { patientReads } from "../storage/patient_reads.ts";
import { DirectWriter, type GroupWriter } from "../storage/group_writer.ts";
import { SegmentedLog } from "../storage/segmented_log.ts";
import { openSegmentFile, readSegmentFrames } from "../storage/segment_file.ts";
import { SyncThread } from "../storage/sync_thread.ts";
import { countOf } from "../telemetry/format.ts";
import type { BufferAccounts } from "./buffer_accounts.ts";
import { BufferFrame } from "./buffer_frames.ts";
import { type BufferOps, systemBufferOps } from "./buffer_ops.ts";
import type { BufferJournal, DiskBufferOptions } from "./disk_buffer_options.ts";
import { DiskBuffer } from "./disk_buffer.ts";
import { segmentBytesFor } from "./disk_room.ts";
import type { WriterTiming } from "./disk_writer.ts";
import { BUFFER_ID_BYTES } from "./events_frame.ts";
import { lineRunsOf, originOf, readStoredEvents, type StoredOrigin } from "./stored_events.ts";
import { findSegments, firstEventOf, type FoundSegments, trim } from "./found_segments.ts";
import { readSkip, type StoredSkip } from "./skip_frame.ts";

/** What a start tells the journal, and learns from it. */
export interface StartJournal extends Omit<BufferJournal, "ledger"> {
  readonly accounts: BufferAccounts;
  /** The account of the buffer with this id (hexadecimal), which starts at `firstEvent` when it is new. Other buffers of the sink are forgotten. */
  readonly ledgerOf: (bufferId: string, firstEvent: number) => Ledger;
  /** Buffers that the journal knows of the sink, by their ids (hexadecimal). */
  readonly knownIds: () => ReadonlySet<string>;
  /** Events from here on may be in no position of their streams. */
  readonly storedEvent: (ledger: Ledger) => number;
  /** These lines of a stream are in the buffer. "unknown": nothing is known of the stream; "other": what is known does not fit. */
  readonly cover: (
    origin: StoredOrigin,
    firstEvent: number,
    runs: readonly number[],
  ) => "known" | "unknown" | "other";
  /** Lines of these pieces were dropped. */
  readonly skip: (skip: StoredSkip) => void;
  /** All of that was told; events have numbers from here on. Stored before any of them is. */
  readonly begin: (firstEvent: number) => void;
}

/** Who writes, and when. */
export interface BufferTiming extends WriterTiming {
  readonly writer?: GroupWriter;
  /** Longest pause between two tries of a commit that fails. */
  readonly retryMsMax?: number;
  /** Pauses between two reads of a start that fail, milliseconds. */
  readonly readPause?: (ms: number) => void;
}

export interface OpenBufferOptions extends Omit<DiskBufferOptions, "journal" | "ops">, BufferTiming {
  readonly journal: StartJournal;
  /** The system's when not given. */
  readonly ops?: BufferOps;
}

/**
 * Opens the disk buffer of a sink, and moves the positions of streams behind what is in it. To be called before anything is read. A buffer that is
 * damaged is open all the same. Throws `StartError` "buffer-newer", "buffer-unreadable".
 */
export async function openDiskBuffer(options: OpenBufferOptions): Promise<DiskBuffer> {
  const { dir, sink, log, journal, ops = systemBufferOps, maxSizeBytes, durability } = options;
  const reads = patientReads(ops, (path, code) => {
    log.warn(
      `Cannot read the disk buffer of sink "${sink}": "${path}" (${code}); the start waits, and reading is tried again`,
      { hint: "look at the disk: dmesg, smartctl" },
    );
  }, options.readPause);
  try {
    ops.makeDir(dir);
    const found = findSegments(dir, reads, log, journal.knownIds());
    const bufferId = found.bufferId ?? randomBytes(BUFFER_ID_BYTES);
    const ledger = journal.ledgerOf(bufferId.toString("hex"), found.firstEvent);
    // Never a number twice: what is known of it would be taken for the other one's, and what is missing would not be missed.
    const firstEvent = Math.max(found.nextEvent, ledger.trackedEnd, journal.storedEvent(ledger));
    if (found.bufferId !== null) {
      tellPositions(options, reads, bufferId, found.numbers, journal.storedEvent(ledger));
    }
    const untoldEvent = journal.storedEvent(ledger);
    journal.begin(firstEvent);
    // Something is missing at the end: it may be in what looks like the torn end of a file, which is kept.
    const isShort = found.nextEvent < journal.storedEvent(ledger);
    if (found.last !== null && !isShort) trim(dir, found.last, ops);
    const damaged = isShort ? tellMissingEnd(options, found, ledger) : found.damaged;
    const unreadable = new Set([...found.damaged, ...found.empty]);
    const readable = found.numbers.filter((number) => !unreadable.has(number));
    const startSegment = segmentOf(dir, readable, ledger.position, reads);
    let buffer: DiskBuffer | null = null;
    let failure: string | null = null;
    const segmentedLog = await SegmentedLog.open({
      dir,
      kind: "buffer",
      segmentBytes: segmentBytesFor(maxSizeBytes),
      durability,
      log,
      ops,
      writer: options.writer ?? (ops === systemBufferOps ? new SyncThread() : new DirectWriter(ops)),
      checkpoint: null,
      onProblem(cause) {
        failure = cause;
        buffer?.problem(cause);
      },
      onRecycled: () => buffer?.recycled(),
      ...(options.retryMsMax === undefined ? {} : { retryMsMax: options.retryMsMax }),
    }, found.log);
    buffer = new DiskBuffer({ ...options, ops, journal: { ...journal, ledger } }, {
      segmentedLog,
      bufferId,
      firstEvent,
      startSegment: startSegment ?? readable.at(0) ?? segmentedLog.currentSegment,
      startEvent: ledger.position,
      untoldEvent,
      doneSegments: found.numbers.filter((number) => unreadable.has(number) || number < (startSegment ?? 0)),
      damaged,
      unreadable,
      ends: found.ends,
    });
    if (failure !== null) buffer.problem(failure);
    return buffer;
  } catch (error) {
    throw startFailure(error, dir, sink);
  }
}

/** What is said when a start cannot use the buffer; anything that is no error of the system stays as it is. */
function startFailure(error: unknown, dir: string, sink: string): unknown {
  if (error instanceof LogNewerError) {
    return new StartError(
      "buffer-newer",
      `Cannot use the disk buffer of sink "${sink}": "${error.file}" has version ${error.version}, which a newer shipper wrote`,
      "run the newer shipper until the buffer is empty",
    );
  }
  const { code, path } = error as { code?: unknown; path?: unknown };
  if (typeof code !== "string" || error instanceof StartError) return error;
  const where = typeof path === "string" && path !== "" && path !== dir ? ` ("${path}")` : "";
  return new StartError(
    "buffer-unreadable",
    `Cannot open the disk buffer of sink "${sink}" in "${dir}": ${code}${where}`,
    code === "EIO"
      ? `look at the disk (dmesg, smartctl) and start again; nothing counts as lost yet. "shipper buffer repair --sink ${sink}" gives up what the disk does not give`
      : "make it readable and writable for the user that runs shipper, or set data_dir to another folder",
  );
}

/**
 * The segment in which `event` lies, or would: the last that starts in front of it. Where none does, the event was in one in which nothing good is left:
 * the first of all, so that this is found. Null: there is none with events.
 */
function segmentOf(dir: string, numbers: readonly number[], event: number, ops: BufferOps): number | null {
  let found: number | null = null;
  for (const number of numbers) {
    const first = firstEventOf(dir, number, ops);
    if (first === null) continue;
    if (first > event) return found ?? numbers[0]!;
    found = number;
  }
  return found;
}

/**
 * The newest segments, when the journal says that there were events behind the last one that is left: something in them is damaged, and they are kept.
 * Nothing of that can be a torn end.
 */
function tellMissingEnd(
  { dir, sink, log, journal }: OpenBufferOptions,
  { numbers, damaged, empty, blank, nextEvent }: FoundSegments,
  ledger: Ledger,
): ReadonlySet<number> {
  const storedEvent = journal.storedEvent(ledger);
  if (storedEvent <= Math.max(nextEvent, ledger.trackedEnd)) return damaged;
  const newest = numbers.findLast((number) => !empty.includes(number));
  const suspects = blank.length > 0 ? blank : newest === undefined ? [] : [newest];
  for (const segment of suspects.filter((number) => !damaged.has(number))) {
    log.error(
      `The disk buffer of sink "${sink}" is damaged: segment ${segment} in "${dir}" holds nothing good from event ${nextEvent} on, and there were events up to ${
        storedEvent - 1
      }; the file is kept in "${dir}/damaged"`,
      { hint: "look at the disk: dmesg, smartctl" },
    );
  }
  return new Set([...damaged, ...suspects]);
}

/** Has the journal know the lines that are in events from `fromEvent` on. */
function tellPositions(
  { dir, sink, log, journal }: OpenBufferOptions,
  ops: BufferOps,
  bufferId: Buffer,
  numbers: readonly number[],
  fromEvent: number,
): void {
  // What was dropped in front of that event may be told at the end of the segment before.
  let first = numbers.length - 1;
  while (first > 0 && (firstEventOf(dir, numbers[first]!, ops) ?? Infinity) >= fromEvent) first--;
  let unknownCount = 0;
  for (const number of numbers.slice(first)) {
    forEachFrameOf(dir, number, ops, bufferId, (origin, firstEvent, count, runs) => {
      if (!origin.isTracked || firstEvent + count <= fromEvent) return;
      if (journal.cover(origin, firstEvent, runs) !== "known") unknownCount += count;
    }, (skip) => {
      if (skip.nextEvent >= fromEvent) journal.skip(skip);
    });
  }
  if (unknownCount === 0) return;
  log.warn(
    `The journal knows nothing of where ${
      countOf(unknownCount, "event")
    } in the disk buffer of sink "${sink}" came from: their files are read again, and these lines may arrive twice`,
    { dir },
  );
}

function forEachFrameOf(
  dir: string,
  number: number,
  ops: BufferOps,
  bufferId: Buffer,
  onEvents: (origin: StoredOrigin, firstEvent: number, count: number, runs: readonly number[]) => void,
  onSkip: (skip: StoredSkip) => void,
): void {
  const file = openSegmentFile(dir, number, "buffer", ops);
  try {
    if (file.header === null) return;
    readSegmentFrames({ fd: file.fd, header: file.header }, ops, ({ type, data, start, end }) => {
      try {
        if (type === BufferFrame.EVENTS) {
          const stored = readStoredEvents(data, start, end, bufferId);
          onEvents(originOf(stored), stored.firstEvent, stored.count, lineRunsOf(stored));
        } else if (type === BufferFrame.SKIP) onSkip(readSkip(data.subarray(start, end), bufferId));
      } catch (error) {
        // It means nothing here, and whoever reads it says so.
        if ((error as Error).name !== "CodecError") throw error;
      }
    });
  } finally {
    ops.close(file.fd);
  }
}
