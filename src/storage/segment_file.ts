import { join } from "node:path";
import { LogNewerError } from "./log_errors.ts";
import { FIRST_GROUP_AT, forEachFrame, GroupScan } from "./group_scan.ts";
import {
  decodeSegmentHeader,
  FORMAT_VERSIONS,
  GROUP_TAG_BYTES,
  type LogKind,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
  segmentName,
} from "./segment_format.ts";
import { readFully, type StorageOps } from "./storage_ops.ts";

/** Read at a time; more for a group that is larger. */
const WINDOW_BYTES = 262_144;

/** A frame as it is found; one object for all. The payload is `data[start .. end)`, valid during the call. */
export interface FoundFrame {
  type: number;
  data: Buffer;
  start: number;
  end: number;
  /** Of the payload in the segment's file, and of its group: reading can start there again. */
  offset: number;
  groupAt: number;
}

/** How the reading of a segment ended. */
export interface SegmentExtent {
  /** Behind its last good group. */
  readonly endBytes: number;
  /** Everything in front of it is known to have been on the device. */
  readonly syncedTo: number;
  /** Good groups, marks not counted. */
  readonly groupCount: number;
  /** Places in front of the end where something is written that is no good group. */
  readonly damagedAt: readonly number[];
}

/**
 * Opens a segment and reads its header. The header is null, with the cause, where it is none of this log: the file cannot be read then. Throws the
 * system's errors, ENOENT also where the file was put to another use meanwhile.
 */
export function openSegmentFile(
  dir: string,
  number: number,
  kind: LogKind,
  ops: StorageOps,
): {
  readonly fd: number;
  readonly path: string;
  readonly header: SegmentHeader | null;
  readonly cause: string;
} {
  const path = join(dir, segmentName(number));
  const fd = ops.openRead(path);
  try {
    const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
    const header = decodeSegmentHeader(bytes.subarray(0, readFully(ops, fd, bytes, 0, bytes.length, 0)));
    // Recycled between its opening and its reading: ENOENT then.
    if ("cause" in header || header.number !== number) ops.close(ops.openRead(path));
    if ("cause" in header) {
      if (header.newerVersion !== null) {
        throw new LogNewerError(path, header.newerVersion, FORMAT_VERSIONS[kind]);
      }
      return { fd, path, header: null, cause: header.cause };
    }
    if (header.kind !== kind) return { fd, path, header: null, cause: `it belongs to a ${header.kind}` };
    if (header.number !== number) {
      return { fd, path, header: null, cause: `its header says that it is segment ${header.number}` };
    }
    return { fd, path, header, cause: "" };
  } catch (error) {
    ops.close(fd);
    throw error;
  }
}

/**
 * Reads the frames of one segment of a buffer, from byte `from` (where a group starts) on, and goes on behind what is damaged. `onFrame` may end it
 * by returning false: the extent then ends there. `onDamage` is told of a place that is damaged before the frame behind it is given. Blocks; throws the
 * system's errors.
 */
export function readSegmentFrames(
  { fd, header }: { readonly fd: number; readonly header: SegmentHeader },
  ops: StorageOps,
  onFrame: (frame: FoundFrame) => boolean | void,
  from: number = FIRST_GROUP_AT,
  onDamage: (at: number) => void = () => {},
): SegmentExtent {
  const reading = new Reading(fd, header, ops);
  const damagedAt: number[] = [];
  const frame: FoundFrame = { type: 0, data: reading.window, start: 0, end: 0, offset: 0, groupAt: from };
  let syncedTo = from;
  let groupCount = 0;
  for (let at = from;;) {
    const found = reading.groupAt(at);
    if (found === null || found.isMark) {
      if (found !== null) syncedTo = Math.max(syncedTo, found.syncedTo);
      const next = reading.nextGood(at);
      if (next < 0) return { endBytes: at, syncedTo: Math.min(syncedTo, at), groupCount, damagedAt };
      damagedAt.push(at);
      onDamage(at);
      at = next;
      continue;
    }
    syncedTo = Math.max(syncedTo, found.syncedTo);
    groupCount++;
    let isOver = false;
    const start = at - reading.windowStart;
    frame.data = reading.window;
    frame.groupAt = at;
    const isWhole = forEachFrame(reading.window, start, found.payloadBytes, (type, payloadAt, end) => {
      if (isOver) return;
      frame.type = type;
      frame.start = payloadAt;
      frame.end = end;
      frame.offset = reading.windowStart + payloadAt;
      isOver = onFrame(frame) === false;
    });
    if (!isWhole) {
      damagedAt.push(at);
      onDamage(at);
    }
    at += found.sizeBytes;
    if (isOver) return { endBytes: at, syncedTo, groupCount, damagedAt };
  }
}

/** Where the next good group behind byte `at` of an open segment starts; -1: nowhere. Blocks; throws the system's errors. */
export function findNextGroup(fd: number, header: SegmentHeader, ops: StorageOps, at: number): number {
  return new Reading(fd, header, ops).nextGood(at);
}

/** A window that moves over a segment's file. */
class Reading {
  readonly #fd: number;
  readonly #ops: StorageOps;
  readonly #header: SegmentHeader;
  readonly #scan: GroupScan;
  window: Buffer = Buffer.alloc(0);
  windowStart = 0;
  #windowEnd = 0;

  constructor(fd: number, header: SegmentHeader, ops: StorageOps) {
    this.#fd = fd;
    this.#ops = ops;
    this.#header = header;
    this.#scan = new GroupScan(header);
  }

  /** The good group at `at`, whole in the window; null: there is none. */
  groupAt(at: number) {
    for (let wanted = 1;;) {
      this.#load(at, wanted);
      const start = at - this.windowStart;
      const found = this.#scan.groupAt(at, this.window, start, this.#windowEnd - this.windowStart);
      if (found.kind === "none") return null;
      if (found.kind === "group") return found;
      // The file is shorter than it says: somebody cut it.
      if (wanted >= found.neededBytes) return null;
      wanted = found.neededBytes;
    }
  }

  /** Where the next good group behind `at` starts that holds something; -1: nowhere. */
  nextGood(at: number): number {
    const step = WINDOW_BYTES - GROUP_TAG_BYTES;
    for (let from = at; from < this.#header.sizeBytes; from += step) {
      this.#load(from, WINDOW_BYTES);
      // Looking at a group moves the window, so the places are noted first.
      const places: number[] = [];
      const end = Math.min(this.#windowEnd - this.windowStart, from - this.windowStart + WINDOW_BYTES);
      const start = from - this.windowStart;
      for (
        let place = start;
        (place = this.#scan.nextPlace(from + place - start, this.window, place, end)) >= 0;
      ) {
        places.push(this.windowStart + place);
      }
      for (const place of places) {
        const found = this.groupAt(place);
        if (found !== null && !found.isMark && place > at) return place;
      }
    }
    return -1;
  }

  #load(at: number, bytes: number): void {
    const last = Math.min(this.#header.sizeBytes, at + bytes);
    if (at >= this.windowStart && last <= this.#windowEnd) return;
    const wanted = Math.max(bytes, WINDOW_BYTES);
    if (this.window.length < wanted) this.window = Buffer.allocUnsafe(wanted);
    this.windowStart = at;
    this.#windowEnd = at + readFully(this.#ops, this.#fd, this.window, 0, this.window.length, at);
  }
}
