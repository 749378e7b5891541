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
};

/** Calls that work at once, with a reading that is later by a turn: for tests. */
export function bufferOpsOf(ops: StorageOps): BufferOps {
  return Object.assign(Object.create(ops) as StorageOps, {
    readLater: (fd: number, target: Uint8Array, offset: number, length: number, position: number) =>
      Promise.resolve().then(() => ops.read(fd, target, offset, length, position)),
  });
}
