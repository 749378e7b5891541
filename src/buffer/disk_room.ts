import { GROUP_HEADER_BYTES, markBytes, SEGMENT_HEADER_BYTES } from "../storage/segment_format.ts";
import { PENDING_BYTES_MAX } from "./disk_writer.ts";
import type { SegmentedLog } from "../storage/segmented_log.ts";

/** A buffer is made of at least so many segments: one that is done gives this share of the room back. */
const SEGMENTS_MIN = 8;
/** The buffer counts as full when the disk has less than this left: the journal has to go on, now and at the next start. */
export const RESERVED_FREE_BYTES = 4_194_304;
/** The disk's free room is asked for again after so long, milliseconds, or when this share of what it had may be written. */
const FREE_AGE_MS = 1_000;
const FREE_SHARE = 1 / 4;
/** A segment is no larger: what is read through to find a place in it, or dropped at once, is bounded. */
export const SEGMENT_BYTES_MAX = 16_777_216;

/** Size of a segment's file for a buffer of this size. */
export function segmentBytesFor(maxSizeBytes: number): number {
  const share = Math.floor(maxSizeBytes / SEGMENTS_MIN / SEGMENT_HEADER_BYTES) * SEGMENT_HEADER_BYTES;
  return Math.min(SEGMENT_BYTES_MAX, share);
}

/** How much of the disk a buffer takes up, and how much it may still take. */
export class DiskRoom {
  readonly #log: SegmentedLog;
  readonly #maxSizeBytes: number;
  readonly #segmentBytes: number;
  readonly #freeBytes: () => number;
  #free = 0;
  #freeAtMs = -Infinity;
  #freeAtBytes = 0;

  /** `freeBytes`: what the disk has left. */
  constructor(log: SegmentedLog, maxSizeBytes: number, freeBytes: () => number) {
    this.#log = log;
    this.#freeBytes = freeBytes;
    this.#maxSizeBytes = maxSizeBytes;
    this.#segmentBytes = segmentBytesFor(maxSizeBytes);
  }

  /** Others, or this buffer, have left nothing of the disk but what is kept for the journal. */
  get isDiskShort(): boolean {
    const written = this.#log.writtenBytes - this.#freeAtBytes;
    const isOld = performance.now() - this.#freeAtMs > FREE_AGE_MS;
    if (isOld || written > (this.#free - RESERVED_FREE_BYTES) * FREE_SHARE) {
      this.#free = this.#freeBytes();
      this.#freeAtMs = performance.now();
      this.#freeAtBytes = this.#log.writtenBytes;
    }
    return this.#free < RESERVED_FREE_BYTES;
  }

  /** Bytes that may wait for the disk: a group is not much larger than a segment, or the whole buffer would be one. */
  get pendingBytesMax(): number {
    return Math.min(PENDING_BYTES_MAX, this.#segmentBytes);
  }

  /** Bytes of segments in use. */
  get usedBytes(): number {
    let sum = this.#log.writtenTo;
    for (const { sizeBytes, endBytes } of this.#log.older) sum += endBytes < 0 ? sizeBytes : endBytes;
    return sum;
  }

  /**
   * Bytes that can be written before the buffer is full: what is left of the current segment, and the segments that may still be made. One of them
   * is kept back for a batch that turns out larger than was thought; when that is in use, the buffer is full whatever is left of it. So the files never
   * take up more than was allowed, but for one batch that is larger than a segment. `isEmpty`: nothing in them is wanted any more, so that one more can be
   * made whatever there is.
   */
  leftBytes(isEmpty: boolean): number {
    const { older, currentSizeBytes, writtenTo, pendingBytes, alignmentBytes } = this.#log;
    let filesBytes = currentSizeBytes;
    for (const { sizeBytes } of older) filesBytes += sizeBytes;
    let segmentsLeft = Math.floor((this.#maxSizeBytes - filesBytes) / this.#segmentBytes) - 1;
    if (isEmpty) segmentsLeft = Math.max(1, segmentsLeft);
    if (segmentsLeft < 0) return 0;
    const lostBytes = lostBytesOf(alignmentBytes);
    const current = Math.max(0, currentSizeBytes - writtenTo - lostBytes);
    const others = segmentsLeft * Math.max(0, this.#segmentBytes - SEGMENT_HEADER_BYTES - lostBytes);
    return Math.max(0, current + others - pendingBytes);
  }

  /** Frames of so many bytes can be written without the files taking up more than is allowed, with what is kept back. */
  hasRoomFor(bytes: number): boolean {
    const { older, currentSizeBytes, writtenTo, pendingBytes, alignmentBytes } = this.#log;
    if (currentSizeBytes - writtenTo >= bytes + pendingBytes + lostBytesOf(alignmentBytes)) return true;
    let filesBytes = currentSizeBytes;
    for (const { sizeBytes } of older) filesBytes += sizeBytes;
    return filesBytes + this.#segmentBytes <= this.#maxSizeBytes;
  }
}

/** A mark goes behind the last group, and both it and what waits are padded. */
function lostBytesOf(alignmentBytes: number): number {
  return markBytes(alignmentBytes) + 2 * (GROUP_HEADER_BYTES + alignmentBytes);
}
