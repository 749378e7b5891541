import { writeSync } from "node:fs";
import { errnoName } from "../errors.ts";

/** A terminal or pipe that takes nothing for this long is given up on: messages must never hold the process. */
export const WRITE_WAIT_MAX_MS = 200;
const WAIT_STEP_MS = 5;

let firstStdoutFailure: string | null = null;

/** The system's error when something that was written to stdout did not get there, else null. A reader that has gone ("head") wanted no more. */
export function stdoutFailure(): string | null {
  return firstStdoutFailure;
}

/** Writes to stdout, for commands that print and end. `stdoutFailure` tells what could not be written (closed, full, EAGAIN for too long). */
export function writeStdout(text: string): void {
  const errno = writeAll(1, text);
  if (errno !== "EPIPE") firstStdoutFailure ??= errno;
}

/** Writes to stderr: diagnostics and logs. A closed or stuck stderr never stops or delays the work for long. */
export function writeStderr(text: string): void {
  writeAll(2, text);
}

/** The system's error, or null when everything was written. */
function writeAll(fd: number, text: string): string | null {
  const data = Buffer.from(text);
  let at = 0;
  let waitedMs = 0;
  while (at < data.length) {
    try {
      at += writeSync(fd, data, at);
    } catch (error) {
      const errno = errnoName(error);
      if (errno !== "EAGAIN" || waitedMs >= WRITE_WAIT_MAX_MS) return errno;
      Bun.sleepSync(WAIT_STEP_MS);
      waitedMs += WAIT_STEP_MS;
    }
  }
  return null;
}
