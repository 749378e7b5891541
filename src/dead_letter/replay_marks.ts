import fs from "node:fs";
import path from "node:path";
import { errnoName, StartError } from "../errors.ts";

const LINE = /^([0-9a-f]{16}) /u;

/**
 * Which dead letters were sent again: a file of lines "ID TIME", beside the letters or in data_dir. A letter is marked after it was acknowledged, so that a replay
 * that is killed repeats what it had sent since the last mark, and nothing that is marked.
 */
export class ReplayMarks {
  readonly path: string;
  readonly #ids: Set<string>;
  #fd: number | null = null;

  constructor(file: string) {
    this.path = file;
    this.#ids = readMarks(file);
  }

  has(id: string): boolean {
    return this.#ids.has(id);
  }

  get count(): number {
    return this.#ids.size;
  }

  /** For this process alone, by `lock`. Throws StartError: it cannot be made or written, or another process replays. */
  open(lock: (fd: number) => boolean): void {
    try {
      fs.mkdirSync(path.dirname(this.path), { recursive: true, mode: 0o700 });
      this.#fd = fs.openSync(this.path, "a+", 0o600);
      if (lock(this.#fd)) {
        // What a crash has cut is no line.
        fs.writeSync(this.#fd, "\n");
        for (const id of readMarks(this.path)) this.#ids.add(id);
        return;
      }
    } catch (error) {
      if (error instanceof StartError) throw error;
      throw this.unwritable(error, "nothing was sent");
    }
    throw new StartError(
      "replay-running",
      `Another process replays: it has "${this.path}" locked`,
      null,
      1,
    );
  }

  /** Says that marks could not be written, and what follows from it. */
  unwritable(error: unknown, consequence: string): StartError {
    const code = errnoName(error);
    return new StartError(
      "marks-unwritable",
      `Cannot write "${this.path}" (${code}), which says what was replayed: ${consequence}`,
      code === "ENOSPC" || code === "EDQUOT" ? "free space there" : "make it writable for this user",
      1,
    );
  }

  /** Returns when the marks are on the device. Throws the system's error. */
  add(ids: readonly string[], nowMs: number): void {
    if (ids.length === 0) return;
    const time = new Date(nowMs).toISOString();
    fs.writeFileSync(this.#fd!, ids.map((id) => `${id} ${time}\n`).join(""));
    fs.fdatasyncSync(this.#fd!);
    for (const id of ids) this.#ids.add(id);
  }

  close(): void {
    if (this.#fd !== null) fs.closeSync(this.#fd);
    this.#fd = null;
  }
}

function readMarks(file: string): Set<string> {
  let text: string;
  try {
    text = fs.readFileSync(file, "latin1");
  } catch (error) {
    if (errnoName(error) === "ENOENT") return new Set();
    throw new StartError("marks-unreadable", `Cannot read "${file}" (${errnoName(error)})`, null, 1);
  }
  return new Set(text.split("\n").flatMap((line) => LINE.exec(line)?.[1] ?? []));
}
