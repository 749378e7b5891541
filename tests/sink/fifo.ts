import { closeSync, constants, openSync, readSync } from "node:fs";
import { tempDir } from "../support/temp_dir.ts";

/** A named pipe with both ends in this process, so that a test decides when the reader reads. */
export class Fifo {
  readonly #dir = tempDir("fifo");
  readonly #chunk = Buffer.alloc(65_536);
  /** To write to; shared like an inherited descriptor. */
  readonly writeFd: number;
  #readFd: number | null;

  constructor() {
    const path = this.#dir.file("fifo");
    const made = Bun.spawnSync(["mkfifo", path]);
    if (!made.success) throw new Error(`Cannot make a named pipe at "${path}"`);
    this.#readFd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    this.writeFd = openSync(path, constants.O_WRONLY);
  }

  /** What is in the pipe now, at most 64 KiB; empty when nothing is. */
  read(): Buffer {
    if (this.#readFd === null) throw new Error("The reading end is closed");
    try {
      return Buffer.from(this.#chunk.subarray(0, readSync(this.#readFd, this.#chunk)));
    } catch (error) {
      if ((error as { code?: string }).code === "EAGAIN") return Buffer.alloc(0);
      throw error;
    }
  }

  /** Reads until `sizeBytes` came, giving others a turn while the pipe is empty. */
  async readExactly(sizeBytes: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    let left = sizeBytes;
    while (left > 0) {
      const part = this.read();
      if (part.length === 0) await Bun.sleep(1);
      parts.push(part);
      left -= part.length;
    }
    return Buffer.concat(parts);
  }

  /** Nobody reads any more: the next write fails with EPIPE. */
  closeReader(): void {
    if (this.#readFd !== null) closeSync(this.#readFd);
    this.#readFd = null;
  }

  close(): void {
    this.closeReader();
    closeSync(this.writeFd);
    this.#dir.remove();
  }
}
