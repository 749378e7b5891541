import { LogChangedError, LogDamagedError, LogNewerError } from "./log_errors.ts";
import {
  alignUp,
  claimedPayloadBytes,
  decodeGroupHeader,
  decodeSegmentHeader,
  FLAG_CLEAN_STOP,
  FORMAT_VERSIONS,
  FRAME_HEADER_BYTES,
  GROUP_HEADER_BYTES,
  GROUP_TAG_BYTES,
  groupCrc,
  type GroupFields,
  groupTag,
  type LogKind,
  nonceSeed,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
} from "./segment_format.ts";
import { readFully, type StorageOps } from "./storage_ops.ts";

/** Read at a time; the window grows for a group that is larger. */
const WINDOW_BYTES = 256 * 1024;
/** A place that changes while it is read is looked at this often. */
const LOOKS_MAX = 100;

/** A frame as it is read. One object is used for all of them. */
export interface LogFrame {
  /** 1 to 255, for the user of the log. */
  readonly type: number;
  /** A view; what has to live longer than the callback is copied. */
  readonly payload: Buffer;
  /** Number of the segment it lies in. */
  readonly segment: number;
  /** Its first byte in the segment's file. */
  readonly offset: number;
}

/** Where a segment ends, and how. */
export interface SegmentEnd {
  /** Behind the last good group, marks not counted. */
  readonly endBytes: number;
  /** Everything before is known to have been on the device. */
  readonly syncedTo: number;
  /** Marks not counted. */
  readonly groupCount: number;
  /** The last group says that the log was stopped cleanly. */
  readonly isCleanStop: boolean;
  /** Bytes of a group behind the end that was not written to its end. */
  readonly tornBytes: number;
}

/**
 * Reads one segment. A group that is damaged ends it: torn if nothing proves that the group was ever on the device, else `LogDamagedError`.
 * The proof is a later group of this segment that is good and says "synced to" behind it (the writer leaves such a mark after every sync),
 * or what the next segment's header says.
 */
export class SegmentReader {
  readonly path: string;
  readonly header: SegmentHeader;
  readonly #ops: StorageOps;
  readonly #fd: number;
  readonly #seed: number;
  readonly #tag: Buffer;
  readonly #headerBytes: Buffer;
  #window: Buffer = Buffer.alloc(0);
  #windowStart = 0;
  #windowLength = 0;

  /** Opens the file and checks its header against its name and the kind of log. The caller closes it. */
  constructor(ops: StorageOps, path: string, number: number, kind: LogKind) {
    this.#ops = ops;
    this.path = path;
    this.#fd = openSegment(ops, path);
    try {
      this.#headerBytes = this.#readHeaderBytes();
      const header = decodeSegmentHeader(this.#headerBytes);
      // It may have become a segment of another number between its opening and its reading: its name is gone then.
      if ("cause" in header || header.number !== number) ops.close(openSegment(ops, path));
      if ("cause" in header) {
        if (header.newerVersion === null) throw new LogDamagedError(path, 0, header.cause);
        throw new LogNewerError(path, header.newerVersion, FORMAT_VERSIONS[kind]);
      }
      const wrong = header.number !== number
        ? `its header says that it is segment ${header.number}`
        : header.kind !== kind
        ? `it belongs to a ${header.kind}, not to a ${kind}`
        : null;
      if (wrong !== null) throw new LogDamagedError(path, 16, wrong);
      this.header = header;
      this.#seed = nonceSeed(header.nonce);
      this.#tag = groupTag(header.nonce);
    } catch (error) {
      ops.close(this.#fd);
      throw error;
    }
  }

  close(): void {
    this.#ops.close(this.#fd);
  }

  /**
   * Whether the first group is good, that is, whether the segment was finished. `provenTo` as in `read`; throws `LogDamagedError` when the
   * group is bad and was on the device.
   */
  hasGoodStart(provenTo: number): boolean {
    for (let looks = 0; looks < LOOKS_MAX; looks++) {
      const group = this.#group(SEGMENT_HEADER_BYTES);
      if (group !== null && group.groupNumber === 0 && group.previousCrc === this.#seed) return true;
      if (this.#endAt(SEGMENT_HEADER_BYTES, group, provenTo) !== null) return false;
    }
    throw new LogChangedError(this.path);
  }

  /** True when the file is shorter than it was made: somebody cut it. */
  get isTruncated(): boolean {
    // By the open file: the name may be another file's by now.
    return readFully(this.#ops, this.#fd, Buffer.alloc(1), 0, 1, this.header.sizeBytes - 1) === 0;
  }

  /**
   * Gives every frame up to the segment's end, or up to byte `endMax`. `provenTo`: everything before was on the device, as the next segment
   * says.
   */
  read(onFrame: (frame: LogFrame) => void, endMax: number, provenTo: number): SegmentEnd {
    const { number, alignmentBytes } = this.header;
    const frame = { type: 0, payload: this.#window, segment: number, offset: 0 };
    let at = SEGMENT_HEADER_BYTES;
    let previousCrc = this.#seed;
    let groupCount = 0;
    let syncedTo = SEGMENT_HEADER_BYTES;
    for (let looks = 0; at < endMax;) {
      const group = this.#group(at);
      const isNext = group !== null && group.previousCrc === previousCrc && group.groupNumber === groupCount;
      if (isNext) syncedTo = Math.max(syncedTo, group.syncedTo);
      const isMark = isNext && group.payloadBytes === 0 && group.syncedTo === at && groupCount > 0;
      if (isMark && (group.flags & FLAG_CLEAN_STOP) !== 0) {
        this.#requireUnchanged();
        return { endBytes: at, syncedTo, groupCount, isCleanStop: true, tornBytes: 0 };
      }
      if (!isNext || isMark) {
        const tornBytes = this.#endAt(at, group, provenTo);
        if (tornBytes !== null) {
          return {
            endBytes: at,
            syncedTo,
            groupCount,
            isCleanStop: false,
            tornBytes: isMark ? 0 : tornBytes,
          };
        }
        if (++looks === LOOKS_MAX) throw new LogChangedError(this.path);
        continue;
      }
      this.#frames(at, group.payloadBytes, frame, onFrame);
      previousCrc = groupCrc(this.#window, at - this.#windowStart);
      at = alignUp(at + GROUP_HEADER_BYTES + group.payloadBytes, alignmentBytes);
      groupCount++;
      looks = 0;
    }
    this.#requireUnchanged();
    return { endBytes: at, syncedTo, groupCount, isCleanStop: false, tornBytes: 0 };
  }

  /** The group at `at`, whole and in the window; null when there is no good one. */
  #group(at: number): GroupFields | null {
    if (this.#load(at, GROUP_HEADER_BYTES) < GROUP_HEADER_BYTES) return null;
    const bytes = GROUP_HEADER_BYTES + claimedPayloadBytes(this.#window, at - this.#windowStart);
    if (at + bytes > this.header.sizeBytes || this.#load(at, bytes) < bytes) return null;
    const start = at - this.#windowStart;
    if (!this.#hasTag(start)) return null;
    return decodeGroupHeader(this.#window.subarray(0, this.#windowLength), start, this.#seed);
  }

  #frames(
    at: number,
    payloadBytes: number,
    frame: { type: number; payload: Buffer; offset: number; readonly segment: number },
    onFrame: (frame: LogFrame) => void,
  ): void {
    const end = at + GROUP_HEADER_BYTES + payloadBytes;
    for (let offset = at + GROUP_HEADER_BYTES; offset < end;) {
      const start = offset - this.#windowStart;
      const length = offset + FRAME_HEADER_BYTES <= end ? this.#window.readUInt32LE(start + 1) : Infinity;
      const frameEnd = offset + FRAME_HEADER_BYTES + length;
      if (frameEnd > end) {
        throw new LogDamagedError(this.path, offset, "a frame is longer than the group that it is in");
      }
      frame.type = this.#window[start];
      frame.payload = this.#window.subarray(start + FRAME_HEADER_BYTES, start + FRAME_HEADER_BYTES + length);
      frame.offset = offset;
      onFrame(frame);
      offset = frameEnd;
    }
  }

  /**
   * There is no group at `at`, but for a mark (`seen`): the end of the segment, or damage. Returns the bytes of a torn group there; null when
   * another process wrote there just now, so that it has to be looked at again.
   */
  #endAt(at: number, seen: GroupFields | null, provenTo: number): number | null {
    let tornBytes = 0;
    if (this.#load(at, GROUP_HEADER_BYTES) === GROUP_HEADER_BYTES && this.#hasTag(at - this.#windowStart)) {
      const claimed = GROUP_HEADER_BYTES + claimedPayloadBytes(this.#window, at - this.#windowStart);
      tornBytes = Math.min(claimed, this.header.sizeBytes - at);
    }
    const proof = at < provenTo ? provenTo : this.#proofBehind(at);
    this.#requireUnchanged();
    if (proof <= at) return tornBytes;
    // The owner may have written the group, and the proof behind it, since it was looked at.
    this.#windowLength = 0;
    const now = this.#group(at);
    if (
      now !== null && (seen === null || now.groupNumber !== seen.groupNumber || now.flags !== seen.flags ||
        now.payloadBytes !== seen.payloadBytes)
    ) return null;
    throw new LogDamagedError(
      this.path,
      at,
      `what was written there is wrong, and everything up to byte ${proof} had been on the disk`,
    );
  }

  /** The "synced to" of a good group behind `at` that says that `at` was on the device; 0 when there is none. */
  #proofBehind(at: number): number {
    const step = WINDOW_BYTES - GROUP_TAG_BYTES;
    for (let from = at + 1; from < this.header.sizeBytes; from += step) {
      const length = this.#load(from, WINDOW_BYTES);
      if (length < GROUP_HEADER_BYTES) break;
      // Looking at a group moves the window, so the places are noted first.
      const places: number[] = [];
      const start = from - this.#windowStart;
      const searched = this.#window.subarray(start, start + length);
      for (
        let found = searched.indexOf(this.#tag);
        found >= 0;
        found = searched.indexOf(this.#tag, found + 1)
      ) {
        if ((from + found) % this.header.alignmentBytes === 0) places.push(from + found);
      }
      for (const place of places) {
        const group = this.#group(place);
        if (group !== null && group.syncedTo > at) return group.syncedTo;
      }
    }
    return 0;
  }

  #hasTag(start: number): boolean {
    return start + GROUP_TAG_BYTES <= this.#windowLength &&
      this.#tag.compare(this.#window, start, start + GROUP_TAG_BYTES) === 0;
  }

  /** Makes sure that the window holds `bytes` from `at` on. Returns how many it holds there, at most `bytes`: less at the file's end. */
  #load(at: number, bytes: number): number {
    const end = this.#windowStart + this.#windowLength;
    if (at < this.#windowStart || at + bytes > end) {
      const wanted = Math.max(bytes, WINDOW_BYTES);
      if (this.#window.length < wanted) this.#window = Buffer.allocUnsafe(wanted);
      this.#windowStart = at;
      this.#windowLength = readFully(this.#ops, this.#fd, this.#window, 0, this.#window.length, at);
    }
    return Math.max(0, Math.min(bytes, this.#windowStart + this.#windowLength - at));
  }

  #readHeaderBytes(): Buffer {
    const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
    return bytes.subarray(0, readFully(this.#ops, this.#fd, bytes, 0, bytes.length, 0));
  }

  /** A file that was put to another use while it was read looks torn or damaged; it is neither. */
  #requireUnchanged(): void {
    if (!this.#readHeaderBytes().equals(this.#headerBytes)) throw new LogChangedError(this.path);
  }
}

function openSegment(ops: StorageOps, path: string): number {
  try {
    return ops.openRead(path);
  } catch (error) {
    if ((error as { code?: unknown }).code === "ENOENT") throw new LogChangedError(path);
    throw error;
  }
}
