import { write, writeSync } from "node:fs";
import { errnoName } from "../errors.ts";
import type { Log } from "../telemetry/log.ts";
import { openOutput, type OutputFd } from "../telemetry/output_fd.ts";

/** Wait before a full pipe is tried again; doubles up to the second while nothing goes through. */
const RETRY_MIN_MS = 1;
const RETRY_MAX_MS = 20;

/**
 * Passes bytes on to this process's stdout or stderr. A reader that does not read holds the caller. What cannot be written because the
 * other end is gone or the disk is full is left out from then on, and said once.
 */
export class Tee {
  readonly #name: "stdout" | "stderr";
  readonly #log: Log;
  #output: OutputFd | null = null;
  #isBroken = false;

  constructor(name: "stdout" | "stderr", log: Log) {
    this.#name = name;
    this.#log = log;
  }

  /** Resolves when all is written, or given up, or `signal` aborts. Never rejects. */
  async write(bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    if (this.#isBroken) return;
    try {
      this.#output ??= openOutput(this.#name === "stdout" ? 1 : 2);
      await this.#writeAll(this.#output, bytes, signal);
    } catch (error) {
      this.#isBroken = true;
      this.#log.warn(
        `Cannot pass the command's ${this.#name} on any further (${
          errnoName(error)
        }): it is shipped, and not shown`,
      );
    }
  }

  close(): void {
    this.#output?.close();
    this.#output = null;
    this.#isBroken = true;
  }

  async #writeAll(output: OutputFd, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    let retryMs = RETRY_MIN_MS;
    for (let at = 0; at < bytes.length && !signal.aborted;) {
      const count = await writeSome(output, bytes, at);
      at += count;
      retryMs = count > 0 ? RETRY_MIN_MS : Math.min(retryMs * 2, RETRY_MAX_MS);
      if (count === 0) await Bun.sleep(retryMs);
    }
  }
}

/** Bytes that were taken; 0 when the reader has to read first. */
async function writeSome(output: OutputFd, bytes: Uint8Array, from: number): Promise<number> {
  if (output.kind === "file") return await writeAside(output.fd, bytes, from);
  try {
    return writeSync(output.fd, bytes, from, bytes.length - from);
  } catch (error) {
    if (errnoName(error) === "EAGAIN") return 0;
    throw error;
  }
}

/** A regular file can hold a write up for seconds while the disk is busy, so it waits on the thread pool. */
function writeAside(fd: number, bytes: Uint8Array, from: number): Promise<number> {
  return new Promise((resolve, reject) => {
    write(
      fd,
      bytes,
      from,
      bytes.length - from,
      null,
      (error, count) => error === null ? resolve(count) : reject(error),
    );
  });
}
