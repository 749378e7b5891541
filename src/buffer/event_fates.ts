import type { Ledger } from "../checkpoint/ledger.ts";
import type { Region } from "../checkpoint/region.ts";

/** What became of an event, by the journal. */
export const Fate = {
  /** Delivered, or given up and counted. */
  DONE: 0,
  /** In no batch yet. */
  WAITING: 1,
  /** In a batch that was sent, or is about to be: nobody knows yet whether it arrived. */
  OPEN: 2,
} as const;

/** Events of one frame in a batch whose fate is open: pairs of (events skipped, events meant). */
export interface OpenEvents {
  readonly firstEvent: number;
  readonly runs: readonly number[];
}

/** Events that are wanted and in none of a buffer's files. `to`: the number behind the last. */
export interface MissingEvents {
  readonly from: number;
  readonly to: number;
  readonly count: number;
}

/** What the journal says of the events of a disk buffer, at the moment at which it was read. */
export class EventFates {
  readonly #entries: readonly Region[];
  readonly #open = new Map<number, OpenEvents[]>();
  /** Every event in front of it is done; null: the journal knows nothing of this buffer. */
  readonly position: number | null;

  constructor(ledger: Ledger | null, open: Iterable<OpenEvents> = []) {
    this.#entries = ledger?.entries() ?? [];
    this.position = ledger?.position ?? null;
    for (const each of open) {
      const found = this.#open.get(each.firstEvent);
      if (found === undefined) this.#open.set(each.firstEvent, [each]);
      else found.push(each);
    }
  }

  /** One `Fate` for each event of a frame. `checksum` of its payload is asked for where it has to be known. */
  of(firstEvent: number, count: number, checksum: () => number): Uint8Array {
    const fates = new Uint8Array(count);
    const end = firstEvent + count;
    const position = this.position ?? 0;
    if (end > position) fates.fill(Fate.WAITING, Math.max(0, position - firstEvent));
    for (let i = this.#indexAt(firstEvent); i < this.#entries.length; i++) {
      const entry = this.#entries[i]!;
      if (entry.startOffset >= end) break;
      if (entry.isSpan || entry.isCovered) {
        fates.fill(Fate.DONE, Math.max(0, entry.startOffset - firstEvent), entry.endOffset - firstEvent);
      } else if (
        // Other events have these numbers, from a copy of data_dir: a shipper delivers them all.
        entry.startOffset === firstEvent && entry.lineCount === count && entry.crc32 === checksum()
      ) {
        for (let line = 0; line < count; line++) if (entry.isLineCovered(line)) fates[line] = Fate.DONE;
      }
    }
    for (const { runs } of this.#open.get(firstEvent) ?? []) {
      forEachRun(runs, (first, length) => fates.fill(Fate.OPEN, first, first + length));
    }
    return fates;
  }

  /** Which of these events are wanted: they are in no file. Null: none. */
  missingIn(from: number, to: number): MissingEvents | null {
    const missing = { from: Infinity, to: 0, count: 0 };
    const add = (first: number, end: number, count: number) => {
      if (count <= 0) return;
      missing.from = Math.min(missing.from, first);
      missing.to = Math.max(missing.to, end);
      missing.count += count;
    };
    let at = Math.max(from, this.position ?? 0);
    for (let i = this.#indexAt(at); i < this.#entries.length && at < to; i++) {
      const { startOffset, endOffset, isSpan, lineCount, coveredCount } = this.#entries[i]!;
      if (startOffset >= to) break;
      add(at, startOffset, startOffset - at);
      if (!isSpan) add(startOffset, endOffset, lineCount - coveredCount);
      at = endOffset;
    }
    add(at, to, to - at);
    for (const [firstEvent, all] of this.#open) {
      if (firstEvent < from || firstEvent >= to) continue;
      for (const { runs } of all) {
        forEachRun(runs, (first, length) => add(firstEvent + first, firstEvent + first + length, length));
      }
    }
    return missing.count === 0 ? null : missing;
  }

  /** Events from the position on, up to `end`, that are in no batch yet. */
  waitingTo(end: number): number {
    return Math.max(0, end - (this.position ?? 0) - coveredIn(this.#entries));
  }

  /** Index of the first entry that ends behind `event`. */
  #indexAt(event: number): number {
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#entries[middle]!.endOffset > event) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

function forEachRun(runs: readonly number[], callback: (first: number, length: number) => void): void {
  for (let i = 0, event = 0; i < runs.length; i += 2) {
    event += runs[i]!;
    callback(event, runs[i + 1]!);
    event += runs[i + 1]!;
  }
}

function coveredIn(entries: readonly Region[]): number {
  let count = 0;
  for (const { startOffset, endOffset, isSpan, coveredCount } of entries) {
    count += isSpan ? endOffset - startOffset : coveredCount;
  }
  return count;
}
