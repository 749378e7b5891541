import type { FileRecord } from "../checkpoint/position_file.ts";
import { errnoName } from "../errors.ts";
import type { Log } from "../telemetry/log.ts";
import { type DeviceGate, processDeviceGate } from "./device_gate.ts";
import { verifyFingerprint } from "./file_identity.ts";
import type { FileOps, FileStat } from "./file_ops.ts";
import { FolderSearch, isNotFound, isSameInode, pathsOf } from "./folder_search.ts";
import { openFilesMaxDefault } from "./open_files.ts";

/** Files that are kept open between two reads, at most; fewer under a low limit on open files. */
export const EXTENT_FILES_MAX = 64;
/** Share of what a source takes of that limit. */
const LIMIT_SHARE = 0.25;
/** A file whose folder is not there, or is on another device than it was, may be on a filesystem that is mounted late: so long it is not given up. */
export const MOUNT_WAIT_MS = 120_000;
/** A file that is renamed while it is about to be opened is looked for again this often. */
const RELOCATIONS_MAX = 5;

export interface ExtentReaderOptions {
  readonly ops: FileOps;
  /** What is stored of a stream; null when nothing is. */
  readonly records: (source: string, streamId: string) => FileRecord | null;
  readonly log: Log;
  /** Path of the copy, with the same offsets, of a stream whose file is nowhere; null when there is none. */
  readonly copyPath?: (source: string, streamId: string) => string | null;
  /** Reads from a stream's file that is open here and has no name any more; null when there is none. */
  readonly readHeld?: (
    source: string,
    streamId: string,
    target: Buffer,
    length: number,
    position: number,
  ) => Promise<number | null>;
  /** By default the one of the process. */
  readonly gate?: DeviceGate;
  /** Default: MOUNT_WAIT_MS, from when this is made. */
  readonly mountWaitMs?: number;
}

interface ExtentFile {
  readonly fd: number;
  readonly device: string;
  /** Reads under way; a file is closed after the last one. */
  busyCount: number;
  isDropped: boolean;
}

/**
 * Reads extents of files again, to rebuild the batches in doubt after a restart. It knows files by what is stored of them, not by the
 * patterns of a source, which may have changed or gone since. Reads may overlap.
 */
export class ExtentReader {
  readonly #options: ExtentReaderOptions;
  readonly #gate: DeviceGate;
  /** By stream, in order of last use. */
  readonly #files = new Map<string, ExtentFile>();
  /** Files that are being looked for. */
  readonly #opening = new Map<string, Promise<ExtentFile | null>>();
  #filesMax: number | null = null;
  readonly #mountedByMs: number;
  #isClosed = false;

  constructor(options: ExtentReaderOptions) {
    this.#mountedByMs = performance.now() + (options.mountWaitMs ?? MOUNT_WAIT_MS);
    this.#options = options;
    this.#gate = options.gate ?? processDeviceGate;
  }

  /**
   * The bytes from `startOffset` up to `endOffset`, or null when they are nowhere any more: the file is gone, shorter, or another one.
   * That they are the same bytes as before is for the caller to verify. The buffer belongs to the caller. Waits while the device
   * hangs.
   *
   * Rejects with an `Error` (`code` is the system's) when the file cannot be looked for or read now; the caller tries again.
   */
  async read(
    source: string,
    streamId: string,
    startOffset: number,
    endOffset: number,
  ): Promise<Buffer | null> {
    if (this.#isClosed) throw new Error("Cannot read extents: the reader is closed");
    const record = this.#options.records(source, streamId);
    if (record === null) return null;
    const key = `${source}\u0000${streamId}`;
    try {
      const file = await this.#fileOf(key, record);
      const bytes = file === null ? null : await this.#readFrom(key, file, startOffset, endOffset);
      return bytes ?? await this.#readHeld(record, startOffset, endOffset);
    } catch (error) {
      const code = errnoName(error);
      const failure = new Error(
        `Cannot read bytes ${startOffset} to ${endOffset} of "${record.lastPath}" again (${code}): trying again; ` +
          `look at the disk, and at the rights of the user that runs shipper`,
        { cause: error },
      );
      throw Object.assign(failure, { code });
    }
  }

  /** Closes its files; those that are being read after their reads. */
  close(): void {
    this.#isClosed = true;
    for (const [key, file] of [...this.#files]) this.#drop(key, file);
  }

  /** Its file, with `busyCount` raised. */
  async #fileOf(key: string, record: FileRecord): Promise<ExtentFile | null> {
    const known = this.#files.get(key);
    if (known !== undefined) {
      this.#files.delete(key);
      this.#files.set(key, known);
      known.busyCount++;
      return known;
    }
    let opening = this.#opening.get(key);
    if (opening === undefined) {
      opening = this.#locate(record).then((file) => {
        if (file === null) return null;
        if (this.#isClosed) {
          this.#options.ops.close(file.fd);
          throw new Error("The reader was closed meanwhile");
        }
        this.#keep(key, file);
        return file;
      }).finally(() => this.#opening.delete(key));
      this.#opening.set(key, opening);
    }
    const file = await opening;
    if (file === null) return null;
    // Dropped between its opening and this turn: another one's read failed.
    if (file.isDropped && file.busyCount === 0) return await this.#fileOf(key, record);
    file.busyCount++;
    return file;
  }

  async #readFrom(
    key: string,
    file: ExtentFile,
    startOffset: number,
    endOffset: number,
  ): Promise<Buffer | null> {
    const bytes = Buffer.allocUnsafe(endOffset - startOffset);
    await this.#gate.acquire(file.device);
    try {
      let length = 0;
      while (length < bytes.length) {
        const rest = bytes.subarray(length);
        const count = await this.#options.ops.read(file.fd, rest, rest.length, startOffset + length);
        if (count === 0) return null;
        length += count;
      }
      return bytes;
    } catch (error) {
      // A handle may be stale: the next try opens the file anew.
      this.#drop(key, file);
      throw error;
    } finally {
      this.#gate.release(file.device);
      file.busyCount--;
      if (file.isDropped && file.busyCount === 0) this.#options.ops.close(file.fd);
    }
  }

  async #readHeld(
    { source, id }: FileRecord,
    startOffset: number,
    endOffset: number,
  ): Promise<Buffer | null> {
    const bytes = Buffer.allocUnsafe(endOffset - startOffset);
    for (let length = 0; length < bytes.length;) {
      const rest = bytes.subarray(length);
      const count = await this.#options.readHeld?.(source, id, rest, rest.length, startOffset + length) ?? 0;
      if (count === 0) return null;
      length += count;
    }
    return bytes;
  }

  /** The file where it was last seen, at its first path, or under any name in the folders of both. */
  async #locate(record: FileRecord): Promise<ExtentFile | null> {
    const { ops, log } = this.#options;
    for (let tries = 0; tries <= RELOCATIONS_MAX; tries++) {
      for (const path of pathsOf(record)) {
        const opened = await this.#open(path, record);
        if (opened !== "elsewhere") return opened;
      }
      let failure: unknown = null;
      const search = new FolderSearch({ ops, log, onFailure: (_, error) => failure ??= error });
      const place = await search.find(record);
      if (place === null) {
        const copy = await this.#openCopy(record);
        if (copy !== null) return copy;
        if (failure !== null) throw failure;
        if (performance.now() >= this.#mountedByMs || await search.isDeleted(record)) return null;
        throw Object.assign(new Error("Its filesystem does not seem to be mounted yet"), { code: "ENOENT" });
      }
      const opened = await this.#open(place.path, record);
      if (opened !== "elsewhere") return opened;
    }
    throw Object.assign(new Error("The file is renamed again and again"), { code: "MOVED" });
  }

  async #openCopy({ source, id }: FileRecord): Promise<ExtentFile | null> {
    const { ops, copyPath } = this.#options;
    const path = copyPath?.(source, id) ?? null;
    if (path === null) return null;
    const fd = await ops.open(path);
    try {
      return { fd, device: String((await ops.fstat(fd)).dev), busyCount: 0, isDropped: false };
    } catch (error) {
      ops.close(fd);
      throw error;
    }
  }

  /** Null when its content is another one by now; "elsewhere" when another file, or none, has that path. */
  async #open(path: string, record: FileRecord): Promise<ExtentFile | null | "elsewhere"> {
    const { ops } = this.#options;
    let stat: FileStat;
    try {
      stat = await ops.stat(path, false);
    } catch (error) {
      if (isNotFound(error)) return "elsewhere";
      throw error;
    }
    if (stat.kind !== "file" || !isSameInode(record, stat)) return "elsewhere";
    const device = String(stat.dev);
    await this.#gate.acquire(device);
    try {
      const fd = await ops.open(path);
      try {
        const isSame = isSameInode(record, await ops.fstat(fd));
        if (isSame && await hasHead(ops, fd, record)) return { fd, device, busyCount: 0, isDropped: false };
        ops.close(fd);
        return isSame ? null : "elsewhere";
      } catch (error) {
        ops.close(fd);
        throw error;
      }
    } catch (error) {
      if (isNotFound(error)) return "elsewhere";
      throw error;
    } finally {
      this.#gate.release(device);
    }
  }

  #keep(key: string, file: ExtentFile): void {
    this.#files.set(key, file);
    this.#filesMax ??= Math.min(EXTENT_FILES_MAX, Math.ceil(openFilesMaxDefault() * LIMIT_SHARE));
    for (const [oldKey, old] of this.#files) {
      if (this.#files.size <= this.#filesMax) return;
      this.#drop(oldKey, old);
    }
  }

  #drop(key: string, file: ExtentFile): void {
    if (file.isDropped) return;
    file.isDropped = true;
    if (this.#files.get(key) === file) this.#files.delete(key);
    if (file.busyCount === 0) this.#options.ops.close(file.fd);
  }
}

async function hasHead(ops: FileOps, fd: number, record: FileRecord): Promise<boolean> {
  const known = { sizeBytes: record.fingerprintBytes, hash: record.fingerprint };
  return await verifyFingerprint(ops, fd, known, known.sizeBytes) !== null;
}
