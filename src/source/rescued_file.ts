import type { FileRecord } from "../checkpoint/position_file.ts";
import { errnoName } from "../errors.ts";
import { fileStream } from "../event/stream.ts";
import type { FileCatalog } from "./file_catalog.ts";
import { START_PAUSE_MS, START_TRIES_MS } from "./file_chain.ts";
import { recordInodeKey } from "./file_identity.ts";
import { knowledgeOf, MarkCheck } from "./mark_check.ts";
import { OpenFile } from "./open_files.ts";
import type { RescueCopy, VerifiedCopy } from "./rescue_copy.ts";
import type { RescueGuard } from "./rescue_guard.ts";
import { TailedFile } from "./tailed_file.ts";

/** The copies that a start reads in the place of files that are gone. Where one cannot be read for long, newer files of its path are read before it. */
export class RescuedFiles {
  readonly #catalog: FileCatalog;
  /** Streams whose files are nowhere and that have a copy, by id; null: it cannot be read now. */
  readonly #found = new Map<string, RescuedStream | null>();
  /** Those of them that are tried again with every scan. */
  readonly #unread = new Map<string, FileRecord>();
  #startTriesMs = START_TRIES_MS;

  constructor(catalog: FileCatalog) {
    this.#catalog = catalog;
  }

  /** Whether there is a copy of a file that is nowhere; that it cannot be read now is told. */
  async find(record: FileRecord): Promise<boolean> {
    const { guard } = this.#catalog.options;
    try {
      const found = await findRescued(guard ?? null, record);
      if (found !== null) this.#found.set(record.id, found);
      return found !== null;
    } catch (error) {
      this.#failed(record, error);
      return true;
    }
  }

  has(id: string): boolean {
    return this.#found.has(id);
  }

  /**
   * At the start: reads the copy that was found behind `predecessor`, with some patience; what cannot be read then is read later, and others before it. Returns
   * the end of the chain.
   */
  async register(id: string, predecessor: TailedFile | null): Promise<TailedFile | null> {
    for (;;) {
      const file = await this.#read(id, predecessor);
      if (file !== null) return file;
      const record = this.#unread.get(id);
      if (record === undefined || this.#startTriesMs <= 0) return predecessor;
      this.#startTriesMs -= START_PAUSE_MS;
      await Bun.sleep(START_PAUSE_MS);
      this.#unread.delete(id);
      if (!await this.find(record)) return predecessor;
    }
  }

  /** Tries once more to read what could not be read. */
  async retry(): Promise<void> {
    for (const record of [...this.#unread.values()]) {
      this.#unread.delete(record.id);
      // It was moved back: the next start removes the copy.
      if (this.#catalog.byInode.has(recordInodeKey(record))) continue;
      if (await this.find(record)) await this.#read(record.id, null);
    }
  }

  /** Null: it cannot be read now. */
  async #read(id: string, predecessor: TailedFile | null): Promise<TailedFile | null> {
    const found = this.#found.get(id) ?? null;
    if (found === null) return null;
    try {
      const file = await registerRescued(this.#catalog, found, predecessor);
      this.#catalog.options.discovery.works(found.record.lastPath);
      return file;
    } catch (error) {
      this.#failed(found.record, error);
      return null;
    }
  }

  #failed(record: FileRecord, error: unknown): void {
    if (errnoName(error) === "UNKNOWN") throw error;
    const { discovery, tail, metrics } = this.#catalog.options;
    discovery.tellFailure(record.lastPath, "read the copy in data_dir of", error);
    this.#found.set(record.id, null);
    // Whoever reads once has no other try.
    if (tail.isOnce) metrics.unopenedFilesCount++;
    else this.#unread.set(record.id, record);
  }
}

/** A stored stream whose file is nowhere, and what an earlier run has copied of it. */
export interface RescuedStream {
  readonly record: FileRecord;
  readonly copy: RescueCopy;
  readonly verified: VerifiedCopy;
}

/**
 * The copy of a stream that is nowhere else; null when there is none, or nothing of it is whole. Rejects with the system's error when it cannot be
 * read.
 */
async function findRescued(
  guard: RescueGuard | null,
  record: FileRecord,
): Promise<RescuedStream | null> {
  const copy = guard?.store.copyOf(record.source, record.id) ?? null;
  if (copy === null) return null;
  const needs = guard!.store.needs(record.source, record.id) ?? copy.startOffset;
  const verified = await copy.verify(needs);
  return verified === null ? null : { record, copy, verified };
}

/** Reads the copy behind `predecessor`, as a file that nobody writes to any more. Rejects with the system's error. */
async function registerRescued(
  catalog: FileCatalog,
  { record, copy, verified }: RescuedStream,
  predecessor: TailedFile | null,
): Promise<TailedFile> {
  const { checkpoint, config, tail, log } = catalog.options;
  const { fd, device, ends } = await openCopy(catalog, { record, copy, verified });
  const inode = recordInodeKey(record);
  const handle = new OpenFile(fd, inode, copy.dataPath);
  handle.reopenPath = null; // the copy has an inode of its own
  const file = new TailedFile({
    stream: fileStream(record.id, record.source, record.path),
    inode,
    device,
    generation: record.generation,
    sinceNs: BigInt(record.sinceNs),
    handle,
    fingerprint: { sizeBytes: record.fingerprintBytes, hash: record.fingerprint },
    sizeBytes: verified.linesEndOffset,
    mtimeMs: 0,
    lastPath: record.lastPath,
    isRescued: true,
  });
  // A sink that is new gets nothing of it: where its lines start is in the hole.
  catalog.take(file, (id, sink) => checkpoint.resumeOffset(config.name, id, sink) ?? verified.linesEndOffset);
  for (const tailer of file.tailers) tailer.endMax = Math.max(tailer.offset, ends.get(tailer.outlet.sink)!);
  tail.openFiles.add(handle);
  if (predecessor !== null) file.follow(predecessor);
  file.isUnlinked = true;
  file.rotatedMs = tail.monotonicMs();
  catalog.options.guard?.add(file);
  file.wake();
  log.info(
    `File "${record.lastPath}" is gone: reading on in the copy of bytes ${verified.startOffset} to ${verified.endOffset} in data_dir`,
    { source: config.name },
  );
  return file;
}

/** The copy's descriptor, which belongs to the caller, and up to where each sink may read. */
async function openCopy(catalog: FileCatalog, { record, copy, verified }: RescuedStream) {
  const { checkpoint, config, tail: { ops }, outlets } = catalog.options;
  const fd = await ops.open(copy.dataPath);
  try {
    const device = String((await ops.fstat(fd)).dev);
    const known = knowledgeOf(checkpoint, config.name, record.id, outlets.map((outlet) => outlet.sink));
    const check = new MarkCheck(ops, fd);
    const ends = new Map<string, number>();
    for (const each of known) ends.set(each.sink, await endFor(catalog, record, verified, each, check));
    return { fd, device, ends };
  } catch (error) {
    ops.close(fd);
    throw error;
  }
}

/** Up to where a sink may read. What it is known to miss behind that is counted as lost. */
async function endFor(
  { options: { checkpoint, config, tail } }: FileCatalog,
  record: FileRecord,
  verified: VerifiedCopy,
  { sink, end, marks }: ReturnType<typeof knowledgeOf>[number],
  check: MarkCheck,
): Promise<number> {
  const cursor = checkpoint.resumeOffset(config.name, record.id, sink) ?? verified.linesEndOffset;
  const { startOffset, endOffset, linesEndOffset } = verified;
  const held = marks.filter((mark) => mark.startOffset >= startOffset && mark.endOffset <= endOffset);
  const same = await check.newestSame(held);
  const isKept = cursor >= startOffset;
  const isSame = same === (held.at(-1) ?? null);
  if (isKept && isSame && end <= endOffset) return Math.max(end, linesEndOffset);
  // The copy ends in front of what was read, or it holds other bytes: what is behind the last region that fits was in part in batches.
  const sameEnd = isKept ? Math.max(cursor, same?.endOffset ?? 0) : cursor;
  tail.lost.tornCopy(record, sink, sameEnd);
  return sameEnd;
}
