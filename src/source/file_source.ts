import fs from "node:fs";
import type { FileSourceConfig } from "../config/config.ts";
import { errnoName } from "../errors.ts";
import type { DeviceGate } from "./device_gate.ts";
import { HUNG_MS, ONCE_HUNG_MS, processDeviceGate, untilHung } from "./device_gate.ts";
import { FileCatalog } from "./file_catalog.ts";
import type { Walk } from "./file_discovery.ts";
import { FileDiscovery } from "./file_discovery.ts";
import { inodeKey } from "./file_identity.ts";
import { heldAlone } from "./held_alone.ts";
import type { FileOps, FileStat } from "./file_ops.ts";
import { systemFileOps } from "./file_ops.ts";
import { FilePaths } from "./file_paths.ts";
import type { GlobRoot } from "./glob_root.ts";
import { OpenFiles, openFilesMaxDefault } from "./open_files.ts";
import { pathPatterns } from "./path_patterns.ts";
import { ReadScheduler } from "./read_scheduler.ts";
import { RescueGuard } from "./rescue_guard.ts";
import type { RescueStore } from "./rescue_store.ts";
import type { Source } from "./source.ts";
import { tailBasics, type TailBasicsOptions } from "./tail_basics.ts";
import type { TailContext } from "./tail_context.ts";
import { ToldOnce } from "./told_once.ts";

/** Everything that kernel events tell is looked for once more after this time at the latest. */
export const SCAN_INTERVAL_MS_MAX = 1_000;
/** At the end, a device that hangs while deleted files are copied is waited for no longer. */
const FINISH_WAIT_MS = 6_000;
/** Files that were not seen for days are looked for this often. */
const FORGET_INTERVAL_MS = 3_600_000;
/** Changes that ask for a scan are waited for together. */
const SCAN_SOON_MS = 10;

export interface FileSourceOptions extends TailBasicsOptions {
  readonly config: FileSourceConfig;
  /** Read what is there at the start, to its end, and end. */
  readonly once: boolean;
  /** Never read from: a pattern may match shipper's own files. */
  readonly dataDir: string;
  /** The configuration of the source whose place this one takes while shipper runs; null or not there: it is the first one. */
  readonly before?: FileSourceConfig | null;
  /** Where files without a name are copied; null or not there: nowhere. */
  readonly rescue?: RescueStore | null;
  /** Milliseconds since the epoch, and milliseconds of a clock that never jumps. */
  readonly now?: () => number;
  readonly monotonic?: () => number;
  readonly ops?: FileOps;
  readonly gate?: DeviceGate;
}

/** Tails the files that the patterns match; docs/tailing.md says what happens in which case. */
export function createFileSource(options: FileSourceOptions): Source {
  return new FileSource(options);
}

class FileSource implements Source {
  readonly name: string;
  readonly #options: FileSourceOptions;
  readonly #scheduler: ReadScheduler;
  readonly #openFiles: OpenFiles;
  readonly #discovery: FileDiscovery;
  readonly #catalog: FileCatalog;
  readonly #paths: FilePaths;
  readonly #guard: RescueGuard | null;
  readonly #toldFailures: ToldOnce;
  readonly #stop = new AbortController();
  readonly #walking = new Set<GlobRoot>();
  /** Names that the kernel told of and that were not looked at yet. */
  #changedNames = new Set<string>();
  #isChecking = false;
  #scanTimer: ReturnType<typeof setTimeout> | null = null;
  /** Tasks on the catalog run one after another; this is the last one. */
  #lastTask: Promise<void> = Promise.resolve();
  readonly #monotonicMs: () => number;
  #hasStarted = false;
  #forgotAtMs = -Infinity;
  #bug: unknown = null;

  constructor(options: FileSourceOptions) {
    const { config, outlets, metrics, log, once: isOnce } = options;
    this.name = config.name;
    this.#options = options;
    const ops = options.ops ?? systemFileOps;
    const gate = options.gate ?? processDeviceGate;
    const nowMs = options.now ?? Date.now;
    const monotonicMs = this.#monotonicMs = options.monotonic ?? (() => performance.now());
    const isForbidden = forbiddenFolder(options.dataDir);
    this.#toldFailures = new ToldOnce(log);
    this.#openFiles = new OpenFiles(ops, config.maxOpenFiles ?? openFilesMaxDefault(), metrics);
    this.#scheduler = new ReadScheduler({ outlets, gate, monotonicMs, log, source: config.name });
    this.#discovery = new FileDiscovery({
      source: config.name,
      include: config.include,
      exclude: config.exclude,
      ops,
      log,
      metrics,
      listener: {
        fileChanged: (path) => this.#catalog.byName.get(path)?.wake(),
        nameChanged: (path) => this.#nameChanged(path),
        eventsLost: () => this.#eventsLost(),
      },
      isForbidden,
      isKnown: (path) => this.#catalog.byPath.get(path)?.paths.has(path) ?? false,
      isWatching: !isOnce,
    });
    const tail = this.#tailContext({ ops, gate, nowMs, monotonicMs });
    const { checkpoint } = options;
    this.#guard = this.#rescueGuard(ops, gate);
    this.#catalog = new FileCatalog({
      config,
      outlets,
      checkpoint,
      discovery: this.#discovery,
      tail,
      metrics,
      log,
      isForbidden,
      guard: this.#guard,
      ...(options.before ? { wasRead: pathPatterns(options.before) } : {}),
    });
    this.#paths = new FilePaths(this.#catalog);
  }

  #tailContext(system: Pick<TailContext, "ops" | "gate" | "nowMs" | "monotonicMs">): TailContext {
    return {
      ...system,
      ...tailBasics(this.#options.config, this.#options, () => this.#catalog),
      openFiles: this.#openFiles,
      scheduler: this.#scheduler,
      isOnce: this.#options.once,
      isToLastEnd: false,
      onEnded: (file) => {
        this.#catalog.tailerEnded(file);
        this.#endIfDone();
      },
      onFailure: (file, error) => this.#discovery.tellFailure(file.lastPath, "read", error),
    };
  }

  #rescueGuard(ops: FileOps, gate: DeviceGate): RescueGuard | null {
    const { config, checkpoint, metrics, log, rescue } = this.#options;
    if (rescue === undefined || rescue === null) return null;
    return new RescueGuard({
      source: config.name,
      store: rescue,
      positions: checkpoint,
      ops,
      gate,
      openFiles: this.#openFiles,
      metrics,
      log,
      onBug: (error) => this.#taskFailed(error),
    });
  }

  async run(signal: AbortSignal): Promise<void> {
    const stop = AbortSignal.any([signal, this.#stop.signal]);
    const reading = this.#scheduler.run(stop);
    reading.catch(() => this.#stop.abort()); // awaited below
    const tickMs = Math.min(this.#options.config.globMinimumCooldownMs, SCAN_INTERVAL_MS_MAX);
    const ticker = setInterval(() => this.#tick(), tickMs);
    try {
      await this.#start(stop);
      await reading;
      if (this.#bug !== null) throw this.#bug;
    } finally {
      clearInterval(ticker);
      if (this.#scanTimer !== null) clearTimeout(this.#scanTimer);
      this.#stop.abort();
      this.#catalog.close();
      this.#discovery.close();
      if (this.#guard !== null) {
        const files = [...this.#catalog.byInode.values()];
        await untilHung(
          this.#guard.finish(files),
          FINISH_WAIT_MS,
          () => this.#tellHung("Copying deleted files"),
        );
      }
      this.#openFiles.closeAll();
    }
  }

  leave(): void {
    this.#catalog.leave();
  }

  holdsAlone(): Promise<string | null> {
    const { checkpoint: positions, rescue = null, ops = systemFileOps, log } = this.#options;
    return heldAlone({ files: [...this.#catalog.byInode.values()], positions, rescue, ops, log });
  }

  async #start(stop: AbortSignal): Promise<void> {
    const found = new Map<string, FileStat>();
    for (const root of this.#discovery.roots) {
      if (stop.aborted) return;
      await this.#walk(root, ({ files }) => {
        for (const [path, stat] of files) found.set(path, stat);
        return Promise.resolve();
      });
    }
    if (found.size === 0) {
      const patterns = this.#options.config.include.map((pattern) => `"${pattern}"`).join(", ");
      this.#options.log.warn(`No file matches ${patterns}${this.#options.once ? "" : " yet"}`, {
        source: this.name,
      });
    }
    await this.#task(() => this.#paths.start(found), false);
    this.#hasStarted = true;
    this.#endIfDone();
    this.#checkNames();
  }

  #endIfDone(): void {
    if (this.#options.once && this.#hasStarted && this.#catalog.liveCount === 0) this.#stop.abort();
  }

  #tick(): void {
    this.#scheduler.tick();
    this.#guard?.kick();
    if (this.#hasStarted && !this.#options.once) this.#scan();
    this.#forgetUnseen();
  }

  /** A process that runs for weeks sees many files come and go. */
  #forgetUnseen(): void {
    const nowMs = this.#monotonicMs();
    if (!this.#hasStarted || this.#options.once || nowMs - this.#forgotAtMs < FORGET_INTERVAL_MS) return;
    this.#forgotAtMs = nowMs;
    this.#catalog.forgetUnseen();
  }

  #scan(): void {
    for (const root of this.#discovery.roots) {
      void this.#walk(root, async ({ files, unlooked }) => {
        for (const [path, stat] of files) {
          if (!this.#paths.isKnown(path, stat)) await this.#task(() => this.#paths.see(path, stat));
        }
        for (const [path, file] of this.#catalog.byPath) {
          if (!file.paths.has(path) || files.has(path) || unlooked.has(path) || !root.matches(path)) continue;
          await this.#task(() => this.#paths.check(path));
        }
        for (const file of this.#catalog.byInode.values()) {
          this.#options.checkpoint.seen(this.name, file.stream.id);
          if (file.paths.size === 0) file.wake();
        }
      });
    }
    void this.#task(() => this.#paths.retry());
  }

  /** Walks a root unless that is under way. Returns after a while even when the walk hangs; it is used when it comes back. */
  async #walk(root: GlobRoot, use: (walk: Walk) => Promise<void>): Promise<void> {
    if (this.#walking.has(root)) return;
    const { once: isOnce, metrics } = this.#options;
    this.#walking.add(root);
    await untilHung(
      this.#discovery.walk(root).then(use).catch((error) => this.#taskFailed(error))
        .finally(() => this.#walking.delete(root)),
      isOnce ? ONCE_HUNG_MS : HUNG_MS,
      () => {
        if (isOnce) metrics.unopenedFilesCount++;
        this.#tellHung(`Looking for files of "${root.pattern}"`);
      },
    );
  }

  /** Runs after the tasks before it. One that hangs is left to itself, so that others go on. Never rejects. */
  #task(work: () => Promise<unknown>, isGuarded = true): Promise<void> {
    const task = this.#lastTask.then(async () => {
      if (this.#stop.signal.aborted) return;
      const working = work().then(() => {}, (error) => this.#taskFailed(error));
      await (isGuarded ? untilHung(working, HUNG_MS, () => this.#tellHung("Looking at a file")) : working);
    });
    return this.#lastTask = task;
  }

  #taskFailed(error: unknown): void {
    const code = errnoName(error);
    if (code !== "UNKNOWN") return this.#discovery.tellFailure(this.name, "look at a file of", error);
    this.#bug ??= error;
    this.#stop.abort();
  }

  #tellHung(what: string): void {
    this.#toldFailures.warn(
      what,
      `${what} of source "${this.name}" does not come back: the other files go on`,
    );
  }

  #nameChanged(path: string): void {
    this.#catalog.byName.get(path)?.wake();
    this.#changedNames.add(path);
    this.#checkNames();
  }

  #checkNames(): void {
    if (this.#isChecking || !this.#hasStarted || this.#changedNames.size === 0) return;
    this.#isChecking = true;
    void this.#checkAll().finally(() => {
      this.#isChecking = false;
      this.#checkNames();
    });
  }

  async #checkAll(): Promise<void> {
    const names = this.#changedNames;
    this.#changedNames = new Set();
    for (const path of names) {
      let isFolder = false;
      await this.#task(async () => {
        isFolder = await this.#paths.check(path);
      });
      if (isFolder) this.#scanSoon();
    }
  }

  #eventsLost(): void {
    for (const file of this.#catalog.byInode.values()) file.wake();
    this.#scanSoon();
  }

  #scanSoon(): void {
    if (this.#stop.signal.aborted) return;
    this.#scanTimer ??= setTimeout(() => {
      this.#scanTimer = null;
      if (this.#hasStarted) this.#scan();
    }, SCAN_SOON_MS);
  }
}

/** Recognises data_dir by device and inode: a pattern or a link may reach it under another name. */
export function forbiddenFolder(dataDir: string): (folder: FileStat) => boolean {
  let own: string;
  try {
    own = inodeKey(fs.statSync(dataDir, { bigint: true }));
  } catch {
    return () => false; // no data_dir, nothing in it
  }
  return (folder) => inodeKey(folder) === own;
}
