import path from "node:path";
import type { FileOps, FileStat } from "./file_ops.ts";

/** Whether a folder is one of shipper's own or lies below one. Remembers the answers: folders that hold logs are few. */
export class OwnFolders {
  readonly #ops: FileOps;
  readonly #isOwn: (folder: FileStat) => boolean;
  readonly #known = new Map<string, boolean>();

  constructor(ops: FileOps, isOwn: (folder: FileStat) => boolean) {
    this.#ops = ops;
    this.#isOwn = isOwn;
  }

  /** `folder` is absolute and free of links. Rejects with the system's error. */
  async contain(folder: string): Promise<boolean> {
    const known = this.#known.get(folder);
    if (known !== undefined) return known;
    const parent = path.dirname(folder);
    const isOwn = this.#isOwn(await this.#ops.stat(folder, false)) ||
      (parent !== folder && await this.contain(parent));
    this.#known.set(folder, isOwn);
    return isOwn;
  }
}
