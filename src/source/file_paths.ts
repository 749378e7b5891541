import type { FileRecord } from "../checkpoint/position_file.ts";
import { errnoName } from "../errors.ts";
import { compareBigInts, FileChain } from "./file_chain.ts";
import type { FileCatalog } from "./file_catalog.ts";
import { inodeKey, recordInodeKey } from "./file_identity.ts";
import type { FileStat } from "./file_ops.ts";
import { byDevicelessKey, type Found, isNotFound, keysOf } from "./folder_search.ts";
import { RescuedFiles } from "./rescued_file.ts";
import { StartOffsets } from "./start_offsets.ts";
import type { TailedFile } from "./tailed_file.ts";
import { UnreadPaths } from "./unread_paths.ts";

/** A folder that could not be looked through at the start is tried again this often: that may take seconds. */
const SEARCH_AGAIN_MS = 10_000;

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
  /** For paths whose last known file is gone: when it was born. */
  readonly #sinceNs = new Map<string, bigint>();
  readonly #rescued: RescuedFiles;
  /** Paths that are being looked at: a task that hangs is left to itself, and the next one may come by. */
  readonly #looking = new Set<string>();
  /** Stored streams whose files may be in folders that could not be looked through, by id. */
  readonly #unsearched = new Map<string, FileRecord>();
  /** Files that were closed, and lost their names then or later: they were not found in a folder that could not be looked through, or not looked for. */
  readonly #sought = new Set<TailedFile>();
  /** They are looked for again then (monotonic). */
  #searchAtMs = 0;
  /** Paths to which nothing leads, and whose folder could not be looked through for what came and went. */
  readonly #unsought = new Set<string>();
  readonly #unread = new UnreadPaths();
  readonly #startOffsets: StartOffsets;
  readonly #chain: FileChain;

  constructor(catalog: FileCatalog) {
    this.#catalog = catalog;
    this.#startOffsets = new StartOffsets(catalog);
    this.#chain = new FileChain(catalog);
    this.#rescued = new RescuedFiles(catalog);
  }

  /** Takes up what was read before the last stop, then everything else that was found. Called once. */
  async start(found: ReadonlyMap<string, FileStat>): Promise<void> {
    const { checkpoint, config, tail } = this.#catalog.options;
    const search = this.#chain.search();
    const located = new Map<string, Found>();
    const byInode = new Map<string, Found>();
    for (const [matchedPath, stat] of found) {
      for (const key of keysOf(stat)) if (!byInode.has(key)) byInode.set(key, { path: matchedPath, stat });
    }
    const groups = new Map<string, FileRecord[]>();
    for (const record of checkpoint.records(config.name)) {
      if (this.#catalog.recordOf(inodeOf(record))?.id !== record.id) {
        // An older generation of a truncated file: what it held is nowhere.
        tail.lost.gone(record, "truncated_unread");
        checkpoint.forget(config.name, record.id);
        continue;
      }
      const place = byInode.get(recordInodeKey(record)) ?? byDevicelessKey(byInode, record) ??
        await search.find(record);
      const group = groups.get(record.path);
      if (group === undefined) groups.set(record.path, [record]);
      else group.push(record);
      if (place === null) {
        if (await this.#rescued.find(record)) continue;
        const isCertain = await search.hasLookedThrough(record);
        if (!isCertain) this.#unsearched.set(record.id, record);
        this.#missing(record, isCertain && (found.has(record.path) || await search.isDeleted(record)));
      } else {
        await this.#dropCopy(record);
        located.set(record.id, place);
        checkpoint.seen(config.name, record.id);
      }
    }
    for (const [basePath, records] of groups) await this.#resume(basePath, records, located, found);
    for (const [matchedPath, stat] of found) await this.see(matchedPath, stat);
    this.#startOffsets.isFirstLook = false;
    this.#catalog.forgetUnseen();
  }

  /** Tries once more to find and open what could not be found or opened. */
  async retry(): Promise<void> {
    await this.#seekUnread();
    for (const gonePath of [...this.#unsought]) {
      this.#unsought.delete(gonePath);
      const last = this.#catalog.byPath.get(gonePath);
      const sinceNs = last?.sinceNs ?? this.#sinceNs.get(gonePath);
      if (sinceNs !== undefined && (last?.paths.size ?? 0) === 0) {
        await this.#seekSiblings(last ?? null, gonePath, sinceNs);
      }
    }
    await this.#chain.openPostponed();
    await this.#rescued.retry();
    const { tail } = this.#catalog.options;
    for (const file of this.#catalog.byInode.values()) {
      if (!file.isMisplaced) continue;
      file.isMisplaced = false;
      this.#sought.add(file);
    }
    if (this.#unsearched.size + this.#sought.size === 0 || tail.monotonicMs() < this.#searchAtMs) return;
    this.#searchAtMs = tail.monotonicMs() + SEARCH_AGAIN_MS;
    await this.#searchAgain();
  }

  /** It was closed while idle: it has to be found to be opened again. */
  async #seek(file: TailedFile): Promise<void> {
    file.isSought = true;
    const record = this.#catalog.record(file);
    const search = this.#chain.search();
    const place = await search.find(record);
    if (place !== null && file.paths.size === 0) this.#catalog.moved(file, place.path);
    file.isSought = place === null && !await search.hasLookedThrough(record);
    if (!file.isSought) this.#sought.delete(file);
  }

  async #searchAgain(): Promise<void> {
    for (const file of [...this.#sought]) {
      if (file.hasEnded || file.paths.size > 0 || file.handle.fd !== null) this.#sought.delete(file);
      else await this.#seek(file);
    }
    const search = this.#chain.search();
    for (const record of [...this.#unsearched.values()]) {
      const place = await search.find(record);
      if (place === null && !await search.hasLookedThrough(record)) continue;
      if (place !== null && await this.#chain.follow(null, place, record.path) === "later") continue;
      this.#unsearched.delete(record.id);
    }
  }

  /** The file is there. */
  async #dropCopy({ source, id }: FileRecord): Promise<void> {
    const store = this.#catalog.options.guard?.store;
    const copy = store?.copyOf(source, id) ?? null;
    if (copy !== null) await store!.discard(copy);
  }

  /** A file that was being read is nowhere. A folder that is not mounted yet looks empty: it may come back unless it `isDeleted`. */
  #missing(record: FileRecord, isDeleted: boolean): void {
    const { checkpoint, config, log, tail } = this.#catalog.options;
    if (isDeleted && tail.lost.gone(record, "deleted") > 0) return checkpoint.forget(config.name, record.id);
    log.info(
      `File "${record.lastPath}" is gone: what it held behind its stored positions, if anything, cannot be read`,
      { source: config.name },
    );
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

  /** The patterns match this path, and this regular file is there. Does nothing while a look at the path hangs: the next scan comes by again. */
  async see(matchedPath: string, stat: FileStat): Promise<void> {
    await this.#alone(matchedPath, () => this.#see(matchedPath, stat));
  }

  /** Something happened to this name: looks at what is there. Returns true when it is a folder that has to be walked. See `see`. */
  async check(changedPath: string): Promise<boolean> {
    return await this.#alone(changedPath, () => this.#check(changedPath)) ?? false;
  }

  /** What two tasks found at once of one path would be put in a wrong order. */
  async #alone<T>(lookedAt: string, look: () => Promise<T>): Promise<T | null> {
    if (this.#looking.has(lookedAt)) return null;
    this.#looking.add(lookedAt);
    try {
      return await look();
    } finally {
      this.#looking.delete(lookedAt);
    }
  }

  async #see(matchedPath: string, stat: FileStat): Promise<void> {
    if (this.isKnown(matchedPath, stat)) return;
    const catalog = this.#catalog;
    const prior = catalog.byPath.get(matchedPath);
    const known = catalog.byInode.get(inodeKey(stat));
    if (known !== undefined && !known.hasEnded) {
      if (prior !== undefined && prior !== known) await this.#detach(prior, matchedPath);
      catalog.attach(known, matchedPath, await this.#chain.realPath(matchedPath));
      known.wake();
      return;
    }
    if (prior !== undefined) {
      // Under --once it has come to its end meanwhile, and that is all.
      if (prior.hasEnded && prior.inode === inodeKey(stat) && catalog.options.tail.isOnce) return;
      return await this.#replace(prior, matchedPath, stat);
    }
    const sinceNs = this.#sinceNs.get(matchedPath) ?? this.#unread.sinceNs(matchedPath, stat);
    const startOffset = sinceNs === undefined ? this.#startOffsets.of(matchedPath, stat) : 0;
    if (startOffset === null) return;
    const predecessor = sinceNs === undefined || catalog.options.config.rotated === "none"
      ? null
      : await this.#chain.followSiblings(null, matchedPath, sinceNs, stat);
    if (predecessor === "later") return;
    const file = await catalog.register({
      path: matchedPath,
      stat,
      basePath: matchedPath,
      isMatched: true,
      predecessor,
      startOffset,
    });
    if (file === "later" && startOffset === 0) {
      this.#unread.add(
        matchedPath,
        sinceNs ?? stat.birthtimeNs,
        sinceNs === undefined ? inodeKey(stat) : null,
      );
    }
    // It may have lost this name before it could be opened: then others have come and gone.
    if (file === null || file === "later") return;
    this.#sinceNs.delete(matchedPath);
    this.#unread.delete(matchedPath);
    this.#startOffsets.started(stat);
  }

  async #check(changedPath: string): Promise<boolean> {
    const catalog = this.#catalog;
    const { discovery, tail } = catalog.options;
    let stat: FileStat;
    try {
      stat = await tail.ops.stat(changedPath, false);
    } catch (error) {
      if (errnoName(error) !== "ENOENT") return false; // the next scan tells it
      catalog.options.guard?.kick();
      const file = catalog.byPath.get(changedPath);
      if (file !== undefined) await this.#vanish(file, changedPath);
      return false;
    }
    if (stat.kind === "directory") return discovery.mayContain(changedPath);
    if (stat.kind !== "file") return false;
    if (discovery.matches(changedPath)) {
      await this.#see(changedPath, stat);
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
      if (this.#rescued.has(record.id)) {
        predecessor = await this.#rescued.register(record.id, predecessor);
        continue;
      }
      if (place === undefined) {
        // It is gone for certain where another file has its name; a folder that is not mounted yet looks empty.
        if (current !== undefined && !this.#unsearched.has(record.id)) {
          checkpoint.forget(config.name, record.id);
        }
        continue;
      }
      predecessor = await this.#chain.followAtStart(predecessor, place, basePath);
    }
    const newest = records[records.length - 1]!;
    if (newest.id !== currentId && config.rotated === "auto") {
      const last = await this.#chain.followSiblings(predecessor, basePath, BigInt(newest.sinceNs), current);
      if (last !== "later") predecessor = last;
      else return this.#comeBack(basePath, predecessor, newest, true);
    }
    if (current !== undefined) {
      // It may be renamed before it can be opened.
      predecessor = await this.#chain.followAtStart(predecessor, { path: basePath, stat: current }, basePath);
    }
    if (this.#catalog.byPath.has(basePath)) return;
    // Nothing is there (any more).
    this.#comeBack(basePath, predecessor, newest);
  }

  /** What comes to this path, or is looked at again, follows the last one. */
  #comeBack(basePath: string, last: TailedFile | null, newest: FileRecord, isUnsought = false): void {
    if (last !== null) this.#catalog.byPath.set(basePath, last);
    else this.#sinceNs.set(basePath, BigInt(newest.sinceNs));
    if (isUnsought) this.#unsought.add(basePath);
  }

  /** Nothing is where `file` was. What came and went after it, unseen, is read now: it may be long until a new file comes. */
  async #vanish(file: TailedFile, matchedPath: string): Promise<void> {
    const catalog = this.#catalog;
    await this.#detach(file, matchedPath);
    if (catalog.options.config.rotated === "none") return;
    await this.#seekSiblings(file, matchedPath, file.sinceNs);
  }

  /** What could not be opened may have lost its name: it is looked for under those that rotation gives. */
  async #seekUnread(): Promise<void> {
    const { config, tail } = this.#catalog.options;
    for (const unreadPath of config.rotated === "none" ? [] : this.#unread.all()) {
      const error = await tail.ops.stat(unreadPath, false).then(() => null, (failure: unknown) => failure);
      const sinceNs = this.#unread.sinceNs(unreadPath, null);
      if (error === null || !isNotFound(error) || sinceNs === undefined) continue;
      this.#unread.delete(unreadPath);
      this.#sinceNs.set(unreadPath, sinceNs);
      this.#unsought.add(unreadPath);
    }
  }

  /** Reads what came and went behind the last file of a path to which nothing leads. */
  async #seekSiblings(file: TailedFile | null, gonePath: string, sinceNs: bigint): Promise<void> {
    const last = await this.#chain.followSiblings(file, gonePath, sinceNs, undefined);
    if (last === "later") {
      this.#unsought.add(gonePath);
      this.#sinceNs.set(gonePath, sinceNs); // the file may be let go meanwhile
    } else if (last !== null && last !== file) this.#catalog.byPath.set(gonePath, last);
  }

  /** Another file is where `prior` was. */
  async #replace(prior: TailedFile, matchedPath: string, stat: FileStat): Promise<void> {
    const catalog = this.#catalog;
    await this.#detach(prior, matchedPath);
    let predecessor: TailedFile | null = prior;
    if (catalog.options.config.rotated === "auto") {
      const last = await this.#chain.followSiblings(prior, matchedPath, prior.sinceNs, stat);
      if (last === "later") return this.#unread.add(matchedPath, prior.sinceNs, null);
      predecessor = last;
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
    if (file === "later") this.#unread.add(matchedPath, prior.sinceNs, null);
    if (file === null || file === "later") return;
    this.#sinceNs.delete(matchedPath);
    this.#unread.delete(matchedPath);
    if (!prior.hasEnded || file.stream.id === prior.stream.id) return;
    // It ended before this one came: nothing else lets it go.
    catalog.forget(prior);
    if (predecessor === prior) file.predecessor = null;
    prior.successors.length = 0;
  }

  /** The path leads to the file no more. Without any matching path it is read to its end and let go. */
  async #detach(file: TailedFile, matchedPath: string): Promise<void> {
    if (!file.paths.delete(matchedPath) || file.paths.size > 0) return;
    const { metrics, tail, guard } = this.#catalog.options;
    metrics.rotationsCount++;
    file.rotatedMs = tail.monotonicMs();
    const { handle } = file;
    if (handle.fd === null) {
      this.#sought.add(file);
      await this.#seek(file);
    } else {
      const fd = handle.fd;
      handle.reopenPath = null;
      // What is not known now is looked for once more when it is copied, or given up.
      file.isUnlinked = (await tail.ops.fstat(fd).catch(() => null))?.linkCount === 0;
    }
    guard?.add(file);
    file.wake();
  }
}

function inodeOf(record: FileRecord): Pick<FileStat, "dev" | "ino" | "birthtimeNs"> {
  return { dev: BigInt(record.dev), ino: BigInt(record.ino), birthtimeNs: BigInt(record.birthtimeNs) };
}
