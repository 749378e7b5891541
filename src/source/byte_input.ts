import fs from "node:fs";
import { FFIType } from "bun:ffi";
import { openLibc } from "../libc.ts";

const STDIN_FD = 0;

/** Bytes to read, and a way to stop taking more of them. */
export interface ByteInput {
  readonly stream: ReadableStream<Uint8Array>;
  /**
   * No more is taken from where the bytes come from; the stream still gives what it has read ahead, and then ends or gives nothing more.
   * False when that cannot be done.
   */
  end(): boolean;
  /** Gives the memory of bytes that the stream gave back at once; they must not be used any more. */
  free?(bytes: Uint8Array): void;
}

/** This process's stdin. Throws the system's error when it cannot be read. */
export function openStdin(): ByteInput {
  return {
    stream: Bun.stdin.stream() as ReadableStream<Uint8Array>,
    end: () => putNullInPlace(STDIN_FD),
    free: freeBuffer,
  };
}

/**
 * Each read of stdin gives memory of its own, 64 KiB. Left to the garbage collector, which looks rarely (see `GarbagePacer`), it was most of the
 * memory of a process that reads stdin at full speed.
 */
function freeBuffer(bytes: Uint8Array): void {
  if (bytes.buffer instanceof ArrayBuffer) bytes.buffer.transfer(0);
}

/**
 * The reading end of a pipe. `end` closes it, so that who writes gets EPIPE; the number stays taken, by the null device, because the stream
 * goes on using it.
 */
export function openPipe(fd: number): ByteInput {
  return { stream: Bun.file(fd).stream(), end: () => putNullInPlace(fd) };
}

/**
 * Bun reads a pipe ahead, and bytes that were taken out of a pipe exist nowhere else: canceling the stream would throw them away. So the
 * null device is put in the place of the pipe, in one step, because the number must not be free for another file for a moment.
 */
function putNullInPlace(fd: number): boolean {
  const libc = openLibc({ dup2: { args: [FFIType.i32, FFIType.i32], returns: FFIType.i32 } });
  if (libc === null) return false;
  let nullFd: number;
  try {
    nullFd = fs.openSync("/dev/null", "r");
  } catch {
    return false; // no descriptor left, or no /dev: what is read ahead cannot be told from what comes
  }
  const isDone = libc.symbols.dup2(nullFd, fd) === fd;
  if (nullFd !== fd) fs.closeSync(nullFd);
  return isDone;
}
