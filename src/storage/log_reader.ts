import { join } from "node:path";
import { LogDamagedError } from "./log_errors.ts";
import { type LogKind, SEGMENT_HEADER_BYTES, segmentName, segmentNumber } from "./segment_format.ts";
import { type LogFrame, type SegmentEnd, SegmentReader } from "./segment_reader.ts";
import { type StorageOps, systemOps } from "./storage_ops.ts";

/** What was found in a log's folder. `SegmentedLog.open` goes on from it. */
export interface LogReadResult {
  /** The segments that were read, in order. A journal is read from its newest finished segment only. */
  readonly segments: readonly number[];
  /** The highest number in use, be it by a segment that was never finished. 0: there is none. */
  readonly lastSegment: number;
  /** The log was stopped cleanly, or there is none. */
  readonly isCleanStop: boolean;
  /** Bytes of groups that were not written to their end and are not part of the log. */
  readonly tornBytes: number;
  /** End of the last segment that was read, and the byte up to which it is known to have been on the device. 0: there is none. */
  readonly endBytes: number;
  readonly syncedTo: number;
  /** What an operator should know, in full sentences without a final period. */
  readonly notes: readonly string[];
}

const NOTHING: LogReadResult = {
  segments: [],
  lastSegment: 0,
  isCleanStop: true,
  tornBytes: 0,
  endBytes: 0,
  syncedTo: 0,
  notes: [],
};

/**
 * Reads every frame of a log, oldest first, and writes nothing. A folder that is missing is an empty log. Other processes may read while
 * the owner writes: they see what is there at that moment.
 *
 * Throws `LogDamagedError` (file, byte, cause), `LogNewerError` (file, version), `LogChangedError` (only without the lock: read again), and
 * the system's errors. Frames that were given before are then to be thrown away.
 */
export function readLog(
  dir: string,
  kind: LogKind,
  onFrame: (frame: LogFrame) => void,
  ops: StorageOps = systemOps,
): LogReadResult {
  const numbers = segmentsIn(dir, ops);
  if (numbers.length === 0) return NOTHING;
  return new LogReader(dir, kind, onFrame, ops, numbers).read();
}

/** Numbers of the segments in a folder, ascending. */
export function segmentsIn(dir: string, ops: StorageOps): number[] {
  let names: string[];
  try {
    names = ops.list(dir);
  } catch (error) {
    if ((error as { code?: unknown }).code === "ENOENT") return [];
    throw error;
  }
  const numbers = names.map(segmentNumber).filter((number) => number !== null);
  return numbers.sort((a, b) => a - b);
}

/** Where a segment ends in the eyes of the next one. */
interface Limit {
  readonly endMax: number;
  readonly provenTo: number;
}

const NO_LIMIT: Limit = { endMax: Infinity, provenTo: 0 };

class LogReader {
  readonly #dir: string;
  readonly #kind: LogKind;
  readonly #onFrame: (frame: LogFrame) => void;
  readonly #ops: StorageOps;
  readonly #numbers: readonly number[];
  readonly #notes: string[] = [];
  #tornBytes = 0;

  constructor(
    dir: string,
    kind: LogKind,
    onFrame: (frame: LogFrame) => void,
    ops: StorageOps,
    numbers: readonly number[],
  ) {
    this.#dir = dir;
    this.#kind = kind;
    this.#onFrame = onFrame;
    this.#ops = ops;
    this.#numbers = numbers;
  }

  read(): LogReadResult {
    const lastSegment = this.#numbers.at(-1)!;
    const chain = this.#chain(lastSegment);
    let end: SegmentEnd | null = null;
    for (const { number, limit } of chain) end = this.#readSegment(number, limit, this.#onFrame);
    return {
      segments: chain.map(({ number }) => number),
      lastSegment,
      isCleanStop: end === null ? false : end.isCleanStop,
      tornBytes: this.#tornBytes,
      endBytes: end?.endBytes ?? 0,
      syncedTo: end?.syncedTo ?? 0,
      notes: this.#notes,
    };
  }

  /** The segments to read, in order: from the newest finished one back to what it goes on from, as far as that is there. */
  #chain(lastSegment: number): { readonly number: number; readonly limit: Limit }[] {
    let next = this.#newestFinished(lastSegment);
    const chain: { number: number; limit: Limit }[] = [];
    while (next !== null) {
      chain.unshift(next);
      // A journal's segment starts with the effect of all before it.
      if (this.#kind === "journal") break;
      const { previous, previousEnd, previousSyncedTo } = this.#headerOf(next.number);
      if (previous === 0 || !this.#has(previous, next.number)) break;
      next = { number: previous, limit: { endMax: previousEnd, provenTo: previousSyncedTo } };
    }
    return chain;
  }

  /**
   * The newest segment with a good first group. One without was never finished, and the segment that it was to go on from counts. Null:
   * nothing was ever finished.
   */
  #newestFinished(lastSegment: number): { readonly number: number; readonly limit: Limit } | null {
    let number = lastSegment;
    let limit = NO_LIMIT;
    for (;;) {
      const reader = this.#open(number);
      try {
        if (reader.hasGoodStart(limit.provenTo)) return { number, limit };
        if (reader.isTruncated) {
          throw new LogDamagedError(
            reader.path,
            SEGMENT_HEADER_BYTES,
            "it was cut before its first group ends",
          );
        }
        this.#notes.push(`Segment "${reader.path}" was never finished and is passed over`);
        const { previous, previousEnd, previousSyncedTo } = reader.header;
        if (previous === 0) return null;
        if (!this.#numbers.includes(previous)) this.#missing(previous, number);
        number = previous;
        limit = {
          endMax: this.#kind === "journal" ? Infinity : previousEnd,
          provenTo: previousSyncedTo,
        };
      } finally {
        reader.close();
      }
    }
  }

  /** False for a segment that was released; one that is missing while older ones are there was not. */
  #has(number: number, by: number): boolean {
    if (this.#numbers.includes(number)) return true;
    if (this.#numbers[0] < number) this.#missing(number, by);
    return false;
  }

  #readSegment(number: number, limit: Limit, onFrame: (frame: LogFrame) => void): SegmentEnd {
    const reader = this.#open(number);
    try {
      const end = reader.read(onFrame, limit.endMax, limit.provenTo);
      this.#tornBytes += end.tornBytes;
      if (reader.isTruncated) {
        this.#notes.push(
          `Segment "${reader.path}" is shorter than it was made: somebody cut it, and what was written last may be missing`,
        );
      }
      return end;
    } finally {
      reader.close();
    }
  }

  #headerOf(number: number): SegmentReader["header"] {
    const reader = this.#open(number);
    reader.close();
    return reader.header;
  }

  #open(number: number): SegmentReader {
    return new SegmentReader(this.#ops, join(this.#dir, segmentName(number)), number, this.#kind);
  }

  #missing(number: number, by: number): never {
    throw new LogDamagedError(
      join(this.#dir, segmentName(number)),
      0,
      `it is missing, and segment ${by} goes on from it`,
    );
  }
}
