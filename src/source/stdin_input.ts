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
}

/** This process's stdin. Throws the system's error when it cannot be read. */
export function openStdin(): ByteInput {
  return { stream: Bun.stdin.stream() as ReadableStream<Uint8Array>, end: putNullInPlace };
}

/**
 * Bun reads a pipe ahead, and bytes that were taken out of a pipe exist nowhere else: canceling the stream would throw them away. So the
 * null device is put in the place of stdin, in one step, because the number must not be free for another file for a moment.
 */
function putNullInPlace(): boolean {
  const libc = openLibc({ dup2: { args: [FFIType.i32, FFIType.i32], returns: FFIType.i32 } });
  if (libc === null) return false;
  let nullFd: number;
  try {
    nullFd = fs.openSync("/dev/null", "r");
  } catch {
    return false; // no descriptor left, or no /dev: what is read ahead cannot be told from what comes
  }
  const isDone = libc.symbols.dup2(nullFd, STDIN_FD) === STDIN_FD;
  if (nullFd !== STDIN_FD) fs.closeSync(nullFd);
  return isDone;
}
