import type { Stream } from "../event/stream.ts";
import { Tally } from "../event/tally.ts";
import { type Mark, Marks } from "./marks.ts";
import { Rewinds } from "./rewinds.ts";
import { Region, type RegionInfo, type RegionOwner } from "./region.ts";
import { holesIn, isSameRegion, joinComplete, spanOf } from "./region_lists.ts";
import { Totals } from "./totals.ts";

/** What a restart does with the bytes at an offset. */
export type Piece =
  /** They are in an intent, delivered or given up: go on at `endOffset`. */
  | { readonly kind: "skip"; readonly endOffset: number }
  /** Nobody has them: read up to `endOffset`, where a line ends, whether its newline is there or not. */
  | { readonly kind: "gap"; readonly endOffset: number }
  /** Some lines of it are missing: it has to be read whole. */
  | { readonly kind: "region"; readonly region: Region };

/** Entries that may be kept without looking whether neighbours can be joined. */
const COMPACT_ENTRIES_MIN = 64;

/**
 * Where one sink is in one stream: a frontier with holes, because partitions settle at different times.
 *
 *     offset   0 ........ position ..................................... frontier .... trackedEnd
 *              | settled  | region | span | region (lines 3, 7 missing) |  regions on their way |
 *
 * Two things happen to the lines of a region, in this order: they are *covered* (their intent is in the journal, or they were given up: a
 * restart does not read them again) and *settled* (delivered or given up: nothing can happen to them any more). Under at-least-once
 * delivery both happen at the acknowledgement.
 *
 * What is kept is bounded by the events that are on their way: neighbours that are settled are joined to one span.
 */
export class Ledger implements RegionOwner {
  stream: Stream;
  readonly streamNumber: number;
  readonly totals: Totals;
  readonly marks = new Marks();
  /** Of this run. */
  readonly tally: Tally;
  readonly #onChange: (isUntold: boolean) => void;
  /** By offset, without overlaps; those in front of `#head` are settled and done with. */
  #entries: Region[] = [];
  #head = 0;
  #compactAt = COMPACT_ENTRIES_MIN;
  #position: number;
  #isPositionInsideCutLine: boolean;
  #trackedEnd: number;
  #endsInsideCutLine: boolean;
  #isRestoring = false;
  /** Up to here coverage comes from an earlier run, and `pieceAt` knows what to do. */
  restoredEnd = 0;
  /** Where the next read for this sink starts. */
  cursor: number;
  /** See `skipped`; until it is stored. */
  hasSkipped = false;
  /** Where it was cut, as far as events of the sink's disk buffer may still name the bytes of before. */
  readonly rewinds = new Rewinds();
  /** How often other bytes have taken the place of some that were read: whoever remembers any has to look again. */
  rewindCount = 0;

  /**
   * `onChange` is called, synchronously, when the position has moved (false), and by `changed` when something happened that a restart should
   * know and that no intent tells it (true).
   */
  constructor(
    stream: Stream,
    streamNumber: number,
    startOffset: number,
    onChange: (isUntold: boolean) => void,
    startsInsideCutLine = false,
    totals = new Totals(),
    tally = new Tally(),
  ) {
    this.stream = stream;
    this.streamNumber = streamNumber;
    this.totals = totals;
    this.tally = tally;
    this.#onChange = onChange;
    this.#position = startOffset;
    this.#isPositionInsideCutLine = startsInsideCutLine;
    this.#trackedEnd = startOffset;
    this.#endsInsideCutLine = startsInsideCutLine;
    this.cursor = startOffset;
  }

  /** Every byte in front of it is delivered or given up. */
  get position(): number {
    return this.#position;
  }

  /** End of all that was taken. */
  get trackedEnd(): number {
    return this.#trackedEnd;
  }

  /** Highest end of a region with a covered line. */
  get frontier(): number {
    for (let i = this.#entries.length - 1; i >= this.#head; i--) {
      const entry = this.#entries[i]!;
      if (entry.isSpan || entry.coveredCount > 0 || entry.isCovered) return entry.endOffset;
    }
    return this.#position;
  }

  /** Whether the byte at `offset`, where a region ends or reading starts, belongs to a line that was cut in front of it. */
  isInsideCutLine(offset: number): boolean {
    if (offset === this.#trackedEnd) return this.#endsInsideCutLine;
    if (offset === this.#position) return this.#isPositionInsideCutLine;
    const before = this.#entries[this.#indexAt(offset) - 1];
    return before !== undefined && before.endOffset === offset && before.endsInsideCutLine;
  }

  /** The entries that are not done with, in order. */
  entries(): Region[] {
    return this.#entries.slice(this.#head);
  }

  /** Adds a region: behind all others, or in a gap that an earlier run left. Overlaps are a bug and throw. */
  track(info: RegionInfo): Region {
    const region = new Region(this, info);
    this.#insert(region);
    if (info.lineCount === 0) this.#advance();
    return region;
  }

  /** What to do with the bytes at `offset` after a restart; null when they are new. */
  pieceAt(offset: number): Piece | null {
    if (offset >= this.restoredEnd) return null;
    if (offset < this.#position) return { kind: "skip", endOffset: this.#position };
    let index = this.#indexAt(offset);
    let entry = this.#entries[index];
    if (entry === undefined) return null;
    if (entry.startOffset > offset) return { kind: "gap", endOffset: entry.startOffset };
    if (!entry.isCovered) {
      if (entry.startOffset === offset) return { kind: "region", region: entry };
      throw new Error(`Cannot read on at ${offset}: it lies inside the region at ${entry.startOffset}`);
    }
    let endOffset = entry.endOffset;
    for (;;) {
      entry = this.#entries[++index];
      if (entry === undefined || entry.startOffset !== endOffset || !entry.isCovered) break;
      endOffset = entry.endOffset;
    }
    return { kind: "skip", endOffset };
  }

  /** Regions whose checksum is known, by ascending end. */
  knownRegions(): Mark[] {
    const found = new Map<number, Mark>();
    for (const mark of this.marks.all) found.set(mark.endOffset, mark);
    for (const entry of this.entries()) if (!entry.isSpan) found.set(entry.endOffset, entry);
    return [...found.values()].sort((a, b) => a.endOffset - b.endOffset);
  }

  /** Bytes below the frontier that an earlier run left out. */
  holeBytes(): number {
    return this.holes().bytes;
  }

  /** The same, and in how many pieces they are: neighbours are one. */
  holes(): { readonly count: number; readonly bytes: number } {
    return holesIn(this.entries(), this.cursor, this.restoredEnd);
  }

  covered(region: Region, newCount: number): void {
    // What is restored has left its mark already, or other bytes have taken its place.
    if (this.#isRestoring) return;
    this.totals.coveredCount += newCount;
    if (region.isCovered) this.marks.add(region);
    if (region.isComplete) this.#advance();
  }

  uncovered(region: Region, count: number): void {
    this.totals.coveredCount -= count;
    this.cursor = Math.min(this.cursor, region.startOffset);
    // What told of these lines until now is about to be cancelled.
    this.skipped();
  }

  settled(region: Region): void {
    if (region.isComplete) this.#advance();
  }

  /** Something changed that no intent tells. */
  changed(): void {
    this.#onChange(true);
  }

  /** Lines were given up that later ones will overtake: a restart has to know it before it knows of those. */
  skipped(): void {
    this.hasSkipped = true;
    this.#onChange(true);
  }

  /** Forgets everything from `offset` on, which is the end of a region: other bytes are there now. */
  rewind(offset: number): void {
    this.rewindCount++;
    if (this.#trackedEnd <= offset) return;
    const kept: Region[] = [];
    for (const entry of this.entries()) {
      if (entry.endOffset <= offset) kept.push(entry);
      else if (entry.startOffset < offset && entry.isSpan) kept.push(this.#span(entry.startOffset, offset));
      else entry.detach();
    }
    this.#entries = kept;
    this.#head = 0;
    // A line ends at `offset`; what stays in front of it may end in the middle of one.
    if (offset <= this.#position) this.#isPositionInsideCutLine = false;
    this.#position = Math.min(this.#position, offset);
    const last = kept.at(-1);
    this.#trackedEnd = last?.endOffset ?? this.#position;
    this.#endsInsideCutLine = last?.endsInsideCutLine ?? this.#isPositionInsideCutLine;
    this.cursor = Math.min(this.cursor, offset);
    this.restoredEnd = Math.min(this.restoredEnd, offset);
    this.marks.cut(offset);
    this.#onChange(true);
  }

  /** Used by `readLedger` only: entries in order, behind the position; nothing is counted until `endRestoreEntries`. */
  restoreEntry(info: RegionInfo, isSpan: boolean): Region {
    this.#isRestoring = true;
    const region = new Region(this, info, isSpan);
    this.#insert(region);
    this.restoredEnd = this.#trackedEnd;
    return region;
  }

  endRestoreEntries(): void {
    this.#isRestoring = false;
    this.restoredEnd = this.#trackedEnd;
  }

  /** Everything that is covered counts as settled; call `reopen` for what live intents hold. */
  finishRestore(): void {
    for (const entry of this.#entries) entry.restoreSettled(0);
    this.#isRestoring = false;
    this.restoredEnd = this.#trackedEnd;
    this.#advance();
    this.cursor = this.#position;
  }

  /** While the journal is read: lines of this region are in an intent. Returns false when it does not fit to what is known. */
  coverStored(info: RegionInfo, runs: readonly number[]): boolean {
    if (info.endOffset <= this.#position) return true;
    const found = this.#entryFor(info);
    if (found === null) return false;
    if (found.isSpan) return true;
    for (let i = 0, line = 0; i < runs.length; i += 2) {
      line += runs[i]!;
      if (line + runs[i + 1]! > found.lineCount) return false;
      found.cover(line, runs[i + 1]!);
      line += runs[i + 1]!;
    }
    this.restoredEnd = Math.max(this.restoredEnd, info.endOffset);
    return true;
  }

  /**
   * After `finishRestore`, before anything is read: lines of this region are in the sink's disk buffer, which answers for them. False when that does
   * not fit to what is known.
   */
  coverBuffered(info: RegionInfo, runs: readonly number[]): boolean {
    const before = this.totals.coveredCount;
    const entry = this.#entries[this.#indexAt(info.startOffset)];
    const coveredBefore = entry !== undefined && isSameRegion(entry, info) ? entry.coveredCount : 0;
    if (!this.coverStored(info, runs)) return false;
    const region = this.#entries[this.#indexAt(info.startOffset)];
    if (region !== undefined && !region.isSpan && isSameRegion(region, info)) {
      region.settle(region.coveredCount - coveredBefore);
    }
    this.totals.deliveredCount += this.totals.coveredCount - before;
    this.cursor = this.#position;
    return true;
  }

  /** The same for bytes whose lines were dropped: nobody reads them any more. */
  skipBuffered(startOffset: number, endOffset: number): void {
    const from = Math.max(startOffset, this.#position);
    const entry = this.#entries[this.#indexAt(from)];
    const isFree = entry === undefined || entry.startOffset >= endOffset;
    if (from >= endOffset || !isFree) return;
    this.#insert(this.#span(from, endOffset));
    this.restoredEnd = Math.max(this.restoredEnd, endOffset);
    this.#advance();
    this.cursor = this.#position;
  }

  /**
   * After `finishRestore`: `liveCount` lines of this region are in intents whose fate is not known. Returns the region, which is settled when
   * they are. To be called for the newest intent first: of two regions of the same place it names the one that is in the file now.
   */
  reopen(info: RegionInfo, liveCount: number): Region {
    if (info.startOffset < this.#position && info.endOffset <= this.#position) {
      const start = Math.min(info.startOffset, this.#position);
      this.#entries = [this.#span(start, this.#position, this.#isPositionInsideCutLine), ...this.entries()];
      this.#head = 0;
      this.#position = start;
      this.#isPositionInsideCutLine = info.startsInsideCutLine;
    }
    const index = this.#indexAt(info.startOffset);
    const entry = this.#entries[index];
    if (entry !== undefined && !entry.isSpan && isSameRegion(entry, info)) {
      const openCount = entry.coveredCount - entry.settledCount + liveCount;
      // More than it has: it was cut off, and the same bytes are there again.
      if (openCount <= entry.coveredCount) {
        entry.restoreSettled(openCount);
        return entry;
      }
    }
    const region = new Region(this, info);
    this.#isRestoring = true;
    region.cover(0, info.lineCount);
    this.#isRestoring = false;
    region.restoreSettled(liveCount);
    const isInside = entry !== undefined && entry.isSpan && entry.startOffset <= info.startOffset &&
      entry.endOffset >= info.endOffset;
    if (!isInside) {
      // Rewound since: it stands for itself, and no intent may name these bytes by it any more.
      region.detach();
      return region;
    }
    const parts: Region[] = [];
    const { startOffset, endOffset, endsInsideCutLine } = entry;
    if (startOffset < info.startOffset) {
      parts.push(this.#span(startOffset, info.startOffset, info.startsInsideCutLine));
    }
    parts.push(region);
    if (info.endOffset < endOffset) parts.push(this.#span(info.endOffset, endOffset, endsInsideCutLine));
    this.#entries.splice(index, 1, ...parts);
    return region;
  }

  #entryFor(info: RegionInfo): Region | null {
    const entry = this.#entries[this.#indexAt(info.startOffset)];
    if (entry === undefined || entry.startOffset >= info.endOffset) return this.track(info);
    if (entry.isSpan) return entry;
    return isSameRegion(entry, info) ? entry : null;
  }

  #span(startOffset: number, endOffset: number, endsInsideCutLine = false): Region {
    return spanOf(this, startOffset, endOffset, false, endsInsideCutLine);
  }

  #insert(region: Region): void {
    const { startOffset, endOffset } = region;
    if (startOffset >= this.#trackedEnd) {
      this.#entries.push(region);
      this.#trackedEnd = endOffset;
      this.#endsInsideCutLine = region.endsInsideCutLine;
    } else {
      const index = this.#indexAt(startOffset);
      const next = this.#entries[index];
      if (startOffset < this.#position || (next !== undefined && next.startOffset < endOffset)) {
        throw new Error(`Cannot track bytes ${startOffset} to ${endOffset}: they are tracked already`);
      }
      this.#entries.splice(index, 0, region);
    }
    if (this.#entries.length - this.#head > this.#compactAt) this.#compact();
  }

  /** Index of the first entry that ends behind `offset`. */
  #indexAt(offset: number): number {
    let low = this.#head;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#entries[middle]!.endOffset > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  #advance(): void {
    const before = this.#position;
    while (this.#head < this.#entries.length) {
      const entry = this.#entries[this.#head]!;
      if (entry.startOffset !== this.#position || !entry.isComplete) break;
      this.#position = entry.endOffset;
      this.#isPositionInsideCutLine = entry.endsInsideCutLine;
      this.#head++;
    }
    if (this.#head > COMPACT_ENTRIES_MIN && this.#head * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#head);
      this.#head = 0;
    }
    if (this.#position !== before) this.#onChange(false);
  }

  /** Joins neighbours that are complete. */
  #compact(): void {
    const joined = joinComplete(this.entries(), this);
    this.#entries = joined;
    this.#head = 0;
    this.#compactAt = Math.max(COMPACT_ENTRIES_MIN, joined.length * 2);
  }
}
