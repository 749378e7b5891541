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
/** A folder in which a file is looked for, and that cannot be listed, is tried so often, with growing pauses: descriptors are short, or its server was changed. */
const TRIES_MAX = 6;
const TRY_PAUSE_MS = 50;
/** Times of change come from a clock that moves in steps; within one of them two changes look like one. */
const CLOCK_GRAIN_MS = 20;

/** Stands for all codes of a folder that is not there. */
const MISSING = "ENOENT";
/** What another try does not change: somebody has to give the right. */
const LASTING: ReadonlySet<string> = new Set([MISSING, "EACCES", "EPERM"]);

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
  /** Why not, where it is not that the folder is not there: the system's code. */
  readonly failure: string | null;
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
    for (const folder of foldersOf(file)) {
      const { byKey } = await this.#list(folder);
      const place = byKey.get(recordInodeKey(file)) ?? byDevicelessKey(byKey, file);
      if (place !== null) return place;
    }
    return null;
  }

  /** Whether all of the folders in which `find` looks were looked through, as far as they are there. */
  async hasLookedThrough(file: SearchedFile): Promise<boolean> {
    for (const folder of foldersOf(file)) {
      const { isComplete, failure } = await this.#list(folder);
      if (!isComplete && failure !== MISSING) return false;
    }
    return true;
  }

  /**
   * Whether a file that was not found was deleted (or moved to who knows where) for certain: the folder where it was last seen is there,
   * on the same device, and was looked through. A folder that is not mounted yet looks empty, too. Where the folder is gone the one of its first path
   * tells, as that of a link.
   */
  async isDeleted(file: SearchedFile): Promise<boolean> {
    for (const folder of foldersOf(file)) {
      const { byKey, isComplete } = await this.#list(folder);
      if (byKey.has(recordInodeKey(file)) || byDevicelessKey(byKey, file) !== null) return false;
      const stat = await this.#options.ops.stat(folder, false).catch(() => null); // it is gone, or cannot be looked at
      if (stat !== null) return isComplete && String(stat.dev) === file.dev;
    }
    return false;
  }

  /**
   * The files in the folder of `basePath` with a name that rotation gives; null: the folder cannot be listed now, and may be later. For a search that does
   * nothing else.
   */
  async rotatedFiles(basePath: string): Promise<Found[] | null> {
    const base = path.basename(basePath);
    const folder = path.dirname(basePath);
    const { byKey, failure } = await this.#tryToList(folder, (name) => isRotatedName(base, name));
    return isPassing(failure) ? null : [...new Set(byKey.values())];
  }

  async #list(folder: string): Promise<Listing> {
    const known = this.#folders.get(folder);
    if (known !== undefined) return known;
    let listing = await this.#tryToList(folder, () => true);
    for (let tries = 1; tries < TRIES_MAX && isPassing(listing.failure); tries++) {
      await Bun.sleep(TRY_PAUSE_MS * 2 ** tries);
      listing = await this.#tryToList(folder, () => true);
    }
    this.#folders.set(folder, listing);
    return listing;
  }

  async #tryToList(folder: string, isWanted: (name: string) => boolean): Promise<Listing> {
    const { ops, onFailure } = this.#options;
    const byKey = new Map<string, Found>();
    let isComplete = false;
    let failure: string | null = null;
    try {
      // A file that is renamed meanwhile may be missed: its new name was passed already, and its old one leads to another file.
      for (let looks = 0, isQuiet = false; looks < LOOKS_MAX && !isQuiet; looks++) {
        const before = await ops.stat(folder, false);
        isComplete = await this.#lookThrough(folder, isWanted, byKey);
        const after = await ops.stat(folder, false);
        isQuiet = before.mtimeMs === after.mtimeMs && Math.abs(Date.now() - after.mtimeMs) > CLOCK_GRAIN_MS;
      }
    } catch (error) {
      isComplete = false;
      failure = isNotFound(error) ? MISSING : errnoName(error);
      if (failure !== MISSING) onFailure(folder, error);
    }
    return { byKey, isComplete, failure };
  }

  /** Adds what is there; false when there is more than is looked at. Rejects, behind the last, where one cannot be looked at for now. */
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
    let failure: unknown = null;
    for (const entry of entries.slice(0, SEARCH_ENTRIES_MAX)) {
      try {
        const place = await this.#look(path.join(folder, entry.name));
        if (place === null) continue;
        for (const key of keysOf(place.stat)) byKey.set(key, place);
      } catch (error) {
        // It does not hide those behind it.
        failure ??= error;
      }
    }
    if (failure !== null) throw failure;
    return entries.length <= SEARCH_ENTRIES_MAX;
  }

  async #look(candidate: string): Promise<Found | null> {
    try {
      const stat = await this.#options.ops.stat(candidate, false);
      return stat.kind === "file" ? { path: candidate, stat } : null;
    } catch (error) {
      // Gone since it was listed, not ours to look at, or a link that leads to itself. What cannot be looked at for now may be what is looked for.
      if (isNotFound(error) || !isPassing(errnoName(error)) || errnoName(error) === "ELOOP") return null;
      throw error;
    }
  }
}

/** Whether what failed with this code may work with another try; null: nothing failed. */
export function isPassing(code: string | null): boolean {
  return code !== null && !LASTING.has(code);
}

function foldersOf(file: SearchedFile): Set<string> {
  return new Set(pathsOf(file).map((each) => path.dirname(each)));
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
