import fs from "node:fs";
import { FFIType, ptr } from "bun:ffi";
import { StartError } from "../errors.ts";
import { openLibc } from "../libc.ts";

export interface Pipe {
  readonly readFd: number;
  readonly writeFd: number;
}

/** A command must not inherit the ends that are not its own, or a pipe never ends. Nothing else is started between the two calls. */
const F_SETFD = 2;
const FD_CLOEXEC = 1;

/**
 * Makes a pipe; both ends belong to the caller. Bun's own are socket pairs, and a program that opens /dev/stdout or /dev/stderr by name, as
 * many do in containers, cannot open a socket. Throws a `StartError` when the system gives none.
 */
export function makePipe(): Pipe {
  const libc = openLibc({
    pipe: { args: [FFIType.ptr], returns: FFIType.i32 },
    fcntl: { args: [FFIType.i32, FFIType.i32, FFIType.i32], returns: FFIType.i32 },
  });
  if (libc === null) throw noPipe("the C library cannot be loaded");
  const fds = new Int32Array(2);
  if (libc.symbols.pipe(ptr(fds)) !== 0) throw noPipe("no file descriptor is left");
  const [readFd, writeFd] = fds as unknown as [number, number];
  for (const fd of [readFd, writeFd]) libc.symbols.fcntl(fd, F_SETFD, FD_CLOEXEC);
  return { readFd, writeFd };
}

export function closePipe({ readFd, writeFd }: Pipe): void {
  fs.closeSync(readFd);
  fs.closeSync(writeFd);
}

function noPipe(reason: string): StartError {
  return new StartError(
    "no-pipe",
    `Cannot make a pipe for the output of the command: ${reason}`,
    "raise the limit of open files (ulimit -n)",
  );
}
