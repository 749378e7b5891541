import { inodeKey } from "./file_identity.ts";
import type { Found } from "./folder_search.ts";

/** So many looks at a path are put off because an older file cannot be found or opened; then what is newer is read. */
export const PUT_OFF_MAX = 60;
/** Files that could not be opened are remembered, so many at most. */
const FILES_MAX = 10_000;

/** A file that is to be read, and the path that its events carry. */
export interface Postponed {
  readonly found: Found;
  readonly basePath: string;
}

/** What cannot be looked at or opened for now: it is tried again with every scan. */
export class PostponedFiles {
  readonly #putOffCounts = new Map<string, number>();
  readonly #files = new Map<string, Postponed>();

  /** Whether the look at a path may wait once more. */
  mayPutOff(lookedAt: string): boolean {
    const count = (this.#putOffCounts.get(lookedAt) ?? 0) + 1;
    if (count > PUT_OFF_MAX) return false;
    this.#putOffCounts.set(lookedAt, count);
    return true;
  }

  /** The look at a path has come to its end. */
  looked(lookedAt: string): void {
    this.#putOffCounts.delete(lookedAt);
  }

  /** Of too many files the oldest is forgotten: that it cannot be opened was told. */
  add(file: Postponed): void {
    this.#files.set(inodeKey(file.found.stat), file);
    for (const oldest of this.#files.keys()) {
      if (this.#files.size <= FILES_MAX) return;
      this.#files.delete(oldest);
    }
  }

  /** All that were added; they are forgotten. */
  take(): Postponed[] {
    const files = [...this.#files.values()];
    this.#files.clear();
    return files;
  }
}
