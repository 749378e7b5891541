import path from "node:path";
import type { FileRecord } from "../checkpoint/position_file.ts";
import { type FileOps, systemFileOps } from "../source/file_ops.ts";
import { pathsOf } from "../source/folder_search.ts";
import { KnownRecords } from "../source/known_records.ts";

/** Names of a folder that are looked at for a file that was renamed. */
const FOLDER_NAMES_MAX = 10_000;

/**
 * How large the files of stored streams are now. A file is known by its inode, wherever it is: at its last path, at the path that it had
 * first, or under another name in the same folder (it was rotated while nobody looked).
 */
export class FileSizes {
  readonly #ops: FileOps;
  readonly #known = new KnownRecords();
  readonly #sizes = new Map<string, number>();
  readonly #searched = new Set<string>();

  constructor(records: readonly FileRecord[], ops: FileOps = systemFileOps) {
    this.#ops = ops;
    for (const record of records) this.#known.add(record);
  }

  /** Bytes; null when the file is gone, or was truncated so that its old bytes are. */
  async sizeOf(record: FileRecord): Promise<number | null> {
    for (const place of pathsOf(record)) {
      if (!this.#has(record)) await this.#look(place);
    }
    const folder = path.dirname(record.lastPath);
    if (!this.#has(record) && !this.#searched.has(folder)) {
      this.#searched.add(folder);
      for (const name of await this.#names(folder)) await this.#look(path.join(folder, name));
    }
    return this.#sizes.get(keyOf(record)) ?? null;
  }

  #has(record: FileRecord): boolean {
    return this.#sizes.has(keyOf(record));
  }

  async #look(place: string): Promise<void> {
    try {
      const stat = await this.#ops.stat(place, false);
      const record = stat.kind === "file" ? this.#known.of(stat) : null;
      if (record !== null) this.#sizes.set(keyOf(record), stat.sizeBytes);
    } catch {
      return; // what cannot be looked at is not there for a shipper either
    }
  }

  async #names(folder: string): Promise<string[]> {
    try {
      const entries = await this.#ops.list(folder, false);
      return entries.filter(({ isDirectory }) => !isDirectory).slice(0, FOLDER_NAMES_MAX).map(({ name }) =>
        name
      );
    } catch {
      return []; // gone, and its files with it
    }
  }
}

function keyOf({ source, id }: FileRecord): string {
  return `${source}\u0000${id}`;
}
