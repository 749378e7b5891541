import { join } from "node:path";
import { segmentsIn } from "../storage/log_reader.ts";
import {
  type FoundFrame,
  openSegmentFile,
  readSegmentFrames,
  type SegmentExtent,
} from "../storage/segment_file.ts";
import { segmentName } from "../storage/segment_format.ts";
import type { FoundLog } from "../storage/log_options.ts";
import type { StorageOps } from "../storage/storage_ops.ts";
import type { Log } from "../telemetry/log.ts";
import { BufferFrame } from "./buffer_frames.ts";
import { bufferIdOf, readStoredEvents, type StoredEvents } from "./stored_events.ts";

/** What is in the folder of a disk buffer, as far as a start has to know it. */
export interface FoundSegments {
  readonly numbers: readonly number[];
  /** Null: there is no event in it. */
  readonly bufferId: Buffer | null;
  /** Numbers of the first event, and of the one behind the last; 0 where there is none. */
  readonly firstEvent: number;
  readonly nextEvent: number;
  /** The newest ones, as far as there is no event in them. */
  readonly empty: readonly number[];
  /** The newest with an event in it, and where it ends. */
  readonly last: { readonly number: number; readonly endBytes: number } | null;
  /** Those of them without a good group. */
  readonly blank: readonly number[];
  /** Whose header is wrong: they cannot be read, and are kept. */
  readonly damaged: ReadonlySet<number>;
  /** Where segments end, as far as the one behind says it. */
  readonly ends: ReadonlyMap<number, number>;
  readonly log: FoundLog;
}

/**
 * Looks at a buffer's folder: reads all headers, its newest segment, and the first event of the oldest. What else is damaged is told when it is read. Throws
 * `LogNewerError`, and the system's errors. `knownIds`: of buffers that the journal has heard of, hexadecimal.
 */
export function findSegments(
  dir: string,
  ops: StorageOps,
  log: Log,
  knownIds: ReadonlySet<string> = new Set(),
): FoundSegments {
  const numbers = segmentsIn(dir, ops);
  const damaged = new Set<number>();
  const ends = readHeaders(dir, numbers, ops, damaged, log);
  setForeignAside(dir, numbers, ops, damaged, log, knownIds);
  const empty: number[] = [];
  const blank: number[] = [];
  let bufferId: Buffer | null = null;
  let nextEvent = 0;
  let last: FoundSegments["last"] = null;
  let newest: { number: number; extent: SegmentExtent } | null = null;
  for (const number of numbers.toReversed()) {
    if (damaged.has(number)) continue;
    const extent = readFrames(dir, number, ops, (events) => {
      bufferId ??= bufferIdOf(events);
      nextEvent = Math.max(nextEvent, events.firstEvent + events.count);
    });
    if (extent !== null && newest === null && extent.groupCount > 0) newest = { number, extent };
    if (bufferId !== null) {
      if (extent !== null) last = { number, endBytes: extent.endBytes };
      break;
    }
    if (extent === null) continue;
    empty.push(number);
    if (extent.groupCount === 0) blank.push(number);
  }
  return {
    numbers,
    bufferId,
    firstEvent: firstEventFrom(dir, numbers, ops, isKnown(bufferId, knownIds)),
    nextEvent,
    empty,
    last,
    blank,
    damaged,
    ends,
    log: {
      segments: newest === null ? [] : [newest.number],
      lastSegment: numbers.at(-1) ?? 0,
      endBytes: newest?.extent.endBytes ?? 0,
      syncedTo: newest?.extent.syncedTo ?? 0,
    },
  };
}

/**
 * Gives back the room behind the end of a segment that nobody will write to any more: a process that is started again and again would use the buffer
 * up by the ends of its segments.
 */
export function trim(
  dir: string,
  { number, endBytes }: { readonly number: number; readonly endBytes: number },
  ops: StorageOps,
): void {
  const path = join(dir, segmentName(number));
  if (ops.size(path) <= endBytes) return;
  const fd = ops.openWrite(path);
  try {
    ops.truncate(fd, endBytes);
  } finally {
    ops.close(fd);
  }
}

/**
 * The first event of the oldest of these segments that has one; 0 when none has. A buffer that the journal does not know begins there: none of its
 * segments may be passed over for an error of the system, which is thrown.
 */
function firstEventFrom(dir: string, numbers: readonly number[], ops: StorageOps, isKnown: boolean): number {
  for (const number of numbers) {
    const first = isKnown ? firstEventOf(dir, number, ops) : readFirstEvents(dir, number, ops)?.firstEvent;
    if (first !== null && first !== undefined) return first;
  }
  return 0;
}

function isKnown(bufferId: Buffer | null, knownIds: ReadonlySet<string>): boolean {
  return bufferId !== null && knownIds.has(bufferId.toString("hex"));
}

/**
 * The newest segments with events, when they belong to a buffer that nobody knows and others to one that the journal knows: somebody has copied them
 * here. They would make it forget the right one.
 */
function setForeignAside(
  dir: string,
  numbers: readonly number[],
  ops: StorageOps,
  damaged: Set<number>,
  log: Log,
  knownIds: ReadonlySet<string>,
): void {
  if (knownIds.size === 0) return;
  const foreign: number[] = [];
  for (const number of numbers.toReversed()) {
    const first = damaged.has(number) ? null : readFirstEvents(dir, number, ops);
    if (first === null) continue;
    if (!knownIds.has(first.bufferId.toString("hex"))) {
      foreign.push(number);
      continue;
    }
    for (const each of foreign) {
      damaged.add(each);
      log.error(
        `Cannot use a file of a disk buffer: "${
          join(dir, segmentName(each))
        }": it belongs to another buffer; it is kept in "${dir}/damaged"`,
      );
    }
    return;
  }
}

/** The number of a segment's first event; null: it has none, or cannot be read. */
export function firstEventOf(dir: string, number: number, ops: StorageOps): number | null {
  try {
    return readFirstEvents(dir, number, ops)?.firstEvent ?? null;
  } catch {
    return null; // whoever reads it says what is wrong
  }
}

interface FirstEvents {
  readonly firstEvent: number;
  readonly bufferId: Buffer;
}

/** Null: the segment has no events. Throws the system's errors. */
function readFirstEvents(dir: string, number: number, ops: StorageOps): FirstEvents | null {
  let first: FirstEvents | null = null;
  const file = openSegmentFile(dir, number, "buffer", ops);
  try {
    if (file.header === null) return null;
    readSegmentFrames({ fd: file.fd, header: file.header }, ops, (frame) => {
      const events = eventsIn(frame);
      if (events !== null) first = { firstEvent: events.firstEvent, bufferId: bufferIdOf(events) };
      return first === null;
    });
  } finally {
    ops.close(file.fd);
  }
  return first;
}

/** Finds segments that are none of this buffer, which a start has to tell from those without events, and where the others end. */
function readHeaders(
  dir: string,
  numbers: readonly number[],
  ops: StorageOps,
  damaged: Set<number>,
  log: Log,
): Map<number, number> {
  const ends = new Map<number, number>();
  for (const number of numbers) {
    const { fd, path, header, cause } = openSegmentFile(dir, number, "buffer", ops);
    ops.close(fd);
    if (header !== null) {
      if (header.previous > 0) ends.set(header.previous, header.previousEnd);
      continue;
    }
    damaged.add(number);
    log.error(`Cannot use a file of a disk buffer: "${path}": ${cause}; it is kept in "${dir}/damaged"`);
  }
  return ends;
}

/** Calls back for every frame of events of a segment. Null: it is none of this buffer. Throws the system's errors: nothing is known of what was not read. */
function readFrames(
  dir: string,
  number: number,
  ops: StorageOps,
  onEvents: (events: StoredEvents) => void,
): SegmentExtent | null {
  const file = openSegmentFile(dir, number, "buffer", ops);
  try {
    if (file.header === null) return null;
    return readSegmentFrames({ fd: file.fd, header: file.header }, ops, (frame) => {
      const events = eventsIn(frame);
      if (events !== null) onEvents(events);
    });
  } finally {
    ops.close(file.fd);
  }
}

/** Null for another frame, and for one that means nothing. */
function eventsIn(frame: FoundFrame): StoredEvents | null {
  if (frame.type !== BufferFrame.EVENTS) return null;
  try {
    return readStoredEvents(frame.data, frame.start, frame.end, null);
  } catch {
    return null;
  }
}
