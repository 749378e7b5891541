import { join } from "node:path";
import { errnoName } from "../errors.ts";
import { FIRST_GROUP_AT } from "../storage/group_scan.ts";
import { LogNewerError } from "../storage/log_errors.ts";
import { segmentsIn } from "../storage/log_reader.ts";
import { CodecError } from "../storage/byte_codec.ts";
import {
  type FoundFrame,
  openSegmentFile,
  readSegmentFrames,
  type SegmentExtent,
} from "../storage/segment_file.ts";
import { type SegmentHeader, segmentName } from "../storage/segment_format.ts";
import type { StorageOps } from "../storage/storage_ops.ts";
import { TolerantReads, UNREADABLE_BLOCK_BYTES } from "../storage/tolerant_reads.ts";
import { BufferFrame } from "./buffer_frames.ts";
import type { MissingEvents } from "./event_fates.ts";
import { readSkip } from "./skip_frame.ts";
import {
  bufferIdOf,
  originOf,
  readStoredEvents,
  type StoredEvents,
  type StoredOrigin,
} from "./stored_events.ts";
import { type BufferProblem, WalkProblems } from "./walk_problems.ts";

export interface BufferWalkOptions {
  readonly dir: string;
  readonly ops: StorageOps;
  /** Null: take the one that the newest events name. */
  readonly bufferId: Buffer | null;
  /** A frame of events, in order, each once, valid during the call. False ends the walk. May throw `CodecError`: the frame is damaged then. */
  readonly onEvents: (stored: StoredEvents, origin: StoredOrigin) => boolean | void;
  readonly onProblem: (problem: BufferProblem) => void;
  /** The first event that is still wanted; null: not known, nothing in front of the first that is there is missing. */
  readonly firstWanted: number | null;
  /** Events in front of this number had been stored; 0: not known. */
  readonly storedTo: number;
  /** Which of these events, which no file has, are wanted; asked after that was seen. */
  readonly missingIn: (from: number, to: number) => MissingEvents | null;
}

/** A segment, as a walk found it. */
export interface WalkedSegment {
  readonly number: number;
  readonly file: string;
  /** Behind its last good group. */
  readonly endBytes: number;
  readonly groupCount: number;
  /** A shipper can read nothing of it. */
  readonly isUnusable: boolean;
  /** Blocks of it that the device does not give. */
  readonly unreadableBlocks: number;
}

export interface BufferWalkResult {
  readonly segments: readonly WalkedSegment[];
  readonly eventCount: number;
  /** Number behind the last event; null: there is none. */
  readonly nextEvent: number | null;
  readonly problemCount: number;
}

/** The segment and group behind which reading goes on. */
interface Place {
  readonly segment: number;
  readonly groupAt: number;
}

/**
 * Reads everything in the folder of a disk buffer once, in order, and goes on behind what is damaged. Nothing is written, and a shipper may run
 * meanwhile: it adds events, and takes segments away whose events are delivered. So what looks wrong is looked at again before it is told. Memory is
 * bounded by one group. Blocks; throws the system's errors where the folder or a file cannot be opened for want of the right to, and `LogNewerError`.
 */
export function walkBuffer(options: BufferWalkOptions): BufferWalkResult {
  return new BufferWalk(options).walk();
}

/** The id that the newest events of a buffer carry; null: there are none. Throws the system's errors for the folder, and `LogNewerError`. */
export function bufferIdIn(dir: string, ops: StorageOps): Buffer | null {
  for (const number of segmentsIn(dir, ops).reverse()) {
    let id: Buffer | null = null;
    forEachFrameOf(dir, number, new TolerantReads(ops).ops, FIRST_GROUP_AT, (frame) => {
      if (frame.type !== BufferFrame.EVENTS) return;
      try {
        id = bufferIdOf(readStoredEvents(frame.data, frame.start, frame.end, null));
      } catch (error) {
        if (!isCodecError(error)) throw error;
      }
      return id === null;
    });
    if (id !== null) return id;
  }
  return null;
}

/** Number behind the last event of a buffer; 0: there is none. Throws as above. */
export function bufferEndIn(dir: string, bufferId: Buffer, ops: StorageOps): number {
  for (const number of segmentsIn(dir, ops).reverse()) {
    let end = 0;
    forEachFrameOf(dir, number, new TolerantReads(ops).ops, FIRST_GROUP_AT, (frame) => {
      if (frame.type !== BufferFrame.EVENTS) return;
      try {
        const { firstEvent, count } = readStoredEvents(frame.data, frame.start, frame.end, bufferId);
        end = Math.max(end, firstEvent + count);
      } catch (error) {
        if (!isCodecError(error)) throw error;
      }
    });
    if (end > 0) return end;
  }
  return 0;
}

class BufferWalk {
  readonly #options: BufferWalkOptions;
  readonly #reads: TolerantReads;
  readonly #bufferId: Buffer | null;
  readonly #problems: WalkProblems;
  readonly #segments: WalkedSegment[] = [];
  #problemCount = 0;
  #eventCount = 0;
  #nextEvent: number | null = null;
  /** Of the frame of events that was read last. */
  #last: Place | null = null;
  #isStopped = false;

  constructor(options: BufferWalkOptions) {
    this.#options = options;
    this.#reads = new TolerantReads(options.ops);
    this.#bufferId = options.bufferId ?? bufferIdIn(options.dir, options.ops);
    this.#problems = new WalkProblems((problem) => {
      this.#problemCount++;
      options.onProblem(problem);
    });
  }

  walk(): BufferWalkResult {
    const { dir, ops, storedTo, firstWanted } = this.#options;
    for (const number of segmentsIn(dir, ops)) {
      if (!this.#isStopped) this.#segment(number);
    }
    const expected = this.#nextEvent ?? firstWanted;
    if (!this.#isStopped && expected !== null && expected < storedTo) this.#end(expected, storedTo);
    this.#problems.flush();
    return {
      segments: this.#segments,
      eventCount: this.#eventCount,
      nextEvent: this.#nextEvent,
      problemCount: this.#problemCount,
    };
  }

  #segment(number: number): void {
    const { dir } = this.#options;
    const { ops } = this.#reads;
    this.#reads.forget();
    for (let looks = 0;; looks++) {
      let file: ReturnType<typeof openSegmentFile>;
      try {
        file = openSegmentFile(dir, number, "buffer", ops);
      } catch (error) {
        return this.#notOpened(number, error);
      }
      try {
        if (file.header !== null) return this.#groups(file.path, file.fd, file.header);
        // Its file may just have become another segment.
        if (looks > 0) return this.#unusable(number, file.path, file.cause);
      } finally {
        ops.close(file.fd);
      }
    }
  }

  #notOpened(number: number, error: unknown): void {
    const code = errnoName(error);
    if (error instanceof LogNewerError || code === "EACCES" || code === "EPERM" || code === "UNKNOWN") {
      throw error;
    }
    // What was released is not missed; and what is missed shows in the numbers.
    if (code === "ENOENT") return;
    this.#unusable(number, join(this.#options.dir, segmentName(number)), `it cannot be opened (${code})`);
  }

  #unusable(number: number, file: string, cause: string): void {
    this.#problems.damaged({ file, byte: 0, cause });
    this.#segments.push({
      number,
      file,
      endBytes: 0,
      groupCount: 0,
      isUnusable: true,
      unreadableBlocks: this.#reads.unreadableCount,
    });
  }

  #groups(file: string, fd: number, header: SegmentHeader): void {
    const { ops } = this.#reads;
    this.#checkPrevious(header);
    const { number } = header;
    const extent = readSegmentFrames(
      { fd, header },
      ops,
      (frame) => {
        this.#frame(frame, number, file);
        return !this.#isStopped;
      },
      FIRST_GROUP_AT,
      (byte) => {
        if (this.#isStillDamaged(fd, header, byte)) this.#damaged(file, byte);
      },
    );
    this.#segments.push({
      number,
      file,
      endBytes: extent.endBytes,
      groupCount: extent.groupCount,
      isUnusable: false,
      unreadableBlocks: this.#reads.unreadableCount,
    });
  }

  #damaged(file: string, byte: number): void {
    const isUnreadable = this.#reads.isUnreadable(byte, byte + UNREADABLE_BLOCK_BYTES);
    const cause = isUnreadable ? "it cannot be read (EIO)" : "what is written there is not what was stored";
    this.#problems.damaged({ file, byte, cause });
  }

  /** A segment that goes on from another one says where that one ended: the last group of it may be damaged. */
  #checkPrevious({ previous, previousEnd }: SegmentHeader): void {
    const known = this.#segments.find(({ number }) => number === previous);
    if (known === undefined || known.isUnusable || known.endBytes >= previousEnd) return;
    const last = this.#last;
    if (last?.segment === previous) this.#lookAgain(last);
    let endBytes = known.endBytes;
    const isThere = forEachFrameOf(
      this.#options.dir,
      previous,
      this.#reads.ops,
      FIRST_GROUP_AT,
      () => {},
      (extent) => {
        endBytes = extent.endBytes;
      },
    );
    if (isThere && endBytes < previousEnd) this.#damaged(known.file, endBytes);
  }

  #frame(frame: FoundFrame, segment: number, file: string): void {
    const { type, data, start, end, offset, groupAt } = frame;
    try {
      if (type === BufferFrame.EVENTS) {
        const stored = readStoredEvents(data, start, end, this.#bufferId);
        this.#events(stored, originOf(stored), { segment, groupAt }, file);
      } else if (type === BufferFrame.SKIP) {
        if (this.#bufferId !== null) readSkip(data.subarray(start, end), this.#bufferId);
      } else throw new CodecError(`There is no frame of type ${type}`);
    } catch (error) {
      if (!isCodecError(error)) throw error;
      this.#problems.damaged({ file, byte: offset, cause: (error as Error).message });
    }
  }

  #events(stored: StoredEvents, origin: StoredOrigin, place: Place, file: string): void {
    const { firstEvent, count } = stored;
    const { onEvents, firstWanted } = this.#options;
    let expected = this.#nextEvent ?? firstWanted ?? firstEvent;
    if (firstEvent > expected && this.#last !== null) {
      this.#lookAgain(this.#last);
      expected = this.#nextEvent!;
    }
    if (firstEvent > expected) this.#gap(expected, firstEvent);
    else this.#problems.flush();
    // Written twice: a commit failed, and was there all the same.
    if (this.#nextEvent !== null && firstEvent + count <= this.#nextEvent) return;
    if (this.#nextEvent !== null && firstEvent < this.#nextEvent) {
      const cause = `events ${firstEvent} to ${this.#nextEvent - 1} are there twice`;
      this.#problems.damaged({ file, byte: place.groupAt, cause });
    }
    const isOver = onEvents(stored, origin) === false;
    this.#eventCount += count;
    this.#nextEvent = firstEvent + count;
    this.#last = place;
    if (isOver) this.#isStopped = true;
  }

  /** Events in front of a frame that is there are in no file: they were released, dropped, or are lost. */
  #gap(from: number, to: number): void {
    const missing = this.#options.missingIn(from, to);
    if (missing === null) this.#problems.flush();
    else this.#problems.missing(missing);
  }

  /** Events behind the last that is there had been stored. */
  #end(from: number, to: number): void {
    const missing = this.#options.missingIn(from, to);
    if (missing === null) return;
    const last = this.#segments.at(-1);
    if (!this.#problems.hasPending && last !== undefined) {
      const { file, endBytes: byte } = last;
      this.#problems.damaged({ file, byte, cause: "the buffer ends there, and more had been stored" });
    }
    this.#problems.missing(missing);
  }

  /** What is missing behind this place may have been written since it was read. */
  #lookAgain({ segment, groupAt }: Place): void {
    const file = join(this.#options.dir, segmentName(segment));
    let isOver = false;
    forEachFrameOf(this.#options.dir, segment, this.#reads.ops, groupAt, (frame) => {
      if (frame.type !== BufferFrame.EVENTS || isOver) return !isOver;
      const firstEvent = firstEventOf(frame);
      if (firstEvent === this.#nextEvent) this.#frame(frame, segment, file);
      else if (firstEvent === null || firstEvent > this.#nextEvent!) isOver = true;
      return !isOver;
    });
  }

  /** It may have been written since, or the file taken for another segment. */
  #isStillDamaged(fd: number, header: SegmentHeader, byte: number): boolean {
    const { dir } = this.#options;
    const { ops } = this.#reads;
    let isDamaged = false;
    readSegmentFrames({ fd, header }, ops, ({ groupAt }) => groupAt === byte, byte, (at) => {
      isDamaged ||= at === byte;
    });
    if (!isDamaged) return false;
    try {
      const again = openSegmentFile(dir, header.number, "buffer", ops);
      ops.close(again.fd);
      return again.header !== null && again.header.nonce.equals(header.nonce);
    } catch (error) {
      if (errnoName(error) === "ENOENT") return false;
      throw error;
    }
  }
}

/** Calls back for the frames of one segment from `from` on, until it returns false. False: the file is not there, or is no segment. */
function forEachFrameOf(
  dir: string,
  number: number,
  ops: StorageOps,
  from: number,
  onFrame: (frame: FoundFrame) => boolean | void,
  onEnd: (extent: SegmentExtent) => void = () => {},
): boolean {
  let file: ReturnType<typeof openSegmentFile>;
  try {
    file = openSegmentFile(dir, number, "buffer", ops);
  } catch (error) {
    if (error instanceof LogNewerError || errnoName(error) === "UNKNOWN") throw error;
    return false; // whoever walks over it says why
  }
  try {
    if (file.header === null) return false;
    onEnd(readSegmentFrames({ fd: file.fd, header: file.header }, ops, onFrame, from));
    return true;
  } finally {
    ops.close(file.fd);
  }
}

/** Null for a frame that is none of events. */
function firstEventOf({ data, start, end }: FoundFrame): number | null {
  try {
    return readStoredEvents(data, start, end, null).firstEvent;
  } catch (error) {
    if (!isCodecError(error)) throw error;
    return null;
  }
}

function isCodecError(error: unknown): boolean {
  return (error as Error | null)?.name === "CodecError";
}
