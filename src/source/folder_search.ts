import path from "node:path";
import type { FileRecord } from "../checkpoint/position_file.ts";
import { errnoName } from "../errors.ts";
import type { Log } from "../telemetry/log.ts";
import { devicelessKey, inodeKey, recordInodeKey } from "./file_identity.ts";
import type { FileOps, FileStat } from "./file_ops.ts";
import { isRotatedName } from "./rotated_names.ts";

/** Entries of one folder that are looked at in search of a renamed file. */
export const SEARCH_ENTRIES_MAX = 20_000;
/** A folder whose names change while it is looked through is looked through again, so often at most. */
const LOOKS_MAX = 3;
/** Times of change come from a clock that moves in steps; within one of them two changes look like one. */
const CLOCK_GRAIN_MS = 20;

export interface Found {
  readonly path: string;
  readonly stat: FileStat;
}

/** What a file is looked for by. */
export type SearchedFile = Pick<FileRecord, "path" | "lastPath" | "dev" | "ino" | "birthtimeNs">;

export interface FolderSearchOptions {
  readonly ops: FileOps;
  readonly log: Log;
  /** A folder cannot be listed. */
  readonly onFailure: (folder: string, error: unknown) => void;
}

interface Listing {
  readonly byKey: ReadonlyMap<string, Found>;
  /** Every file that is there was looked at. */
  readonly isComplete: boolean;
}

/** Looks at folders for files that have another name now; each folder once. */
export class FolderSearch {
  readonly #options: FolderSearchOptions;
  readonly #folders = new Map<string, Listing>();

  constructor(options: FolderSearchOptions) {
    this.#options = options;
  }

  /** Where the file is now, in the folder of its path or of the place where it was last seen. */
  async find(file: SearchedFile): Promise<Found | null> {
    for (const folder of new Set(pathsOf(file).map((each) => path.dirname(each)))) {
      const { byKey } = await this.#list(folder, () => true);
      const place = byKey.get(recordInodeKey(file)) ?? byDevicelessKey(byKey, file);
      if (place !== null) return place;
    }
    return null;
  }

  /**
   * Whether a file that was not found was deleted (or moved to who knows where) for certain: the folder where it was last seen is there,
   * on the same device, and was looked through. A folder that is not mounted yet looks empty, too. Where the folder is gone the one of its first path
   * tells, as that of a link.
   */
  async isDeleted(file: SearchedFile): Promise<boolean> {
    for (const folder of new Set(pathsOf(file).map((each) => path.dirname(each)))) {
      const { byKey, isComplete } = await this.#list(folder, () => true);
      if (byKey.has(recordInodeKey(file)) || byDevicelessKey(byKey, file) !== null) return false;
      const stat = await this.#options.ops.stat(folder, false).catch(() => null); // it is gone, or cannot be looked at
      if (stat !== null) return isComplete && String(stat.dev) === file.dev;
    }
    return false;
  }

  /** The files in the folder of `basePath` with a name that rotation gives. For a search that does nothing else. */
  async rotatedFiles(basePath: string): Promise<Found[]> {
    const base = path.basename(basePath);
    const { byKey } = await this.#list(path.dirname(basePath), (name) => isRotatedName(base, name));
    return [...new Set(byKey.values())];
  }

  async #list(folder: string, isWanted: (name: string) => boolean): Promise<Listing> {
    const known = this.#folders.get(folder);
    if (known !== undefined) return known;
    const { ops, onFailure } = this.#options;
    const byKey = new Map<string, Found>();
    let isComplete = false;
    try {
      // A file that is renamed meanwhile may be missed: its new name was passed already, and its old one leads to another file.
      for (let looks = 0, isQuiet = false; looks < LOOKS_MAX && !isQuiet; looks++) {
        const before = await ops.stat(folder, false);
        isComplete = await this.#lookThrough(folder, isWanted, byKey);
        const after = await ops.stat(folder, false);
        isQuiet = before.mtimeMs === after.mtimeMs && Math.abs(Date.now() - after.mtimeMs) > CLOCK_GRAIN_MS;
      }
    } catch (error) {
      if (!isNotFound(error)) onFailure(folder, error);
    }
    const listing = { byKey, isComplete };
    this.#folders.set(folder, listing);
    return listing;
  }

  /** Adds what is there; false when there is more than is looked at. */
  async #lookThrough(
    folder: string,
    isWanted: (name: string) => boolean,
    byKey: Map<string, Found>,
  ): Promise<boolean> {
    const { ops, log } = this.#options;
    const entries = (await ops.list(folder, false)).filter((entry) =>
      !entry.isDirectory && isWanted(entry.name)
    );
    if (entries.length > SEARCH_ENTRIES_MAX) {
      log.warn(
        `Looking for renamed files at ${SEARCH_ENTRIES_MAX} of ${entries.length} entries of "${folder}" only`,
      );
    }
    for (const entry of entries.slice(0, SEARCH_ENTRIES_MAX)) {
      const place = await this.#look(path.join(folder, entry.name));
      if (place === null) continue;
      for (const key of keysOf(place.stat)) byKey.set(key, place);
    }
    return entries.length <= SEARCH_ENTRIES_MAX;
  }

  async #look(candidate: string): Promise<Found | null> {
    try {
      const stat = await this.#options.ops.stat(candidate, false);
      return stat.kind === "file" ? { path: candidate, stat } : null;
    } catch {
      return null; // gone since it was listed, or not ours to look at
    }
  }
}

/** Where it was last seen, and where it was first; one of them for a file that came on stdin. */
export function pathsOf({ lastPath, path: first }: Pick<FileRecord, "path" | "lastPath">): string[] {
  return first === "" || first === lastPath ? [lastPath] : [lastPath, first];
}

/** Nothing has that name. */
export function isNotFound(error: unknown): boolean {
  const code = errnoName(error);
  return code === "ENOENT" || code === "ENOTDIR";
}

/** The keys under which a file is looked for: with its device and, where the birth time is known, without. */
export function keysOf(stat: FileStat): string[] {
  const deviceless = devicelessKey(stat.ino, stat.birthtimeNs);
  return deviceless === null ? [inodeKey(stat)] : [inodeKey(stat), deviceless];
}

/** For a file whose device got another number. */
export function byDevicelessKey(byKey: ReadonlyMap<string, Found>, file: SearchedFile): Found | null {
  const key = devicelessKey(file.ino, file.birthtimeNs);
  return (key === null ? undefined : byKey.get(key)) ?? null;
}

/** Whether it is the same inode, be it that its device got another number. */
export function isSameInode(file: SearchedFile, stat: FileStat): boolean {
  if (inodeKey(stat) === recordInodeKey(file)) return true;
  const key = devicelessKey(file.ino, file.birthtimeNs);
  return key !== null && key === devicelessKey(stat.ino, stat.birthtimeNs);
}
