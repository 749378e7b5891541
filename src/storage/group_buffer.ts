import type { GroupWriter } from "./group_writer.ts";
import {
  alignUp,
  encodeGroupHeader,
  FRAME_BYTES_MAX,
  FRAME_HEADER_BYTES,
  GROUP_HEADER_BYTES,
  markBytes,
} from "./segment_format.ts";

/** Room that a buffer starts with, and that it keeps. What a large group took beyond is given back. */
const KEPT_BYTES = 2_097_152;
const INITIAL_BYTES = 64 * 1024;
/** After so long without a group what it keeps is given back too. */
const IDLE_MS = 1_000;

/** Where in a segment a group goes. */
export interface SegmentPlace {
  readonly offset: number;
  readonly groupNumber: number;
  readonly previousCrc: number;
  readonly syncedTo: number;
  readonly nonce: Buffer;
  readonly seed: number;
}

export interface SealedGroup {
  readonly crc: number;
  /** Header, frames and padding. */
  readonly sizeBytes: number;
  /** Of the mark behind. */
  readonly markLength: number;
}

/** Those who wait for a group. */
interface Waiters {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/**
 * A group that is being collected or written: frames one behind the other, with room for the header in front and for padding and mark
 * behind, and the promise of those who wait for it. A log has two and swaps them.
 */
export class GroupBuffer {
  readonly #writer: GroupWriter;
  readonly #idleMs: number;
  /** Starts with the group's header. Read it anew after each call that adds. */
  bytes: Buffer;
  /** Header and frames. */
  length = GROUP_HEADER_BYTES;
  /** Somebody wants it written. */
  isWanted = false;
  /** Somebody wants it on the device. */
  isSyncWanted = false;
  #waiters: Waiters | null = null;
  #wasUsed = false;
  #idleTimer: ReturnType<typeof setTimeout> | null = null;

  /** `idleMs`: see IDLE_MS. */
  constructor(writer: GroupWriter, idleMs = IDLE_MS) {
    this.#writer = writer;
    this.#idleMs = idleMs;
    this.bytes = writer.allocate(INITIAL_BYTES);
  }

  get payloadBytes(): number {
    return this.length - GROUP_HEADER_BYTES;
  }

  /** Copies a frame in. */
  add(type: number, payload: Buffer, length: number): void {
    if (length > payload.length) {
      throw new RangeError(`A frame of ${length} bytes does not fit (${payload.length} given)`);
    }
    this.addWith(type, length, (target, at) => void payload.copy(target, at, 0, length));
  }

  /** Has a frame of `length` bytes written in place: `fill` gets the buffer and where in it the payload starts. */
  addWith(type: number, length: number, fill: (target: Buffer, at: number) => void): void {
    if (!Number.isInteger(type) || type < 1 || type > 255) {
      throw new RangeError(`Frame type ${type} is not in 1 to 255`);
    }
    if (length > FRAME_BYTES_MAX) {
      throw new RangeError(`A frame of ${length} bytes does not fit (${FRAME_BYTES_MAX} at most)`);
    }
    const end = this.length + FRAME_HEADER_BYTES + length;
    if (end > this.bytes.length) this.#grow(end);
    this.bytes[this.length] = type;
    this.bytes.writeUInt32LE(length, this.length + 1);
    fill(this.bytes, this.length + FRAME_HEADER_BYTES);
    this.length = end;
  }

  /** Promise of the moment when the group, with all that is added until it is taken, is written. */
  want(sync: boolean): Promise<void> {
    this.isWanted = true;
    this.isSyncWanted ||= sync;
    return this.join();
  }

  /** The promise alone. */
  join(): Promise<void> {
    this.#waiters ??= Promise.withResolvers<void>();
    return this.#waiters.promise;
  }

  /** Tells those who wait, and empties the buffer. */
  settle(error: Error | null): void {
    const waiters = this.#waiters;
    this.#waiters = null;
    this.isWanted = false;
    this.isSyncWanted = false;
    this.clearFrames();
    this.#wasUsed = true;
    if (this.bytes.length > KEPT_BYTES) this.bytes = this.#writer.allocate(INITIAL_BYTES);
    else if (this.bytes.length > INITIAL_BYTES) this.#idleTimer ??= this.#trimLater();
    if (waiters === null) return;
    if (error === null) waiters.resolve();
    else waiters.reject(error);
  }

  #trimLater(): ReturnType<typeof setTimeout> {
    this.#wasUsed = false;
    const timer = setTimeout(() => {
      this.#idleTimer = this.#wasUsed || this.payloadBytes > 0 ? this.#trimLater() : null;
      if (this.#idleTimer === null) this.bytes = this.#writer.allocate(INITIAL_BYTES);
    }, this.#idleMs);
    timer.unref();
    return timer;
  }

  clearFrames(): void {
    this.length = GROUP_HEADER_BYTES;
  }

  /**
   * Writes header and padding for the group's place in `segment`, and, when it is synced, a mark behind that says so. Returns the group's
   * checksum and the bytes of both.
   */
  seal(segment: SegmentPlace, alignmentBytes: number, isSynced: boolean): SealedGroup {
    const { groupNumber, previousCrc, syncedTo, nonce, seed } = segment;
    const sizeBytes = alignUp(this.length, alignmentBytes);
    if (sizeBytes > this.bytes.length) this.#grow(sizeBytes);
    this.bytes.fill(0, this.length, sizeBytes);
    const fields = { payloadBytes: this.payloadBytes, groupNumber, previousCrc, syncedTo, flags: 0 };
    const crc = encodeGroupHeader(this.bytes, 0, fields, nonce, seed);
    if (!isSynced) return { crc, sizeBytes, markLength: 0 };
    const place = { groupNumber: groupNumber + 1, previousCrc: crc, nonce, seed };
    const markLength = this.putMark(sizeBytes, place, segment.offset + sizeBytes, 0, alignmentBytes);
    return { crc, sizeBytes, markLength };
  }

  /** Puts a group without frames, padded, at byte `at` of the buffer. Returns its size. */
  putMark(
    at: number,
    { groupNumber, previousCrc, nonce, seed }: Omit<SegmentPlace, "offset" | "syncedTo">,
    syncedTo: number,
    flags: number,
    alignmentBytes: number,
  ): number {
    const sizeBytes = markBytes(alignmentBytes);
    if (at + sizeBytes > this.bytes.length) this.#grow(at + sizeBytes);
    this.bytes.fill(0, at, at + sizeBytes);
    encodeGroupHeader(
      this.bytes,
      at,
      { payloadBytes: 0, groupNumber, previousCrc, syncedTo, flags },
      nonce,
      seed,
    );
    return sizeBytes;
  }

  #grow(sizeBytes: number): void {
    const larger = this.#writer.allocate(Math.max(alignUp(sizeBytes, INITIAL_BYTES), this.bytes.length * 2));
    this.bytes.copy(larger, 0, 0, this.bytes.length);
    this.bytes = larger;
  }
}
