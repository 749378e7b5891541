import fs from "node:fs/promises";
import path from "node:path";
import { constants } from "node:fs";
import type { DeadLetter, DeadLetters } from "../event/dead_letters.ts";
import { errnoName } from "../errors.ts";
import { pause } from "../pause.ts";
import { countOf } from "../telemetry/format.ts";
import { encodeLetter } from "./letter_json.ts";

/** Letters are written and synced together until they have this many bytes; a larger one goes alone. */
export const WRITE_BYTES_MAX = 1_048_576;
/** After an error, and while the file is full, it is tried again this often. */
export const FILE_RETRY_MS = 2_000;

/** What the file needs of the system; tests put errors in their place. */
export interface LetterFileOps {
  open(path: string, flags: number, mode: number): Promise<fs.FileHandle>;
  /** Appends all of it. */
  write(file: fs.FileHandle, bytes: Buffer): Promise<void>;
  /** Returns when the bytes are on the device. */
  sync(file: fs.FileHandle): Promise<void>;
}

const systemFileOps: LetterFileOps = {
  open: (name, flags, mode) => fs.open(name, flags, mode),
  async write(file, bytes) {
    for (let at = 0; at < bytes.length;) at += (await file.write(bytes, at)).bytesWritten;
  },
  sync: (file) => file.sync(),
};

export interface DeadLetterFileOptions {
  readonly path: string;
  /** It is not written to while it is this large or would become larger; a single letter fits into an empty one. */
  readonly sizeBytesMax: number;
  /** It cannot be written now, and why: called each time that it is tried. */
  readonly onProblem: (message: string, hint: string) => void;
  readonly retryMs?: number;
  readonly ops?: LetterFileOps;
}

interface Waiting {
  readonly letter: DeadLetter;
  readonly onSafe: () => void;
}

/**
 * Appends dead letters to a file, one line of JSON each, for the owner alone (0600). A letter is safe when it is synced. What cannot be written
 * waits, and is tried again: a full disk, or a full file, loses nothing. A file that is moved away is made anew.
 *
 * After an error the same letters are written again, so a letter may be there twice, under the same id.
 */
export class DeadLetterFile implements DeadLetters {
  readonly #options: DeadLetterFileOptions;
  readonly #ops: LetterFileOps;
  readonly #abort = new AbortController();
  #waiting: Waiting[] = [];
  #file: fs.FileHandle | null = null;
  #sizeBytes = 0;
  /** As the option of this name; may change. */
  sizeBytesMax: number;
  #running: Promise<void> | null = null;

  constructor(options: DeadLetterFileOptions) {
    this.#options = options;
    this.sizeBytesMax = options.sizeBytesMax;
    this.#ops = options.ops ?? systemFileOps;
  }

  /** Letters that are not safe yet. Callers hold their events back, which limits them. */
  get waitingCount(): number {
    return this.#waiting.length;
  }

  put(letter: DeadLetter, onSafe: () => void): void {
    if (this.#abort.signal.aborted) return;
    this.#waiting.push({ letter, onSafe });
    this.#running ??= this.#run();
  }

  /** Nothing is called back any more. Resolves when the file is closed. */
  async close(): Promise<void> {
    this.#abort.abort();
    await this.#running;
    await this.#closeFile();
  }

  async #run(): Promise<void> {
    const { signal } = this.#abort;
    while (this.#waiting.length > 0 && !signal.aborted) {
      try {
        const writtenCount = await this.#writeSome();
        if (signal.aborted) break;
        for (const { onSafe } of this.#waiting.splice(0, writtenCount)) onSafe();
        if (writtenCount > 0) continue;
      } catch (error) {
        this.#tellFailure(error);
        // Of a file whose sync failed nobody knows what is in it, and what was written in part is no line.
        await this.#closeFile();
      }
      await pause(this.#options.retryMs ?? FILE_RETRY_MS, signal);
    }
    this.#running = null;
  }

  /** Returns how many letters are safe now; 0: the file is full. */
  async #writeSome(): Promise<number> {
    const file = await this.#opened();
    const lines: Buffer[] = [];
    let bytes = 0;
    for (const { letter } of this.#waiting) {
      if (bytes >= WRITE_BYTES_MAX) break;
      const line = Buffer.from(encodeLetter(letter));
      if (this.#sizeBytes + bytes > 0 && this.#sizeBytes + bytes + line.length > this.sizeBytesMax) {
        break;
      }
      lines.push(line);
      bytes += line.length;
    }
    if (lines.length === 0) {
      this.#tellFull();
      return 0;
    }
    await this.#ops.write(file, Buffer.concat(lines));
    await this.#ops.sync(file);
    this.#sizeBytes += bytes;
    return lines.length;
  }

  /** The file at the path, as it is now: somebody may have moved it away since. */
  async #opened(): Promise<fs.FileHandle> {
    const { path: name } = this.#options;
    if (this.#file !== null) {
      const [own, there] = await Promise.all([
        this.#file.stat(),
        fs.stat(name).catch((error: unknown) => {
          if (errnoName(error) === "ENOENT") return null;
          throw error;
        }),
      ]);
      if (there !== null && own.ino === there.ino && own.dev === there.dev) {
        this.#sizeBytes = own.size;
        return this.#file;
      }
      await this.#closeFile();
    }
    const { O_RDWR, O_APPEND, O_CREAT } = constants;
    const file = await this.#ops.open(name, O_RDWR | O_APPEND | O_CREAT, 0o600);
    this.#file = file;
    const found = await file.stat();
    if (!found.isFile()) {
      throw Object.assign(new Error("It is no regular file"), { code: "not a regular file" });
    }
    this.#sizeBytes = found.size;
    if (this.#sizeBytes === 0) await syncFolder(path.dirname(name));
    else await this.#endTornLine(file);
    return file;
  }

  /** A crash in the middle of a line leaves a part of it: it ends there, and readers pass over it. Its event is not passed, so it comes again. */
  async #endTornLine(file: fs.FileHandle): Promise<void> {
    const last = Buffer.alloc(1);
    await file.read(last, 0, 1, this.#sizeBytes - 1);
    if (last[0] === 0x0a) return;
    await this.#ops.write(file, Buffer.from("\n"));
    this.#sizeBytes++;
  }

  async #closeFile(): Promise<void> {
    const file = this.#file;
    this.#file = null;
    // A close that fails tells nothing that a sync has not.
    await file?.close().catch(() => {});
  }

  #tellFailure(error: unknown): void {
    const why = errnoName(error);
    this.#options.onProblem(
      `Cannot write dead letters to "${this.#options.path}" (${why}): ${
        countOf(this.#waiting.length, "event waits", "events wait")
      }, and with them what comes ` +
        `behind them`,
      why === "ENOSPC" || why === "EDQUOT"
        ? "free space there, or set dead_letter.file to another disk"
        : "make its folder, and make it writable for the user that runs shipper",
    );
  }

  #tellFull(): void {
    const { path: name, onProblem } = this.#options;
    onProblem(
      `The file of dead letters "${name}" is full (dead_letter.max_size = ${this.sizeBytesMax}): ${
        countOf(this.#waiting.length, "event waits", "events wait")
      }, and with them ` +
        `what comes behind them`,
      `move it away (shipper makes a new one), or raise dead_letter.max_size`,
    );
  }
}

/** The name of a new file in a folder is on the device after this. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await fs.open(folder, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
