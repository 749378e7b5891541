import type { Ledger } from "../checkpoint/ledger.ts";
import type { RegionInfo } from "../checkpoint/region.ts";
import { type BatchStatus, Delivery } from "../event/delivery.ts";
import type { StreamAccount } from "../event/tally.ts";
import type { TrackedRegion } from "../event/tracked_region.ts";
import type { SegmentedLog } from "../storage/segmented_log.ts";
import { coveredEvents } from "./covered_events.ts";
import type { DiskBufferOptions, FoundBuffer } from "./disk_buffer_options.ts";
import { DiskReader } from "./disk_reader.ts";
import { DiskRoom, RESERVED_FREE_BYTES } from "./disk_room.ts";
import { DiskWriter } from "./disk_writer.ts";
import type { EventBuffer } from "./event_buffer.ts";
import { OldestDropper } from "./oldest_dropper.ts";
import { RoomQueue } from "./room_queue.ts";
import { SegmentRelease } from "./segment_release.ts";
import { StoredFrames } from "./stored_frames.ts";

/** Events that a writer is told that there is room for, at most. */
const ROOM_EVENTS_MAX = 65_536;
/** What an event takes up is taken for this much more than it was: they differ. */
const EVENT_BYTES_MARGIN = 1.25;
/** So often it is looked whether a full disk has room again. */
const DISK_CHECK_MS = 1_000;
/** A full buffer has room again for who can wait when this share of it is free. */
const REFILL_SHARE = 1 / 16;

/**
 * The buffer on disk: events in a log of segments, from the moment that they are shaped until they are delivered. A file's position moves over its lines
 * when they are in it; what is delivered is in the journal, by the numbers of events. It survives whatever the process does not.
 *
 *     write -> log (group commit) -> on the device: the source's position moves
 *                  |
 *                  +-> read -> sink -> intents name the buffer -> acknowledged: segments are used again
 */
export class DiskBuffer implements EventBuffer {
  readonly #options: DiskBufferOptions;
  readonly #log: SegmentedLog;
  readonly #room: DiskRoom;
  readonly #writer: DiskWriter;
  readonly #reader: DiskReader;
  readonly #release: SegmentRelease;
  readonly #stored: StoredFrames;
  readonly #oldest: OldestDropper;
  readonly #bufferId: string;
  /** Dropped whole, or of no use: not to be read. */
  readonly #droppedSegments: Set<number>;
  #hasEnded = false;
  /** Nobody reads any more; what still comes is stored. */
  #isAbandoned = false;
  #isFull = false;
  #wasDiskShort = false;
  readonly #roomWaiters = new RoomQueue();
  #closing: Promise<boolean> | null = null;
  #dataWaiter: ((hasData: boolean) => void) | null = null;
  /** Intents tell what is delivered; set by who knows. */
  hasIntents: () => boolean = () => false;

  constructor(options: DiskBufferOptions, found: FoundBuffer) {
    this.#options = options;
    const { journal, metrics, dir, ops, durability, maxSizeBytes } = options;
    const { segmentedLog, bufferId, firstEvent } = found;
    this.#log = segmentedLog;
    this.#droppedSegments = new Set(found.unreadable);
    this.#room = new DiskRoom(segmentedLog, maxSizeBytes, () => ops.freeBytes(dir));
    this.#release = new SegmentRelease({
      log: segmentedLog,
      ledger: journal.ledger,
      store: journal.store,
      damaged: found.damaged,
    });
    this.#writer = new DiskWriter({
      ...options,
      log: segmentedLog,
      bufferId,
      firstEvent,
      durability,
      metrics,
      accounts: journal.accounts,
      urgentCount: journal.urgentCount,
      hasRoomFor: (bytes) => this.#room.hasRoomFor(bytes),
      storeUrgent: journal.store,
      onWritten: () => this.#written(),
      onSecured: journal.secured,
    });
    this.#reader = this.#newReader(found);
    this.#oldest = this.#newDropper(found);
    this.#bufferId = bufferId.toString("hex");
    this.#stored = new StoredFrames({ dir, ops, bufferId, segments: () => this.#segments() });
    metrics.bufferMaxEvents = 0;
    metrics.bufferMaxBytes = maxSizeBytes;
    const carriedCount = Math.max(0, firstEvent - journal.ledger.position - coveredEvents(journal.ledger));
    metrics.carriedEvents = carriedCount;
    metrics.bufferedEvents = carriedCount;
    this.#count();
    for (const segment of found.doneSegments) this.#release.read(segment, 0);
    // Reading waits for who asks for it: until then the journal may say that something has to be read again.
  }

  #newReader(found: FoundBuffer): DiskReader {
    const { journal } = this.#options;
    const { firstEvent, segmentedLog } = found;
    return new DiskReader({
      ...this.#options,
      ...found,
      ledger: journal.ledger,
      accounts: journal.accounts,
      runFirstEvent: firstEvent,
      endEvent: () => this.#writer.nextEvent,
      readableEvent: () => this.#writer.readableEvent,
      bound: () => this.#writer.readableTo,
      hasSegment: (segment) => this.#hasSegment(segment),
      nextSegment: (segment) => this.#nextSegment(segment),
      endOf: (segment) => segmentedLog.older.find(({ number }) => number === segment)?.endBytes ?? -1,
      sizeOf: (segment) => segmentedLog.older.find(({ number }) => number === segment)?.sizeBytes ?? 0,
      onSegmentEnd: (segment, nextEvent) => this.#segmentRead(segment, nextEvent),
      onDamaged: (segment) => this.#release.damaged(segment),
      onSettled: (delivery) => this.#settled(delivery),
      onData: () => this.#dataRead(),
    });
  }

  #newDropper({ firstEvent, segmentedLog }: FoundBuffer): OldestDropper {
    return new OldestDropper({
      ...this.#options,
      runFirstEvent: firstEvent,
      segmentedLog,
      readSegment: () => this.#reader.segment,
      unreadable: this.#droppedSegments,
      onDropped: (range) => this.#reader.skipDropped(range),
      onReady: () => this.#wakeWriters(),
    });
  }

  /** The account of its events. */
  get ledger(): Ledger {
    return this.#options.journal.ledger;
  }

  get eventCount(): number {
    return this.#options.metrics.bufferedEvents;
  }

  get pinnedBytes(): number {
    return this.#room.usedBytes;
  }

  /** See `BufferProgress`. */
  securedEvent = (): number => this.#writer.securedEvent;
  nextEvent = (): number => this.#writer.nextEvent;
  moved = (): void => {
    this.#release.look();
    if (this.#isEmpty()) this.#wakeWriters();
  };

  /** Accounts of events that an earlier run put in, as far as no stream of this one keeps them. */
  accounts(): Iterable<StreamAccount> {
    return this.#options.journal.accounts.accounts();
  }

  roomEvents(): number {
    if (this.#isAbandoned) return ROOM_EVENTS_MAX;
    if (this.#log.isFailing || this.#isDiskShort()) return 0;
    const eventBytes = this.#writer.eventBytes * EVENT_BYTES_MARGIN;
    const count = Math.min(ROOM_EVENTS_MAX, Math.floor(this.#leftBytes() / eventBytes));
    // One that is larger than the buffer goes through it alone.
    return this.#isEmpty() ? Math.max(1, count) : Math.max(0, count);
  }

  #leftBytes(): number {
    return this.#room.leftBytes(this.#isEmpty()) - this.#writer.heldBytes;
  }

  /** Everything that was put in is delivered or given up. */
  #isEmpty(): boolean {
    return this.#options.journal.ledger.position >= this.#writer.nextEvent;
  }

  hasRoom(): boolean {
    if (this.#isAbandoned) return true;
    if (this.roomEvents() === 0) this.#isFull = true;
    else if (this.#isFull && this.#hasRefill()) this.#isFull = false;
    return !this.#isFull;
  }

  isBusy(): boolean {
    if (this.#isAbandoned) return false;
    const { whenFull } = this.#options;
    if (whenFull === "drop_oldest" && this.roomEvents() === 0) {
      this.#oldest.want();
      if (this.#oldest.isBusy) return true;
    }
    return this.#writer.pendingBytes >= this.#room.pendingBytesMax && !this.#log.isFailing;
  }

  waitForRoom(signal: AbortSignal): Promise<void> {
    if ((this.hasRoom() && !this.isBusy()) || signal.aborted) return Promise.resolve();
    return this.#roomWaiters.wait(signal);
  }

  write(delivery: Delivery): void {
    this.#writer.write(delivery);
    this.#count();
  }

  skip(region: TrackedRegion): void {
    this.#writer.skip(region);
  }

  read(): Delivery | null {
    if (this.#isAbandoned) return null;
    const delivery = this.#reader.read();
    if (delivery === null) this.#dataRead();
    return delivery;
  }

  waitForData(): Promise<boolean> {
    if (!this.#isAbandoned) this.#reader.more();
    if (this.#reader.hasData && !this.#isAbandoned) return Promise.resolve(true);
    if (this.#isOver()) return Promise.resolve(false);
    if (this.#dataWaiter !== null) {
      throw new Error("Cannot wait twice for the same buffer: it has one reader");
    }
    return new Promise((resolve) => this.#dataWaiter = resolve);
  }

  end(): void {
    this.#hasEnded = true;
    this.#dataRead();
  }

  /** Nothing is read any more. What was read ahead is in the log, and what is still written goes there. */
  abandon(): void {
    if (this.#isAbandoned) return;
    this.#isAbandoned = true;
    this.#hasEnded = true;
    this.#reader.close();
    this.#wakeWriters();
    this.#dataRead();
  }

  /**
   * Events of a batch that an earlier run was sending, by the numbers in its intent (`info`, and pairs of events skipped and meant in `runs`). Null:
   * they are not there any more. Throws the system's errors: to be tried again.
   */
  readAgain(
    bufferId: string,
    info: RegionInfo,
    runs: readonly number[],
    region: TrackedRegion | null,
  ): Delivery | null {
    const { pool, journal } = this.#options;
    if (bufferId !== this.#bufferId) return null;
    const batch = this.#stored.batchOf(info, runs, pool);
    if (batch === null) return null;
    const settled = (_status: BatchStatus, delivery: Delivery) => {
      region?.settle(batch.count - delivery.leftCount);
      this.#options.metrics.leftInBufferCount += delivery.leftCount;
    };
    return new Delivery(batch, settled, region, journal.accounts.tallyFor(batch.origin.stream));
  }

  /** Stores what is pending and closes the log, after all writers have ended. False when the disk refused that for `timeoutMs`. */
  close(timeoutMs: number): Promise<boolean> {
    this.#closing ??= this.#close(timeoutMs);
    return this.#closing;
  }

  async #close(timeoutMs: number): Promise<boolean> {
    this.abandon();
    await this.#release.close(timeoutMs);
    const isStored = await this.#writer.close(timeoutMs);
    const { metrics } = this.#options;
    // With those that left it in this run and came to nothing.
    metrics.leftInBufferCount += metrics.bufferedEvents;
    this.#count();
    return isStored;
  }

  /** Told by the log: a commit failed, with the system's message, or works again (null). */
  problem(cause: string | null): void {
    const { log, dir, sink, metrics, whenFull } = this.#options;
    const before = metrics.bufferFailure;
    metrics.bufferFailure = cause;
    this.#wakeWriters();
    if (cause === before) return;
    if (cause === null) return log.info(`The disk buffer of sink "${sink}" can be written again`, { dir });
    const isFull = cause.includes("ENOSPC") || cause.includes("EDQUOT");
    const meanwhile = whenFull === "block" ? "its sources wait" : "it counts as full";
    log.warn(
      `Cannot write the disk buffer of sink "${sink}" in "${dir}" (${cause}): ${meanwhile}, and writing is tried again`,
      {
        hint: isFull
          ? "free space where data_dir is"
          : "look at the disk, and at the rights of the user that runs shipper",
      },
    );
  }

  #isDiskShort(): boolean {
    const { log, dir, sink, metrics } = this.#options;
    const isShort = this.#room.isDiskShort;
    if (isShort) this.#log.giveBack();
    if (isShort === this.#wasDiskShort) return isShort;
    this.#wasDiskShort = isShort;
    metrics.bufferFailure = isShort ? "the disk is full" : null;
    if (isShort) {
      log.warn(
        `The disk buffer of sink "${sink}" counts as full: the disk has less than ${
          RESERVED_FREE_BYTES / 1_048_576
        } MiB left, which the journal needs`,
        { dir, hint: "free space where data_dir is" },
      );
      this.#waitForDisk();
    } else log.info(`The disk buffer of sink "${sink}" has room again`, { dir });
    return isShort;
  }

  /** Nobody tells when somebody else frees room. */
  #waitForDisk(): void {
    setTimeout(() => {
      if (this.#isAbandoned || !this.#isDiskShort()) this.#wakeWriters();
      else this.#waitForDisk();
    }, DISK_CHECK_MS).unref();
  }

  /** A segment was recycled. */
  recycled(): void {
    this.#oldest.recycled();
    this.#count();
    this.#wakeWriters();
  }

  #segments(): number[] {
    const numbers = this.#log.older.map(({ number }) => number);
    return this.#log.writtenTo > 0 ? [...numbers, this.#log.currentSegment] : numbers;
  }

  #hasSegment(segment: number): boolean {
    if (this.#log.older.some(({ number }) => number === segment)) return true;
    return this.#log.currentSegment === segment && this.#log.writtenTo > 0;
  }

  #nextSegment(segment: number): number | null {
    for (const { number } of this.#log.older) {
      if (number > segment && !this.#droppedSegments.has(number)) return number;
    }
    const { currentSegment } = this.#log;
    return currentSegment > segment ? currentSegment : null;
  }

  #segmentRead(segment: number, nextEvent: number): void {
    this.#oldest.retry();
    this.#release.read(segment, nextEvent);
  }

  #written(): void {
    this.#count();
    this.#reader.more();
    this.#wakeWriters();
    this.#dataRead();
  }

  #settled(delivery: Delivery): void {
    const { batch, leftCount, rejectedCount, region } = delivery;
    this.#options.metrics.leftInBufferCount += leftCount;
    if (this.hasIntents() || leftCount > 0) return;
    delivery.cover(0, batch.count);
    region!.countDelivered(batch.count - rejectedCount);
    this.#options.journal.ledger.changed();
  }

  /** Nothing will come any more. */
  #isOver(): boolean {
    return this.#isAbandoned || (this.#hasEnded && this.#writer.isAllReadable && this.#reader.isDrained);
  }

  #dataRead(): void {
    const waiter = this.#dataWaiter;
    if (waiter === null) return;
    const hasData = this.#reader.hasData && !this.#isAbandoned;
    if (!hasData && !this.#isOver()) return;
    this.#dataWaiter = null;
    waiter(hasData);
  }

  #hasRefill(): boolean {
    if (this.#log.isFailing || this.#isDiskShort()) return false;
    return this.#isEmpty() || this.#leftBytes() >= this.#options.maxSizeBytes * REFILL_SHARE;
  }

  #wakeWriters(): void {
    if (this.#roomWaiters.isEmpty) return;
    if (this.isBusy() || (this.#options.whenFull === "block" && !this.hasRoom())) return;
    this.#roomWaiters.wake();
  }

  #count(): void {
    this.#options.metrics.bufferedBytes = this.#room.usedBytes;
  }
}
