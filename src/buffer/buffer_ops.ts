import fs from "node:fs";
import { type StorageOps, systemOps } from "../storage/storage_ops.ts";

/** What a disk buffer is made of: the calls of a log, and reading that does not hold the thread that asks. */
export interface BufferOps extends StorageOps {
  /** Like `read`, later. Rejects with the system's error. */
  readLater(
    fd: number,
    target: Uint8Array,
    offset: number,
    length: number,
    position: number,
  ): Promise<number>;
  /** Bytes that this user may still write where the folder is; Infinity when that cannot be told. */
  freeBytes(dir: string): number;
}

/** The system's own calls. */
export const systemBufferOps: BufferOps = {
  ...systemOps,
  readLater(fd, target, offset, length, position) {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    fs.read(
      fd,
      target,
      offset,
      length,
      position,
      (error, count) => error === null ? resolve(count) : reject(error),
    );
    return promise;
  },
  freeBytes,
};

function freeBytes(dir: string): number {
  try {
    const { bavail, bsize } = fs.statfsSync(dir);
    return bavail * bsize;
  } catch {
    return Infinity;
  }
}

/** Other calls, with a reading that is later by a turn: for tests. */
export function bufferOpsOf(ops: StorageOps, free: (dir: string) => number = freeBytes): BufferOps {
  // Whatever `ops` is: one with private members cannot be inherited from.
  return {
    makeDir: (dir) => ops.makeDir(dir),
    list: (dir) => ops.list(dir),
    openRead: (path) => ops.openRead(path),
    openWrite: (path) => ops.openWrite(path),
    size: (path) => ops.size(path),
    read: (...args) => ops.read(...args),
    write: (...args) => ops.write(...args),
    truncate: (fd, sizeBytes) => ops.truncate(fd, sizeBytes),
    dataSync: (fd) => ops.dataSync(fd),
    syncDir: (dir) => ops.syncDir(dir),
    close: (fd) => ops.close(fd),
    rename: (from, to) => ops.rename(from, to),
    remove: (path) => ops.remove(path),
    readLater: (...args) => Promise.resolve().then(() => ops.read(...args)),
    freeBytes: free,
  };
}
