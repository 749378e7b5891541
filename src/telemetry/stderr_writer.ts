import { writeSync } from "node:fs";
import { errnoName } from "../errors.ts";
import { openOutput, type OutputFd } from "./output_fd.ts";

/** Text that may wait for a reader; what comes while it is full is dropped and counted. */
export const PENDING_BYTES_MAX = 1_048_576;

/** Wait before a full pipe is tried again; doubles up to the second. */
const RETRY_MIN_MS = 5;
const RETRY_MAX_MS = 200;

/** Back to the start of the line, and erase it. */
const ERASE_LINE = "\r\x1b[K";

/**
 * Standard error, as logs need it: a line is out when `write` returns, so that nothing is missing after a crash; a reader that stops
 * reading never blocks the process; a reader that is gone, or a full disk, costs the lines and nothing else. Nothing here throws.
 *
 * On a terminal it can also keep one status line below the log.
 */
export class StderrWriter {
  readonly isTerminal: boolean;
  readonly #output: OutputFd | null;
  /** What did not fit, oldest first; the first one may be written in part. */
  readonly #pending: Buffer[] = [];
  #pendingBytes = 0;
  #lostLines = 0;
  #isGone = false;
  #statusLine: string | null = null;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #retryMs = RETRY_MIN_MS;

  constructor(fd = 2) {
    let output: OutputFd | null = null;
    try {
      output = openOutput(fd);
    } catch {
      // Nobody holds the other end: there is no place left to say so. Lines are counted as lost.
      this.#isGone = true;
    }
    this.#output = output;
    this.isTerminal = output?.kind === "terminal";
  }

  /** Writes whole lines, now or as soon as the reader reads. */
  write(text: string): void {
    if (this.#statusLine === null) this.#put(text, true);
    else this.#put(ERASE_LINE + text + this.#statusLine, true);
  }

  /** Shows, replaces or (null) removes the line below the log. It must fit into the terminal's width. Does nothing elsewhere. */
  setStatusLine(text: string | null): void {
    if (!this.isTerminal || text === this.#statusLine) return;
    this.#statusLine = text;
    // A terminal that is stopped (Ctrl-S) would get the same line over and over when it goes on.
    if (this.#pendingBytes === 0 || text === null) this.#put(ERASE_LINE + (text ?? ""), false);
  }

  /** Lines that were dropped since this was last called. */
  takeLostLines(): number {
    const count = this.#lostLines;
    // They can be announced only once there is room again.
    if (this.#pendingBytes > 0) return 0;
    this.#lostLines = 0;
    return count;
  }

  /** Waits until everything is out, at most `deadlineMs`. */
  async flush(deadlineMs: number): Promise<void> {
    const endMs = performance.now() + deadlineMs;
    while (this.#pendingBytes > 0 && performance.now() < endMs) {
      await new Promise((resolve) => setTimeout(resolve, RETRY_MIN_MS));
      this.#drain();
    }
  }

  /** Drops what waits and closes what was opened here. */
  close(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#isGone = true;
    this.#dropPending();
    this.#output?.close();
  }

  #put(text: string, isLog: boolean): void {
    const data = Buffer.from(text);
    if (this.#isGone || this.#pendingBytes + data.length > PENDING_BYTES_MAX) {
      if (isLog) this.#lostLines += countLines(data);
      return;
    }
    this.#pending.push(data);
    this.#pendingBytes += data.length;
    // Something that waits already has a timer, and goes first.
    if (this.#timer === null) this.#drain();
  }

  #drain(): void {
    while (this.#pending.length > 0) {
      const data = this.#pending[0]!;
      const written = this.#tryWrite(data);
      this.#pendingBytes -= written;
      if (written < data.length) {
        if (written > 0) this.#pending[0] = data.subarray(written);
        if (this.#pending.length > 0) this.#retryLater();
        return;
      }
      this.#pending.shift();
      this.#retryMs = RETRY_MIN_MS;
    }
  }

  /** Bytes that were taken. After an error that stays, everything that waits is dropped. */
  #tryWrite(data: Buffer): number {
    try {
      return writeSync(this.#output!.fd, data);
    } catch (error) {
      const code = errnoName(error);
      if (code === "EAGAIN") return 0;
      this.#isGone = code !== "ENOSPC" && code !== "EDQUOT" && code !== "EINTR";
      this.#dropPending();
      return 0;
    }
  }

  #dropPending(): void {
    for (const data of this.#pending) this.#lostLines += countLines(data);
    this.#pending.length = 0;
    this.#pendingBytes = 0;
  }

  #retryLater(): void {
    if (this.#timer !== null) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#drain();
    }, this.#retryMs);
    this.#timer.unref();
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MAX_MS);
  }
}

function countLines(data: Buffer): number {
  let count = 0;
  for (let at = data.indexOf(10); at >= 0; at = data.indexOf(10, at + 1)) count++;
  return count;
}
