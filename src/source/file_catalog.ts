import path from "node:path";
import type { FileSourceConfig } from "../config/config.ts";
import type { FileRecord } from "../checkpoint/position_file.ts";
import type { SourcePositions } from "../checkpoint/checkpoint.ts";
import { errnoName } from "../errors.ts";
import type { Outlet } from "../event/chunk.ts";
import { fileStream } from "../event/stream.ts";
import type { Log } from "../telemetry/log.ts";
import type { SourceMetrics } from "../telemetry/metrics.ts";
import { HUNG_MS, ONCE_HUNG_MS, untilHung } from "./device_gate.ts";
import { EndedFiles } from "./ended_files.ts";
import type { FileDiscovery } from "./file_discovery.ts";
import { bornFromNs, EMPTY_FINGERPRINT, fingerprintOf, inodeKey, streamId } from "./file_identity.ts";
import { fileLags } from "./file_lags.ts";
import type { Opened } from "./file_opening.ts";
import { openFile } from "./file_opening.ts";
import { isPassing } from "./folder_search.ts";
import type { FileStat } from "./file_ops.ts";
import { FileTailer } from "./file_tailer.ts";
import { fileRecord, KnownRecords } from "./known_records.ts";
import { knowledgeOf } from "./mark_check.ts";
import { OpenFile } from "./open_files.ts";
import { OwnFolders } from "./own_folders.ts";
import type { RescueGuard } from "./rescue_guard.ts";
import type { TailContext } from "./tail_context.ts";
import { TailedFile } from "./tailed_file.ts";

export interface FileCatalogOptions {
  readonly config: FileSourceConfig;
  readonly outlets: readonly Outlet[];
  readonly checkpoint: SourcePositions;
  readonly discovery: FileDiscovery;
  readonly tail: TailContext;
  readonly metrics: SourceMetrics;
  readonly log: Log;
  /** Whether a folder is one of shipper's own. */
  readonly isForbidden: (folder: FileStat) => boolean;
  /** Where files without a name are copied; null or not there: nowhere. */
  readonly guard?: RescueGuard | null;
  /** Whether another source, whose place this one takes without a pause, read what is at a path. */
  readonly wasRead?: (path: string) => boolean;
}

/** A file that is to be read, and what is known of how it came here. */
export interface Candidate {
  /** Where it can be opened now. */
  readonly path: string;
  readonly stat: FileStat;
  /** The path that its events carry: the one under which the patterns would have found it. */
  readonly basePath: string;
  /** False for a rotated file whose name the patterns do not match. */
  readonly isMatched: boolean;
  /** Read it after this one, for each outlet. */
  readonly predecessor: TailedFile | null;
  /** Where an outlet starts that has no position in it, or whose position means other content. */
  readonly startOffset: number;
}

/**
 * The files that are being read, by inode and by every name. It opens files and decides where reading starts; what a name leads to is
 * decided in `file_paths.ts`. Only one task at a time may call the asynchronous methods.
 */
export class FileCatalog {
  readonly options: FileCatalogOptions;
  /** Files that have not ended, by inode; of a truncated inode the newest generation. */
  readonly byInode = new Map<string, TailedFile>();
  /** The last known file of each path that matched. */
  readonly byPath = new Map<string, TailedFile>();
  /** By every path under which the kernel may tell of it. */
  readonly byName = new Map<string, TailedFile>();
  readonly #records = new KnownRecords();
  readonly #ownFolders: OwnFolders;
  readonly #ended = new EndedFiles();
  /** Inodes that are being opened: an open may hang. */
  readonly #opening = new Set<string>();
  readonly #lags = () => fileLags(this.byInode.values(), this.options.checkpoint, this.options.config.name);
  #watchedCount = 0;
  #isClosed = false;
  /** All files that are registered and have not ended, older generations included. */
  liveCount = 0;

  constructor(options: FileCatalogOptions) {
    this.options = options;
    this.#ownFolders = new OwnFolders(options.tail.ops, options.isForbidden);
    for (const record of options.checkpoint.records(options.config.name)) this.#records.add(record);
    options.metrics.lagParts.add(this.#lags);
  }

  /** What other catalogs of the source have counted stays. */
  #countWatched(metrics: SourceMetrics): void {
    metrics.watchedFiles += this.byInode.size - this.#watchedCount;
    this.#watchedCount = this.byInode.size;
  }

  /** Takes up nothing any more, not even what is being opened: somebody else may read it by then. */
  close = (): void => void (this.#isClosed = true);

  /** The run goes on without it: its files are in no figure any more. */
  leave(): void {
    this.byInode.clear();
    this.#countWatched(this.options.metrics);
    this.options.metrics.lagParts.delete(this.#lags);
  }

  /** The stored stream of an inode, also where the device got another number. */
  recordOf(stat: Pick<FileStat, "dev" | "ino" | "birthtimeNs">): FileRecord | null {
    return this.#records.of(stat);
  }

  /** Whether the file is being read, was read in this run, or has stored positions. */
  isKnown(stat: FileStat): boolean {
    const inode = inodeKey(stat);
    return this.byInode.has(inode) || this.#ended.has(inode) || this.recordOf(stat) !== null;
  }

  /**
   * Opens the file and starts reading it. Null when it is not there any more, or must not or may not be read; "later" when it cannot be opened now. Null
   * as well when opening hangs; it is read when that comes back.
   */
  async register(candidate: Candidate): Promise<TailedFile | null | "later"> {
    const inode = inodeKey(candidate.stat);
    if (this.#isClosed || this.#opening.has(inode)) return null;
    const known = this.byInode.get(inode);
    if (known !== undefined && !known.hasEnded) {
      // Another task has opened it since the caller looked: two readers would give each line twice.
      if (candidate.isMatched) this.attach(known, candidate.path, known.realPath);
      return known;
    }
    this.#opening.add(inode);
    let file: TailedFile | null | "later" = null;
    const opening = this.#openAndAdd(candidate).then((added) => void (file = added))
      .finally(() => this.#opening.delete(inode));
    const { tail: { isOnce }, metrics } = this.options;
    await untilHung(opening, isOnce ? ONCE_HUNG_MS : HUNG_MS, () => {
      if (isOnce) metrics.unopenedFilesCount++;
      opening.catch(() => {}); // it logs its own errors
      const error = Object.assign(new Error("No answer"), { code: "ETIMEDOUT" });
      this.options.discovery.tellFailure(candidate.path, "open", error);
    });
    return file;
  }

  async #openAndAdd(candidate: Candidate): Promise<TailedFile | null | "later"> {
    const { discovery, tail, config } = this.options;
    try {
      const names = await this.#names(candidate);
      if (names === null) return null;
      const record = this.recordOf(candidate.stat);
      const known = record === null ? [] : this.#knowledgeOf(record);
      const opened = await openFile(tail, candidate, record, known, config.fingerprintBytes);
      if (opened === null) return null;
      if (this.#isClosed) {
        tail.ops.close(opened.fd);
        return null;
      }
      const realPath = names[1] ?? null;
      const file = this.#add(candidate, opened, realPath);
      discovery.works(candidate.path);
      for (const name of names) this.addName(file, name);
      if (candidate.isMatched) this.attach(file, candidate.path, realPath);
      else {
        file.rotatedMs = tail.monotonicMs();
        this.options.guard?.add(file);
      }
      file.wake();
      return file;
    } catch (error) {
      const code = errnoName(error);
      if (code === "UNKNOWN") throw error;
      discovery.tellFailure(candidate.path, "open", error);
      // Whoever reads once has no other try; what is gone by now is nobody's.
      if (tail.isOnce && code !== "ENOENT") this.options.metrics.unopenedFilesCount++;
      return isPassing(code) ? "later" : null;
    }
  }

  /** A matching path leads to the file now; `realPath`: of what it leads to where it is a link, else null. */
  attach(file: TailedFile, matchedPath: string, realPath: string | null): void {
    file.paths.add(matchedPath);
    file.rotatedMs = null;
    this.moved(file, matchedPath, realPath);
    this.byPath.set(matchedPath, file);
  }

  /** The file is to be found under this path now, whether the patterns match it or not. */
  moved(file: TailedFile, foundPath: string, realPath: string | null = null): void {
    file.handle.reopenPath = foundPath;
    this.addName(file, foundPath);
    if (file.lastPath === foundPath && file.realPath === realPath) return;
    file.lastPath = foundPath;
    file.realPath = realPath;
    if (!file.isCutOff) this.store(file);
  }

  addName(file: TailedFile, name: string): void {
    file.watchedNames.add(name);
    this.byName.set(name, file);
  }

  /** Stores what is known of the file. */
  store(file: TailedFile): void {
    const record = this.record(file);
    this.#records.add(record);
    this.options.checkpoint.put(record);
  }

  /** Takes a larger fingerprint when more of the head is there than before. */
  sawHead(file: TailedFile, head: Buffer): void {
    const sizeBytes = Math.min(head.length, this.options.config.fingerprintBytes);
    if (sizeBytes <= file.fingerprint.sizeBytes) return;
    file.fingerprint = fingerprintOf(head.subarray(0, sizeBytes));
    this.store(file);
  }

  /** The file was truncated: what is there now is a new generation, read from its start. */
  cutOff(file: TailedFile, sizeBytes: number): void {
    const { metrics, log, config } = this.options;
    file.isCutOff = true;
    metrics.truncationsCount++;
    log.info(`File "${file.lastPath}" was truncated: reading it from its start`, {
      source: config.name,
      sizeBytes,
    });
    file.handle.userCount++;
    const next = this.take(
      new TailedFile({
        stream: { ...file.stream, id: streamId(file.inode, file.generation + 1) },
        inode: file.inode,
        device: file.device,
        generation: file.generation + 1,
        sinceNs: bornFromNs(this.options.tail.nowMs()),
        handle: file.handle,
        fingerprint: EMPTY_FINGERPRINT,
        sizeBytes,
        mtimeMs: file.mtimeMs,
        lastPath: file.lastPath,
        realPath: file.realPath,
      }),
      () => 0,
    );
    next.rotatedMs = file.rotatedMs;
    for (const matchedPath of file.paths) next.paths.add(matchedPath);
    for (const [matchedPath, last] of this.byPath) if (last === file) this.byPath.set(matchedPath, next);
    for (const name of file.watchedNames) this.addName(next, name);
    file.continueAs(next);
    if (next.paths.size === 0) this.options.guard?.add(next);
    file.wake();
    next.wake();
  }

  /** The file lost its end, and a tailer goes on where it still holds what was read of it. */
  cutBack(tailer: FileTailer, offset: number, sizeBytes: number): void {
    const { metrics, tail } = this.options;
    const { file, outlet } = tailer;
    metrics.truncationsCount++;
    tail.lost.tellCutBack(file.lastPath, offset);
    tail.lost.cutBack(tailer, offset, sizeBytes);
    file.sizeBytes = Math.min(file.sizeBytes, Math.max(offset, sizeBytes));
    if (file.fingerprint.sizeBytes > offset) {
      file.fingerprint = EMPTY_FINGERPRINT; // until the head is read again
      this.store(file);
    }
    // Its decoder has seen other bytes.
    outlet.endStream(file.stream);
  }

  /** Called when a tailer has ended; when it was the last one, the file is let go. */
  tailerEnded(file: TailedFile): void {
    if (!file.hasEnded) return;
    this.liveCount--;
    const { tail, metrics } = this.options;
    tail.openFiles.drop(file.handle);
    if (this.byInode.get(file.inode) === file) this.byInode.delete(file.inode);
    this.#countWatched(metrics);
    for (const name of file.watchedNames) if (this.byName.get(name) === file) this.byName.delete(name);
    for (const successor of file.successors) successor.predecessor = null;
    file.successors.length = 0;
    if (tail.isOnce) return;
    if (file.isUnlinked || file.isCutOff || file.isSuperseded) {
      this.forget(file);
      this.#ended.add(file.inode);
    }
    this.#ended.leavePaths(file, this.byPath);
  }

  /** Positions of files that were not seen for a long time go. Those that are being read are seen. */
  forgetUnseen(): void {
    const { checkpoint, config: { name } } = this.options;
    for (const { stream } of this.byInode.values()) checkpoint.seen(name, stream.id);
    checkpoint.forgetUnseen(name);
    this.#records.keepOnly(checkpoint.records(name));
  }

  /** Its positions go when everything is delivered. */
  forget(file: TailedFile): void {
    const finalOffsets = new Map(file.tailers.map((tailer) => [tailer.outlet.sink, tailer.offset]));
    this.options.checkpoint.forgetWhenDelivered(this.options.config.name, file.stream.id, finalOffsets);
    this.#records.delete(file.inode, file.stream.id);
  }

  /** Every path that a file may be told under: the path itself and, for links, the target's. Null when it must not be read. */
  async #names(candidate: Candidate): Promise<string[] | null> {
    const { discovery, tail } = this.options;
    const real = await tail.ops.realpath(candidate.path);
    const folder = path.dirname(real);
    if (await this.#ownFolders.contain(folder)) return null;
    if (real === candidate.path) return [real];
    await discovery.watchFolder(folder);
    return [candidate.path, real];
  }

  #knowledgeOf(record: FileRecord) {
    const { outlets, checkpoint, config } = this.options;
    return knowledgeOf(checkpoint, config.name, record.id, outlets.map((outlet) => outlet.sink));
  }

  #add(candidate: Candidate, opened: Opened, realPath: string | null): TailedFile {
    const { checkpoint, config, tail, metrics, log } = this.options;
    const { record, isSame, stat } = opened;
    const inode = inodeKey(stat);
    const isReplaced = record !== null && !isSame;
    const generation = record === null ? 0 : isReplaced ? record.generation + 1 : record.generation;
    if (isReplaced) {
      metrics.truncationsCount++;
      log.warn(
        `File "${candidate.path}" holds other content than before, or less: reading it from its start`,
        { source: config.name },
      );
      tail.lost.gone(record, "truncated_unread");
    } else if (record !== null && opened.rewinds.size > 0) this.#rewind(record, opened.rewinds);
    const handle = new OpenFile(opened.fd, inode, candidate.path);
    const file = this.take(
      new TailedFile({
        stream: fileStream(streamId(inode, generation), config.name, record?.path ?? candidate.basePath),
        inode,
        device: String(stat.dev),
        generation,
        sinceNs: isReplaced
          ? bornFromNs(this.options.tail.nowMs())
          : record === null
          ? stat.birthtimeNs
          : BigInt(record.sinceNs),
        handle,
        fingerprint: opened.fingerprint,
        sizeBytes: stat.sizeBytes,
        mtimeMs: stat.mtimeMs,
        lastPath: candidate.path,
        realPath,
      }),
      (id, sink) => {
        const stored = isReplaced ? null : checkpoint.resumeOffset(config.name, id, sink);
        return stored ?? Math.min(candidate.startOffset, stat.sizeBytes);
      },
      isSame ? record : null,
    );
    if (isReplaced) checkpoint.forget(config.name, record.id);
    if (candidate.predecessor !== null) file.follow(candidate.predecessor);
    tail.openFiles.add(handle);
    return file;
  }

  /** The file lost its end while shipper was stopped. */
  #rewind(record: FileRecord, rewinds: ReadonlyMap<string, number>): void {
    const { metrics, tail } = this.options;
    metrics.truncationsCount++;
    tail.lost.tellCutBack(record.lastPath, Math.min(...rewinds.values()));
    for (const [sink, offset] of rewinds) tail.lost.rewind(record, sink, offset);
  }

  /** Takes up the file: makes its tailers, and stores where they start. `known`: the stored stream that it continues. */
  take(
    file: TailedFile,
    startOffset: (id: string, sink: string) => number,
    known: FileRecord | null = null,
  ): TailedFile {
    const { checkpoint, config, outlets, tail, metrics } = this.options;
    const record = this.record(file);
    if (known !== null && known.id !== record.id) checkpoint.adopt(known.id, record);
    this.store(file);
    file.tailers = outlets.map((outlet, index) => {
      const start = startOffset(file.stream.id, outlet.sink);
      checkpoint.startAt(config.name, file.stream.id, outlet.sink, start);
      return new FileTailer(tail, file, outlet, index, start);
    });
    this.byInode.set(file.inode, file);
    this.liveCount++;
    this.#countWatched(metrics);
    return file;
  }

  /** What is stored of it. */
  record(file: TailedFile): FileRecord {
    return fileRecord(this.options.config.name, file);
  }
}
