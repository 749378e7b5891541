import { writeSync } from "node:fs";
import { errnoName } from "../errors.ts";

/** Written at a time. */
const CHUNK_BYTES = 65_536;
/** A pipe that takes nothing for now is tried again after so long. */
const WAIT_MS = 2;

/** Writes some bytes, and returns how many were taken. Throws the system's error; EAGAIN: none for now. */
export type WriteSome = (data: Uint8Array, offset: number, length: number) => number;

/** Standard output. */
export const writeToStdout: WriteSome = (data, offset, length) => writeSync(1, data, offset, length);

/** The output takes no more. It is no system error of its own, so that nobody takes it for one of what is read. */
export class OutputError extends Error {
  override readonly name = "OutputError";
  /** The system's, for example "ENOSPC". "EPIPE": nobody reads any more. */
  readonly errno: string;

  constructor(errno: string) {
    super(`Cannot write to the output (${errno})`);
    this.errno = errno;
  }
}

/**
 * A stream of bytes to somewhere that may be slow: it is waited for, for ever, as `cat` does. Memory is bounded by a chunk. All methods throw
 * `OutputError`.
 */
export class OutputStream {
  readonly #write: WriteSome;
  readonly #chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  #length = 0;

  constructor(write: WriteSome) {
    this.#write = write;
  }

  /** Copies `source[start .. end)`. */
  add(source: Buffer, start: number, end: number): void {
    for (let at = start; at < end;) {
      if (this.#length === CHUNK_BYTES) this.flush();
      const count = source.copy(this.#chunk, this.#length, at, end);
      this.#length += count;
      at += count;
    }
  }

  text(text: string): void {
    const data = Buffer.from(text);
    this.add(data, 0, data.length);
  }

  flush(): void {
    let at = 0;
    while (at < this.#length) {
      try {
        at += this.#write(this.#chunk, at, this.#length - at);
      } catch (error) {
        const code = errnoName(error);
        if (code !== "EAGAIN" && code !== "EINTR") throw new OutputError(code);
        if (code === "EAGAIN") Bun.sleepSync(WAIT_MS);
      }
    }
    this.#length = 0;
  }
}
