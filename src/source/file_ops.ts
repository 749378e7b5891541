import fs from "node:fs";

/** What is needed to know of a path. 64-bit numbers are exact: inode numbers and times in nanoseconds pass 2^53. */
export interface FileStat {
  readonly kind: "file" | "directory" | "FIFO" | "socket" | "device";
  readonly dev: bigint;
  readonly ino: bigint;
  /** 0n where the filesystem does not know it. */
  readonly birthtimeNs: bigint;
  readonly sizeBytes: number;
  readonly mtimeMs: number;
  readonly linkCount: number;
}

export interface DirectoryEntry {
  readonly name: string;
  /** Known to be a folder. A symbolic link or an entry of unknown kind may turn out to be one. */
  readonly isDirectory: boolean;
  readonly mayBeDirectory: boolean;
}

export interface DirectoryWatcher {
  close(): void;
}

/**
 * The system calls of the file source, so that tests can make one hang or fail. All reject with the system's error (`code`).
 *
 * `isLocal`: the path is on a filesystem of this machine, where metadata answers at once, so it is asked for without the thread pool
 * (3 us against 40 us). Anything else goes through the pool: a dead mount must block a pool slot, not the process.
 */
export interface FileOps {
  stat(path: string, isLocal: boolean): Promise<FileStat>;
  /** Opens for reading, without blocking on what is not a regular file after all. */
  open(path: string): Promise<number>;
  fstat(fd: number): Promise<FileStat>;
  /** Bytes read into `target[0 ..]`, at most `length`, from `position`. */
  read(fd: number, target: Buffer, length: number, position: number): Promise<number>;
  close(fd: number): void;
  list(path: string, isLocal: boolean): Promise<DirectoryEntry[]>;
  realpath(path: string): Promise<string>;
  isLocal(path: string): Promise<boolean>;
  /** `onEvent(name, isRename)`; a null name means that events were lost. Throws when the system has no watch left. */
  watch(
    path: string,
    onEvent: (name: string | null, isRename: boolean) => void,
    onError: () => void,
  ): DirectoryWatcher;
}

/** `f_type` of filesystems that answer from this machine: ext, XFS, Btrfs, tmpfs, overlayfs, F2FS, ZFS, ramfs, bcachefs. */
const LOCAL_FILESYSTEMS: ReadonlySet<number> = new Set([
  0xef53,
  0x58465342,
  0x9123683e,
  0x01021994,
  0x794c7630,
  0xf2f52010,
  0x2fc12fc1,
  0x858458f6,
  0xca451a4e,
]);

const OPEN_FLAGS = fs.constants.O_RDONLY | fs.constants.O_NONBLOCK | fs.constants.O_NOCTTY;

/** The real ones. */
export const systemFileOps: FileOps = {
  stat(path, isLocal) {
    if (!isLocal) {
      return new Promise((resolve, reject) => fs.stat(path, { bigint: true }, settleStat(resolve, reject)));
    }
    try {
      return Promise.resolve(fileStat(fs.statSync(path, { bigint: true })));
    } catch (error) {
      return Promise.reject(error);
    }
  },
  open(path) {
    return new Promise((resolve, reject) =>
      fs.open(path, OPEN_FLAGS, (error, fd) => error === null ? resolve(fd) : reject(error))
    );
  },
  fstat(fd) {
    return new Promise((resolve, reject) => fs.fstat(fd, { bigint: true }, settleStat(resolve, reject)));
  },
  read(fd, target, length, position) {
    return new Promise((resolve, reject) =>
      fs.read(
        fd,
        target,
        0,
        length,
        position,
        (error, count) => error === null ? resolve(count) : reject(error),
      )
    );
  },
  close(fd) {
    // In the pool: closing a file on a dead mount may block. There is nothing to do about a failure.
    fs.close(fd, () => {});
  },
  async list(path, isLocal) {
    const options = { withFileTypes: true } as const;
    const entries = isLocal ? fs.readdirSync(path, options) : await fs.promises.readdir(path, options);
    return entries.map((entry) => ({
      name: entry.name,
      isDirectory: entry.isDirectory(),
      mayBeDirectory: entry.isDirectory() || !entry.isFile(),
    }));
  },
  realpath(path) {
    return fs.promises.realpath(path);
  },
  async isLocal(path) {
    return LOCAL_FILESYSTEMS.has((await fs.promises.statfs(path)).type);
  },
  watch(path, onEvent, onError) {
    const watcher = fs.watch(path, (kind, name) => onEvent(name, kind === "rename"));
    watcher.on("error", onError);
    return watcher;
  },
};

function settleStat(resolve: (stat: FileStat) => void, reject: (error: unknown) => void) {
  return (error: unknown, stats: fs.BigIntStats) => error === null ? resolve(fileStat(stats)) : reject(error);
}

function fileStat(stats: fs.BigIntStats): FileStat {
  return {
    kind: stats.isFile()
      ? "file"
      : stats.isDirectory()
      ? "directory"
      : stats.isFIFO()
      ? "FIFO"
      : stats.isSocket()
      ? "socket"
      : "device",
    dev: stats.dev,
    ino: stats.ino,
    birthtimeNs: stats.birthtimeNs,
    sizeBytes: Number(stats.size),
    mtimeMs: Number(stats.mtimeMs),
    linkCount: Number(stats.nlink),
  };
}
