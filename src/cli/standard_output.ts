import { writeSync } from "node:fs";

/** A terminal or pipe that takes nothing for this long is given up on: messages must never hold the process. */
export const WRITE_WAIT_MAX_MS = 200;
const WAIT_STEP_MS = 5;

/**
 * Writes to stdout, for commands that print and end. What can't be written (closed, full, EAGAIN for too long) is left out: there is no
 * better place to say so.
 */
export function writeStdout(text: string): void {
  writeAll(1, text);
}

/** Writes to stderr: diagnostics and logs. A closed or stuck stderr never stops or delays the work for long. */
export function writeStderr(text: string): void {
  writeAll(2, text);
}

function writeAll(fd: number, text: string): void {
  const data = Buffer.from(text);
  let at = 0;
  let waitedMs = 0;
  while (at < data.length) {
    try {
      at += writeSync(fd, data, at);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN" || waitedMs >= WRITE_WAIT_MAX_MS) return;
      Bun.sleepSync(WAIT_STEP_MS);
      waitedMs += WAIT_STEP_MS;
    }
  }
}
