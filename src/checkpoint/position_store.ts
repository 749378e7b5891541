import { errnoName } from "../errors.ts";
import type { Stream } from "../event/stream.ts";
import type { Log } from "../telemetry/log.ts";
import type { Checkpoint, PositionTracker } from "./checkpoint.ts";
import { MemoryCheckpoint } from "./memory_checkpoint.ts";
import type { FileRecord, StoredStream } from "./position_file.ts";
import { POSITIONS_FILE, readPositionFile, writePositionFile } from "./position_file.ts";
import { RangeTracker } from "./position_tracker.ts";

/** Changes are written together, at most this often. */
export const WRITE_INTERVAL_MS = 1_000;
/**
 * A stream that was not known is written this soon: a file that is rotated after a crash is only found by what is stored of it. Several that
 * come together are written together.
 */
export const NEW_STREAM_WRITE_MS = 10;
/** Streams that keep coming do not have the file written more often than this. */
const NEW_STREAMS_WRITE_INTERVAL_MS = 200;
/** After a failed write the next try comes after twice the time, up to this. */
export const WRITE_RETRY_MS_MAX = 30_000;
/** A stream whose file was not seen for this long is forgotten. */
export const UNSEEN_KEPT_MS = 7 * 86_400_000;
const SEEN_STORED_MS = 6 * 3_600_000;
const WARN_INTERVAL_MS = 60_000;

export interface PositionStoreOptions {
  /** Locked by the caller (`acquireDataDir`). Null: nothing is read or stored (`--dry-run`). */
  readonly dataDir: string | null;
  readonly log: Log;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
}

/** Reads what is stored; see `readPositionFile` for what is thrown. */
export async function openPositionStore(options: PositionStoreOptions): Promise<PositionStore> {
  return new PositionStore(options, options.dataDir === null ? [] : readPositionFile(options.dataDir));
}

class Entry {
  record: FileRecord;
  /** Position by sink where no tracker is at work in this run: stored, or the start of reading. */
  readonly offsets: Map<string, number>;
  /** Sinks whose position in `offsets` lies inside a cut line. */
  readonly cutSinks: Set<string>;
  readonly trackers = new Map<string, RangeTracker>();
  seenMs: number;
  /** Set when the file is gone: the entry goes when every one of these sinks has come this far. */
  finalOffsets: ReadonlyMap<string, number> | null = null;

  constructor(record: FileRecord, offsets: Map<string, number>, cutSinks: Set<string>, seenMs: number) {
    this.record = record;
    this.offsets = offsets;
    this.cutSinks = cutSinks;
    this.seenMs = seenMs;
  }

  position(sink: string): number | null {
    return this.trackers.get(sink)?.position ?? this.offsets.get(sink) ?? null;
  }

  /** The position of every sink, and those that lie inside a cut line. */
  positions(): { offsets: Map<string, number>; cutSinks: Set<string> } {
    const offsets = new Map<string, number>();
    const cutSinks = new Set<string>();
    for (const sink of [...this.offsets.keys(), ...this.trackers.keys()]) {
      offsets.set(sink, this.position(sink)!);
      const tracker = this.trackers.get(sink);
      if (tracker === undefined ? this.cutSinks.has(sink) : tracker.isPositionInsideCutLine) {
        cutSinks.add(sink);
      }
    }
    return { offsets, cutSinks };
  }

  isDelivered(): boolean {
    if (this.finalOffsets === null) return false;
    for (const [sink, offset] of this.finalOffsets) {
      if ((this.position(sink) ?? -1) < offset) return false;
    }
    return true;
  }
}

/**
 * Where reading goes on, for each (source, stream, sink), kept in `data_dir/positions.json`. Changes are written at most once a second,
 * new streams at once, and all at `close`; nothing runs while nothing changes. A failed write (full disk) is told and tried again: shipping
 * goes on, and a crash meanwhile repeats what was delivered since the last good write.
 *
 * Streams of stdin are tracked and never stored: they cannot be read again.
 */
export class PositionStore implements Checkpoint {
  readonly #dataDir: string | null;
  readonly #log: Log;
  readonly #now: () => number;
  readonly #entries = new Map<string, Entry>();
  readonly #unstored = new MemoryCheckpoint();
  readonly #markChanged = () => this.#changed();
  #isChanged = false;
  #isClosed = false;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #timerAtMs = Infinity;
  #lastWriteMs = -Infinity;
  #writing: Promise<boolean> | null = null;
  #retryMs = WRITE_INTERVAL_MS;
  #warnedMs = -Infinity;

  constructor(options: PositionStoreOptions, stored: readonly StoredStream[]) {
    this.#dataDir = options.dataDir;
    this.#log = options.log;
    this.#now = options.now ?? Date.now;
    for (const { offsets, insideCutLine = {}, seenMs, ...record } of stored) {
      const cutSinks = new Set(
        Object.keys(insideCutLine).filter((sink) => insideCutLine[sink] === offsets[sink]),
      );
      const entry = new Entry(record, new Map(Object.entries(offsets)), cutSinks, seenMs);
      this.#entries.set(entryKey(record.source, record.id), entry);
    }
  }

  tracker(stream: Stream, sink: string, startOffset: number): PositionTracker {
    const entry = this.#entries.get(entryKey(stream.source, stream.id));
    if (entry === undefined) return this.#unstored.tracker(stream, sink, startOffset);
    let found = entry.trackers.get(sink);
    if (found === undefined) {
      const startsInsideCutLine = entry.cutSinks.has(sink) && entry.offsets.get(sink) === startOffset;
      found = new RangeTracker(startOffset, this.#markChanged, startsInsideCutLine);
      entry.trackers.set(sink, found);
      this.#changed();
    }
    return found;
  }

  /** Every stream that is known for a source, in no order. */
  records(source: string): FileRecord[] {
    const found: FileRecord[] = [];
    for (const entry of this.#entries.values()) if (entry.record.source === source) found.push(entry.record);
    return found;
  }

  /** Adds a stream, or replaces what is known of the one with this id; positions stay. It counts as seen now. */
  put(record: FileRecord): void {
    const key = entryKey(record.source, record.id);
    const entry = this.#entries.get(key);
    if (entry === undefined) {
      this.#entries.set(key, new Entry(record, new Map(), new Set(), this.#now()));
      this.#changed(true);
    } else {
      entry.record = record;
      entry.seenMs = this.#now();
      entry.finalOffsets = null;
      this.#changed();
    }
  }

  /** Gives the positions of `oldId` to `record.id`: the same content under a new identity (the device got another number). */
  adopt(oldId: string, record: FileRecord): void {
    const old = this.#entries.get(entryKey(record.source, oldId));
    const { offsets, cutSinks } = old?.positions() ?? { offsets: new Map(), cutSinks: new Set<string>() };
    this.forget(record.source, oldId);
    this.#entries.set(entryKey(record.source, record.id), new Entry(record, offsets, cutSinks, this.#now()));
    this.#changed();
  }

  /** The position of a sink in a stream; null when this sink never read it. */
  position(source: string, id: string, sink: string): number | null {
    return this.#entries.get(entryKey(source, id))?.position(sink) ?? null;
  }

  /**
   * Where a sink reads on: behind what it was given in this run already, delivered or not, else at its position. Null when this sink never
   * read the stream.
   */
  resumeOffset(source: string, id: string, sink: string): number | null {
    const tracker = this.#entries.get(entryKey(source, id))?.trackers.get(sink);
    return tracker === undefined ? this.position(source, id, sink) : tracker.trackedEnd;
  }

  /** Says where a sink starts to read a stream that has no position for it, so that a restart starts there too. */
  startAt(source: string, id: string, sink: string, offset: number): void {
    const entry = this.#entries.get(entryKey(source, id));
    if (entry === undefined || entry.position(sink) !== null) return;
    entry.offsets.set(sink, offset);
    this.#changed();
  }

  /** Notes that a stream's file was there just now. Stored once in `SEEN_STORED_MS`: idle files cost no writes. */
  seen(source: string, id: string): void {
    const entry = this.#entries.get(entryKey(source, id));
    if (entry === undefined || this.#now() - entry.seenMs < SEEN_STORED_MS) return;
    entry.seenMs = this.#now();
    this.#changed();
  }

  /**
   * Forgets the streams whose file was not seen for `UNSEEN_KEPT_MS`. Not at the first start without it: a folder that is mounted late
   * must not be shipped again from its beginning.
   */
  forgetUnseen(source: string): void {
    const oldestMs = this.#now() - UNSEEN_KEPT_MS;
    for (const [key, entry] of this.#entries) {
      if (entry.record.source === source && entry.seenMs < oldestMs && this.#entries.delete(key)) {
        this.#changed();
      }
    }
  }

  forget(source: string, id: string): void {
    if (this.#entries.delete(entryKey(source, id))) this.#changed();
  }

  /** The file is gone: forgets the stream as soon as each of these sinks has delivered up to its offset. */
  forgetWhenDelivered(source: string, id: string, finalOffsets: ReadonlyMap<string, number>): void {
    const entry = this.#entries.get(entryKey(source, id));
    if (entry === undefined) return;
    entry.finalOffsets = finalOffsets;
    this.#changed();
  }

  /** Writes now what is not written yet. False when that failed (it was logged). */
  async flush(): Promise<boolean> {
    if (this.#dataDir === null) return true;
    while (this.#writing !== null) await this.#writing;
    if (!this.#isChanged) return true;
    this.#isChanged = false;
    this.#writing = this.#write(this.#dataDir);
    try {
      return await this.#writing;
    } finally {
      this.#writing = null;
    }
  }

  /** The last write. False when the positions of the last moments could not be stored: a restart repeats them. */
  async close(): Promise<boolean> {
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    return await this.flush();
  }

  #changed(isNewStream = false): void {
    this.#isChanged = true;
    if (this.#isClosed || this.#dataDir === null) return;
    if (this.#timer !== null && !isNewStream) return;
    const nowMs = performance.now();
    let delayMs = this.#retryMs;
    // A disk that refuses writes is left in peace for new streams, too.
    if (isNewStream && this.#retryMs === WRITE_INTERVAL_MS) {
      delayMs = Math.max(NEW_STREAM_WRITE_MS, this.#lastWriteMs + NEW_STREAMS_WRITE_INTERVAL_MS - nowMs);
    }
    if (nowMs + delayMs >= this.#timerAtMs) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timerAtMs = nowMs + delayMs;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#timerAtMs = Infinity;
      void this.flush().then(() => {
        if (this.#isChanged) this.#changed();
      });
    }, delayMs);
  }

  async #write(dataDir: string): Promise<boolean> {
    this.#lastWriteMs = performance.now();
    const streams: StoredStream[] = [];
    for (const [key, entry] of this.#entries) {
      if (entry.isDelivered()) {
        this.#entries.delete(key);
        continue;
      }
      const { offsets, cutSinks } = entry.positions();
      const cuts = [...cutSinks].map((sink) => [sink, offsets.get(sink)!] as const);
      streams.push({
        ...entry.record,
        seenMs: entry.seenMs,
        offsets: Object.fromEntries(offsets),
        ...(cuts.length === 0 ? {} : { insideCutLine: Object.fromEntries(cuts) }),
      });
    }
    try {
      await writePositionFile(dataDir, streams);
      if (this.#retryMs > WRITE_INTERVAL_MS) {
        this.#log.info("Positions are stored again", { dataDir });
      }
      this.#retryMs = WRITE_INTERVAL_MS;
      return true;
    } catch (error) {
      this.#isChanged = true;
      this.#retryMs = Math.min(this.#retryMs * 2, WRITE_RETRY_MS_MAX);
      this.#tellFailure(errnoName(error));
      return false;
    }
  }

  #tellFailure(cause: string): void {
    if (!this.#isClosed && this.#now() - this.#warnedMs < WARN_INTERVAL_MS) return;
    this.#warnedMs = this.#now();
    const file = `"${this.#dataDir}/${POSITIONS_FILE}"`;
    this.#log.warn(
      this.#isClosed
        ? `Cannot store positions in ${file} (${cause}): what was delivered since the last good write is sent again after a restart`
        : `Cannot store positions in ${file} (${cause}): shipping goes on, and storing is tried again`,
      {
        hint: isFull(cause)
          ? "free space where data_dir is"
          : "make data_dir writable for the user that runs shipper",
      },
    );
  }
}

function isFull(cause: string): boolean {
  return cause === "ENOSPC" || cause === "EDQUOT";
}

function entryKey(source: string, id: string): string {
  return `${source}\u0000${id}`;
}
