import type { Stream } from "../event/stream.ts";
import type { TrackedRegion } from "../event/tracked_region.ts";
import type { Totals } from "./totals.ts";

/** What is known of a region's bytes and lines. */
export interface RegionInfo {
  readonly startOffset: number;
  readonly endOffset: number;
  readonly crc32: number;
  readonly lineCount: number;
  readonly startsInsideCutLine: boolean;
  readonly endsInsideCutLine: boolean;
}

/** The ledger that a region belongs to. */
export interface RegionOwner {
  readonly stream: Stream;
  readonly streamNumber: number;
  readonly totals: Totals;
  /** Lines of the region were covered that were not before. */
  covered(region: Region, newCount: number): void;
  uncovered(region: Region, count: number): void;
  settled(region: Region): void;
  /** Something changed that a restart should know and that no intent tells. */
  changed(): void;
  /** Lines were given up that later ones will overtake. */
  skipped(): void;
}

/**
 * A region of a ledger. Lines are covered one run after the other as long as there are no keys, so that a number is enough; the first run
 * out of turn makes a bitmap of it.
 *
 * A *span* is what is left of neighbours whose lines were all covered and settled: its lines are not known any more.
 */
export class Region implements TrackedRegion {
  readonly #owner: RegionOwner;
  readonly startOffset: number;
  readonly endOffset: number;
  readonly crc32: number;
  readonly lineCount: number;
  readonly startsInsideCutLine: boolean;
  readonly endsInsideCutLine: boolean;
  readonly isSpan: boolean;
  #coveredCount = 0;
  #settledCount = 0;
  #bits: Uint8Array | null = null;
  #isDetached = false;

  constructor(owner: RegionOwner, info: RegionInfo, isSpan = false) {
    this.#owner = owner;
    this.startOffset = info.startOffset;
    this.endOffset = info.endOffset;
    this.crc32 = info.crc32;
    this.lineCount = info.lineCount;
    this.startsInsideCutLine = info.startsInsideCutLine;
    this.endsInsideCutLine = info.endsInsideCutLine;
    this.isSpan = isSpan;
  }

  get stream(): Stream {
    return this.#owner.stream;
  }

  get streamNumber(): number {
    return this.#isDetached ? 0 : this.#owner.streamNumber;
  }

  /** Other bytes are in its place now: its lines are delivered if they can be, and cannot be read again. */
  detach(): void {
    this.#isDetached = true;
  }

  get isDetached(): boolean {
    return this.#isDetached;
  }

  get coveredCount(): number {
    return this.#coveredCount;
  }

  get settledCount(): number {
    return this.#settledCount;
  }

  get isCovered(): boolean {
    return this.#coveredCount === this.lineCount;
  }

  /** Covered and settled: nothing can happen to it any more. */
  get isComplete(): boolean {
    return this.isCovered && this.#settledCount === this.lineCount;
  }

  isLineCovered(line: number): boolean {
    return this.#bits === null
      ? line < this.#coveredCount
      : (this.#bits[line >> 3]! & (1 << (line & 7))) !== 0;
  }

  cover(firstLine: number, count: number): void {
    if (firstLine < 0 || count < 0 || firstLine + count > this.lineCount) {
      throw new RangeError(
        `Cannot cover lines ${firstLine} to ${firstLine + count} of a region of ${this.lineCount}`,
      );
    }
    if (this.isCovered) return;
    const newCount = this.#mark(firstLine, count);
    // The account is of the bytes that are in the file now.
    if (newCount > 0 && !this.#isDetached) this.#owner.covered(this, newCount);
  }

  #mark(firstLine: number, count: number): number {
    if (this.#bits === null && firstLine === this.#coveredCount) {
      this.#coveredCount += count;
      return count;
    }
    const bits = this.#bits ??= this.#toBits();
    let newCount = 0;
    for (let line = firstLine; line < firstLine + count; line++) {
      const bit = 1 << (line & 7);
      if ((bits[line >> 3]! & bit) !== 0) continue;
      bits[line >> 3]! |= bit;
      newCount++;
    }
    this.#coveredCount += newCount;
    return newCount;
  }

  #toBits(): Uint8Array {
    const bits = new Uint8Array((this.lineCount + 7) >> 3);
    for (let line = 0; line < this.#coveredCount; line++) bits[line >> 3]! |= 1 << (line & 7);
    return bits;
  }

  countDelivered(count: number): void {
    this.#owner.totals.deliveredCount += count;
  }

  countGone(kind: "dropped" | "lost" | "detached", reason: string, count: number): void {
    if (kind === "dropped") this.#owner.totals.drop(reason, count);
    else if (kind === "lost") this.#owner.totals.lose(reason, count);
    else this.#owner.totals.coveredCount -= count;
    this.#owner.changed();
  }

  skipped(): void {
    this.#owner.skipped();
  }

  settle(count: number): void {
    if (count < 0 || this.#settledCount + count > this.lineCount) {
      throw new RangeError(
        `Cannot settle ${count} more lines of a region of ${this.lineCount}: ${this.#settledCount} are settled`,
      );
    }
    this.#settledCount += count;
    this.#owner.settled(this);
  }

  /** After a restore: covered lines were settled before, but for those that a live intent holds. */
  restoreSettled(liveCount: number): void {
    this.#settledCount = Math.max(0, this.#coveredCount - liveCount);
  }

  /** Lines are to be read again after all: pairs of (lines skipped, lines meant), all of them covered. */
  uncover(runs: readonly number[]): void {
    const bits = this.#bits ??= this.#toBits();
    let line = 0;
    let count = 0;
    for (let i = 0; i < runs.length; i += 2) {
      line += runs[i]!;
      for (let left = runs[i + 1]!; left > 0; left--, line++) {
        const bit = 1 << (line & 7);
        if ((bits[line >> 3]! & bit) !== 0) count++;
        bits[line >> 3]! &= ~bit;
      }
    }
    this.#coveredCount -= count;
    this.#owner.uncovered(this, count);
  }

  /** Runs of lines that are covered, as (lines not covered in front of it, lines covered). */
  forEachCoveredRun(callback: (gap: number, run: number) => void): void {
    let line = 0;
    while (line < this.lineCount) {
      const gapStart = line;
      while (line < this.lineCount && !this.isLineCovered(line)) line++;
      const runStart = line;
      while (line < this.lineCount && this.isLineCovered(line)) line++;
      if (line > runStart) callback(runStart - gapStart, line - runStart);
    }
  }
}
