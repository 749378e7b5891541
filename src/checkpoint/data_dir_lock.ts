import fs from "node:fs";
import path from "node:path";
import { FFIType, type Pointer, read } from "bun:ffi";
import { errnoName, StartError } from "../errors.ts";
import { openLibc } from "../libc.ts";

const ERRNO_SYMBOL = process.platform === "darwin" ? "__error" : "__errno_location";
/** EAGAIN and EWOULDBLOCK are one number on these platforms. */
const EAGAIN = process.platform === "darwin" ? 35 : 11;
const LOCK_EX = 2;
const LOCK_NB = 4;
const PID_BYTES_MAX = 32;

/** A data_dir that belongs to this process until `release`, or until the process ends in whatever way. */
export interface DataDirLock {
  readonly dataDir: string;
  release(): void;
}

/**
 * Makes data_dir (0700) when it is missing and locks it by flock on `data_dir/lock`, which holds the owner's pid for people. flock goes
 * with the process, so a killed one leaves nothing behind. (POSIX locks would be dropped by any close of the file in this process.)
 *
 * Throws `StartError`: "data-dir-unusable" (cannot be made, entered or written), "data-dir-locked" (another process has it).
 */
export function acquireDataDir(dataDir: string): DataDirLock {
  const lockPath = path.join(dataDir, "lock");
  let fd: number;
  try {
    fs.mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    // Not through a link: its target would be cut to nothing below.
    const { O_RDWR, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
    fd = fs.openSync(lockPath, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600);
  } catch (error) {
    throw unusable(dataDir, errnoName(error));
  }
  const failure = lock(fd);
  if (failure !== null) {
    const owner = readOwner(fd);
    fs.closeSync(fd);
    if (failure !== EAGAIN) {
      throw unusable(dataDir, failure === -1 ? "no flock on this platform" : `errno ${failure}`);
    }
    throw new StartError(
      "data-dir-locked",
      `Cannot use data_dir "${dataDir}": ${
        owner === null ? "another process" : `process ${owner}`
      } is using it`,
      "stop that process, or give this one a data_dir of its own",
    );
  }
  try {
    fs.ftruncateSync(fd, 0);
    fs.writeSync(fd, `${process.pid}\n`, 0);
  } catch (error) {
    // A full disk must not keep deliveries from starting: the pid is only there for people.
    if (errnoName(error) !== "ENOSPC" && errnoName(error) !== "EDQUOT") {
      fs.closeSync(fd);
      throw unusable(dataDir, errnoName(error));
    }
  }
  let isHeld = true;
  return {
    dataDir,
    release() {
      if (isHeld) fs.closeSync(fd);
      isHeld = false;
    },
  };
}

function unusable(dataDir: string, cause: string): StartError {
  return new StartError(
    "data-dir-unusable",
    `Cannot use data_dir "${dataDir}": it cannot be made or written (${cause})`,
    hintFor(cause),
  );
}

function hintFor(cause: string): string {
  if (cause === "ENOSPC" || cause === "EDQUOT") {
    return "free space (or inodes) there, or set data_dir to another disk";
  }
  if (cause === "ELOOP") return 'remove the symbolic link "lock" in it: nobody but shipper puts that there';
  if (cause === "EEXIST" || cause === "ENOTDIR") {
    return "something else has that name: set data_dir to a folder";
  }
  return "make it writable for the user that runs shipper, or set data_dir to another folder";
}

/** Locks an open file for this process by flock, until it is closed; false: another one has it. Throws StartError where there is no flock. */
export function lockFile(fd: number): boolean {
  const failure = lock(fd);
  if (failure === null) return true;
  if (failure === EAGAIN) return false;
  const cause = failure === -1 ? "no flock on this platform" : `errno ${failure}`;
  throw new StartError("lock-failed", `Cannot lock a file (${cause})`);
}

/** Null when locked; else the errno, or -1 when there is no flock to call. */
function lock(fd: number): number | null {
  const libc = openLibc({
    flock: { args: [FFIType.i32, FFIType.i32], returns: FFIType.i32 },
    [ERRNO_SYMBOL]: { args: [], returns: FFIType.ptr },
  });
  if (libc === null) return -1;
  if (libc.symbols.flock!(fd, LOCK_EX | LOCK_NB) === 0) return null;
  const errnoAddress = (libc.symbols as Record<string, () => Pointer | null>)[ERRNO_SYMBOL]!();
  return errnoAddress === null ? -1 : read.i32(errnoAddress, 0);
}

function readOwner(fd: number): string | null {
  const buffer = Buffer.alloc(PID_BYTES_MAX);
  const length = fs.readSync(fd, buffer, 0, PID_BYTES_MAX, 0);
  const text = buffer.toString("latin1", 0, length).trim();
  return /^\d+$/.test(text) ? text : null;
}
