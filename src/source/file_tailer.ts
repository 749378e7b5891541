import type { Outlet } from "../event/chunk.ts";
import type { BufferPool, PooledBuffer } from "../event/pooled_buffer.ts";
import { POOLED_SIZES_BYTES } from "../event/pooled_buffer.ts";
import { errnoName } from "../errors.ts";
import type { SourceMetrics } from "../telemetry/metrics.ts";
import type { DeviceGate } from "./device_gate.ts";
import type { FileOps } from "./file_ops.ts";
import type { OpenFiles } from "./open_files.ts";
import type { ReadScheduler } from "./read_scheduler.ts";
import type { TailedFile } from "./tailed_file.ts";

/** Bytes in front of the position that are read again with every read: if they changed, the file was truncated and written anew. */
export const MARKER_BYTES = 64;
/** Reads of one file that fail in a row before a file that nobody can write to any more is given up. */
export const FAILURES_MAX = 60;
const FAILURES_MAX_ONCE = 3;
/** A file without a name and with nothing left to read is looked for this often. */
const MISSING_MAX = 3;

const READ_BYTES_MIN: number = POOLED_SIZES_BYTES[0];
/** Large enough to make the cost of a chunk small, small enough that its JSON still fits into a pooled buffer. */
const READ_BYTES_MAX = 524_288;
/** A buffer that was filled is followed by one this many times larger. */
const BURST_GROWTH = 4;
/** A line of the longest length ends in "\r\n". */
const DELIMITER_BYTES_MAX = 2;

/** What every tailer of a source shares. */
export interface TailContext {
  readonly ops: FileOps;
  readonly gate: DeviceGate;
  readonly openFiles: OpenFiles;
  readonly pool: BufferPool;
  readonly scheduler: ReadScheduler;
  readonly metrics: SourceMetrics;
  readonly nowMs: () => number;
  readonly monotonicMs: () => number;
  readonly maxLineBytes: number;
  readonly fingerprintBytes: number;
  readonly rotateWaitMs: number;
  readonly partialFlushAfterMs: number;
  /** Read to the end that the file has at the start, then end. */
  readonly isOnce: boolean;
  /** The bytes in front of a position are gone: `file` was truncated. Called once for a file, synchronously. */
  readonly onCutOff: (file: TailedFile, sizeBytes: number) => void;
  /** `head` is what the file starts with; valid during the call. */
  readonly onHead: (file: TailedFile, head: Buffer) => void;
  /** A tailer has ended. */
  readonly onEnded: (file: TailedFile) => void;
  readonly onFailure: (file: TailedFile, error: unknown) => void;
  readonly onGivenUp: (file: TailedFile, offset: number) => void;
  /** `bytes` from `offset` on were truncated away before they were read for `sink`. */
  readonly onLost: (file: TailedFile, sink: string, offset: number, bytes: number) => void;
}

/**
 * Reads one file for one outlet. The states of a position at the end of the file:
 *
 *     waiting    everything complete was taken; a last line without newline may be left
 *     passed     ... nothing is left, and the file lost its name: the next file under that name may be read
 *     ended      ... and it was quiet for rotate_wait: nothing will come any more
 *
 * A turn is one read, of a buffer that starts `MARKER_BYTES` before the position. What the outlet leaves is read again by the next turn;
 * only a buffer that a full outlet has taken in part is held, and nothing else is read for that outlet meanwhile.
 */
export class FileTailer {
  readonly file: TailedFile;
  readonly outlet: Outlet;
  readonly outletIndex: number;
  readonly startOffset: number;
  offset: number;
  hasPassed = false;
  hasEnded = false;
  /** When the last read found the end of the file (monotonic). */
  lastEndMs = -Infinity;
  readonly #context: TailContext;
  /** For a run that ends: the size at its start. */
  readonly #finalBytes: number;
  #isDirty = false;
  #isQueued = false;
  #isInTurn = false;
  /** The last bytes in front of `offset`; empty until something was read. */
  readonly #marker = Buffer.allocUnsafe(MARKER_BYTES);
  #markerBytes = 0;
  /** A line did not fit: the next read is at least this long. */
  #readBytesMin = READ_BYTES_MIN;
  /** What the last reads say that the next one will find: a busy writer's file grows faster than its size is looked at. */
  #burstBytes = 0;
  /** The end of the file as last seen, and since when it is there. */
  #endOffset = -1;
  #quietSinceMs = 0;
  #failureCount = 0;

  constructor(
    context: TailContext,
    file: TailedFile,
    outlet: Outlet,
    outletIndex: number,
    startOffset: number,
  ) {
    this.#context = context;
    this.file = file;
    this.outlet = outlet;
    this.outletIndex = outletIndex;
    this.startOffset = startOffset;
    this.offset = startOffset;
    this.#finalBytes = file.sizeBytes;
  }

  /** There may be something to read, or something to decide. Cheap, and may be called for every event. */
  wake(): void {
    this.#isDirty = true;
    if (this.hasEnded || this.#isQueued || this.#isInTurn) return;
    const before = this.file.predecessor?.tailers[this.outletIndex];
    if (before !== undefined && !before.hasPassed) return;
    this.#isQueued = true;
    this.#context.scheduler.enqueue(this);
  }

  /** A successor has come: it waits for what is in the file by now. */
  passAgain(): void {
    if (this.hasEnded) return;
    this.hasPassed = false;
    this.wake();
  }

  /** One read and what follows from it. `onDevice` is told the device that a system call waits for, and null when none does. */
  async turn(signal: AbortSignal, onDevice: (device: string | null) => void): Promise<void> {
    this.#isQueued = false;
    this.#isInTurn = true;
    this.#isDirty = false;
    try {
      if (this.file.isCutOff) this.#endCutOff();
      else await this.#readAndOffer(signal, onDevice);
    } finally {
      this.#isInTurn = false;
    }
    if (this.#isDirty && !signal.aborted) this.wake();
  }

  async #readAndOffer(signal: AbortSignal, onDevice: (device: string | null) => void): Promise<void> {
    const before = this.#bytesBefore();
    const owner = this.#context.pool.take(before + this.#readBytes());
    try {
      const count = await this.#read(owner.data, before, signal, onDevice);
      if (count === null || this.hasEnded) return;
      if (this.file.isCutOff) return this.#endCutOff();
      const end = this.offset - before + count;
      if (count < before || this.#hasMarkerChanged(owner.data, before)) {
        // Nothing was there, so nothing is known of where it ends now.
        this.#context.onCutOff(this.file, count === 0 ? 0 : end);
        return this.#endCutOff();
      }
      this.#failureCount = 0;
      if (before === this.offset) this.#context.onHead(this.file, owner.data.subarray(0, count));
      if (this.#markerBytes === 0) this.#setMarker(owner.data, before);
      const isAtEnd = count < owner.data.length;
      this.#burstBytes = isAtEnd ? count - before : owner.data.length * BURST_GROWTH;
      this.file.sizeBytes = isAtEnd ? end : Math.max(end, this.file.sizeBytes);
      const isComplete = await this.#offer(owner, before, count, this.#isFinal(isAtEnd, end), signal);
      if (!isComplete) return;
      if (isAtEnd) await this.#settleEnd(owner, count, end, signal);
      else this.#goOn(owner.data.length, before, count - (this.offset - (end - count)));
    } finally {
      owner.release();
    }
  }

  /** The bytes read, or null when that failed or the run ends. */
  async #read(
    target: Buffer,
    before: number,
    signal: AbortSignal,
    onDevice: (device: string | null) => void,
  ): Promise<number | null> {
    const { gate, openFiles, ops } = this.#context;
    const { device, handle } = this.file;
    onDevice(device);
    await gate.acquire(device);
    try {
      if (signal.aborted) return null;
      const fd = await openFiles.acquire(handle);
      try {
        return await ops.read(fd, target, target.length, this.offset - before);
      } finally {
        openFiles.release(handle);
      }
    } catch (error) {
      this.#fail(error);
      return null;
    } finally {
      gate.release(device);
      onDevice(null);
    }
  }

  /** Offers `data[before .. count)` until only an incomplete line is left. False when the run ends meanwhile. */
  async #offer(
    owner: PooledBuffer,
    before: number,
    count: number,
    isFinal: boolean,
    signal: AbortSignal,
  ): Promise<boolean> {
    const receivedMs = this.#context.nowMs();
    let from = before;
    while (from < count) {
      if (!this.outlet.hasRoom()) {
        await this.outlet.waitForRoom(signal);
        if (signal.aborted) return false;
        continue;
      }
      const taken = this.outlet.offer({
        stream: this.file.stream,
        offset: this.offset,
        data: owner.data.subarray(from, count),
        owner,
        isFinal,
        receivedMs,
      });
      from += taken;
      this.offset += taken;
      if (taken > 0) this.#setMarker(owner.data, from);
      // An outlet may take a part, and have room for more: an incomplete line is left only when it took nothing.
      if (taken === 0 && this.outlet.hasRoom()) {
        if (!isFinal) return true;
        throw new Error(
          `Cannot end "${this.file.stream.path}": its last ${count - from} bytes are not taken`,
        );
      }
    }
    return true;
  }

  /** The buffer was full, so there is more: takes another turn, with a larger buffer when no line fitted into this one. */
  #goOn(bufferBytes: number, before: number, restBytes: number): void {
    if (this.#context.isOnce && this.offset >= this.#finalBytes) return this.#end();
    const longest = this.#context.maxLineBytes + DELIMITER_BYTES_MAX;
    if (restBytes + before < bufferBytes) this.#readBytesMin = READ_BYTES_MIN;
    else if (restBytes >= longest) {
      throw new Error(
        `Cannot go on in "${this.file.stream.path}": ${restBytes} bytes are not taken, longer than any line`,
      );
    } else this.#readBytesMin = Math.min(restBytes * 4, longest);
    this.#isDirty = true;
  }

  /** Everything complete was taken and the read found the end. */
  async #settleEnd(owner: PooledBuffer, count: number, end: number, signal: AbortSignal): Promise<void> {
    const { monotonicMs, isOnce, rotateWaitMs, partialFlushAfterMs, scheduler } = this.#context;
    const nowMs = monotonicMs();
    this.lastEndMs = nowMs;
    const isSameEnd = end === this.#endOffset;
    if (!isSameEnd) {
      this.#endOffset = end;
      this.#quietSinceMs = nowMs;
    }
    // Something happened meanwhile: the next turn decides.
    if (this.#isDirty && !isOnce) return;
    const { rotatedMs, isSuperseded } = this.file;
    const endsMs = rotatedMs === null ? Infinity : Math.max(rotatedMs, this.#quietSinceMs) + rotateWaitMs;
    // A read that is short in front of the known end is the end when it is short there again.
    const isOver = isOnce && (end >= this.#finalBytes || isSameEnd);
    if (isOnce && !isOver) this.#isDirty = true;
    const isEnding = nowMs >= endsMs || isOver;
    const isLeaving = rotatedMs !== null || isSuperseded;
    const flushMs = this.#quietSinceMs +
      (isLeaving ? Math.min(partialFlushAfterMs, rotateWaitMs) : partialFlushAfterMs);
    if (this.offset < end && (isEnding || nowMs >= flushMs)) {
      const isComplete = await this.#offer(owner, count - (end - this.offset), count, true, signal);
      if (!isComplete) return;
    }
    if (isEnding) return this.#end();
    if (this.offset === end && isLeaving && !this.#isDirty) this.#pass();
    const deadlineMs = this.offset < end ? Math.min(flushMs, endsMs) : endsMs;
    if (deadlineMs < Infinity) scheduler.setDeadline(this, deadlineMs);
    else scheduler.clearDeadline(this);
  }

  #isFinal(isAtEnd: boolean, end: number): boolean {
    return this.#context.isOnce && isAtEnd && end >= this.#finalBytes;
  }

  /** As long as what is known to be there, within the sizes of the pool. */
  #readBytes(): number {
    const left = this.file.sizeBytes - this.offset + 1;
    const before = this.#bytesBefore();
    const wanted = Math.min(
      Math.max(left, this.#burstBytes, READ_BYTES_MIN - before),
      READ_BYTES_MAX - before,
    );
    return Math.max(wanted, this.#readBytesMin > READ_BYTES_MIN ? this.#readBytesMin : 0);
  }

  /** How far in front of the position a read starts: from the start while the fingerprint still grows, which then costs no read. */
  #bytesBefore(): number {
    const { fingerprintBytes } = this.#context;
    const isGrowing = this.file.fingerprint.sizeBytes < fingerprintBytes;
    return Math.min(this.offset, isGrowing ? Math.max(fingerprintBytes, MARKER_BYTES) : MARKER_BYTES);
  }

  #hasMarkerChanged(data: Buffer, before: number): boolean {
    const length = this.#markerBytes;
    if (length === 0) return false;
    return data.compare(this.#marker, MARKER_BYTES - length, MARKER_BYTES, before - length, before) !== 0;
  }

  /** Remembers the bytes in front of `data[end]`, at the end of the marker. */
  #setMarker(data: Buffer, end: number): void {
    const length = Math.min(MARKER_BYTES, end);
    data.copy(this.#marker, MARKER_BYTES - length, end - length, end);
    this.#markerBytes = length;
  }

  #pass(): void {
    if (this.hasPassed) return;
    this.hasPassed = true;
    for (const successor of this.file.successors) successor.tailers[this.outletIndex]?.wake();
  }

  #end(): void {
    if (this.hasEnded) return;
    this.hasEnded = true;
    this.#context.scheduler.clearDeadline(this);
    this.outlet.endStream(this.file.stream);
    this.#pass();
    this.#context.onEnded(this.file);
  }

  #endCutOff(): void {
    if (this.hasEnded) return;
    const lost = this.#lostBytes();
    if (lost > 0) {
      this.#context.metrics.lostBytes.add("truncated", lost);
      this.#context.onLost(this.file, this.outlet.sink, this.offset, lost);
    }
    this.#end();
  }

  #lostBytes(): number {
    return Math.max(0, this.file.sizeBytes - this.offset);
  }

  /** Read to its end, closed to keep below the limit, and then deleted: not to find it again is no failure. */
  #isDoneWith(error: unknown): boolean {
    const code = errnoName(error);
    const { rotatedMs, handle } = this.file;
    return rotatedMs !== null && handle.fd === null && (code === "ENOENT" || code === "MOVED") &&
      this.#lostBytes() === 0;
  }

  /** `onFailure` logs it and counts it. */
  #fail(error: unknown): void {
    const { metrics, scheduler, isOnce, onFailure, onGivenUp } = this.#context;
    this.#failureCount++;
    if (this.#isDoneWith(error)) {
      // Another event may still tell where it went.
      if (this.#failureCount >= MISSING_MAX) this.#end();
      else scheduler.retryAtTick(this);
      return;
    }
    onFailure(this.file, error);
    const hasLeft = this.file.rotatedMs !== null && this.#failureCount >= FAILURES_MAX;
    if (hasLeft || (isOnce && this.#failureCount >= FAILURES_MAX_ONCE)) {
      metrics.lostBytes.add("unreadable", this.#lostBytes());
      onGivenUp(this.file, this.offset);
      this.#end();
    } else {
      scheduler.retryAtTick(this);
    }
  }
}
