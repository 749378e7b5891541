import fs from "node:fs";
import type { SourceMetrics } from "../telemetry/metrics.ts";
import { inodeKey } from "./file_identity.ts";
import type { FileOps } from "./file_ops.ts";

/** Share of the process's limit on open files that a source takes for itself by default. */
const LIMIT_SHARE = 0.5;
const OPEN_FILES_MIN = 16;
/** Where the system's limit is unknown or "unlimited". */
const OPEN_FILES_DEFAULT = 4_096;
/** macOS does not tell its limit in a file; 256 is its default. */
const OPEN_FILES_DEFAULT_MACOS = 128;

/** A descriptor that gave one of these gives it for ever, though the file may be there: NFS after its server was changed, FUSE after its process ended. */
const DEAD_CODES: ReadonlySet<string> = new Set(["ESTALE", "ENOTCONN"]);

/** It is this process, or the machine, that has nothing left for now: no reason to give a file up. */
export function isShortage(code: string): boolean {
  return code === "EMFILE" || code === "ENFILE" || code === "ENOMEM";
}

/** Half of the soft limit on open files of this process. */
export function openFilesMaxDefault(): number {
  if (process.platform === "darwin") return OPEN_FILES_DEFAULT_MACOS;
  try {
    const soft = /^Max open files\s+(\d+)/m.exec(fs.readFileSync("/proc/self/limits", "utf8"))?.[1];
    if (soft === undefined) return OPEN_FILES_DEFAULT;
    return Math.max(OPEN_FILES_MIN, Math.min(Math.floor(Number(soft) * LIMIT_SHARE), OPEN_FILES_DEFAULT));
  } catch {
    return OPEN_FILES_DEFAULT; // no /proc here
  }
}

/** A file descriptor that several readers share and that may be closed while it is idle. */
export class OpenFile {
  fd: number | null;
  /** Readers in a system call now. */
  busyCount = 0;
  /** Streams that still need it; two for a moment when a file was truncated. */
  userCount = 1;
  /** Where to open it again; null when it has no name any more, and closing it would lose its bytes. */
  reopenPath: string | null;
  readonly inode: string;

  constructor(fd: number, inode: string, reopenPath: string) {
    this.fd = fd;
    this.inode = inode;
    this.reopenPath = reopenPath;
  }
}

/** The file behind a path is another one than before. */
export class FileMovedError extends Error {
  override readonly name = "FileMovedError";
  readonly code = "MOVED";
}

/**
 * Keeps the number of open files below a limit by closing the ones that were not read for the longest time. Files that cannot be opened
 * again (deleted, renamed to who knows where) stay open, even above the limit.
 */
export class OpenFiles {
  readonly #ops: FileOps;
  readonly #filesMax: number;
  readonly #metrics: SourceMetrics;
  /** In order of last use. */
  readonly #open = new Set<OpenFile>();

  constructor(ops: FileOps, filesMax: number, metrics: SourceMetrics) {
    this.#ops = ops;
    this.#filesMax = filesMax;
    this.#metrics = metrics;
  }

  /** Takes over an open file. */
  add(file: OpenFile): void {
    this.#open.add(file);
    this.#metrics.openFiles++;
    this.#closeIdle();
  }

  /** Its descriptor, opened again when it was closed. Followed by one `release`. Rejects with `FileMovedError` or the system's error. */
  async acquire(file: OpenFile): Promise<number> {
    file.busyCount++;
    if (file.fd !== null) {
      this.#open.delete(file);
      this.#open.add(file);
      return file.fd;
    }
    try {
      if (file.reopenPath === null) throw new FileMovedError("Cannot open the file again: it has no name");
      const fd = await this.#ops.open(file.reopenPath);
      const stat = await this.#ops.fstat(fd).catch((error: unknown) => {
        this.#ops.close(fd);
        throw error;
      });
      if (inodeKey(stat) !== file.inode) {
        this.#ops.close(fd);
        throw new FileMovedError(`Cannot open the file again: "${file.reopenPath}" is another one now`);
      }
      if (file.fd !== null) this.#ops.close(fd); // another reader was faster
      else {
        file.fd = fd;
        this.add(file);
      }
      return file.fd;
    } catch (error) {
      file.busyCount--;
      throw error;
    }
  }

  release(file: OpenFile): void {
    file.busyCount--;
    if (file.userCount === 0) this.#close(file);
  }

  /** A call with its descriptor failed with this code: closes it when it can give nothing any more, so that the next `acquire` opens it anew. */
  failed(file: OpenFile, code: string): void {
    if (DEAD_CODES.has(code) && file.reopenPath !== null) this.#close(file);
  }

  /** One stream needs it no longer; closed after the last one. */
  drop(file: OpenFile): void {
    file.userCount--;
    if (file.userCount === 0) this.#close(file);
  }

  closeAll(): void {
    for (const file of [...this.#open]) {
      file.userCount = 0;
      this.#close(file);
    }
  }

  #close(file: OpenFile): void {
    // A call in flight still uses the number: it is closed by its `release`.
    if (file.fd === null || file.busyCount > 0) return;
    this.#ops.close(file.fd);
    file.fd = null;
    if (this.#open.delete(file)) this.#metrics.openFiles--;
  }

  #closeIdle(): void {
    if (this.#open.size <= this.#filesMax) return;
    for (const file of this.#open) {
      if (file.reopenPath === null || file.busyCount > 0) continue;
      this.#close(file);
      if (this.#open.size <= this.#filesMax) return;
    }
  }
}
