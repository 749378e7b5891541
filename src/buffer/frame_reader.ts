import type { BufferPool, PooledBuffer } from "../event/pooled_buffer.ts";
import { errnoName } from "../errors.ts";
import { FIRST_GROUP_AT, forEachFrame, GroupScan } from "../storage/group_scan.ts";
import { findNextGroup, openSegmentFile } from "../storage/segment_file.ts";
import { LogNewerError } from "../storage/log_errors.ts";
import { GROUP_HEADER_BYTES, type SegmentHeader } from "../storage/segment_format.ts";
import type { Log } from "../telemetry/log.ts";
import type { BufferOps } from "./buffer_ops.ts";

/** Read at a time at most, when there is so much; a group that is larger is read whole. */
export const READ_WINDOW_BYTES = 1_048_576;
/** So little was written a moment ago, as a rule, and is not worth another thread. */
const READ_AT_ONCE_BYTES = 65_536;
/** A read that fails is tried again so often, with growing pauses (about 25 s in all); then the bytes count as damaged. */
const READ_TRIES_MAX = 8;
const READ_PAUSE_MS = 100;
/** What cannot be read is passed over by this many bytes. */
const UNREADABLE_STEP_BYTES = 65_536;

/** Everything in front of it may be read: it is written, and as durable as was asked for. */
export interface ReadBound {
  readonly segment: number;
  readonly offset: number;
}

export interface FrameReaderOptions {
  readonly dir: string;
  readonly ops: BufferOps;
  readonly pool: BufferPool;
  readonly log: Log;
  readonly bound: () => ReadBound;
  /** There is, or has to be, a file of this segment. */
  readonly hasSegment: (segment: number) => boolean;
  /** The segment behind this one; null when it is the last. */
  readonly nextSegment: (segment: number) => number | null;
  /** Where a segment that is not written to any more ends; -1: not known. */
  readonly endOf: (segment: number) => number;
  /**
   * How far segments of earlier runs are good for certain: up to there everything was written, as the segment behind says. What is behind and good is
   * read as well.
   */
  readonly ends: ReadonlyMap<number, number>;
  /** How long the file of such a segment is. */
  readonly sizeOf: (segment: number) => number;
  /** A frame: its payload is `window.data[start .. end)`. The window is valid during the call, longer for who retains it. */
  readonly onFrame: (type: number, window: PooledBuffer, start: number, end: number, segment: number) => void;
  /** From this byte on something is wrong; reading goes on behind it. */
  readonly onDamage: (segment: number, byte: number, cause: string) => void;
  /** Everything in this segment was given. */
  readonly onSegmentEnd: (segment: number) => void;
}

interface OpenFile {
  readonly number: number;
  readonly fd: number;
  readonly header: SegmentHeader;
  readonly scan: GroupScan;
}

/** Reads the frames of a disk buffer's log in order, window by window, behind the writer. What is damaged is told and passed over. */
export class FrameReader {
  readonly #options: FrameReaderOptions;
  #segment: number;
  #at = FIRST_GROUP_AT;
  #file: OpenFile | null = null;
  #failedReads = 0;
  /** Size of the last group. */
  #groupBytes = 0;
  /** Everything in the segment was read, and there was none behind it. */
  #isAtEnd = false;
  #isClosed = false;
  #wake: () => void = () => {};

  /** Starts with the first group of `segment`. */
  constructor(options: FrameReaderOptions, segment: number) {
    this.#options = options;
    this.#segment = segment;
  }

  /** The segment that is read. */
  get segment(): number {
    return this.#segment;
  }

  /** Nothing can be read before the bound moves. */
  get isCaughtUp(): boolean {
    const { bound, nextSegment } = this.#options;
    const { segment, offset } = bound();
    if (this.#segment === segment) return this.#at >= offset;
    return this.#segment > segment || (this.#isAtEnd && nextSegment(this.#segment) === null);
  }

  /** Reads one window, and gives what is in it; nothing when there is nothing to read. One call at a time. */
  async step(): Promise<void> {
    if (this.isCaughtUp || this.#isClosed) return;
    let file: OpenFile | null;
    try {
      file = this.#open();
    } catch (error) {
      return await this.#openFailed(errnoName(error));
    }
    if (file === null) return this.#nextSegment();
    const endBytes = this.#endOf(file);
    if (this.#at >= endBytes) {
      const { ends, onDamage } = this.#options;
      if (endBytes < (ends.get(file.number) ?? 0)) onDamage(file.number, endBytes, "the file ends there");
      return this.#nextSegment();
    }
    await this.#window(file, endBytes);
  }

  /** Ends a pause; nothing is read any more. */
  close(): void {
    this.#isClosed = true;
    this.#wake();
    this.#closeFile();
  }

  /** Where what may be read of the segment ends. */
  #endOf({ number, header }: OpenFile): number {
    const { bound, endOf, sizeOf } = this.#options;
    const { segment, offset } = bound();
    if (number === segment) return offset;
    const known = endOf(number);
    // A start cuts off what is behind the end of the last one.
    return known >= 0 ? known : Math.min(header.sizeBytes, sizeOf(number));
  }

  #nextSegment(): void {
    const { nextSegment, onSegmentEnd } = this.#options;
    const next = nextSegment(this.#segment);
    this.#isAtEnd = next === null;
    if (next === null) return;
    this.#closeFile();
    const done = this.#segment;
    this.#segment = next;
    this.#at = FIRST_GROUP_AT;
    onSegmentEnd(done);
  }

  /** Null: there is nothing to be read in the segment. Throws the system's errors. */
  #open(): OpenFile | null {
    if (this.#file !== null) return this.#file;
    const { dir, ops, onDamage, hasSegment } = this.#options;
    if (!hasSegment(this.#segment)) return null;
    try {
      const { fd, header, cause } = openSegmentFile(dir, this.#segment, "buffer", ops);
      if (header !== null) {
        return this.#file = { number: this.#segment, fd, header, scan: new GroupScan(header) };
      }
      ops.close(fd);
      onDamage(this.#segment, 0, cause);
    } catch (error) {
      if (errnoName(error) !== "ENOENT" && !(error instanceof LogNewerError)) throw error;
      onDamage(this.#segment, 0, error instanceof LogNewerError ? error.message : "it is missing");
    }
    return null;
  }

  async #openFailed(code: string): Promise<void> {
    if (await this.#tryAgain(this.#segment, code)) return;
    this.#options.onDamage(this.#segment, 0, `it cannot be opened (${code})`);
    this.#nextSegment();
  }

  #closeFile(): void {
    if (this.#file !== null) this.#options.ops.close(this.#file.fd);
    this.#file = null;
  }

  async #window(file: OpenFile, endBytes: number): Promise<void> {
    const { pool } = this.#options;
    // Large groups are of one size, as a rule: a window that ends inside one would be read for nothing.
    const windowBytes = this.#groupBytes * 2 > READ_WINDOW_BYTES ? this.#groupBytes : READ_WINDOW_BYTES;
    let wantedBytes = Math.min(endBytes - this.#at, windowBytes);
    for (;;) {
      const window = pool.take(wantedBytes);
      try {
        const length = await this.#read(file, window, wantedBytes);
        if (this.#isClosed || length < 0) return;
        // Fewer than were asked for: the file ends there.
        const needed = this.#groups(
          file,
          window,
          length,
          length < wantedBytes ? this.#at + length : endBytes,
        );
        if (needed === 0) return;
        wantedBytes = needed;
      } finally {
        window.release();
      }
    }
  }

  /** Gives the whole groups of the window. Returns 0, or how many bytes the first one needs to be whole. */
  #groups(file: OpenFile, window: PooledBuffer, length: number, endBytes: number): number {
    const { onFrame } = this.#options;
    const windowAt = this.#at;
    const windowEnd = windowAt + length;
    while (this.#at < windowEnd) {
      const start = this.#at - windowAt;
      const found = file.scan.groupAt(this.#at, window.data, start, length);
      if (found.kind === "more" && this.#at + found.neededBytes <= endBytes) {
        if (start > 0) return 0; // the next window starts here
        if (length >= found.neededBytes) throw new Error("A group needs no more than what is there");
        if (windowEnd < endBytes) return Math.max(found.neededBytes, GROUP_HEADER_BYTES);
      }
      if (found.kind !== "group" || found.isMark) {
        this.#passOver(file, endBytes);
        return 0;
      }
      const isWhole = forEachFrame(
        window.data,
        start,
        found.payloadBytes,
        (type, from, to) => onFrame(type, window, from, to, file.number),
      );
      if (!isWhole) this.#options.onDamage(file.number, this.#at, "a frame is longer than its group");
      this.#at += found.sizeBytes;
      this.#groupBytes = found.sizeBytes;
    }
    return 0;
  }

  /** There is no good group: the end of a segment of which it is not known, or damage. */
  #passOver(file: OpenFile, endBytes: number): void {
    const { ops, endOf, ends, onDamage, bound } = this.#options;
    const isEndKnown = file.number === bound().segment || endOf(file.number) >= 0 ||
      this.#at < (ends.get(file.number) ?? 0);
    let next: number;
    try {
      next = findNextGroup(file.fd, file.header, ops, this.#at);
    } catch (error) {
      onDamage(file.number, this.#at, `it cannot be read (${errnoName(error)})`);
      next = Math.min(endBytes, this.#at + UNREADABLE_STEP_BYTES);
      this.#at = next;
      return;
    }
    if (next < 0 && !isEndKnown) {
      this.#at = endBytes;
      return;
    }
    onDamage(file.number, this.#at, "what is written there is not what was stored");
    this.#at = next < 0 ? endBytes : Math.min(next, endBytes);
  }

  /** Returns the bytes that were read; -1 when that failed, and something was done about it. */
  async #read(file: OpenFile, window: PooledBuffer, wantedBytes: number): Promise<number> {
    const { ops } = this.#options;
    const target = window.data;
    let done = 0;
    try {
      while (done < wantedBytes) {
        const left = wantedBytes - done;
        const count = left <= READ_AT_ONCE_BYTES
          ? ops.read(file.fd, target, done, left, this.#at + done)
          : await ops.readLater(file.fd, target, done, left, this.#at + done);
        if (count <= 0) break;
        done += count;
      }
    } catch (error) {
      if (!this.#isClosed) await this.#readFailed(file, errnoName(error));
      return -1;
    }
    this.#failedReads = 0;
    if (done === 0 && !this.#isClosed) {
      // The file was cut.
      this.#options.onDamage(file.number, this.#at, "the file ends there");
      this.#at = this.#endOf(file);
      return -1;
    }
    return done;
  }

  async #readFailed(file: OpenFile, code: string): Promise<void> {
    if (await this.#tryAgain(file.number, code)) return;
    this.#options.onDamage(file.number, this.#at, `it cannot be read (${code})`);
    this.#at = Math.min(this.#endOf(file), this.#at + UNREADABLE_STEP_BYTES);
  }

  /** Pauses before another try; false: there were enough. */
  async #tryAgain(segment: number, code: string): Promise<boolean> {
    const { dir, log } = this.#options;
    const isLast = ++this.#failedReads >= READ_TRIES_MAX;
    log.warn(
      `Cannot read the disk buffer in "${dir}", segment ${segment} at byte ${this.#at} (${code}): ${
        isLast ? "giving up on these bytes" : "delivery waits, and reading is tried again"
      }`,
      { hint: "look at the disk: dmesg, smartctl" },
    );
    if (isLast) {
      this.#failedReads = 0;
      return false;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, READ_PAUSE_MS * 2 ** this.#failedReads);
    this.#wake = resolve;
    await promise;
    clearTimeout(timer);
    return true;
  }
}
