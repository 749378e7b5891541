import { errnoName } from "../errors.ts";
import type { StorageOps } from "./storage_ops.ts";

/** A read that the device refuses is made again so often, after pauses that double. */
const TRIES_MAX = 5;
const PAUSE_MS = 100;
/** The pauses of all reads together. */
const PAUSES_MS_MAX = 5_000;

/**
 * Storage operations whose reads are tried again when the device refuses them (EIO), which may pass: 1.5 s for one place, 5 s for all. The last
 * error is thrown, with the file's path. Blocks meanwhile: for a start, which has to know what is there. `onFailure` is told of the first failure of
 * each read that is tried again; `pause` blocks for so many milliseconds.
 */
export function patientReads<T extends StorageOps>(
  ops: T,
  onFailure: (path: string, code: string) => void,
  pause: (ms: number) => void = Bun.sleepSync,
): T {
  const paths = new Map<number, string>();
  let leftMs = PAUSES_MS_MAX;
  return {
    ...ops,
    openRead(path) {
      const fd = ops.openRead(path);
      paths.set(fd, path);
      return fd;
    },
    close(fd) {
      paths.delete(fd);
      ops.close(fd);
    },
    read(fd, target, offset, length, position) {
      for (let tries = 1, pauseMs = PAUSE_MS;; tries++, pauseMs *= 2) {
        try {
          return ops.read(fd, target, offset, length, position);
        } catch (error) {
          if (errnoName(error) !== "EIO") throw error;
          const path = paths.get(fd) ?? "";
          if (tries === TRIES_MAX || pauseMs > leftMs) throw Object.assign(error as Error, { path });
          if (tries === 1) onFailure(path, errnoName(error));
          leftMs -= pauseMs;
          pause(pauseMs);
        }
      }
    },
  };
}
