import path from "node:path";
import type { SourcePositions } from "../checkpoint/checkpoint.ts";
import { errnoName } from "../errors.ts";
import { formatBytes } from "../telemetry/format.ts";
import type { Log } from "../telemetry/log.ts";
import type { SourceMetrics } from "../telemetry/metrics.ts";
import { type DeviceGate, untilHung } from "./device_gate.ts";
import { inodeKey } from "./file_identity.ts";
import type { FileOps, FileStat } from "./file_ops.ts";
import { FolderSearch } from "./folder_search.ts";
import type { OpenFiles } from "./open_files.ts";
import type { RescueCopy } from "./rescue_copy.ts";
import type { ReadHeld, Refusal, RescueStore } from "./rescue_store.ts";
import type { TailedFile } from "./tailed_file.ts";

/** At the end of a run copying goes on for no longer. */
const FINISH_MAX_MS = 5_000;
/** A copy whose bytes are all delivered is waited for so long, to begin a new one instead of adding to it. */
const RELEASE_WAIT_MS = 500;
/** A folder is looked through for a file that moved out of it this often: it may hold thousands. */
const SEARCH_AGAIN_MS = 10_000;

export interface RescueGuardOptions {
  readonly source: string;
  readonly store: RescueStore;
  readonly positions: SourcePositions;
  readonly ops: FileOps;
  readonly gate: DeviceGate;
  readonly openFiles: OpenFiles;
  readonly metrics: SourceMetrics;
  readonly log: Log;
  readonly onBug: (error: unknown) => void;
}

/** A file that no pattern leads to any more. */
interface Guarded {
  readonly file: TailedFile;
  /** Made by an earlier run: the file itself is gone. */
  readonly isStored: boolean;
  /** Where it was found last. */
  place: string;
  /** It was nowhere; its folder is looked through again then (monotonic). */
  searchAtMs: number;
  /** What was told of it last; null: nothing that still holds. */
  toldReason: string | null;
}

/**
 * Watches over files that lost their names: until every sink has delivered what is in them they stay open, and the bytes of those that a
 * restart would not find, deleted or moved out of their folder, are copied to `data_dir/rescue`.
 */
export class RescueGuard {
  readonly #options: RescueGuardOptions;
  readonly #guarded = new Map<TailedFile, Guarded>();
  #looking: Promise<void> | null = null;
  #isKicked = false;
  #isOver = false;
  /** Copying ends then (monotonic). */
  #deadlineMs = Infinity;

  constructor(options: RescueGuardOptions) {
    this.#options = options;
    options.metrics.rescueHeldBytes = () => options.store.heldBytes(options.source);
  }

  get store(): RescueStore {
    return this.#options.store;
  }

  /** Looks after a file that no name leads to. Its descriptor stays open. */
  add(file: TailedFile): void {
    if (this.#guarded.has(file) || this.#isOver) return;
    file.handle.userCount++;
    const isStored = file.isRescued;
    this.#guarded.set(file, { file, isStored, place: file.place, searchAtMs: 0, toldReason: null });
    if (!isStored) this.#options.store.hold(file.stream.source, file.stream.id, this.#reader(file));
    this.kick();
  }

  /** Looks at all of them soon: names have changed, or time has passed. Cheap. */
  kick(): void {
    if (this.#guarded.size === 0) return;
    this.#isKicked = true;
    if (this.#isOver || this.#looking !== null) return;
    this.#looking = this.#lookWhileKicked().catch(this.#options.onBug).finally(() => this.#looking = null);
  }

  /**
   * The run ends: copies what is to be copied of `files`, all that are being read, and lets them go. What is delivered later is for
   * `RescueStore.close`.
   */
  async finish(files: Iterable<TailedFile>): Promise<void> {
    if (!this.store.isOff) { for (const file of files) await this.#addNameless(file); }
    this.#isOver = true;
    this.#deadlineMs = performance.now() + FINISH_MAX_MS;
    await this.#looking;
    for (const guarded of [...this.#guarded.values()]) {
      await this.#look(guarded).catch((error: unknown) => this.#fail(guarded, error));
      this.#drop(guarded);
    }
  }

  /** The event that a file has lost its name may not have come, or not been looked at. */
  async #addNameless(file: TailedFile): Promise<void> {
    if (this.#guarded.has(file) || file.handle.fd === null || file.isCutOff) return;
    const there = await this.#options.ops.stat(file.place, false).catch(() => null); // whatever it is, the file is not found there
    if (there !== null && inodeKey(there) === file.inode) return;
    file.paths.clear();
    this.add(file);
  }

  async #lookWhileKicked(): Promise<void> {
    while (this.#isKicked && !this.#isOver) {
      this.#isKicked = false;
      for (const guarded of [...this.#guarded.values()]) {
        if (this.#isOver) return;
        await this.#look(guarded).catch((error: unknown) => this.#fail(guarded, error));
      }
    }
  }

  async #look(guarded: Guarded): Promise<void> {
    const { file } = guarded;
    const { store } = this.#options;
    const copy = store.copyOf(file.stream.source, file.stream.id);
    if (file.isCutOff || file.paths.size > 0) {
      this.#drop(guarded);
      if (copy !== null) await store.discard(copy);
      return;
    }
    if (this.#isDelivered(file)) {
      this.#drop(guarded);
      if (copy !== null) void store.release(copy);
      return;
    }
    if (guarded.isStored || store.isOff) return;
    const stat = await this.#withFile(file, (fd) => this.#options.ops.fstat(fd));
    if (stat === null) return;
    const isDeleted = stat.linkCount === 0;
    if (!isDeleted && await this.#isFindable(guarded, stat)) {
      if (copy !== null) await store.discard(copy);
      return;
    }
    file.isUnlinked ||= isDeleted;
    await this.#copy(guarded, copy, stat.sizeBytes);
  }

  /** Every sink is done with it, or it is forgotten. */
  #isDelivered({ stream, tailers }: TailedFile): boolean {
    return tailers.every(({ outlet, offset, hasEnded }) => {
      const position = this.#options.positions.position(stream.source, stream.id, outlet.sink);
      return position === null || (hasEnded && position >= offset);
    });
  }

  /** Whether a restart would find it: in the folder of its path, or of the place where it was last seen. */
  async #isFindable(guarded: Guarded, stat: FileStat): Promise<boolean> {
    const { ops, log } = this.#options;
    const { file: { stream, place: lastPath } } = guarded;
    const inode = inodeKey(stat);
    for (const place of new Set([guarded.place, lastPath])) {
      const found = await ops.stat(place, false).catch(() => null); // whatever it is, the file is not found there
      if (found === null || inodeKey(found) !== inode) continue;
      guarded.place = place;
      return true;
    }
    if (performance.now() < guarded.searchAtMs) return false;
    const search = new FolderSearch({ ops, log, onFailure: () => {} });
    const { dev, ino, birthtimeNs } = stat;
    const found = await search.find({
      path: stream.path,
      lastPath,
      dev: String(dev),
      ino: String(ino),
      birthtimeNs: String(birthtimeNs),
    });
    // NFS gives a deleted file such a name until the last one closes it.
    if (found === null || path.basename(found.path).startsWith(".nfs")) {
      guarded.searchAtMs = performance.now() + SEARCH_AGAIN_MS;
      return false;
    }
    guarded.place = found.path;
    return true;
  }

  async #copy(guarded: Guarded, copy: RescueCopy | null, sizeBytes: number): Promise<void> {
    const { store, metrics } = this.#options;
    const { file } = guarded;
    const needs = store.needs(file.stream.source, file.stream.id);
    if (copy !== null && needs !== null && needs >= copy.endOffset) {
      await untilHung(store.release(copy), RELEASE_WAIT_MS, () => {});
    }
    const read = this.#reader(file);
    for (;;) {
      const result = await store.append(
        file.stream,
        async (target, length, position) => await read(target, length, position) ?? 0,
        sizeBytes,
      );
      if (typeof result !== "number") return this.#refused(guarded, sizeBytes, result);
      if (result === 0) break;
      metrics.rescuedBytesCount += result;
      // It was truncated, or delivered, meanwhile: the next look knows.
      if (file.isCutOff || performance.now() >= this.#deadlineMs) break;
    }
    if (guarded.toldReason === null) return;
    guarded.toldReason = null;
    this.#options.log.info(`The unread end of "${file.lastPath}" is copied to data_dir now`, {
      source: this.#options.source,
    });
  }

  #refused({ file, ...guarded }: Guarded, sizeBytes: number, refusal: Refusal): void {
    const { store, metrics, log, source } = this.#options;
    metrics.rescueFailuresCount++;
    const told = refusal.reason === "failed" ? refusal.code : refusal.reason;
    if (guarded.toldReason === told) return;
    this.#guarded.get(file)!.toldReason = told;
    const from = store.copyOf(file.stream.source, file.stream.id)?.endOffset ??
      store.needs(file.stream.source, file.stream.id) ?? 0;
    const { cause, hint } = this.#explain(refusal);
    log.warn(
      `Cannot copy bytes ${from} to ${sizeBytes} of "${file.lastPath}", which was ${
        file.isUnlinked ? "deleted" : "moved out of its folder"
      }, to data_dir (${cause}): until they are delivered they would be lost with this process; trying again`,
      { source, hint },
    );
  }

  #explain(refusal: Refusal): { readonly cause: string; readonly hint: string } {
    switch (refusal.reason) {
      case "limit":
        return {
          cause: `rescue_max_size (${formatBytes(this.#options.store.sizeBytesMax)}) is used up`,
          hint: "raise rescue_max_size",
        };
      case "space":
        return { cause: "the disk of data_dir is nearly full", hint: "free space where data_dir is" };
      case "failed":
        return { cause: refusal.code, hint: "make data_dir writable for the user that runs shipper" };
    }
  }

  #reader(file: TailedFile): ReadHeld {
    return (target, length, position) =>
      this.#withFile(file, (fd) => this.#options.ops.read(fd, target, length, position));
  }

  /** What `use` gives for the open file; null when it was closed, which is so for files that have a name somewhere. */
  async #withFile<T>(file: TailedFile, use: (fd: number) => Promise<T>): Promise<T | null> {
    const { gate, openFiles } = this.#options;
    if (file.handle.fd === null) return null;
    await gate.acquire(file.device);
    try {
      if (file.handle.fd === null) return null;
      const fd = await openFiles.acquire(file.handle);
      try {
        return await use(fd);
      } finally {
        openFiles.release(file.handle);
      }
    } finally {
      gate.release(file.device);
    }
  }

  #drop(guarded: Guarded): void {
    const { file } = guarded;
    if (!this.#guarded.delete(file)) return;
    this.#options.openFiles.drop(file.handle);
    this.#options.store.unhold(file.stream.source, file.stream.id);
  }

  /** The file cannot be looked at or read: whoever tails it tells so, and the next look tries again. */
  #fail(guarded: Guarded, error: unknown): void {
    const code = errnoName(error);
    if (code === "UNKNOWN") throw error;
    const { metrics, log, source } = this.#options;
    metrics.rescueFailuresCount++;
    if (guarded.toldReason === code) return;
    guarded.toldReason = code;
    log.warn(`Cannot copy what is left of "${guarded.file.lastPath}" to data_dir (${code}): trying again`, {
      source,
    });
  }
}
