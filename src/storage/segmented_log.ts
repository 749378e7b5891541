import { join } from "node:path";
import { GroupBuffer } from "./group_buffer.ts";
import { DirectWriter, type GroupWriter } from "./group_writer.ts";
import type { FoundLog, SegmentedLogOptions } from "./log_options.ts";
import type { OpenSegment, PreviousSegment } from "./open_segment.ts";
import { type RetiredSegment, SegmentFiles } from "./segment_files.ts";
import {
  alignUp,
  MACHINE_ALIGNMENT_BYTES,
  markBytes,
  PROCESS_ALIGNMENT_BYTES,
  SEGMENT_HEADER_BYTES,
  segmentName,
} from "./segment_format.ts";
import { type StorageOps, systemOps } from "./storage_ops.ts";
import { SyncThread } from "./sync_thread.ts";

const RETRY_MS_MAX = 5_000;
const RETRY_MS_MIN = 20;

/**
 * An append-only log of frames in segments, with group commit: frames that are appended while a commit is under way share the next one.
 *
 * A segment whose write or sync failed is never written to again, and the sync is never asked for twice: the system drops the pages of a
 * failed sync and reports success the next time. The log goes on in a new segment; while that fails as well, everything stays in memory and
 * is tried again. The caller bounds what it appends (`pendingBytes`).
 *
 * One owner at a time. Format: docs/storage_format.md.
 */
export class SegmentedLog {
  readonly #options: SegmentedLogOptions;
  readonly #writer: GroupWriter;
  readonly #files: SegmentFiles;
  readonly #alignmentBytes: number;
  /** What a commit of this log needs at most, and whether one may ask for less. */
  readonly #isMachine: boolean;
  readonly #alwaysSyncs: boolean;
  #collecting: GroupBuffer;
  #idle: GroupBuffer;
  #flight: GroupBuffer | null = null;
  #segment: OpenSegment | null = null;
  #previous: PreviousSegment;
  #isRunning = false;
  #isFailing = false;
  #isClosing = false;
  #hasGivenUp = false;
  /** Ends the pause between two tries. */
  #wake: () => void = () => {};
  #closed: Promise<boolean> | null = null;
  #flushTimer: ReturnType<typeof setTimeout> | null = null;
  #flushAtMs = Infinity;
  #writtenBytes = 0;
  #commitCount = 0;

  /**
   * Starts a new segment behind what `readLog` found in the same folder, which is never appended to, and writes the checkpoint into it.
   * On the device when it resolves; then older segments are recycled (journal). Rejects with the system's error when that fails; a buffer is open all
   * the same, and tries again with the first commit: what is in it can be read meanwhile.
   */
  static async open(options: SegmentedLogOptions, found: FoundLog): Promise<SegmentedLog> {
    const ops = options.ops ?? systemOps;
    const writer = options.writer ??
      (options.durability === "machine" && ops === systemOps ? new SyncThread() : new DirectWriter(ops));
    const log = new SegmentedLog(options, ops, writer, found);
    try {
      // What a killed process had not synced counts from now on. A journal's checkpoint takes care of that.
      if (options.checkpoint === null) await log.#secure(log.#isMachine ? found.syncedTo : found.endBytes);
      await log.#rotate(log.#idle);
    } catch (error) {
      if (options.kind === "journal") {
        writer.close(false);
        throw error;
      }
      log.#fail(error);
    }
    log.#idle.settle(null);
    // Tried again until it works: nobody may have anything to write before there is room.
    if (log.#segment === null) log.#want(true).catch(() => {});
    return log;
  }

  private constructor(
    options: SegmentedLogOptions,
    ops: StorageOps,
    writer: GroupWriter,
    found: FoundLog,
  ) {
    this.#options = options;
    this.#writer = writer;
    this.#isMachine = options.durability === "machine";
    this.#alwaysSyncs = this.#isMachine && options.checkpoint === null;
    const alignmentBytes = this.#isMachine ? MACHINE_ALIGNMENT_BYTES : PROCESS_ALIGNMENT_BYTES;
    this.#alignmentBytes = alignmentBytes;
    this.#files = new SegmentFiles(
      { ...options, alignmentBytes, isFillSynced: this.#isMachine, ops, writer },
      found.lastSegment,
    );
    this.#previous = {
      number: found.segments.at(-1) ?? 0,
      endBytes: found.endBytes,
      syncedTo: found.syncedTo,
    };
    this.#collecting = new GroupBuffer(writer);
    this.#idle = new GroupBuffer(writer);
  }

  /** Bytes that were appended and are not committed yet. */
  get pendingBytes(): number {
    return this.#collecting.payloadBytes + (this.#flight?.payloadBytes ?? 0);
  }

  /** Bytes that were handed to the system for groups and marks so far. */
  get writtenBytes(): number {
    return this.#writtenBytes;
  }

  /** Groups that were written so far. */
  get commitCount(): number {
    return this.#commitCount;
  }

  /** The last try of a commit failed. */
  get isFailing(): boolean {
    return this.#isFailing;
  }

  /** The number of the segment that is written to; while the disk refuses, of the last one that was. */
  get currentSegment(): number {
    return this.#segment?.number ?? this.#previous.number;
  }

  /**
   * Copies a frame into the group that is being collected. No I/O. `type` is 1 to 255; `length`: the payload's first bytes, all when not
   * given. After `close` it does nothing: whoever cares learns it from `commit`.
   */
  append(type: number, payload: Buffer, length: number = payload.length): void {
    if (!this.#isClosing) this.#collecting.add(type, payload, length);
  }

  /** The same, without a copy: `fill` writes the payload's `length` bytes at `at` of `target`, within the call. */
  appendWith(type: number, length: number, fill: (target: Buffer, at: number) => void): void {
    if (!this.#isClosing) this.#collecting.addWith(type, length, fill);
  }

  /** Where the next group goes in the current segment: everything in front of it is written. 0 while there is none. */
  get writtenTo(): number {
    return this.#segment?.offset ?? 0;
  }

  /** Groups start at multiples of this. */
  get alignmentBytes(): number {
    return this.#alignmentBytes;
  }

  /** Size of the current segment's file; 0 while there is none. */
  get currentSizeBytes(): number {
    return this.#segment?.sizeBytes ?? 0;
  }

  /** Resolves when everything that was appended before is on the device, whatever the log's `durability`. Otherwise like `commit`. */
  sync(): Promise<void> {
    if (this.#isClosing) return Promise.reject(closedError());
    const isIdle = this.#collecting.payloadBytes === 0 && !this.#collecting.isWanted && this.#flight === null;
    if (isIdle && !this.#hasUnsynced()) return Promise.resolve();
    return this.#want(true);
  }

  /**
   * Resolves when everything that was appended before is as durable as the log's `durability` says; with `sync` false, when it is written.
   * Waits for ever while the disk refuses. Rejects only when the log was closed, or is and gave up. Starts at once when nothing is under way;
   * with "process" the bytes are with the system when the call returns then.
   */
  commit(sync: boolean = true): Promise<void> {
    if (this.#isClosing) return Promise.reject(closedError());
    const needsSync = this.#isMachine && (sync || this.#alwaysSyncs);
    if (this.#collecting.payloadBytes === 0 && !this.#collecting.isWanted) {
      const flight = this.#flight;
      if (flight !== null && (flight.isSyncWanted || !needsSync)) return flight.join();
      if (flight === null && !(needsSync && this.#hasUnsynced())) return Promise.resolve();
    }
    return this.#want(needsSync);
  }

  /**
   * Has what is appended by then written within `delayMs`, without a sync (but a buffer of the "machine" kind syncs always): for frames that
   * only save work. An earlier commit takes them along.
   */
  flushSoon(delayMs: number): void {
    const atMs = performance.now() + delayMs;
    if (this.#isClosing || atMs >= this.#flushAtMs) return;
    if (this.#flushTimer !== null) clearTimeout(this.#flushTimer);
    this.#flushAtMs = atMs;
    this.#flushTimer = setTimeout(() => {
      this.#stopTimer();
      if (this.#collecting.payloadBytes === 0) return;
      this.#collecting.isWanted = true;
      this.#collecting.isSyncWanted ||= this.#alwaysSyncs;
      if (!this.#isRunning) void this.#run();
    }, delayMs);
    this.#flushTimer.unref();
  }

  /**
   * Buffer: these segments, without the current one, may be recycled; those in `damaged` are set aside instead. In the background. A crash may
   * bring a segment back that was released just before.
   */
  release(segments: Iterable<number>, damaged: ReadonlySet<number> = new Set()): void {
    const current = this.currentSegment;
    const older = [...segments].filter((number) => number !== current);
    this.#files.release(older, this.#segment?.sizeBytes ?? 0, damaged);
  }

  /** Buffer, on a full disk: removes the files that are kept for later; nothing is written to them then, and they may be all that it lacks. */
  giveBack = (): void => this.#files.giveBack();

  /** Buffer: segments that are not written to any more and not recycled yet, ascending. */
  get older(): readonly RetiredSegment[] {
    return this.#files.older;
  }

  /**
   * Commits what is pending, says in the log that it was stopped cleanly, and closes. False when the disk refused that for `timeoutMs`:
   * commits that waited are rejected then.
   */
  close(timeoutMs: number): Promise<boolean> {
    this.#closed ??= this.#close(timeoutMs);
    return this.#closed;
  }

  async #close(timeoutMs: number): Promise<boolean> {
    this.#stopTimer();
    this.#isClosing = true;
    this.#files.close();
    const late = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => {
      this.#hasGivenUp = true;
      this.#wake();
      late.resolve(false);
    }, timeoutMs);
    const isDone = await Promise.race([this.#stopCleanly(), late.promise]);
    clearTimeout(timer);
    this.#hasGivenUp = true;
    this.#flight?.settle(closedError());
    this.#collecting.settle(closedError());
    const segment = this.#segment;
    this.#segment = null;
    segment?.close(this.#options.log);
    this.#writer.close(!isDone);
    return isDone;
  }

  async #stopCleanly(): Promise<boolean> {
    try {
      const { isWanted, payloadBytes } = this.#collecting;
      if (isWanted || payloadBytes > 0 || this.#hasUnsynced()) await this.#want(this.#isMachine);
      else await this.#flight?.join();
      if (this.#segment === null) return false;
      await this.#segment.stopCleanly(this.#idle);
      await this.#files.idle();
      return true;
    } catch (error) {
      if (!this.#hasGivenUp) this.#fail(error);
      return false;
    }
  }

  #want(sync: boolean): Promise<void> {
    const promise = this.#collecting.want(sync);
    if (!this.#isRunning) void this.#run();
    return promise;
  }

  /** Commits as long as somebody wants one. Never rejects. */
  async #run(): Promise<void> {
    this.#isRunning = true;
    while (this.#collecting.isWanted && !this.#hasGivenUp) {
      const group = this.#collecting;
      this.#collecting = this.#idle;
      this.#flight = group;
      const isWritten = await this.#persist(group);
      this.#flight = null;
      this.#idle = group;
      group.settle(isWritten ? null : closedError());
    }
    this.#isRunning = false;
  }

  /** Tries until it works, or until `close` has given up: false. */
  async #persist(group: GroupBuffer): Promise<boolean> {
    for (let failures = 0; !this.#hasGivenUp;) {
      try {
        await this.#write(group);
        if (this.#isFailing) {
          this.#isFailing = false;
          this.#options.onProblem(null);
        }
        return true;
      } catch (error) {
        failures++;
        this.#leave(true);
        this.#fail(error);
        // The first time only a new segment is needed, as a rule.
        if (failures > 1) await this.#pause(RETRY_MS_MIN * 2 ** Math.min(failures - 2, 20));
      }
    }
    return false;
  }

  async #write(group: GroupBuffer): Promise<void> {
    const segment = this.#segment;
    const sync = group.isSyncWanted;
    if (segment !== null && group.payloadBytes === 0 && !(sync && segment.hasUnsynced)) return;
    if (segment === null || !segment.hasRoomFor(alignUp(group.length, this.#alignmentBytes))) {
      return await this.#rotate(group);
    }
    await this.#writeGroup(segment, group, sync);
    this.#files.prepareNext(segment);
  }

  /** Puts the checkpoint, or else the group, into a new segment. */
  async #rotate(group: GroupBuffer): Promise<void> {
    const { checkpoint, log } = this.#options;
    // Whatever the durability, a buffer's segment is left synced: a power cut then leaves no hole between two of them.
    if (checkpoint === null && this.#hasUnsynced()) await this.#segment!.sync(group);
    this.#leave(false);
    // One whose sync failed: what was told to be written before it is still to be secured.
    const { endBytes, syncedTo } = this.#previous;
    if (checkpoint === null && syncedTo < endBytes) await this.#secure(syncedTo);
    if (checkpoint !== null) {
      group.clearFrames();
      checkpoint((type, payload) => group.add(type, payload, payload.length));
      this.#collecting.clearFrames();
    }
    const neededBytes = SEGMENT_HEADER_BYTES + alignUp(group.length, this.#alignmentBytes) +
      markBytes(this.#alignmentBytes);
    const segment = await this.#files.start(neededBytes, this.#previous);
    try {
      await this.#writeGroup(segment, group, true);
    } catch (error) {
      segment.close(log);
      await this.#files.discard(segment);
      throw error;
    }
    this.#segment = segment;
    if (checkpoint !== null) this.#files.releaseTo(segment.number - 1, segment.sizeBytes);
    this.#files.prepareNext(segment);
  }

  async #writeGroup(segment: OpenSegment, group: GroupBuffer, sync: boolean): Promise<void> {
    this.#writtenBytes += await segment.write(group, sync);
    this.#commitCount++;
  }

  /** Has what the previous segment holds from byte `from` on written once more, and synced. */
  async #secure(from: number): Promise<void> {
    const { number, endBytes } = this.#previous;
    if (number === 0) return;
    const path = join(this.#options.dir, segmentName(number));
    await this.#writer.run({ kind: "rewrite", path, from, to: endBytes });
    this.#previous = { number, endBytes, syncedTo: endBytes };
  }

  #hasUnsynced(): boolean {
    return this.#segment?.hasUnsynced === true;
  }

  /** Stops writing to the current segment; the next one goes on from it. */
  #leave(isSuspect: boolean): void {
    const segment = this.#segment;
    if (segment === null) return;
    this.#segment = null;
    this.#previous = segment.asPrevious();
    this.#files.retire(segment, isSuspect);
    segment.close(this.#options.log);
  }

  #fail(error: unknown): void {
    this.#isFailing = true;
    this.#options.onProblem(error instanceof Error ? error.message : String(error));
  }

  /** Ends early when `close` gives up. */
  async #pause(delayMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, Math.min(delayMs, this.#options.retryMsMax ?? RETRY_MS_MAX));
    this.#wake = resolve;
    await promise;
    clearTimeout(timer);
  }

  #stopTimer(): void {
    if (this.#flushTimer !== null) clearTimeout(this.#flushTimer);
    this.#flushTimer = null;
    this.#flushAtMs = Infinity;
  }
}

function closedError(): Error {
  return new Error("The log is closed: what was not committed by then is not in it");
}
