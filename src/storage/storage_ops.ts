import fs from "node:fs";

/**
 * The system calls that a log is made of, as an interface, so that tests can put a file system that crashes in their place. All of them are
 * synchronous and throw the system's error (`code` is the errno name).
 *
 * The main thread uses them to read and, with `durability = "process"`, to write; with "machine" everything that writes runs in a Worker.
 */
export interface StorageOps {
  /** Makes a folder and those above it, for this user only (0700). No error when it is there. */
  makeDir(dir: string): void;
  /** Names in a folder, in no order. */
  list(dir: string): string[];
  /** Opens for reading; ELOOP when the file is a symbolic link, which is never ours. */
  openRead(path: string): number;
  /** Opens for writing in place; made when missing (0600), never truncated. ELOOP as above. */
  openWrite(path: string): number;
  /** Size in bytes. */
  size(path: string): number;
  /** Reads up to `length` bytes into `target` at `offset`, from `position` of the file. Returns how many; 0 at the end. */
  read(fd: number, target: Uint8Array, offset: number, length: number, position: number): number;
  /** Writes up to `length` bytes of `source` from `offset`, to `position` of the file. Returns how many were taken. */
  write(fd: number, source: Uint8Array, offset: number, length: number, position: number): number;
  /** Makes the file exactly so long; what is added reads as zeros and takes no room yet. */
  truncate(fd: number, sizeBytes: number): void;
  /** fdatasync: returns when the file's bytes, and the size that is needed to read them, are on the device. */
  dataSync(fd: number): void;
  /** fsync of a folder: returns when the names in it are on the device. */
  syncDir(dir: string): void;
  close(fd: number): void;
  rename(from: string, to: string): void;
  remove(path: string): void;
}

/** A call that was interrupted or would block is made again at most this often. */
const INTERRUPTIONS_MAX = 100;

/** The system's own calls. */
export const systemOps: StorageOps = {
  makeDir: (dir) => void fs.mkdirSync(dir, { recursive: true, mode: 0o700 }),
  list: (dir) => fs.readdirSync(dir),
  openRead: (path) => fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW),
  openWrite(path) {
    return fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_NOFOLLOW, 0o600);
  },
  size: (path) => fs.statSync(path).size,
  read: (fd, target, offset, length, position) => fs.readSync(fd, target, offset, length, position),
  write: (fd, source, offset, length, position) => fs.writeSync(fd, source, offset, length, position),
  truncate: (fd, sizeBytes) => fs.ftruncateSync(fd, sizeBytes),
  dataSync: (fd) => fs.fdatasyncSync(fd),
  syncDir(dir) {
    const fd = fs.openSync(dir, fs.constants.O_RDONLY);
    try {
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  },
  close: (fd) => fs.closeSync(fd),
  rename: (from, to) => fs.renameSync(from, to),
  remove: (path) => fs.unlinkSync(path),
};

/** Writes all of it, however little the system takes at a time. */
export function writeFully(
  ops: StorageOps,
  fd: number,
  source: Uint8Array,
  offset: number,
  length: number,
  position: number,
): void {
  let done = 0;
  let interruptions = 0;
  while (done < length) {
    let taken = 0;
    try {
      taken = ops.write(fd, source, offset + done, length - done, position + done);
    } catch (error) {
      if (!isInterruption(error) || ++interruptions > INTERRUPTIONS_MAX) throw error;
      continue;
    }
    if (taken <= 0 && ++interruptions > INTERRUPTIONS_MAX) {
      throw Object.assign(new Error("EIO: the system takes no byte and gives no error"), { code: "EIO" });
    }
    done += taken;
  }
}

/** Reads until `length` bytes are there or the file ends. Returns how many. */
export function readFully(
  ops: StorageOps,
  fd: number,
  target: Uint8Array,
  offset: number,
  length: number,
  position: number,
): number {
  let done = 0;
  let interruptions = 0;
  while (done < length) {
    try {
      const got = ops.read(fd, target, offset + done, length - done, position + done);
      if (got <= 0) break;
      done += got;
    } catch (error) {
      if (!isInterruption(error) || ++interruptions > INTERRUPTIONS_MAX) throw error;
    }
  }
  return done;
}

function isInterruption(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code;
  return code === "EINTR" || code === "EAGAIN";
}
