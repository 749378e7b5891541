import { closeSync, constants, fstatSync, openSync, type Stats, statSync } from "node:fs";

/** What is behind a file descriptor, as far as writing to it differs. "file" includes /dev/null and other devices. */
export type OutputKind = "pipe" | "socket" | "terminal" | "file";

/** Standard output or standard error, opened so that a reader who does not read can't stop the process. */
export interface OutputFd {
  /** To write to. Pipes, sockets and terminals don't block: a write that does not fit throws EAGAIN. */
  readonly fd: number;
  readonly kind: OutputKind;
  /** True when it is the null device: everything written to it is gone. A closed descriptor looks like that too, because Bun opens it. */
  readonly isNull: boolean;
  /** Closes what was opened here; the original descriptor stays open. */
  close(): void;
}

/**
 * Opens `fd` a second time for writing without blocking.
 *
 * O_NONBLOCK belongs to the open file description, which is shared with whoever inherited it: set there, it makes other programs on the
 * same terminal or pipe fail with EAGAIN. Opening /proc/self/fd/N gives a description of our own. A socket can't be opened that way; Bun
 * sets O_NONBLOCK on it when a writer is made. Asynchronous writes on the thread pool are no way out: a blocked one keeps one of the two
 * slots that small machines have, and two of them stop every file read.
 *
 * Throws the system's error when the descriptor can't be written to at all, for example ENXIO when nobody holds the other end of a pipe.
 */
export function openOutput(fd: number): OutputFd {
  const stats = fstatSync(fd);
  const isNull = stats.isCharacterDevice() && stats.rdev === nullDevice();
  const kind = isNull ? "file" : kindOf(fd, stats);
  if (kind === "file") return { fd, kind, isNull, close: () => {} };
  if (kind !== "socket") {
    try {
      const own = openSync(
        `/proc/self/fd/${fd}`,
        constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY,
      );
      return { fd: own, kind, isNull: false, close: once(() => closeSync(own)) };
    } catch (error) {
      if ((error as { code?: string }).code === "ENXIO") throw error;
      // No /proc, or no right to open the terminal of another user: the shared description has to do.
    }
  }
  Bun.file(fd).writer();
  return { fd, kind, isNull: false, close: () => {} };
}

function kindOf(fd: number, stats: Stats): OutputKind {
  if (stats.isFIFO()) return "pipe";
  if (stats.isSocket()) return "socket";
  // node:tty costs 2 ms to load, so it is asked only where there may be a terminal.
  if (stats.isCharacterDevice() && process.getBuiltinModule("node:tty").isatty(fd)) return "terminal";
  return "file";
}

/** A descriptor's number may belong to another file after the first close. */
function once(action: () => void): () => void {
  let isDone = false;
  return () => {
    if (isDone) return;
    isDone = true;
    action();
  };
}

function nullDevice(): number {
  try {
    return statSync("/dev/null").rdev;
  } catch {
    return -1;
  }
}
