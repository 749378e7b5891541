import { realpathSync, statSync } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import path from "node:path";

/** What tells one state of a file from another; a text that is compared, nothing else. */
type Mark = string;

const MISSING: Mark = "missing";
/** What is no regular file has no state: a pipe is read once. */
const SPECIAL: Mark = "special";

/** Which files were read, and in which state each was right before that. */
export class FileMarks {
  readonly #marks = new Map<string, Mark>();
  /** Folders in which a name may come to mean another file. */
  readonly folders = new Set<string>();

  /** The file is about to be read. */
  note(file: string): void {
    let real = file;
    try {
      real = realpathSync(file);
      this.#marks.set(file, markOf(real, statSync(real, { bigint: true })));
    } catch {
      this.#marks.set(file, MISSING); // whoever reads it says why it cannot be read
    }
    this.folders.add(path.dirname(path.resolve(file))).add(path.dirname(real));
  }

  /** The states as they are now, as one text, which differs from that of another moment when a file has changed. Never rejects. */
  async now(): Promise<string> {
    const marks = await Promise.all(
      [...this.#marks.keys()].map(async (file) => `${file}\u0000${await markNow(file)}`),
    );
    return marks.join("\n");
  }

  /** The same, of when each file was read. */
  then(): string {
    return [...this.#marks].map(([file, mark]) => `${file}\u0000${mark}`).join("\n");
  }
}

async function markNow(file: string): Promise<Mark> {
  try {
    const real = await realpath(file);
    return markOf(real, await stat(real, { bigint: true }));
  } catch {
    return MISSING;
  }
}

interface Stat {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  isFile(): boolean;
}

function markOf(real: string, each: Stat): Mark {
  if (!each.isFile()) return SPECIAL;
  return [real, each.dev, each.ino, each.size, each.mtimeNs, each.ctimeNs].join(" ");
}
