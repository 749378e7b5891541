import { inodeKey } from "./file_identity.ts";
import type { FileStat } from "./file_ops.ts";

/** Paths that are remembered, at most; of too many the oldest is forgotten. */
const PATHS_MAX = 10_000;

interface UnreadPath {
  /** Files of the path that were born from then on are not read (nanoseconds since the epoch). */
  readonly sinceNs: bigint;
  /** The file that could not be opened; null: there may be others in front of it. */
  readonly inode: string | null;
}

/** Paths of which a file could not be opened for now, and of which nobody knows more: it may be rotated before it can be. */
export class UnreadPaths {
  readonly #paths = new Map<string, UnreadPath>();

  /** No effect where an older file of the path waits. */
  add(path: string, sinceNs: bigint, inode: string | null): void {
    if (this.#paths.has(path)) return;
    this.#paths.set(path, { sinceNs, inode });
    for (const oldest of this.#paths.keys()) {
      if (this.#paths.size <= PATHS_MAX) return;
      this.#paths.delete(oldest);
    }
  }

  /** Its files are read. */
  delete(path: string): void {
    this.#paths.delete(path);
  }

  /** From when on files of the path are not read that were there before what is there now; undefined: there is none. */
  sinceNs(path: string, now: FileStat | null): bigint | undefined {
    const found = this.#paths.get(path);
    return found === undefined || (now !== null && found.inode === inodeKey(now)) ? undefined : found.sinceNs;
  }

  all(): string[] {
    return [...this.#paths.keys()];
  }
}
