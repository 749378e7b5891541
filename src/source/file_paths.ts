import path from "node:path";
import type { FileRecord } from "../checkpoint/position_file.ts";
import { errnoName } from "../errors.ts";
import type { FileCatalog } from "./file_catalog.ts";
import { devicelessKey, inodeKey, recordInodeKey } from "./file_identity.ts";
import type { FileStat } from "./file_ops.ts";
import { compareRotatedNames, isRotatedName } from "./rotated_names.ts";
import type { TailedFile } from "./tailed_file.ts";

/** Entries of one folder that are looked at in search of a renamed file. */
const SEARCH_ENTRIES_MAX = 20_000;
/** A file that is renamed while it is about to be opened is looked for again this often. */
const RELOCATIONS_MAX = 5;
/** Old files that were left alone, remembered to know where they ended. */
const IGNORED_MAX = 100_000;

interface Found {
  readonly path: string;
  readonly stat: FileStat;
}

/**
 * What each path leads to, and what to do when it leads to something else:
 *
 *     app.log -> inode 7            app.log -> inode 9, app.log.1 -> inode 7
 *
 * Inode 7 has lost its matching name: it is read to its end first, then what was born between the two (found by name and birth time in the
 * same folder: rotations that nobody saw), then inode 9. Only one of the asynchronous methods may run at a time.
 */
export class FilePaths {
  readonly #catalog: FileCatalog;
  /** Size at the first look of files that were too old to be read, by inode. */
  readonly #ignoredSizes = new Map<string, number>();
  /** For paths whose last known file is gone: when it was born. */
  readonly #sinceNs = new Map<string, bigint>();
  #isFirstLook = true;

  constructor(catalog: FileCatalog) {
    this.#catalog = catalog;
  }

  /** Takes up what was read before the last stop, then everything else that was found. Called once. */
  async start(found: ReadonlyMap<string, FileStat>): Promise<void> {
    const { checkpoint, config, log } = this.#catalog.options;
    const search = new FolderSearch(this.#catalog);
    const located = new Map<string, Found>();
    const byInode = new Map<string, Found>();
    for (const [matchedPath, stat] of found) {
      for (const key of keysOf(stat)) if (!byInode.has(key)) byInode.set(key, { path: matchedPath, stat });
    }
    const groups = new Map<string, FileRecord[]>();
    for (const record of checkpoint.records(config.name)) {
      if (this.#catalog.recordOf(inodeOf(record))?.id !== record.id) continue; // an older generation of a truncated file
      const place = byInode.get(recordInodeKey(record)) ?? byDevicelessKey(byInode, record) ??
        await search.find(record);
      const group = groups.get(record.path);
      if (group === undefined) groups.set(record.path, [record]);
      else group.push(record);
      if (place === null) {
        log.info(
          `File "${record.lastPath}" is gone: what it held behind its stored positions, if anything, cannot be read`,
          { source: config.name },
        );
      } else {
        located.set(record.id, place);
        checkpoint.seen(config.name, record.id);
      }
    }
    for (const [basePath, records] of groups) await this.#resume(basePath, records, located, found);
    for (const [matchedPath, stat] of found) await this.see(matchedPath, stat);
    this.#isFirstLook = false;
    checkpoint.forgetUnseen(config.name);
  }

  /** True when the path leads to the file that is known there; its readers are woken when it has changed. Cheap. */
  isKnown(matchedPath: string, stat: FileStat): boolean {
    const file = this.#catalog.byPath.get(matchedPath);
    if (file === undefined || file.hasEnded || !file.paths.has(matchedPath)) return false;
    if (file.inode !== inodeKey(stat)) return false;
    if (stat.sizeBytes !== file.sizeBytes || stat.mtimeMs !== file.mtimeMs) {
      file.mtimeMs = stat.mtimeMs;
      file.sizeBytes = Math.max(file.sizeBytes, stat.sizeBytes);
      file.wake();
    }
    return file.fingerprint.sizeBytes >=
      Math.min(stat.sizeBytes, this.#catalog.options.config.fingerprintBytes);
  }

  /** The patterns match this path, and this regular file is there. */
  async see(matchedPath: string, stat: FileStat): Promise<void> {
    if (this.isKnown(matchedPath, stat)) return;
    const catalog = this.#catalog;
    const prior = catalog.byPath.get(matchedPath);
    const known = catalog.byInode.get(inodeKey(stat));
    if (known !== undefined && !known.hasEnded) {
      if (prior !== undefined && prior !== known) await this.#detach(prior, matchedPath);
      catalog.attach(known, matchedPath);
      known.wake();
      return;
    }
    if (prior !== undefined) return await this.#replace(prior, matchedPath, stat);
    const startOffset = this.#startOffset(stat);
    if (startOffset === null) return;
    const sinceNs = this.#sinceNs.get(matchedPath);
    this.#sinceNs.delete(matchedPath);
    const predecessor = sinceNs === undefined || catalog.options.config.rotated === "none"
      ? null
      : await this.#followSiblings(null, matchedPath, sinceNs, stat);
    await catalog.register({
      path: matchedPath,
      stat,
      basePath: matchedPath,
      isMatched: true,
      predecessor,
      startOffset,
    });
  }

  /** Something happened to this name: looks at what is there. Returns true when it is a folder that has to be walked. */
  async check(changedPath: string): Promise<boolean> {
    const catalog = this.#catalog;
    const { discovery, tail } = catalog.options;
    let stat: FileStat;
    try {
      stat = await tail.ops.stat(changedPath, false);
    } catch (error) {
      if (errnoName(error) !== "ENOENT") return false; // the next scan tells it
      const file = catalog.byPath.get(changedPath);
      if (file !== undefined) await this.#vanish(file, changedPath);
      return false;
    }
    if (stat.kind === "directory") return discovery.mayContain(changedPath);
    if (stat.kind !== "file") return false;
    if (discovery.matches(changedPath)) {
      await this.see(changedPath, stat);
      return false;
    }
    const known = catalog.byInode.get(inodeKey(stat));
    if (known === undefined) return false;
    if (known.paths.size === 0) catalog.moved(known, changedPath);
    else catalog.addName(known, changedPath);
    known.wake();
    return false;
  }

  /** Reads on in the files that a path led to, in the order of their birth, and then in what it leads to now. */
  async #resume(
    basePath: string,
    records: FileRecord[],
    located: ReadonlyMap<string, Found>,
    found: ReadonlyMap<string, FileStat>,
  ): Promise<void> {
    const { checkpoint, config } = this.#catalog.options;
    records.sort((a, b) => compareBigInts(BigInt(a.sinceNs), BigInt(b.sinceNs)));
    const current = found.get(basePath);
    const currentId = current === undefined ? null : this.#catalog.recordOf(current)?.id ?? null;
    let predecessor: TailedFile | null = null;
    for (const record of records) {
      const place = located.get(record.id);
      if (record.id === currentId) continue;
      if (place === undefined) {
        // It is gone for certain where another file has its name; a folder that is not mounted yet looks empty.
        if (current !== undefined) checkpoint.forget(config.name, record.id);
        continue;
      }
      predecessor = await this.#follow(predecessor, place, basePath);
    }
    const newest = records[records.length - 1]!;
    if (newest.id !== currentId && config.rotated === "auto") {
      predecessor = await this.#followSiblings(predecessor, basePath, BigInt(newest.sinceNs), current);
    }
    if (current !== undefined) {
      predecessor = await this.#follow(predecessor, { path: basePath, stat: current }, basePath);
    }
    if (this.#catalog.byPath.has(basePath)) return;
    // Nothing is there (any more): what comes next follows the last one.
    if (predecessor !== null) this.#catalog.byPath.set(basePath, predecessor);
    else this.#sinceNs.set(basePath, BigInt(newest.sinceNs));
  }

  /** Registers a file of a chain behind the one before it; looks for it again when it is renamed meanwhile. Returns the end of the chain. */
  async #follow(predecessor: TailedFile | null, found: Found, basePath: string): Promise<TailedFile | null> {
    const { stat } = found;
    let place: Found | null = found;
    for (let tries = 0; place !== null && tries < RELOCATIONS_MAX; tries++) {
      const known = this.#catalog.byInode.get(inodeKey(stat));
      if (known !== undefined) return known;
      const isMatched = this.#catalog.options.discovery.matches(place.path);
      const candidate = { ...place, stat, basePath, isMatched, predecessor, startOffset: 0 };
      const file = await this.#catalog.register(candidate);
      if (file !== null) return file;
      const again = await new FolderSearch(this.#catalog).find(searched(stat, basePath, place.path));
      place = again?.path === place.path ? null : again;
    }
    return predecessor;
  }

  /** Nothing is where `file` was. What came and went after it, unseen, is read now: it may be long until a new file comes. */
  async #vanish(file: TailedFile, matchedPath: string): Promise<void> {
    const catalog = this.#catalog;
    await this.#detach(file, matchedPath);
    if (catalog.options.config.rotated === "none") return;
    const last = await this.#followSiblings(file, matchedPath, file.sinceNs, undefined);
    if (last !== null && last !== file) catalog.byPath.set(matchedPath, last);
  }

  /** Another file is where `prior` was. */
  async #replace(prior: TailedFile, matchedPath: string, stat: FileStat): Promise<void> {
    const catalog = this.#catalog;
    await this.#detach(prior, matchedPath);
    let predecessor: TailedFile | null = prior;
    if (catalog.options.config.rotated === "auto") {
      predecessor = await this.#followSiblings(prior, matchedPath, prior.sinceNs, stat);
      if (predecessor !== null) catalog.byPath.set(matchedPath, predecessor);
    }
    const file = await catalog.register({
      path: matchedPath,
      stat,
      basePath: matchedPath,
      isMatched: true,
      predecessor,
      startOffset: 0,
    });
    if (file === null || !prior.hasEnded) return;
    // It ended before this one came: nothing else lets it go.
    catalog.forget(prior);
    if (predecessor === prior) file.predecessor = null;
    prior.successors.length = 0;
  }

  /** Rotations that nobody saw: rotated names of the path, unknown, born from `sinceNs` on and before `next`. */
  async #followSiblings(
    predecessor: TailedFile | null,
    basePath: string,
    sinceNs: bigint,
    next: FileStat | undefined,
  ): Promise<TailedFile | null> {
    const search = new FolderSearch(this.#catalog);
    const siblings: Found[] = [];
    for (const place of await search.rotatedFiles(basePath)) {
      const { stat } = place;
      if (this.#catalog.isKnown(stat)) continue;
      if (stat.birthtimeNs < sinceNs || (next !== undefined && stat.birthtimeNs > next.birthtimeNs)) continue;
      if (next !== undefined && inodeKey(stat) === inodeKey(next)) continue;
      siblings.push(place);
    }
    // Birth times have the grain of a clock tick: names decide between equal ones.
    siblings.sort((a, b) =>
      compareBigInts(a.stat.birthtimeNs, b.stat.birthtimeNs) || compareRotatedNames(a.path, b.path)
    );
    let last = predecessor;
    for (const place of siblings) last = await this.#follow(last, place, basePath);
    return last;
  }

  /** The path leads to the file no more. Without any matching path it is read to its end and let go. */
  async #detach(file: TailedFile, matchedPath: string): Promise<void> {
    if (!file.paths.delete(matchedPath) || file.paths.size > 0) return;
    const { metrics, tail } = this.#catalog.options;
    metrics.rotationsCount++;
    file.rotatedMs = tail.monotonicMs();
    const { handle } = file;
    if (handle.fd === null) {
      // Closed while idle: it has to be found to be opened again.
      const place = await new FolderSearch(this.#catalog).find(this.#catalog.record(file));
      if (place !== null) this.#catalog.moved(file, place.path);
    } else {
      const fd = handle.fd;
      handle.reopenPath = null;
      file.isUnlinked = (await tail.ops.fstat(fd)).linkCount === 0;
    }
    file.wake();
  }

  /** Where to start in a file that was never read; null when it is too old to be read at all. */
  #startOffset(stat: FileStat): number | null {
    const { config, tail } = this.#catalog.options;
    const inode = inodeKey(stat);
    if (this.#catalog.recordOf(stat) !== null) return 0;
    if (config.ignoreOlderMs !== null && tail.nowMs() - stat.mtimeMs > config.ignoreOlderMs) {
      if (this.#ignoredSizes.size < IGNORED_MAX && !this.#ignoredSizes.has(inode)) {
        this.#ignoredSizes.set(inode, stat.sizeBytes);
      }
      return null;
    }
    if (config.readFrom === "beginning") return 0;
    const ignoredSize = this.#ignoredSizes.get(inode);
    this.#ignoredSizes.delete(inode);
    return ignoredSize ?? (this.#isFirstLook ? stat.sizeBytes : 0);
  }
}

function searched(stat: FileStat, basePath: string, lastPath: string): SearchedFile {
  const { dev, ino, birthtimeNs } = stat;
  return { path: basePath, lastPath, dev: String(dev), ino: String(ino), birthtimeNs: String(birthtimeNs) };
}

type SearchedFile = Pick<FileRecord, "path" | "lastPath" | "dev" | "ino" | "birthtimeNs">;

/** Looks at folders for files that have another name now; each folder once. */
class FolderSearch {
  readonly #catalog: FileCatalog;
  readonly #folders = new Map<string, Map<string, Found>>();

  constructor(catalog: FileCatalog) {
    this.#catalog = catalog;
  }

  /** Where the file is now, in the folder of its path or of the place where it was last seen. */
  async find(file: SearchedFile): Promise<Found | null> {
    for (const folder of new Set([path.dirname(file.lastPath), path.dirname(file.path)])) {
      const byKey = await this.#list(folder, () => true);
      const place = byKey.get(`${file.dev}:${file.ino}:${file.birthtimeNs}`) ?? byDevicelessKey(byKey, file);
      if (place !== null && place !== undefined) return place;
    }
    return null;
  }

  async rotatedFiles(basePath: string): Promise<Found[]> {
    const base = path.basename(basePath);
    const byKey = await this.#list(path.dirname(basePath), (name) => isRotatedName(base, name));
    return [...new Set(byKey.values())];
  }

  async #list(folder: string, isWanted: (name: string) => boolean): Promise<Map<string, Found>> {
    const known = this.#folders.get(folder);
    if (known !== undefined) return known;
    const { tail, discovery, log } = this.#catalog.options;
    const found = new Map<string, Found>();
    this.#folders.set(folder, found);
    try {
      const entries = (await tail.ops.list(folder, false)).filter((entry) =>
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
        for (const key of keysOf(place.stat)) found.set(key, place);
      }
    } catch (error) {
      if (errnoName(error) !== "ENOENT") discovery.tellFailure(folder, "list", error);
    }
    return found;
  }

  async #look(candidate: string): Promise<Found | null> {
    try {
      const stat = await this.#catalog.options.tail.ops.stat(candidate, false);
      return stat.kind === "file" ? { path: candidate, stat } : null;
    } catch {
      return null; // gone since it was listed, or not ours to look at
    }
  }
}

/** The keys under which a file is looked for: with its device and, where the birth time is known, without. */
function keysOf(stat: FileStat): string[] {
  const deviceless = devicelessKey(stat.ino, stat.birthtimeNs);
  return deviceless === null ? [inodeKey(stat)] : [inodeKey(stat), deviceless];
}

function byDevicelessKey(byKey: ReadonlyMap<string, Found>, file: SearchedFile): Found | null {
  const key = devicelessKey(file.ino, file.birthtimeNs);
  return (key === null ? undefined : byKey.get(key)) ?? null;
}

function inodeOf(record: FileRecord): Pick<FileStat, "dev" | "ino" | "birthtimeNs"> {
  return { dev: BigInt(record.dev), ino: BigInt(record.ino), birthtimeNs: BigInt(record.birthtimeNs) };
}

function compareBigInts(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
