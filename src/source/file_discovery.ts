import path from "node:path";
import picomatch from "picomatch";
import { errnoName } from "../errors.ts";
import type { Log } from "../telemetry/log.ts";
import type { SourceMetrics } from "../telemetry/metrics.ts";
import type { DirectoryEntry, DirectoryWatcher, FileOps, FileStat } from "./file_ops.ts";
import type { GlobRoot } from "./glob_root.ts";
import { globRoot } from "./glob_root.ts";
import { isNotFound } from "./folder_search.ts";
import { ToldOnce } from "./told_once.ts";

/** Folders that are watched at most; beyond it, the scan finds what changes. */
export const WATCHES_MAX = 16_384;
/** A watched folder is looked at again after this many scans: it may have been replaced without an event. */
const RECHECK_SCANS = 10;
/**
 * Known files in watched folders of this machine that one scan looks at, in turn: kernel events tell of them, and this is for what events
 * do not tell (writes through a memory map or through another name). A thousand idle files cost little more than ten.
 */
const KNOWN_STATS_PER_SCAN = 32;
/** Files looked at without giving the event loop a turn. */
const STATS_PER_TURN = 256;
/** What a folder's list has in the place of bytes that are not UTF-8. */
export const NO_UTF8 = "\ufffd";
/** Pause before a failed watch is tried again, in scans. */
const WATCH_RETRY_SCANS = 60;

/** What the kernel tells between two scans. Paths are absolute. */
export interface DiscoveryListener {
  /** Something was written to (or cut off) the file at this path. */
  fileChanged(path: string): void;
  /** An entry of this name came, went, or became another one. */
  nameChanged(path: string): void;
  /** Events were lost: anything may have changed. */
  eventsLost(): void;
}

/** What a walk over a root found. */
export class Walk {
  /** Regular files, with their state. */
  readonly files = new Map<string, FileStat>();
  /** Known files whose names are there, and whose turn it was not to be looked at. */
  readonly unlooked = new Set<string>();
  readonly root: GlobRoot;
  /** Known files that the walk came by. */
  knownCount = 0;
  readonly #turn: number;
  readonly #turnCount: number;

  /** `turn`: counts the walks over the root; `knownCount`: of the one before. */
  constructor(root: GlobRoot, turn: number, knownCount: number) {
    this.root = root;
    this.#turnCount = Math.max(1, Math.ceil(knownCount / KNOWN_STATS_PER_SCAN));
    this.#turn = turn % this.#turnCount;
  }

  /** Whether this walk looks at the next known file. */
  takesTurn(): boolean {
    return Math.floor(this.knownCount++ / KNOWN_STATS_PER_SCAN) % this.#turnCount === this.#turn;
  }
}

export interface FileDiscoveryOptions {
  readonly source: string;
  readonly include: readonly string[];
  readonly exclude: readonly string[];
  readonly ops: FileOps;
  readonly log: Log;
  readonly metrics: SourceMetrics;
  readonly listener: DiscoveryListener;
  /** Whether a folder is one of shipper's own. */
  readonly isForbidden: (folder: FileStat) => boolean;
  /** Whether the file at this path is being read. */
  readonly isKnown: (path: string) => boolean;
  /** False for a run that reads what is there and ends. */
  readonly isWatching: boolean;
}

interface Watch {
  /** null when the system refused it: only scans see this folder. */
  readonly watcher: DirectoryWatcher | null;
  readonly dev: bigint;
  readonly ino: bigint;
  recheckAtScan: number;
}

/**
 * Finds the files that the patterns name. Each pattern is walked from its fixed part; every folder entered is watched before it is listed,
 * so that nothing can slip in between. Kernel events come first; the scans are the safety net for filesystems that send none, lost
 * events and watches that the system refused.
 */
export class FileDiscovery {
  readonly roots: readonly GlobRoot[];
  readonly #options: FileDiscoveryOptions;
  readonly #excluded: (path: string) => boolean;
  readonly #watches = new Map<string, Watch>();
  readonly #localDevices = new Map<bigint, boolean>();
  readonly #told: ToldOnce;
  /** What is no regular file, by path: a folder may be listed for one pattern, and be skipped as a file of another one. */
  readonly #skipped: ToldOnce;
  /** Of each root: how often it was walked, and known files that the last walk came by. Turns are its own: counted together, some would never come. */
  readonly #walked = new Map<GlobRoot, { readonly count: number; readonly knownCount: number }>();
  #scanCount = 0;
  #isClosed = false;

  constructor(options: FileDiscoveryOptions) {
    this.#options = options;
    this.roots = options.include.map(globRoot);
    const exclude = options.exclude.map((pattern) => picomatch(path.resolve(pattern)));
    this.#excluded = (candidate) => exclude.some((matches) => matches(candidate));
    this.#told = new ToldOnce(options.log);
    this.#skipped = new ToldOnce(options.log);
  }

  /** Whether the patterns name this path. */
  matches(candidate: string): boolean {
    return this.roots.some((root) => root.matches(candidate)) && !this.#excluded(candidate);
  }

  /** Whether a new folder of this path is one to enter. */
  mayContain(folder: string): boolean {
    return this.roots.some((root) => {
      if (root.folder === folder || root.folder.startsWith(`${folder}/`)) return true;
      if (!folder.startsWith(root.folder === "/" ? "/" : `${root.folder}/`)) return false;
      const depth = folder.slice(root.folder.length).split("/").filter((segment) => segment !== "").length;
      return root.mayContain(folder, depth);
    });
  }

  /** Every regular file that `root` matches now, with its state; watches the folders on the way. */
  async walk(root: GlobRoot): Promise<Walk> {
    const { count, knownCount } = this.#walked.get(root) ?? { count: 0, knownCount: 0 };
    const walk = new Walk(root, count, knownCount);
    this.#scanCount++;
    await this.#enter(walk, root.folder, 0);
    await this.#lookAgain();
    this.#walked.set(root, { count: count + 1, knownCount: walk.knownCount });
    return walk;
  }

  /** Watches a folder that no pattern leads to, for example that of a link's target. */
  async watchFolder(folder: string): Promise<void> {
    try {
      await this.#watch(folder);
    } catch (error) {
      this.#tellFailure(folder, "watch", error);
    }
  }

  /** Logs an error with a path once, until `works` is called for the path, and counts it every time. */
  tellFailure(candidate: string, verb: string, error: unknown): void {
    this.#tellFailure(candidate, verb, error);
  }

  /** The path gives no more errors. */
  works(candidate: string): void {
    const message = `Reading "${candidate}" works again`;
    this.#told.clear(candidate, message);
    this.#skipped.clear(candidate, message);
  }

  close(): void {
    this.#isClosed = true;
    for (const watch of this.#watches.values()) watch.watcher?.close();
    this.#watches.clear();
  }

  async #enter(walk: Walk, folder: string, depth: number): Promise<void> {
    const { root } = walk;
    let entries: DirectoryEntry[];
    let isLocal: boolean;
    try {
      const dev = await this.#watch(folder);
      if (dev === null || this.#isClosed) return;
      isLocal = this.#localDevices.get(dev) ?? false;
      if (root.literal !== null) {
        await this.#take(walk, root.literal, false);
        return;
      }
      entries = await this.#options.ops.list(folder, isLocal);
      this.#told.clear(folder, `Listing "${folder}" works again`);
    } catch (error) {
      if (errnoName(error) !== "ENOENT") this.#tellFailure(folder, "list", error);
      else this.#tellUnnameable(folder);
      this.#unwatch(folder);
      return;
    }
    const prefix = folder === "/" ? "/" : `${folder}/`;
    const isWatched = (this.#watches.get(folder)?.watcher ?? null) !== null;
    for (const entry of entries) {
      const candidate = prefix + entry.name;
      if (entry.mayBeDirectory && root.mayContain(candidate, depth + 1)) {
        if (entry.isDirectory || !root.hasGlobstar) await this.#enter(walk, candidate, depth + 1);
      }
      const isOrdinary = isLocal && !entry.mayBeDirectory;
      // Before the patterns: they cost more than this.
      if (isOrdinary && isWatched && this.#options.isKnown(candidate) && !walk.takesTurn()) {
        walk.unlooked.add(candidate);
        continue;
      }
      if (!root.matches(candidate) || this.#excluded(candidate)) continue;
      if (entry.isDirectory) {
        if (!root.hasGlobstar) this.#tellSkipped(candidate, "directory");
        continue;
      }
      await this.#take(walk, candidate, isOrdinary);
      if (walk.files.size % STATS_PER_TURN === STATS_PER_TURN - 1) {
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
  }

  async #take(walk: Walk, candidate: string, isLocal: boolean): Promise<void> {
    try {
      const stat = await this.#options.ops.stat(candidate, isLocal);
      if (stat.kind === "file") walk.files.set(candidate, stat);
      else if (
        stat.kind !== "directory" ||
        candidate === this.roots.find((root) => root.literal === candidate)?.literal
      ) {
        this.#tellSkipped(candidate, stat.kind);
      }
    } catch (error) {
      if (errnoName(error) !== "ENOENT") this.#tellFailure(candidate, "look at", error);
      else this.#tellUnnameable(candidate);
    }
  }

  /** Looks at the folder unless it is watched and was looked at lately. Its device, or null when it is not to be entered. */
  async #watch(folder: string): Promise<bigint | null> {
    const known = this.#watches.get(folder);
    if (known !== undefined && this.#scanCount < known.recheckAtScan) return known.dev;
    const stat = await this.#options.ops.stat(folder, false);
    if (stat.kind !== "directory" || this.#options.isForbidden(stat)) return null;
    if (!this.#localDevices.has(stat.dev)) {
      this.#localDevices.set(stat.dev, await this.#options.ops.isLocal(folder));
    }
    if (!this.#options.isWatching || this.#isClosed) return stat.dev;
    if (known !== undefined && known.watcher !== null && known.dev === stat.dev && known.ino === stat.ino) {
      known.recheckAtScan = this.#scanCount + RECHECK_SCANS;
      return stat.dev;
    }
    this.#unwatch(folder);
    const watcher = this.#open(folder);
    const recheckAtScan = this.#scanCount + (watcher === null ? WATCH_RETRY_SCANS : RECHECK_SCANS);
    this.#watches.set(folder, { watcher, dev: stat.dev, ino: stat.ino, recheckAtScan });
    return stat.dev;
  }

  #open(folder: string): DirectoryWatcher | null {
    const { ops, listener } = this.#options;
    if (this.#watches.size >= WATCHES_MAX) {
      this.#told.warn(
        "watches",
        `Watching ${WATCHES_MAX} folders, the limit: the rest is scanned once a second`,
      );
      return null;
    }
    const prefix = folder === "/" ? "/" : `${folder}/`;
    const ownName = path.basename(folder);
    try {
      return ops.watch(folder, (name, isRename) => {
        if (name === null) return listener.eventsLost();
        if (!isRename) return listener.fileChanged(prefix + name);
        // A folder that was removed says so under its own name; look again at what is there.
        if (name === ownName) this.#recheck(folder);
        listener.nameChanged(prefix + name);
      }, () => {
        this.#unwatch(folder);
        listener.eventsLost();
      });
    } catch (error) {
      this.#options.metrics.errors.add(errnoName(error));
      this.#told.warn(
        "watch",
        `Cannot watch "${folder}" (${
          errnoName(error)
        }): new lines there are found by a scan once a second; ` +
          "raising fs.inotify.max_user_watches or max_user_instances helps",
      );
      return null;
    }
  }

  #recheck(folder: string): void {
    const watch = this.#watches.get(folder);
    if (watch !== undefined) watch.recheckAtScan = 0;
  }

  /** Watched folders that no walk enters any more: those of links are watched on, those that are gone are let go. */
  async #lookAgain(): Promise<void> {
    const dueAtScan = this.#scanCount - RECHECK_SCANS * this.roots.length;
    for (const [folder, { recheckAtScan }] of [...this.#watches]) {
      if (this.#isClosed || recheckAtScan >= dueAtScan) continue;
      try {
        if (await this.#watch(folder) === null) this.#unwatch(folder);
      } catch (error) {
        if (isNotFound(error)) this.#unwatch(folder);
      }
    }
  }

  #unwatch(folder: string): void {
    this.#watches.get(folder)?.watcher?.close();
    this.#watches.delete(folder);
  }

  #tellSkipped(candidate: string, kind: string): void {
    const what = kind === "directory" ? "a folder" : `a ${kind}`;
    this.#skipped.warn(candidate, `Skipping "${candidate}": it is ${what}, not a regular file`);
  }

  /** Nothing is where a folder has an entry: it went away, or its name's bytes are no text, which no path leads to. */
  #tellUnnameable(candidate: string): void {
    if (!candidate.includes(NO_UTF8)) return;
    this.#options.metrics.errors.add("EILSEQ");
    this.#told.warn(
      candidate,
      `Cannot read "${candidate}": its name is not UTF-8; rename it, and what writes it`,
    );
  }

  #tellFailure(candidate: string, verb: string, error: unknown): void {
    const code = errnoName(error);
    this.#options.metrics.errors.add(code);
    const hint = code === "EACCES" ? "; let the user that runs shipper read it" : "";
    this.#told.warn(
      candidate,
      `Cannot ${verb} "${candidate}" (${code}): trying again with every scan${hint}`,
    );
  }
}
