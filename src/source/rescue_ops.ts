import fs from "node:fs";
import { FaultInjector } from "../telemetry/fault_injector.ts";
import type { FileFaults } from "../telemetry/test_knobs.ts";

/** Room on a filesystem for this user, in bytes. */
export interface DiskSpace {
  readonly freeBytes: number;
  readonly totalBytes: number;
}

/** The system calls that rescue copies are made of, so that tests can make them fail. All but `close` reject with the system's error (`code`). */
export interface RescueOps {
  /** Makes a folder for this user only (0700). No error when it is there. */
  makeDir(dir: string): Promise<void>;
  /** Names in a folder; none when it is not there. */
  list(dir: string): Promise<string[]>;
  /** Makes a file (0600), which must not be there, for writing. */
  openNew(path: string): Promise<number>;
  /** ELOOP when it is a symbolic link, which is never ours. */
  openRead(path: string): Promise<number>;
  /** Bytes read into `target[0 ..]`; 0 at the end. */
  read(fd: number, target: Buffer, length: number, position: number): Promise<number>;
  /** Writes up to `source.length` bytes. Resolves with how many were taken. */
  write(fd: number, source: Buffer, position: number): Promise<number>;
  /** fdatasync. */
  sync(fd: number): Promise<void>;
  /** fsync of a folder: the names in it are on the device. */
  syncDir(dir: string): Promise<void>;
  close(fd: number): void;
  /** No error when it is not there. */
  remove(path: string): Promise<void>;
  space(dir: string): Promise<DiskSpace>;
}

/** The real ones, all in the thread pool. */
export const systemRescueOps: RescueOps = {
  makeDir: async (dir) => void await fs.promises.mkdir(dir, { recursive: true, mode: 0o700 }),
  list: (dir) => fs.promises.readdir(dir).catch((error: unknown) => isMissing(error) ? [] : raise(error)),
  openNew: (path) => open(path, fs.constants.O_WRONLY | fs.constants.O_CREAT | fs.constants.O_EXCL),
  openRead: (path) => open(path, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW),
  read: (fd, target, length, position) =>
    called((done) => fs.read(fd, target, 0, length, position, (error, count) => done(error, count))),
  write: (fd, source, position) =>
    called((done) => fs.write(fd, source, 0, source.length, position, (error, count) => done(error, count))),
  sync: (fd) => called<void>((done) => fs.fdatasync(fd, (error) => done(error, undefined))),
  async syncDir(dir) {
    const fd = await open(dir, fs.constants.O_RDONLY);
    try {
      await called<void>((done) => fs.fsync(fd, (error) => done(error, undefined)));
    } finally {
      fs.close(fd, () => {}); // nothing was written through it
    }
  },
  // There is nothing to do about a failure: what counts was synced before.
  close: (fd) => fs.close(fd, () => {}),
  remove: (path) =>
    fs.promises.unlink(path).catch((error: unknown) => isMissing(error) ? undefined : raise(error)),
  async space(dir) {
    const { bavail, blocks, bsize } = await fs.promises.statfs(dir);
    return { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
  },
};

/** The same with calls that fail, for a test build: a failed call does nothing but reject with the fault's error. */
export function faultyRescueOps(ops: RescueOps, faults: FileFaults): RescueOps {
  const injector = new FaultInjector(faults);
  /** What the open files were opened as. */
  const paths = new Map<number, string>();
  const opened = (path: string, fd: number) => {
    paths.set(fd, path);
    return fd;
  };
  return {
    ...ops,
    async openNew(path) {
      injector.call("open", path);
      return opened(path, await ops.openNew(path));
    },
    async openRead(path) {
      injector.call("open", path);
      return opened(path, await ops.openRead(path));
    },
    async read(fd, target, length, position) {
      injector.call("read", paths.get(fd) ?? "");
      return await ops.read(fd, target, length, position);
    },
    async write(fd, source, position) {
      injector.call("write", paths.get(fd) ?? "");
      return await ops.write(fd, source, position);
    },
    async sync(fd) {
      injector.call("sync", paths.get(fd) ?? "");
      await ops.sync(fd);
    },
    close(fd) {
      paths.delete(fd);
      ops.close(fd);
    },
    async remove(path) {
      injector.call("unlink", path);
      await ops.remove(path);
    },
  };
}

function open(path: string, flags: number): Promise<number> {
  return called((done) => fs.open(path, flags, 0o600, (error, fd) => done(error, fd)));
}

function called<T>(call: (done: (error: Error | null, value: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) =>
    call((error, value) => error === null ? resolve(value) : reject(error))
  );
}

function isMissing(error: unknown): boolean {
  return (error as { code?: unknown }).code === "ENOENT";
}

function raise(error: unknown): never {
  throw error;
}
