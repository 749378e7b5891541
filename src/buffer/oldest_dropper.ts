import type { Ledger } from "../checkpoint/ledger.ts";
import type { Stream } from "../event/stream.ts";
import type { Tally } from "../event/tally.ts";
import type { SegmentedLog } from "../storage/segmented_log.ts";
import { openSegmentFile, readSegmentFrames } from "../storage/segment_file.ts";
import type { Log } from "../telemetry/log.ts";
import type { SinkMetrics } from "../telemetry/metrics.ts";
import { BufferFrame } from "./buffer_frames.ts";
import type { BufferOps } from "./buffer_ops.ts";
import type { BufferJournal } from "./disk_buffer_options.ts";
import { countCarried, type EventRange } from "./disk_reader.ts";
import { originOf, readStoredEvents } from "./stored_events.ts";

export interface OldestDropperOptions {
  readonly dir: string;
  readonly sink: string;
  readonly ops: BufferOps;
  readonly log: Log;
  readonly metrics: SinkMetrics;
  readonly journal: BufferJournal;
  readonly runFirstEvent: number;
  readonly segmentedLog: SegmentedLog;
  /** The segment that is read now: it and those before are in use. */
  readonly readSegment: () => number;
  /** Segments that are not to be read; those that are dropped are added. */
  readonly unreadable: Set<number>;
  /** These events will not be read; called at once. */
  readonly onDropped: (range: EventRange) => void;
  /** There may be room, or there is none to be made. */
  readonly onReady: () => void;
  /** Default: BUSY_MS_MAX. */
  readonly busyMsMax?: number;
}

/** Who brings events waits so long for what is dropped to make room, at most: then what comes is dropped, until it has. */
const BUSY_MS_MAX = 1_000;

interface Dropped {
  readonly tally: Tally;
  readonly stream: Stream;
  readonly isCarried: boolean;
  count: number;
}

/**
 * Makes room in a full buffer by giving up the oldest segment that nobody has begun to read: an event that is in an intent, or on its way to one, stays.
 */
export class OldestDropper {
  readonly #options: OldestDropperOptions;
  #isBusy = false;
  /** Everything is in use, as far as is known. */
  #isPinned = false;
  /** The disk, or the journal, takes its time. */
  #isSlow = false;
  /** A segment was recycled. */
  #onRecycled: () => void = () => {};

  constructor(options: OldestDropperOptions) {
    this.#options = options;
  }

  /** Room is being made, and will be there in a moment. */
  get isBusy(): boolean {
    return this.#isBusy && !this.#isSlow;
  }

  /** Something has changed: what could not be dropped may be free. */
  retry(): void {
    this.#isPinned = false;
  }

  /** A segment's room is free. */
  recycled(): void {
    this.retry();
    this.#onRecycled();
  }

  /** Begins to make room, if there is anything to be dropped. */
  want(): void {
    if (this.#isBusy || this.#isPinned) return;
    const { segmentedLog, readSegment, unreadable } = this.#options;
    const oldest = segmentedLog.older.find(({ number }) => number > readSegment() && !unreadable.has(number));
    if (oldest === undefined) {
      this.#isPinned = true;
      return;
    }
    this.#isBusy = true;
    unreadable.add(oldest.number);
    const timer = setTimeout(() => {
      this.#isSlow = true;
      this.#options.onReady();
    }, this.#options.busyMsMax ?? BUSY_MS_MAX);
    timer.unref();
    void this.#drop(oldest.number).finally(() => {
      clearTimeout(timer);
      this.#isBusy = false;
      this.#isSlow = false;
      this.#options.onReady();
    });
  }

  /** Never rejects. */
  async #drop(segment: number): Promise<void> {
    const { journal, segmentedLog, unreadable } = this.#options;
    const found = eventsOf(segment, this.#options);
    if (found === null || !isFree(journal.ledger, found.range)) {
      unreadable.delete(segment);
      this.#isPinned = true;
      return;
    }
    this.#giveUp(found);
    try {
      await journal.store();
    } catch {
      return; // the journal was closed: the next run finds them, and delivers them
    }
    segmentedLog.release([segment]);
    // As long as it takes up room the buffer counts as full, and another one would be dropped for nothing.
    while (segmentedLog.older.some(({ number }) => number === segment)) {
      await new Promise<void>((resolve) => this.#onRecycled = resolve);
    }
  }

  #giveUp({ range, byStream }: SegmentEvents): void {
    const { journal, metrics, log, sink, onDropped } = this.#options;
    const count = range.to - range.from;
    if (count === 0) return;
    const region = journal.ledger.track({
      startOffset: range.from,
      endOffset: range.to,
      crc32: 0,
      lineCount: count,
      startsInsideCutLine: false,
      endsInsideCutLine: false,
    });
    region.cover(0, count);
    region.countGone("dropped", "buffer_full", count);
    region.settle(count);
    onDropped(range);
    for (const dropped of byStream) {
      const { tally, stream } = dropped;
      if (dropped.isCarried) {
        countCarried(tally, stream.source, dropped.count, metrics);
        tally.inFlightCount -= dropped.count;
      } else tally.bufferedCount -= dropped.count;
      tally.rejectedCount += dropped.count;
      tally.drop("buffer_full", dropped.count);
      metrics.bufferedEvents -= dropped.count;
      metrics.dropped.add(`${stream.source}\u0000buffer_full`, dropped.count);
      metrics.gaps?.noteCount(stream, "buffer_full", dropped.count);
    }
    log.warn(
      `The disk buffer of sink "${sink}" is full: its oldest events are dropped and counted, ${count} this time`,
      { reason: "buffer_full", hint: 'raise buffer.max_size, or use buffer.when_full = "block"' },
    );
  }
}

/** None of these events is in a batch whose fate is open, or was given up. */
function isFree(ledger: Ledger, { from, to }: EventRange): boolean {
  if (from === to) return true;
  const piece = ledger.pieceAt(from);
  if (piece === null) return ledger.trackedEnd <= from;
  return piece.kind === "gap" && piece.endOffset >= to;
}

interface SegmentEvents {
  readonly range: EventRange;
  readonly byStream: readonly Dropped[];
}

/** The events of the segment, counted by whose they are. Null: it is damaged, or cannot be read. */
function eventsOf(
  segment: number,
  { dir, ops, journal, runFirstEvent }: OldestDropperOptions,
): SegmentEvents | null {
  const byStream = new Map<string, Dropped>();
  let from = -1;
  let to = -1;
  let isWhole = true;
  try {
    const file = openSegmentFile(dir, segment, "buffer", ops);
    try {
      if (file.header === null) return null;
      const { damagedAt } = readSegmentFrames({ fd: file.fd, header: file.header }, ops, (frame) => {
        if (frame.type !== BufferFrame.EVENTS) return;
        const stored = readStoredEvents(frame.data, frame.start, frame.end, null);
        if (from < 0) from = stored.firstEvent;
        else if (stored.firstEvent !== to) isWhole = false;
        to = stored.firstEvent + stored.count;
        const { stream } = originOf(stored);
        const isCarried = stored.firstEvent < runFirstEvent;
        const key = `${stream.source}\u0000${stream.id}\u0000${isCarried}`;
        const known = byStream.get(key);
        if (known !== undefined) known.count += stored.count;
        else {
          const tally = journal.accounts.tallyFor(stream);
          byStream.set(key, { tally, stream, isCarried, count: stored.count });
        }
      });
      if (damagedAt.length > 0 || !isWhole) return null;
    } finally {
      ops.close(file.fd);
    }
  } catch {
    return null; // whoever reads it says what is wrong
  }
  return { range: from < 0 ? { from: 0, to: 0 } : { from, to }, byStream: [...byStream.values()] };
}
