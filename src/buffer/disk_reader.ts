import type { Ledger } from "../checkpoint/ledger.ts";
import type { Region } from "../checkpoint/region.ts";
import { Delivery } from "../event/delivery.ts";
import type { EventBatch } from "../event/event_batch.ts";
import type { BufferPool, PooledBuffer } from "../event/pooled_buffer.ts";
import type { Stream } from "../event/stream.ts";
import type { Tally } from "../event/tally.ts";
import { crc32 } from "node:zlib";
import { countOf } from "../telemetry/format.ts";
import { GarbagePacer } from "../telemetry/garbage_pacer.ts";
import type { Log } from "../telemetry/log.ts";
import type { SinkMetrics } from "../telemetry/metrics.ts";
import type { BufferAccounts } from "./buffer_accounts.ts";
import { BufferFrame } from "./buffer_frames.ts";
import type { BufferOps } from "./buffer_ops.ts";
import {
  decodeEvents,
  originOf,
  readStoredEvents,
  type StoredEvents,
  type StoredOrigin,
} from "./stored_events.ts";
import { FrameReader, type ReadBound } from "./frame_reader.ts";

/** Bytes of events that are read ahead of the sink, at most; passed by one window. */
export const READ_AHEAD_BYTES = 2_097_152;
/** Streams whose names are kept, so that events of one share them. */
const STREAMS_KEPT_MAX = 256;
export const DAMAGED = "buffer_damaged";

/** A range of event numbers. */
export interface EventRange {
  readonly from: number;
  readonly to: number;
}

export interface DiskReaderOptions {
  readonly sink: string;
  readonly dir: string;
  readonly ops: BufferOps;
  readonly pool: BufferPool;
  readonly log: Log;
  readonly metrics: SinkMetrics;
  readonly ledger: Ledger;
  readonly bufferId: Buffer;
  readonly accounts: BufferAccounts;
  /** Where reading starts: a segment, and the number of the first event in it or behind it that nobody has. */
  readonly startSegment: number;
  readonly startEvent: number;
  /** The first event that this run puts in. */
  readonly runFirstEvent: number;
  /** See `FoundBuffer`. */
  readonly untoldEvent: number;
  /** The number of the next event that is put in. */
  readonly endEvent: () => number;
  /** Up to the bound there are all events in front of this one. */
  readonly readableEvent: () => number;
  readonly bound: () => ReadBound;
  readonly hasSegment: (segment: number) => boolean;
  readonly nextSegment: (segment: number) => number | null;
  readonly endOf: (segment: number) => number;
  readonly ends: ReadonlyMap<number, number>;
  readonly sizeOf: (segment: number) => number;
  /** Everything in this segment was read; the number of the event behind it. */
  readonly onSegmentEnd: (segment: number, nextEvent: number) => void;
  readonly onDamaged: (segment: number) => void;
  /** All events of a delivery were settled. */
  readonly onSettled: (delivery: Delivery) => void;
  readonly onData: () => void;
}

/**
 * The way out of a disk buffer: reads frames in order and makes deliveries of them that name the buffer as the place where their events can be read
 * again. What the journal says is delivered, or in a batch whose fate is open, is passed over.
 */
export class DiskReader {
  readonly #options: DiskReaderOptions;
  readonly #frames: FrameReader;
  readonly #ready: Delivery[] = [];
  readonly #garbagePacer: GarbagePacer;
  readonly #streams = new Map<string, Stream>();
  /** Dropped by `drop_oldest` before they were read, ascending. */
  #dropped: EventRange[] = [];
  #readyBytes = 0;
  #nextEvent: number;
  /** Events of this run that were found to be missing and are still counted as buffered. */
  #missingCount = 0;
  #isReading = false;
  #isClosed = false;

  constructor(options: DiskReaderOptions) {
    this.#options = options;
    this.#nextEvent = options.startEvent;
    this.#garbagePacer = new GarbagePacer({ onIdle: () => options.pool.trim() });
    this.#frames = new FrameReader({
      ...options,
      onFrame: (type, window, start, end, segment) => this.#frame(type, window, start, end, segment),
      onDamage: (segment, byte, cause) => this.#damage(segment, byte, cause),
      onSegmentEnd: (segment) => options.onSegmentEnd(segment, this.#nextEvent),
    }, options.startSegment);
  }

  get segment(): number {
    return this.#frames.segment;
  }

  /** Number of the first event that this run puts in. */
  get runFirstEvent(): number {
    return this.#options.runFirstEvent;
  }

  /** Number of the event that is read next. */
  get nextEvent(): number {
    return this.#nextEvent;
  }

  /** The oldest delivery, or null when none is read yet. */
  read(): Delivery | null {
    const delivery = this.#ready.shift() ?? null;
    if (delivery !== null) {
      this.#readyBytes -= delivery.batch.pinnedBytes;
      this.#open(delivery);
    }
    this.#readOn();
    this.#settleMissing();
    return delivery;
  }

  get hasData(): boolean {
    return this.#ready.length > 0;
  }

  /** Everything that may be read was read and taken. */
  get isDrained(): boolean {
    return this.#ready.length === 0 && !this.#isReading && this.#frames.isCaughtUp;
  }

  /** More may be read than before. */
  more(): void {
    this.#readOn();
  }

  /** These events were given up before they were read. */
  skipDropped(range: EventRange): void {
    this.#dropped.push(range);
  }

  /** What was read ahead is forgotten: its events are in the buffer. */
  close(): void {
    this.#isClosed = true;
    this.#frames.close();
    for (const { batch } of this.#ready.splice(0)) {
      for (const owner of batch.owners) owner.release();
      batch.rawEndsOwner?.release();
    }
    this.#readyBytes = 0;
  }

  #readOn(): void {
    if (this.#isReading || this.#isClosed) return;
    if (this.#frames.isCaughtUp) return this.#loseRest();
    if (this.#readyBytes < READ_AHEAD_BYTES) void this.#run();
  }

  /** All files were read: events that have to be in front of where reading stands, and were not there, will never come. */
  #loseRest(): void {
    const to = this.#options.readableEvent();
    if (to > this.#nextEvent) this.#missing(to);
  }

  async #run(): Promise<void> {
    this.#isReading = true;
    while (!this.#isClosed && this.#readyBytes < READ_AHEAD_BYTES && !this.#frames.isCaughtUp) {
      await this.#frames.step();
      if (this.#ready.length > 0) this.#options.onData();
    }
    this.#isReading = false;
    if (!this.#isClosed && this.#frames.isCaughtUp) this.#loseRest();
    this.#settleMissing();
    this.#options.onData();
  }

  /** Everything else was read: what is still counted as buffered is what is missing. */
  #settleMissing(): void {
    const { accounts, metrics, endEvent } = this.#options;
    if (this.#missingCount === 0 || this.#ready.length > 0 || this.#nextEvent !== endEvent()) return;
    this.#missingCount = 0;
    accounts.settleMissing((tally, count) => {
      tally.bufferedCount -= count;
      tally.rejectedCount += count;
      tally.lose(DAMAGED, count);
      metrics.lost.add(DAMAGED, count);
      metrics.gaps?.noteCount(null, DAMAGED, count);
      metrics.bufferedEvents -= count;
    });
  }

  #frame(type: number, window: PooledBuffer, start: number, end: number, segment: number): void {
    if (type !== BufferFrame.EVENTS) return;
    let stored: StoredEvents;
    let origin: StoredOrigin;
    try {
      stored = readStoredEvents(window.data, start, end, this.#options.bufferId);
      origin = originOf(stored);
    } catch (error) {
      return this.#damage(segment, start, error instanceof Error ? error.message : String(error));
    }
    const { firstEvent, count } = stored;
    // Written twice: a commit failed, and was there all the same.
    if (firstEvent + count <= this.#nextEvent) return;
    if (firstEvent > this.#nextEvent) this.#missing(firstEvent);
    this.#events(stored, origin, window, segment);
    this.#nextEvent = firstEvent + count;
    this.#options.ledger.cursor = this.#nextEvent;
  }

  #events(stored: StoredEvents, origin: StoredOrigin, window: PooledBuffer, segment: number): void {
    const { ledger, pool } = this.#options;
    const { firstEvent, count } = stored;
    const checksum = crc32(stored.data.subarray(stored.start, stored.end));
    const piece = ledger.pieceAt(firstEvent);
    if (piece?.kind === "skip" && piece.endOffset >= firstEvent + count) return;
    let region = null;
    let kept: Uint32Array | null = null;
    if (piece?.kind === "region" && piece.region.crc32 === checksum && piece.region.lineCount === count) {
      region = piece.region;
      kept = uncoveredLines(region, count);
    } else if (piece !== null && piece.kind !== "gap") {
      // Numbers were given twice, by a copy of data_dir. Nothing is thrown away for what another one did.
      ledger.rewind(firstEvent);
    }
    region ??= ledger.track({
      startOffset: firstEvent,
      endOffset: firstEvent + count,
      crc32: checksum,
      lineCount: count,
      startsInsideCutLine: false,
      endsInsideCutLine: false,
    });
    let batch: EventBatch;
    try {
      batch = decodeEvents(stored, origin, this.#stream(origin.stream), window, pool, kept);
    } catch (error) {
      this.#damage(segment, stored.start, error instanceof Error ? error.message : String(error));
      return this.#countLost(giveUp(region), firstEvent, firstEvent + count);
    }
    const tally = this.#options.accounts.tallyFor(origin.stream);
    this.#ready.push(new Delivery(batch, (_status, delivery) => this.#settled(delivery), region, tally));
    this.#readyBytes += batch.pinnedBytes;
    this.#garbagePacer.add(batch.pinnedBytes);
  }

  /** The sink takes it. */
  #open({ batch, tally, region }: Delivery): void {
    const { metrics, runFirstEvent } = this.#options;
    const { count } = batch;
    if (region!.startOffset >= runFirstEvent) tally!.bufferedCount -= count;
    else countCarried(tally!, batch.origin.stream.source, count, metrics);
    if (region!.startOffset >= runFirstEvent) tally!.inFlightCount += count;
    metrics.bufferedEvents -= count;
  }

  #settled(delivery: Delivery): void {
    delivery.region!.settle(delivery.batch.count - delivery.leftCount);
    this.#options.onSettled(delivery);
  }

  /** One object a stream, for messages and labels. */
  #stream(stream: Stream): Stream {
    const key = `${stream.source}\u0000${stream.id}`;
    const known = this.#streams.get(key);
    if (known !== undefined) return known;
    if (this.#streams.size >= STREAMS_KEPT_MAX) this.#streams.clear();
    this.#streams.set(key, stream);
    return stream;
  }

  /** The next event that is there is `to`. */
  #missing(to: number): void {
    let from = this.#nextEvent;
    for (const dropped of this.#dropped.splice(0)) {
      if (dropped.from >= to) {
        this.#dropped.push(dropped);
        continue;
      }
      if (dropped.from > from) this.#lose({ from, to: dropped.from });
      from = Math.max(from, dropped.to);
    }
    if (from < to) this.#lose({ from, to });
    this.#nextEvent = to;
  }

  /** What of these events nobody has is gone. */
  #lose({ from, to }: EventRange): void {
    const { ledger } = this.#options;
    let count = 0;
    for (let at = from; at < to;) {
      const piece = ledger.pieceAt(at);
      if (piece?.kind === "skip") {
        at = Math.max(at + 1, piece.endOffset);
        continue;
      }
      const end = Math.min(
        to,
        piece === null ? to : piece.kind === "gap" ? piece.endOffset : piece.region.endOffset,
      );
      count += giveUp(piece?.kind === "region" ? piece.region : missingRegion(ledger, at, end));
      at = end;
    }
    this.#countLost(count, from, to);
  }

  /** So many of these events were given up. */
  #countLost(count: number, from: number, to: number): void {
    const { ledger, metrics, log, dir, sink, runFirstEvent, untoldEvent } = this.#options;
    if (count === 0) return;
    // Whose they were is only known for what an earlier run did not put in: when all others are read, the rest is told by what is left.
    const carriedCount = Math.min(count, Math.max(0, Math.min(to, runFirstEvent) - from));
    this.#missingCount += count - carriedCount;
    metrics.lost.add(DAMAGED, carriedCount);
    metrics.gaps?.noteCount(null, DAMAGED, carriedCount);
    metrics.lostRecoveredCount += carriedCount;
    metrics.eventsInCount += carriedCount;
    metrics.carriedEvents -= carriedCount;
    metrics.bufferedEvents -= carriedCount;
    ledger.changed();
    const untoldCount = Math.max(0, Math.min(to, runFirstEvent) - Math.max(from, untoldEvent));
    const isUntold = untoldCount === 0
      ? ""
      : `; of up to ${
        Math.min(count, untoldCount)
      } of them the positions of their files were not stored yet: lines of files that are still there are read again, and are not lost`;
    log.error(
      `Lost ${
        countOf(count, "event")
      } of the disk buffer of sink "${sink}" in "${dir}": they are in none of its files, or where one is damaged${isUntold}`,
      { events: `${from} to ${to - 1}` },
    );
  }

  #damage(segment: number, byte: number, cause: string): void {
    const { log, dir, onDamaged, sink } = this.#options;
    log.error(
      `The disk buffer of sink "${sink}" is damaged: segment ${segment} in "${dir}", byte ${byte}: ${cause}; going on behind it, the file is kept in "${dir}/damaged"`,
      { hint: "look at the disk: dmesg, smartctl" },
    );
    onDamaged(segment);
  }
}

/** Events of an earlier run are taken up by this one. */
export function countCarried(tally: Tally, source: string, count: number, metrics: SinkMetrics): void {
  tally.recover(count);
  metrics.eventsInBySource.add(source, count);
  metrics.eventsInCount += count;
  metrics.carriedEvents -= count;
}

function uncoveredLines(region: { isLineCovered(line: number): boolean }, count: number): Uint32Array | null {
  const lines: number[] = [];
  for (let line = 0; line < count; line++) if (!region.isLineCovered(line)) lines.push(line);
  return lines.length === count ? null : Uint32Array.from(lines);
}

/** Stands for events that are nowhere. */
function missingRegion(ledger: Ledger, startOffset: number, endOffset: number): Region {
  const lineCount = endOffset - startOffset;
  return ledger.track({
    startOffset,
    endOffset,
    crc32: 0,
    lineCount,
    startsInsideCutLine: false,
    endsInsideCutLine: false,
  });
}

/** Covers and settles all of a region that is not. Returns how many events that were. */
function giveUp(region: Region): number {
  const count = region.lineCount - region.coveredCount;
  region.cover(0, region.lineCount);
  region.countGone("lost", DAMAGED, count);
  region.settle(count);
  return count;
}
