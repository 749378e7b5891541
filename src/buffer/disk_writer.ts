import type { Delivery } from "../event/delivery.ts";
import type { TrackedRegion } from "../event/tracked_region.ts";
import type { SegmentedLog } from "../storage/segmented_log.ts";
import { crashPoint } from "../telemetry/crash_point.ts";
import type { SinkMetrics } from "../telemetry/metrics.ts";
import type { BufferAccounts } from "./buffer_accounts.ts";
import { BufferFrame } from "./buffer_frames.ts";
import { type EventsFrame, measureEvents, writeEvents } from "./events_frame.ts";
import type { ReadBound } from "./frame_reader.ts";
import { PendingSkips, writeSkip } from "./skip_frame.ts";

/** Bytes that wait for the disk, at most; passed by one batch. */
export const PENDING_BYTES_MAX = 1_572_864;
/** With `durability = "process"` what is written is synced this often: until then positions of files do not move over it. */
const SYNC_INTERVAL_MS = 1_000;
/** What was dropped is written this much later, when no event is before. */
const SKIP_DELAY_MS = 500;

/** Default: the above. */
export interface WriterTiming {
  readonly syncIntervalMs?: number;
  readonly skipDelayMs?: number;
}

export interface DiskWriterOptions extends WriterTiming {
  readonly log: SegmentedLog;
  readonly bufferId: Buffer;
  /** Number of the first event. */
  readonly firstEvent: number;
  readonly durability: "machine" | "process";
  readonly metrics: SinkMetrics;
  readonly accounts: BufferAccounts;
  /** Counts what the journal was told that a restart has to know before it knows of events of it: new streams, files that were cut. */
  readonly urgentCount: () => number;
  /** So many bytes more can be written without the files taking up more than is allowed. */
  readonly hasRoomFor: (bytes: number) => boolean;
  /** Resolves when all that the journal was told is stored. Rejects when it was closed. */
  readonly storeUrgent: () => Promise<void>;
  /** More can be read, or the disk is behind no more. */
  readonly onWritten: () => void;
  /** What was put in is secure: positions of files have moved over it. */
  readonly onSecured: () => void;
}

/** A delivery that is in the log, or about to be. */
interface Written {
  readonly delivery: Delivery;
  readonly endEvent: number;
}

/**
 * The way into a disk buffer. A delivery is copied into the log at once; when it is on the device the source's position moves over it, and it can be
 * read.
 */
export class DiskWriter {
  readonly #options: DiskWriterOptions;
  readonly #skips = new PendingSkips();
  /** Not secure yet, in order. */
  #written: Written[] = [];
  /** Wait until the journal has stored what they need, in order. */
  #held: Delivery[] = [];
  #heldBytes = 0;
  #heldEvents = 0;
  #knownUrgent = -1;
  /** Drops that no frame tells: the journal does, before later events are written. */
  #untoldSkipCount = 0;
  #storing: Promise<void> | null = null;
  #nextEvent: number;
  /** Events in front of it are written, and as durable as was asked for. */
  #readableEvent: number;
  #readableTo: ReadBound;
  #isCommitting = false;
  #isCommitWanted = false;
  #syncTimer: ReturnType<typeof setTimeout> | null = null;
  #skipTimer: ReturnType<typeof setTimeout> | null = null;
  #isClosed = false;
  #eventBytes = 512;

  constructor(options: DiskWriterOptions) {
    this.#options = options;
    this.#nextEvent = options.firstEvent;
    this.#readableEvent = options.firstEvent;
    this.#readableTo = writtenTo(options.log);
  }

  /** Number of the next event. */
  get nextEvent(): number {
    return this.#nextEvent + this.#heldEvents;
  }

  /** Number of the first event that may not be read yet. */
  get readableEvent(): number {
    return this.#readableEvent;
  }

  /** Everything in front of it may be read. */
  get readableTo(): ReadBound {
    return this.#readableTo;
  }

  /** All that was put in can be read. */
  get isAllReadable(): boolean {
    return this.#held.length === 0 && this.#readableEvent === this.#nextEvent;
  }

  /** All events in front of it are in positions of files. */
  get securedEvent(): number {
    const first = this.#written[0];
    return first === undefined ? this.#nextEvent : first.endEvent - first.delivery.batch.count;
  }

  /** Bytes that wait for the journal, and are not in the log's pending ones. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  get pendingBytes(): number {
    return this.#options.log.pendingBytes + this.#heldBytes;
  }

  /** What an event takes up, as they come. */
  get eventBytes(): number {
    return this.#eventBytes;
  }

  /** Takes ownership. */
  write(delivery: Delivery): void {
    const { metrics, accounts } = this.#options;
    const { batch, tally } = delivery;
    accounts.wrote(batch.origin.stream, tally);
    if (tally !== null) tally.bufferedCount += batch.count;
    metrics.bufferedEvents += batch.count;
    if (this.#isClosed) return this.#leave(delivery);
    if (this.#held.length > 0 || this.#storing !== null || this.#knownUrgent !== this.#urgentCount()) {
      this.#held.push(delivery);
      this.#heldBytes += batch.pinnedBytes;
      this.#heldEvents += batch.count;
      this.#storing ??= this.#storeUrgent();
      return;
    }
    this.#append(delivery);
    this.#commit();
  }

  skip({ stream, streamNumber, startOffset, endOffset }: TrackedRegion): void {
    if (streamNumber === 0 || this.#isClosed) return;
    if (this.#knownUrgent !== this.#urgentCount()) {
      // The stream may have been cut since the last event: a frame could not say whether it is about the bytes before or behind.
      this.#untoldSkipCount++;
      return;
    }
    if (!this.#skips.add(stream, startOffset, endOffset)) this.#untoldSkipCount++;
    this.#skipTimer ??= setTimeout(() => {
      this.#skipTimer = null;
      this.#commitSkips();
    }, this.#options.skipDelayMs ?? SKIP_DELAY_MS);
    this.#skipTimer.unref();
  }

  /** Stores what is pending. False when the disk refused within `timeoutMs`: what was not secure is left, and its source answers for it. */
  async close(timeoutMs: number): Promise<boolean> {
    const { log } = this.#options;
    const deadlineMs = performance.now() + timeoutMs;
    if (this.#storing !== null) await within(this.#storing, timeoutMs);
    this.#isClosed = true;
    for (const timer of [this.#syncTimer, this.#skipTimer]) if (timer !== null) clearTimeout(timer);
    if (this.#hasSkipRoom()) this.#appendSkips();
    const isStored = await log.close(Math.max(1, deadlineMs - performance.now()));
    if (isStored) this.#secure(this.#nextEvent);
    // What can be read is with the system, and perhaps delivered: the next start finds it, and covers its lines.
    // All of them stay in front of what is secured.
    for (const { delivery, endEvent } of this.#written) {
      if (endEvent > this.#readableEvent) this.#leave(delivery);
    }
    for (const delivery of this.#held.splice(0)) this.#leave(delivery);
    return isStored;
  }

  /** Its bytes go nowhere: the source has to be read again, if it can. */
  #leave(delivery: Delivery): void {
    const { tally, batch, untakenCount } = delivery;
    this.#options.metrics.bufferedEvents -= batch.count;
    if (tally !== null) {
      tally.bufferedCount -= batch.count;
      tally.inFlightCount += batch.count;
    }
    delivery.take(untakenCount);
    delivery.settle(batch.count, "errored");
  }

  #urgentCount(): number {
    return this.#options.urgentCount() + this.#untoldSkipCount;
  }

  /** A restart knows nothing of a stream that is not stored: it would read it from the start, although its lines are here. */
  async #storeUrgent(): Promise<void> {
    await Promise.resolve(); // `#storing` is set by then
    try {
      while (this.#held.length > 0) {
        const urgent = this.#urgentCount();
        if (this.#knownUrgent !== urgent) {
          await this.#options.storeUrgent();
          this.#knownUrgent = urgent;
          continue;
        }
        const held = this.#held;
        this.#held = [];
        this.#heldBytes = 0;
        this.#heldEvents = 0;
        for (const delivery of held) this.#append(delivery);
        this.#commit();
      }
    } catch {
      // The journal was closed: `close` leaves what is held.
    } finally {
      this.#storing = null;
    }
    this.#options.onWritten();
  }

  #append(delivery: Delivery): void {
    const { log, bufferId } = this.#options;
    const { batch, region } = delivery;
    this.#appendSkips();
    const frame: EventsFrame = measureEvents(batch, region!);
    const firstEvent = this.#nextEvent;
    log.appendWith(
      BufferFrame.EVENTS,
      frame.sizeBytes,
      (target, at) => writeEvents(frame, bufferId, firstEvent, target, at),
    );
    this.#eventBytes = (7 * this.#eventBytes + frame.sizeBytes / batch.count) / 8;
    this.#nextEvent += batch.count;
    this.#written.push({ delivery, endEvent: this.#nextEvent });
    delivery.take(delivery.untakenCount);
  }

  /**
   * What is dropped while a buffer is full must not make it larger, a group twice a second: when nothing of its room is left the journal tells, as it does
   * of all drops within a second.
   */
  #commitSkips(): void {
    if (!this.#hasSkipRoom()) {
      this.#skips.clear();
      this.#untoldSkipCount++;
      return;
    }
    this.#appendSkips();
    this.#commit();
  }

  #hasSkipRoom(): boolean {
    return this.#options.hasRoomFor(this.#skips.sizeBytesMax);
  }

  #appendSkips(): void {
    if (this.#skips.isEmpty) return;
    const { log, bufferId } = this.#options;
    for (const { stream, ranges } of this.#skips.take()) {
      log.append(BufferFrame.SKIP, writeSkip(bufferId, { nextEvent: this.#nextEvent, stream, ranges }));
    }
  }

  #commit(): void {
    this.#isCommitWanted = true;
    if (!this.#isCommitting) void this.#run();
  }

  /** Commits as long as there is something: what is appended meanwhile shares the next one. */
  async #run(): Promise<void> {
    const { log, durability, onWritten } = this.#options;
    this.#isCommitting = true;
    try {
      while (this.#isCommitWanted) {
        this.#isCommitWanted = false;
        const upTo = this.#nextEvent;
        crashPoint("before_buffer_commit");
        await log.commit();
        crashPoint("after_buffer_commit");
        this.#readableEvent = upTo;
        this.#readableTo = writtenTo(log);
        if (durability === "machine") this.#secure(upTo);
        else this.#syncTimer ??= this.#syncLater();
        onWritten();
      }
    } catch {
      // The log was closed: `close` says what became of the rest.
    } finally {
      this.#isCommitting = false;
    }
  }

  async #sync(): Promise<void> {
    const upTo = this.#readableEvent;
    try {
      const { log, onWritten } = this.#options;
      await log.sync();
      this.#secure(upTo);
      // It may have needed another segment.
      this.#readableTo = writtenTo(log);
      onWritten();
    } catch {
      // As above.
    }
    this.#syncTimer = null;
    if (!this.#isClosed && this.#readableEvent > upTo) {
      this.#syncTimer = this.#syncLater();
    }
  }

  #syncLater(): ReturnType<typeof setTimeout> {
    return setTimeout(() => void this.#sync(), this.#options.syncIntervalMs ?? SYNC_INTERVAL_MS);
  }

  /** The positions of their sources move over these events. */
  #secure(upTo: number): void {
    let count = 0;
    while (count < this.#written.length && this.#written[count]!.endEvent <= upTo) {
      this.#written[count++]!.delivery.handOver();
    }
    if (count === 0) return;
    this.#written.splice(0, count);
    this.#options.onSecured();
  }
}

/** While a segment is made, or the disk refuses, there is none to write to: all that are there are older ones. */
function writtenTo(log: SegmentedLog): ReadBound {
  const offset = log.writtenTo;
  return { segment: log.currentSegment + (offset > 0 ? 0 : 1), offset };
}

/** Resolves when `done` does, or after `timeoutMs`. */
async function within(done: Promise<void>, timeoutMs: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, timeoutMs);
  await Promise.race([done, promise]);
  clearTimeout(timer);
}
