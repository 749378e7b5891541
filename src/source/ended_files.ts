import type { TailedFile } from "./tailed_file.ts";

/** Files that were read to their end are remembered, so many at most. */
export const ENDED_MAX = 10_000;

/** Files that were read to their end in this run. */
export class EndedFiles {
  /** They may still be there under rotated names. */
  readonly #inodes = new Set<string>();
  /** Paths that the last known file has left and no other has taken, the oldest first: what comes there is read behind it. */
  readonly #paths = new Map<string, TailedFile>();

  has(inode: string): boolean {
    return this.#inodes.has(inode);
  }

  add(inode: string): void {
    if (this.#inodes.size >= ENDED_MAX) this.#inodes.clear();
    this.#inodes.add(inode);
  }

  /** The file has ended. Its paths leave `byPath` at once where it was deleted, else when there are too many of such paths, the oldest first. */
  leavePaths(file: TailedFile, byPath: Map<string, TailedFile>): void {
    for (const [leftPath, last] of byPath) {
      if (last !== file) continue;
      this.#paths.delete(leftPath);
      if (file.isUnlinked) byPath.delete(leftPath);
      else this.#paths.set(leftPath, file);
    }
    for (const [oldest, left] of this.#paths) {
      if (this.#paths.size <= ENDED_MAX) return;
      this.#paths.delete(oldest);
      if (byPath.get(oldest) === left) byPath.delete(oldest);
    }
  }
}
