import type { FileCatalog } from "./file_catalog.ts";
import { inodeKey } from "./file_identity.ts";
import type { FileStat } from "./file_ops.ts";
import { FolderSearch, type Found, type SearchedFile } from "./folder_search.ts";
import { PostponedFiles } from "./postponed_files.ts";
import { compareRotatedNames } from "./rotated_names.ts";
import type { TailedFile } from "./tailed_file.ts";

/** A file that is renamed while it is about to be opened is looked for again this often. */
const RELOCATIONS_MAX = 5;
/** At the start older files that cannot be opened are tried again for so long, all together, before newer ones are read. */
export const START_TRIES_MS = 3_000;
export const START_PAUSE_MS = 50;

/** Finds and registers files that follow one another under one path. Only one of the asynchronous methods may run at a time for one path. */
export class FileChain {
  readonly #catalog: FileCatalog;
  readonly #postponed = new PostponedFiles();
  #startTriesMs = START_TRIES_MS;

  constructor(catalog: FileCatalog) {
    this.#catalog = catalog;
  }

  /** Tries once more to open what could not be opened. */
  async openPostponed(): Promise<void> {
    for (const file of this.#postponed.take()) {
      if (await this.follow(null, file.found, file.basePath) === "later") this.#postponed.add(file);
    }
  }

  search(): FolderSearch {
    const { tail, discovery, log } = this.#catalog.options;
    const onFailure = (folder: string, error: unknown) => discovery.tellFailure(folder, "list", error);
    return new FolderSearch({ ops: tail.ops, log, onFailure });
  }

  /**
   * Registers a file of a chain behind the one before it; looks for it again when it is renamed meanwhile. Returns the end of the chain; "later": the file
   * cannot be opened now.
   */
  async follow(
    predecessor: TailedFile | null,
    found: Found,
    basePath: string,
  ): Promise<TailedFile | null | "later"> {
    const { stat } = found;
    let place: Found | null = found;
    for (let tries = 0; place !== null && tries < RELOCATIONS_MAX; tries++) {
      const known = this.#catalog.byInode.get(inodeKey(stat));
      if (known !== undefined) return known;
      const isMatched = this.#catalog.options.discovery.matches(place.path);
      const candidate = { ...place, stat, basePath, isMatched, predecessor, startOffset: 0 };
      const file = await this.#catalog.register(candidate);
      if (file !== null) return file;
      const again = await this.search().find(searched(stat, basePath, place.path));
      place = again?.path === place.path ? null : again;
    }
    return predecessor;
  }

  /** The same at the start, with some patience: what cannot be opened then is read later, and others before it. Returns the end of the chain. */
  async followAtStart(
    predecessor: TailedFile | null,
    found: Found,
    basePath: string,
  ): Promise<TailedFile | null> {
    for (;;) {
      const file = await this.follow(predecessor, found, basePath);
      if (file !== "later") return file;
      if (this.#startTriesMs <= 0 || this.#catalog.options.tail.isOnce) break;
      this.#startTriesMs -= START_PAUSE_MS;
      await Bun.sleep(START_PAUSE_MS);
    }
    this.#postponed.add({ found, basePath });
    return predecessor;
  }

  /**
   * Rotations that nobody saw: rotated names of the path, unknown, born from `sinceNs` on and before `next`. Gives the last of them, or `predecessor`;
   * "later": the folder cannot be listed, or one of them not be opened, and nothing newer is to be read before. The next scan tries again, but for a run
   * that has none.
   */
  async followSiblings(
    predecessor: TailedFile | null,
    basePath: string,
    sinceNs: bigint,
    next: FileStat | undefined,
  ): Promise<TailedFile | null | "later"> {
    const { tail, metrics } = this.#catalog.options;
    // Behind a link, what it leads to is what is rotated.
    const realPath = next === undefined ? null : await this.realPath(basePath);
    const found = await this.search().rotatedFiles(basePath);
    const behind = realPath === null ? [] : await this.search().rotatedFiles(realPath);
    if (found === null || behind === null) {
      if (tail.isOnce) metrics.unopenedFilesCount++;
      else if (this.#postponed.mayPutOff(basePath)) return "later";
    }
    const places = [...found ?? [], ...behind ?? []];
    const siblings = new Map<string, Found>();
    for (const place of places) {
      const { stat } = place;
      if (this.#catalog.isKnown(stat)) continue;
      if (stat.birthtimeNs < sinceNs || (next !== undefined && stat.birthtimeNs > next.birthtimeNs)) continue;
      if (next !== undefined && inodeKey(stat) === inodeKey(next)) continue;
      siblings.set(inodeKey(stat), place);
    }
    // Birth times have the grain of a clock tick: names decide between equal ones.
    const ordered = [...siblings.values()].sort((a, b) =>
      compareBigInts(a.stat.birthtimeNs, b.stat.birthtimeNs) || compareRotatedNames(a.path, b.path)
    );
    let last = predecessor;
    for (const place of ordered) {
      const file = await this.follow(last, place, basePath);
      if (file !== "later") last = file;
      else if (!tail.isOnce && this.#postponed.mayPutOff(basePath)) return "later";
      else this.#postponed.add({ found: place, basePath });
    }
    this.#postponed.looked(basePath);
    return last;
  }

  /** Of what the link at a path leads to; null: it is none, or not there any more. */
  async realPath(lookedAt: string): Promise<string | null> {
    const { tail } = this.#catalog.options;
    const real = await tail.ops.realpath(lookedAt).catch(() => lookedAt); // whatever it is, the next look tells
    return real === lookedAt ? null : real;
  }
}

function searched(stat: FileStat, basePath: string, lastPath: string): SearchedFile {
  const { dev, ino, birthtimeNs } = stat;
  return { path: basePath, lastPath, dev: String(dev), ino: String(ino), birthtimeNs: String(birthtimeNs) };
}

export function compareBigInts(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
