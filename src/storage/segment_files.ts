import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { errnoName } from "../errors.ts";
import { crashPoint } from "../telemetry/crash_point.ts";
import type { Log } from "../telemetry/log.ts";
import type { GroupWriter } from "./group_writer.ts";
import { segmentsIn } from "./log_reader.ts";
import { OpenSegment, type PreviousSegment } from "./open_segment.ts";
import {
  alignUp,
  encodeSegmentHeader,
  freeName,
  freeNumber,
  type LogKind,
  NONCE_BYTES,
  SEGMENT_HEADER_BYTES,
  segmentName,
} from "./segment_format.ts";
import type { StorageOps } from "./storage_ops.ts";

/** Files that are kept for later segments; what is recycled beyond is removed. */
export const FREE_SEGMENTS_MAX = 2;
/** A segment for which no file is ready is made this large, so that nobody waits for zeros. The ones after it grow. */
export const INITIAL_SEGMENT_BYTES = 256 * 1024;
/** The next file is prepared at this multiple of the size, when half (one part of so many) of the present one is used. */
const GROWTH = 2;
/** Zeros that are written to the next file in one go; commits pass in between. */
const FILL_BYTES = 256 * 1024;
/** Segments that were damaged are kept here in the log's folder, for whoever wants to look at them. */
export const DAMAGED_FOLDER = "damaged";
/** A failure for want of room. */
const FULL: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);
/** After a failure to free a segment. */
const RECYCLE_RETRY_MS = 5_000;
/** After a failure to prepare the next file. */
const SPARE_RETRY_MS = 60_000;

export interface SegmentFilesOptions {
  readonly dir: string;
  readonly kind: LogKind;
  readonly segmentBytes: number;
  readonly alignmentBytes: number;
  /** Whether zeros of the next file are synced as they are written. */
  readonly isFillSynced: boolean;
  readonly log: Log;
  readonly ops: StorageOps;
  readonly writer: GroupWriter;
  /** See `SegmentedLogOptions`. */
  readonly keepsSpare?: boolean;
  /** A segment was recycled: there is room again. */
  readonly onRecycled?: () => void;
  /** Pause after what could not be freed. */
  readonly retryMsMax?: number;
}

interface FreeFile {
  readonly number: number;
  readonly sizeBytes: number;
}

interface OlderSegment {
  readonly number: number;
  readonly sizeBytes: number;
  /** End of what was written to it in this run; -1 for one of an earlier run. */
  readonly endBytes: number;
  /** A write or a sync of it failed: it is never used again. */
  readonly isSuspect: boolean;
}

/** A segment that is not written to any more, as `SegmentFiles.older` gives it. */
export type RetiredSegment = Pick<OlderSegment, "number" | "sizeBytes" | "endBytes">;

/** The files of a log: makes segments of free files, frees them again, and has the next one ready before it is needed. */
export class SegmentFiles {
  readonly #options: SegmentFilesOptions;
  readonly #free: FreeFile[] = [];
  /** Segments in the folder that are not written to, ascending. */
  readonly #older: OlderSegment[] = [];
  /** Older segments that may be recycled, and whether they are to be kept as damaged. */
  readonly #released = new Map<number, boolean>();
  #nextNumber: number;
  #nextFree = 0;
  #recycling: Promise<void> | null = null;
  #givingBack: Promise<void> = Promise.resolve();
  #isFilling = false;
  #isClosed = false;
  #spareFromMs = 0;

  /** Looks at the folder, and makes it when it is missing. `lastSegment`: the highest number that was ever seen. */
  constructor(options: SegmentFilesOptions, lastSegment: number) {
    this.#options = options;
    const { ops, dir } = options;
    ops.makeDir(dir);
    const numbers = segmentsIn(dir, ops);
    this.#nextNumber = Math.max(lastSegment, numbers.at(-1) ?? 0) + 1;
    for (const number of numbers) {
      const sizeBytes = ops.size(join(dir, segmentName(number)));
      this.#older.push({ number, sizeBytes, endBytes: -1, isSuspect: false });
    }
    const free: FreeFile[] = [];
    for (const name of ops.list(dir)) {
      const number = freeNumber(name);
      if (number !== null) free.push({ number, sizeBytes: ops.size(join(dir, name)) });
    }
    // The largest are kept.
    free.sort((a, b) => b.sizeBytes - a.sizeBytes);
    for (const file of free) {
      this.#nextFree = Math.max(this.#nextFree, file.number + 1);
      if (this.#free.length < FREE_SEGMENTS_MAX && file.sizeBytes <= options.segmentBytes) {
        this.#free.push(file);
      } else ops.remove(join(dir, freeName(file.number)));
    }
  }

  /** Segments that are not written to and not recycled yet, ascending. */
  get older(): readonly RetiredSegment[] {
    return this.#older;
  }

  /**
   * Makes the next segment, with room for `neededBytes` (header, first group and mark). Rejects with the system's error; nothing is left of
   * the try then, as far as the disk allows.
   */
  async start(neededBytes: number, previous: PreviousSegment): Promise<OpenSegment> {
    const wantedBytes = this.#wantedBytes(neededBytes);
    const ready = this.#takeFree(wantedBytes);
    if (ready !== null) return await this.#startIn(ready, ready.sizeBytes, previous);
    try {
      return await this.#startIn({ number: this.#nextFree++, sizeBytes: 0 }, wantedBytes, previous);
    } catch (error) {
      const last = this.#takeFree(neededBytes);
      if (last === null) throw error;
      return await this.#startIn(last, last.sizeBytes, previous);
    }
  }

  #wantedBytes(neededBytes: number): number {
    const { kind, segmentBytes } = this.#options;
    if (kind === "buffer") return Math.max(segmentBytes, alignUp(neededBytes, SEGMENT_HEADER_BYTES));
    // Half of it at least stays for what comes, or a large checkpoint would be written again and again.
    return Math.max(INITIAL_SEGMENT_BYTES, alignUp(neededBytes * 2, INITIAL_SEGMENT_BYTES));
  }

  /** The segment is done: `release` may have it. `isSuspect`: a write or a sync of it failed. */
  retire({ number, sizeBytes, offset }: OpenSegment, isSuspect: boolean): void {
    this.#older.push({ number, sizeBytes, endBytes: offset, isSuspect });
  }

  /** Removes a segment whose first group could not be written, so that tries which fail leave nothing behind. */
  async discard({ number, sizeBytes }: OpenSegment): Promise<void> {
    const name = segmentName(number);
    if (await this.#remove(name)) return;
    this.#older.push({ number, sizeBytes, endBytes: SEGMENT_HEADER_BYTES, isSuspect: true });
  }

  /** Frees these segments in the background, one after the other, each durably. `keptAsDamaged`: those of them to be set aside instead. */
  release(
    numbers: Iterable<number>,
    currentBytes: number,
    keptAsDamaged: ReadonlySet<number> = new Set(),
  ): void {
    for (const number of numbers) this.#released.set(number, keptAsDamaged.has(number));
    if (this.#recycling !== null || this.#released.size === 0) return;
    this.#recycling = this.#recycle(currentBytes).finally(() => {
      this.#recycling = null;
      // Who waits for room writes nothing that would have it tried again.
      if (this.#released.size === 0 || this.#isClosed) return;
      setTimeout(
        () => this.#isClosed || this.release([], currentBytes),
        this.#options.retryMsMax ?? RECYCLE_RETRY_MS,
      ).unref();
    });
  }

  /** Frees all that are not newer than segment `upTo`. */
  releaseTo(upTo: number, currentBytes: number): void {
    this.release(this.#older.map(({ number }) => number).filter((number) => number <= upTo), currentBytes);
  }

  /**
   * Prepares, in the background, the file for the segment after `segment` when that is used enough; with `keepsSpare` at once when there is none.
   */
  prepareNext(segment: OpenSegment): void {
    const { segmentBytes, kind } = this.#options;
    // What is written to a buffer is large, so zeros in front of it would only double it.
    if (kind === "buffer" || this.#isFilling || this.#recycling !== null || this.#isClosed) return;
    const isUsed = segment.offset * GROWTH >= segment.sizeBytes;
    if (!isUsed && (this.#options.keepsSpare !== true || this.#free.length > 0)) return;
    const nextBytes = isUsed ? Math.min(segmentBytes, segment.sizeBytes * GROWTH) : 0;
    const wantedBytes = Math.max(INITIAL_SEGMENT_BYTES, nextBytes);
    if (this.#free.some(({ sizeBytes }) => sizeBytes >= wantedBytes)) return;
    if (performance.now() < this.#spareFromMs) return;
    void this.#fill(wantedBytes);
  }

  /** Gives the disk the files that are kept for later segments, in the background. One that cannot be removed is kept. */
  giveBack(): void {
    if (this.#isClosed || this.#free.length === 0) return;
    const files = this.#free.splice(0);
    this.#givingBack = Promise.all([this.#givingBack, this.#removeFree(files)]).then(() => {});
  }

  async #removeFree(files: readonly FreeFile[]): Promise<void> {
    for (const file of files) {
      if (!await this.#remove(freeName(file.number))) this.#free.push(file);
    }
  }

  /** Resolves when what is to be freed is. Never rejects. */
  async idle(): Promise<void> {
    await this.#recycling;
    await this.#givingBack;
  }

  /** Stops what runs in the background. */
  close(): void {
    this.#isClosed = true;
  }

  async #startIn(file: FreeFile, sizeBytes: number, previous: PreviousSegment): Promise<OpenSegment> {
    const { dir, kind, alignmentBytes, writer } = this.#options;
    const number = this.#nextNumber++;
    const nonce = randomBytes(NONCE_BYTES);
    const header = writer.allocate(SEGMENT_HEADER_BYTES);
    const place = {
      previous: previous.number,
      previousEnd: previous.endBytes,
      previousSyncedTo: previous.syncedTo,
    };
    encodeSegmentHeader({ kind, alignmentBytes, number, sizeBytes, nonce, ...place }, header);
    const name = segmentName(number);
    let fd: number;
    try {
      fd = await writer.run({
        kind: "start",
        dir,
        freeName: freeName(file.number),
        name,
        header,
        from: file.sizeBytes,
        sizeBytes,
        zeros: kind === "journal",
      });
    } catch (error) {
      // It has one name or the other.
      await this.#remove(freeName(file.number));
      await this.#remove(name);
      throw error;
    }
    return new OpenSegment(writer, { number, fd, sizeBytes, nonce, alignmentBytes });
  }

  /** Removes a file that is no good any more, if the disk allows. What stays is harmless, and the next start of the program removes it. */
  async #remove(name: string): Promise<boolean> {
    const { dir, writer, log } = this.#options;
    try {
      await writer.run({ kind: "recycle", dir, name, freeName: null });
      return true;
    } catch (error) {
      if (errnoName(error) === "ENOENT") return true;
      log.debug("A file that was meant for the log could not be removed", {
        file: join(dir, name),
        cause: String(error),
      });
      return false;
    }
  }

  /** The largest free file, if it has room for `sizeBytes`. */
  #takeFree(sizeBytes: number): FreeFile | null {
    this.#free.sort((a, b) => a.sizeBytes - b.sizeBytes);
    const largest = this.#free.at(-1);
    if (largest === undefined || largest.sizeBytes < sizeBytes) return null;
    this.#free.pop();
    return largest;
  }

  async #recycle(currentBytes: number): Promise<void> {
    const { dir, log, writer } = this.#options;
    for (let i = 0; i < this.#older.length;) {
      const segment = this.#older[i];
      const isDamaged = this.#released.get(segment.number);
      if (isDamaged === undefined) {
        i++;
        continue;
      }
      const isKept = !isDamaged && this.#isWorthKeeping(segment, currentBytes);
      const number = this.#nextFree++;
      const name = segmentName(segment.number);
      try {
        crashPoint("before_unlink");
        if (isDamaged) await this.#setAside(name);
        else await writer.run({ kind: "recycle", dir, name, freeName: isKept ? freeName(number) : null });
        crashPoint("after_unlink");
        if (isKept) this.#free.push({ number, sizeBytes: segment.sizeBytes });
      } catch (error) {
        if (errnoName(error) !== "ENOENT") {
          log.warn("Cannot free a part of the log that is no longer needed; this is tried again later", {
            file: join(dir, name),
            cause: String(error),
          });
          i++;
          continue;
        }
      }
      // Others may have been added or taken out meanwhile.
      this.#older.splice(this.#older.indexOf(segment), 1);
      this.#released.delete(segment.number);
      i = 0;
      this.#options.onRecycled?.();
    }
    const left = new Set(this.#older.map(({ number }) => number));
    for (const number of this.#released.keys()) if (!left.has(number)) this.#released.delete(number);
  }

  /** Under a name that no reader looks at; by its date, as numbers may come again. */
  async #setAside(name: string): Promise<void> {
    const { dir, ops, writer } = this.#options;
    ops.makeDir(join(dir, DAMAGED_FOLDER));
    const date = new Date().toISOString().replace(/[:.]/g, "-");
    await writer.run({ kind: "recycle", dir, name, freeName: join(DAMAGED_FOLDER, `${date}-${name}`) });
  }

  /** Small ones are outgrown, but one of any size is kept for the case that the disk is full. */
  #isWorthKeeping({ sizeBytes, isSuspect }: OlderSegment, currentBytes: number): boolean {
    const count = this.#free.length + (this.#isFilling ? 1 : 0);
    if (isSuspect || sizeBytes > this.#options.segmentBytes || count >= FREE_SEGMENTS_MAX) return false;
    return sizeBytes >= currentBytes || count === 0;
  }

  async #fill(sizeBytes: number): Promise<void> {
    const { dir, isFillSynced, log, writer } = this.#options;
    this.#isFilling = true;
    // All that are free are smaller: one is made longer.
    const file = this.#takeFree(0);
    const number = file?.number ?? this.#nextFree++;
    const path = join(dir, freeName(number));
    let at = file?.sizeBytes ?? 0;
    try {
      while (at < sizeBytes && !this.#isClosed) {
        const to = Math.min(sizeBytes, at + FILL_BYTES);
        await writer.run({ kind: "fill", path, from: at, to, sync: isFillSynced });
        at = to;
      }
      this.#free.push({ number, sizeBytes: at });
    } catch (error) {
      this.#spareFromMs = performance.now() + SPARE_RETRY_MS;
      log.warn(
        "Cannot prepare the next file of the log; what there is goes on to be used, and this is tried again later",
        { file: path, cause: String(error) },
      );
      // A file that the disk is too full for is good as far as it goes.
      if (at > 0 && FULL.has(errnoName(error))) this.#free.push({ number, sizeBytes: at });
      else await this.#remove(freeName(number));
    }
    this.#isFilling = false;
  }
}
