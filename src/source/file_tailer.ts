import type { Outlet, Piece } from "../event/chunk.ts";
import { OTHER_BYTES } from "../event/chunk.ts";
import type { PooledBuffer } from "../event/pooled_buffer.ts";
import { errnoName } from "../errors.ts";
import { MarkCheck } from "./mark_check.ts";
import { Marker, MARKER_BYTES } from "./marker.ts";
import { isShortage } from "./open_files.ts";
import { ReadSize } from "./read_size.ts";
import type { TailContext } from "./tail_context.ts";
import type { TailedFile } from "./tailed_file.ts";

/** Reads of one file that fail in a row before a file that nobody can write to any more is given up, or newer ones wait for it no longer. */
export const FAILURES_MAX = 60;
const FAILURES_MAX_ONCE = 3;
/** A file without a name and with nothing left to read is looked for this often. */
const MISSING_MAX = 3;

type OnDevice = (device: string | null) => void;

/**
 * Reads one file for one outlet. The states of a position at the end of the file:
 *
 *     waiting    everything complete was taken; a last line without newline may be left
 *     passed     ... nothing is left, and the file lost its name: the next file under that name may be read
 *     ended      ... and it was quiet for rotate_wait: nothing will come any more
 *
 * A turn is one read, of a buffer that starts `MARKER_BYTES` before the position. What the outlet leaves is read again by the next turn;
 * only a buffer that a full outlet has taken in part is held, and nothing else is read for that outlet meanwhile.
 *
 * After a restart there may be holes in front of the known end, bytes that nobody has: the outlet is asked before each read (`Piece`).
 */
export class FileTailer {
  readonly file: TailedFile;
  readonly outlet: Outlet;
  readonly outletIndex: number;
  readonly startOffset: number;
  offset: number;
  /** Nothing is read from there on, whatever the file holds. */
  endMax = Infinity;
  hasPassed = false;
  hasEnded = false;
  /** When the last read found the end of the file (monotonic). */
  lastEndMs = -Infinity;
  readonly #context: TailContext;
  /** For a run that ends: the size at its start; infinite where it ends at the end that is found. */
  readonly #finalBytes: number;
  #isDirty = false;
  #isQueued = false;
  #isInTurn = false;
  /** A read has failed: whatever is written meanwhile, the next one is at the scheduler's tick. */
  #isPausing = false;
  /** The last bytes in front of `offset`. */
  readonly #marker = new Marker();
  /** The last read ended in front of where the file was known to end. */
  #wasShort = false;
  readonly #size: ReadSize;
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
    this.#finalBytes = context.isToLastEnd ? Infinity : file.sizeBytes;
    this.#size = new ReadSize(context.maxLineBytes);
  }

  /** There may be something to read, or something to decide. Cheap, and may be called for every event. */
  wake(): void {
    this.#isDirty = true;
    if (this.hasEnded || this.#isQueued || this.#isInTurn || this.#isPausing) return;
    const before = this.file.predecessor?.tailers[this.outletIndex];
    if (before !== undefined && !before.hasPassed) return;
    this.#isQueued = true;
    this.#context.scheduler.enqueue(this);
  }

  /** The scheduler's tick, after a failure. */
  retry(): void {
    this.#isPausing = false;
    this.wake();
  }

  /** A successor has come: it waits for what is in the file by now. */
  passAgain(): void {
    if (this.hasEnded) return;
    this.hasPassed = false;
    this.wake();
  }

  /** One read and what follows from it. `onDevice` is told the device that a system call waits for, and null when none does. */
  async turn(signal: AbortSignal, onDevice: OnDevice): Promise<void> {
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

  async #readAndOffer(signal: AbortSignal, onDevice: OnDevice): Promise<void> {
    const piece = this.#nextPiece();
    const before = this.#bytesBefore();
    const wanted = before +
      (piece === null
        ? this.#size.next(this.file.sizeBytes - this.offset, before)
        : this.#size.ofPiece(piece, this.offset, before));
    const owner = this.#context.pool.take(wanted);
    try {
      const length = piece === null ? owner.data.length : wanted;
      const readBytes = Math.min(length, this.endMax - (this.offset - before));
      const count = await this.#withFile(
        signal,
        onDevice,
        (fd) => this.#context.ops.read(fd, owner.data, readBytes, this.offset - before),
      );
      // One that came back after the run has given it up: whoever reads the file by then gives these lines.
      if (count === null || this.hasEnded || signal.aborted) return;
      if (this.file.isCutOff) return this.#endCutOff();
      const end = this.offset - before + count;
      if (count < before || this.#marker.hasChanged(owner.data, before)) {
        // Nothing was there, so nothing is known of where it ends now.
        return await this.#findOther(false, count === 0 ? 0 : end, signal, onDevice);
      }
      this.#failureCount = 0;
      const wasMarkerKnown = this.#marker.isKnown;
      const head = owner.data.subarray(0, count);
      const isOther = this.offset === 0 && this.file.hasOtherHead(head, length);
      if (!isOther && before === this.offset && !this.file.isRescued) this.#context.onHead(this.file, head);
      if (!wasMarkerKnown) this.#marker.set(owner.data, before);
      const isAtEnd = piece === null && count < length;
      if (isOther || (piece === null ? isAtEnd && end < this.#endOffset : count < length)) {
        return await this.#fallShort(wasMarkerKnown, end, signal, onDevice);
      }
      this.#wasShort = false;
      if (piece === null) this.#size.found(count - before, length, isAtEnd);
      this.file.sizeBytes = isAtEnd ? end : Math.max(end, this.file.sizeBytes);
      const isFinal = piece === null
        ? this.#context.isOnce && isAtEnd && end >= this.#finalBytes
        : end === piece.endOffset;
      const taken = await this.#offer(owner, before, count, isFinal, signal);
      if (taken === "stopped") return;
      if (taken === "other") return await this.#findOther(wasMarkerKnown, end, signal, onDevice);
      if (isAtEnd) await this.#settleEnd(owner, count, end, signal);
      else this.#goOn(length, before, count - (this.offset - (end - count)));
    } finally {
      owner.release();
    }
  }

  /** Passes over what somebody has, and says what to read then; null for bytes that are new. */
  #nextPiece(): Piece | null {
    for (;;) {
      const piece = this.outlet.pieceAt(this.file.stream, this.offset);
      if (piece === null || piece.kind !== "skip") return piece;
      this.offset = piece.endOffset;
      this.#marker.forget();
    }
  }

  /** What `use` gives for the open file, or null when that failed or the run ends. */
  async #withFile<T>(
    signal: AbortSignal,
    onDevice: OnDevice,
    use: (fd: number) => Promise<T>,
  ): Promise<T | null> {
    const { gate, openFiles } = this.#context;
    const { device, handle } = this.file;
    onDevice(device);
    await gate.acquire(device);
    try {
      if (signal.aborted) return null;
      const fd = await openFiles.acquire(handle);
      try {
        return await use(fd);
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

  /**
   * Offers `data[before .. count)` until only an incomplete line is left. "stopped" when the run ends meanwhile, "other" when these are
   * not the bytes that an earlier run has read there.
   */
  async #offer(
    owner: PooledBuffer,
    before: number,
    count: number,
    isFinal: boolean,
    signal: AbortSignal,
  ): Promise<"taken" | "stopped" | "other"> {
    const receivedMs = this.#context.nowMs();
    let from = before;
    while (from < count) {
      if (!this.outlet.hasRoom()) {
        await this.outlet.waitForRoom(signal);
        if (signal.aborted) return "stopped";
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
      if (taken === OTHER_BYTES) return "other";
      from += taken;
      this.offset += taken;
      if (taken > 0) this.#marker.set(owner.data, from);
      // An outlet may take a part, and have room for more: an incomplete line is left only when it took nothing.
      if (taken === 0 && this.outlet.hasRoom()) {
        if (!isFinal) return "taken";
        throw new Error(
          `Cannot end "${this.file.stream.path}": its last ${count - from} bytes are not taken`,
        );
      }
    }
    return "taken";
  }

  /** The file ends in front of where it was known to end. A filesystem may say so for a moment; the second time it is true. */
  async #fallShort(
    isBeforeSame: boolean,
    sizeBytes: number,
    signal: AbortSignal,
    onDevice: OnDevice,
  ): Promise<void> {
    if (this.#wasShort) return await this.#findOther(isBeforeSame, sizeBytes, signal, onDevice);
    this.#wasShort = true;
    this.#context.scheduler.retryAtTick(this);
  }

  /**
   * The file does not hold what was read of it: goes back to where it still does. `isBeforeSame`: that is known of the bytes in front of
   * the position. Else the last mark that fits tells; without one all of it is taken for new.
   */
  async #findOther(
    isBeforeSame: boolean,
    sizeBytes: number,
    signal: AbortSignal,
    onDevice: OnDevice,
  ): Promise<void> {
    // In front of what is copied there is a hole: there is nothing to go back to.
    if (this.file.isRescued) return this.#endCutOff();
    const { positions, ops } = this.#context;
    const { source, id } = this.file.stream;
    let offset = this.offset;
    let knownBytes = sizeBytes;
    if (!isBeforeSame) {
      const marks = positions.marks(source, id, this.outlet.sink).filter((mark) => mark.endOffset <= offset);
      const found = await this.#withFile(signal, onDevice, async (fd) => {
        const same = await new MarkCheck(ops, fd).newestSame(marks);
        return { offset: same?.endOffset ?? 0, sizeBytes: (await ops.fstat(fd)).sizeBytes };
      });
      if (found === null || this.hasEnded || signal.aborted) return;
      offset = found.offset;
      knownBytes = found.sizeBytes;
    }
    if (this.file.isCutOff) return this.#endCutOff();
    if (offset === 0) {
      this.#context.onCutOff(this.file, sizeBytes);
      return this.#endCutOff();
    }
    this.#context.onCutBack(this, offset, knownBytes);
    this.offset = offset;
    this.#marker.forget();
    this.#endOffset = -1;
    this.#wasShort = false;
    this.#isDirty = true;
  }

  /** The buffer was full, so there is more: takes another turn, with a larger buffer when no line fitted into this one. */
  #goOn(bufferBytes: number, before: number, restBytes: number): void {
    if (this.#context.isOnce && this.offset >= this.#finalBytes) return this.#end();
    if (!this.#size.leaves(restBytes, bufferBytes, before)) {
      throw new Error(
        `Cannot go on in "${this.file.stream.path}": ${restBytes} bytes are not taken, longer than any line`,
      );
    }
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
      if (await this.#offer(owner, count - (end - this.offset), count, true, signal) !== "taken") return;
    }
    if (isEnding) return this.#end();
    if (this.offset === end && isLeaving && !this.#isDirty) this.#pass();
    const deadlineMs = this.offset < end ? Math.min(flushMs, endsMs) : endsMs;
    if (deadlineMs < Infinity) scheduler.setDeadline(this, deadlineMs);
    else scheduler.clearDeadline(this);
  }

  /** How far in front of the position a read starts: from the start while the fingerprint still grows, which then costs no read. */
  #bytesBefore(): number {
    const { fingerprintBytes } = this.#context;
    const isGrowing = this.file.fingerprint.sizeBytes < fingerprintBytes;
    return Math.min(this.offset, isGrowing ? Math.max(fingerprintBytes, MARKER_BYTES) : MARKER_BYTES);
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
    this.#context.lost.truncated(this);
    this.#end();
  }

  #pause(): void {
    this.#isPausing = true;
    this.#context.scheduler.retryAtTick(this);
  }

  /** `onFailure` logs it and counts it. */
  #fail(error: unknown): void {
    const { lost, scheduler, isOnce, onFailure, openFiles } = this.#context;
    const code = errnoName(error);
    openFiles.failed(this.file.handle, code);
    if (!isShortage(code) || isOnce) this.#failureCount++;
    // Read to its end and then deleted or moved: not to find it again is no failure.
    if (this.file.isMissing(code) && lost.unreadBytes(this) === 0) {
      const { isSought, rotatedMs } = this.file;
      if (rotatedMs === null && !isOnce && this.#failureCount < MISSING_MAX) return this.#pause(); // the next scan finds that it left
      if (rotatedMs !== null) {
        // Another event, or the search that is under way, may still tell where it went.
        if (!isSought && this.#failureCount >= MISSING_MAX) return this.#end();
        if (!isSought || this.#failureCount < FAILURES_MAX) return scheduler.retryAtTick(this);
      }
    }
    onFailure(this.file, error);
    if (this.file.rotatedMs !== null && this.file.isMissing(code)) this.file.isMisplaced = true;
    const hasLeft = this.file.rotatedMs !== null && this.#failureCount >= FAILURES_MAX;
    if (hasLeft || (isOnce && this.#failureCount >= FAILURES_MAX_ONCE)) {
      lost.unreadable(this);
      return this.#end();
    }
    this.#pause();
    if (this.file.isSuperseded && !this.hasPassed && this.#failureCount >= FAILURES_MAX) {
      lost.tellPassed(this);
      this.#pass();
    }
  }
}
