import path from "node:path";
import fs from "node:fs";
import { errnoName, StartError } from "../errors.ts";
import type { Log } from "../telemetry/log.ts";
import { untilHung } from "./device_gate.ts";
import { PIECE_BYTES_MAX, RescueCopy } from "./rescue_copy.ts";
import {
  DATA_SUFFIX,
  INDEX_SUFFIX,
  isOfNewer,
  parseIndex,
  RESCUE_FOLDER,
  rescueKey,
} from "./rescue_index.ts";
import { type RescueOps, systemRescueOps } from "./rescue_ops.ts";
import { ToldOnce } from "./told_once.ts";

/** Room that is left to others on the filesystem of data_dir: this share of it, and the journal's next segments at least. */
const FREE_SHARE_MIN = 0.05;
const FREE_BYTES_MIN = 16_777_216;
/** A journal that cannot be written is not waited for longer before a copy is begun. */
const FLUSH_WAIT_MS = 1_000;

export interface RescueStoreOptions {
  readonly dataDir: string;
  /** Bytes of all copies together. 0: none are made. */
  readonly sizeBytesMax: number;
  readonly log: Log;
  /** The lowest offset of a stream that a sink still needs; null when the stream is forgotten. */
  readonly needs: (source: string, id: string) => number | null;
  /** Resolves when the positions, as they are now, are on the disk. */
  readonly flush: () => Promise<void>;
  readonly ops?: RescueOps;
}

/** Why bytes could not be copied now. */
export type Refusal =
  | { readonly reason: "limit" | "space" }
  | { readonly reason: "failed"; readonly code: string };

/** Reads from the file that is copied; see `FileOps.read`. */
export type ReadFile = (target: Buffer, length: number, position: number) => Promise<number>;

/** The same; null when the file is closed. */
export type ReadHeld = (target: Buffer, length: number, position: number) => Promise<number | null>;

/** The copies in `data_dir/rescue`, of all sources. One piece is written at a time, so that of the thread pool one slot is taken at most. */
export class RescueStore {
  readonly #options: RescueStoreOptions;
  readonly #ops: RescueOps;
  readonly #dir: string;
  /** By `rescueKey`. */
  readonly #copies = new Map<string, RescueCopy>();
  readonly #held = new Map<string, ReadHeld>();
  readonly #releasing = new Map<RescueCopy, Promise<void>>();
  readonly #told: ToldOnce;
  #last: Promise<unknown> = Promise.resolve();

  /** Reads what an earlier run has left, synchronously. Copies of streams that are forgotten are removed soon. */
  constructor(options: RescueStoreOptions) {
    this.#options = options;
    this.#ops = options.ops ?? systemRescueOps;
    this.#dir = path.join(options.dataDir, RESCUE_FOLDER);
    this.#told = new ToldOnce(options.log);
    const orphans: string[] = [];
    for (const [name, index] of readRescued(options.dataDir)) {
      if (index === null) {
        orphans.push(name);
        continue;
      }
      const copy = RescueCopy.stored(this.#ops, this.#dir, index);
      if (options.needs(copy.source, copy.id) !== null) {
        this.#copies.set(rescueKey(copy.source, copy.id), copy);
      } else orphans.push(name, path.basename(copy.dataPath));
    }
    // Nothing else is done with these names before.
    if (orphans.length > 0) void this.#exclusive(() => this.#removeOrphans(orphans));
  }

  get isOff(): boolean {
    return this.#options.sizeBytesMax === 0;
  }

  get sizeBytesMax(): number {
    return this.#options.sizeBytesMax;
  }

  /** Bytes in copies of a source. */
  heldBytes(source: string | null = null): number {
    let sum = 0;
    for (const copy of this.#copies.values()) {
      if (source === null || copy.source === source) sum += copy.sizeBytes;
    }
    return sum;
  }

  /** The copy of a stream, if there is one. */
  copyOf(source: string, id: string): RescueCopy | null {
    return this.#copies.get(rescueKey(source, id)) ?? null;
  }

  needs(source: string, id: string): number | null {
    return this.#options.needs(source, id);
  }

  /** The bytes of this stream can be read though nothing leads to its file: `read` is given to `readHeld`, until `unhold`. */
  hold(source: string, id: string, read: ReadHeld): void {
    this.#held.set(rescueKey(source, id), read);
  }

  unhold(source: string, id: string): void {
    this.#held.delete(rescueKey(source, id));
  }

  /** Reads from a file that is open and has no name, whether it is copied or not; null when there is none. Rejects with the system's error. */
  async readHeld(
    source: string,
    id: string,
    target: Buffer,
    length: number,
    position: number,
  ): Promise<number | null> {
    return await this.#held.get(rescueKey(source, id))?.(target, length, position) ?? null;
  }

  /**
   * Copies one more piece of a stream behind what is copied, at most up to `sizeBytes`; the first one from the lowest byte that a sink needs.
   * `isAtEnd`: the file ends at `sizeBytes`. Resolves with the bytes copied (0: there are none) or why none were. Rejects as `read` does.
   */
  async append(
    stream: { readonly source: string; readonly id: string },
    read: ReadFile,
    sizeBytes: number,
  ): Promise<number | Refusal> {
    const { source, id } = stream;
    const known = this.copyOf(source, id);
    const startOffset = known?.endOffset ?? this.needs(source, id);
    if (startOffset === null || startOffset >= sizeBytes) return 0;
    if (this.#limitRoom(known) <= 0) return { reason: "limit" };
    // It could not be removed, though its file was there again.
    if (known?.isOpen === false) return { reason: "failed", code: "EEXIST" };
    // A restart must not look for bytes in front of the copy.
    if (known === null) await this.#flushed();
    const buffer = Buffer.allocUnsafe(Math.min(PIECE_BYTES_MAX, sizeBytes - startOffset));
    const count = await read(buffer, buffer.length, startOffset);
    if (count === 0) return 0;
    return await this.#exclusive(async () => {
      // Its bytes were delivered, and it was removed meanwhile: the next look begins another one.
      if (known?.isRemoved === true) return 0;
      try {
        const room = await this.#room(count, known);
        if (typeof room !== "number") return room;
        const copy = known ?? await RescueCopy.create(this.#ops, this.#dir, { source, id, startOffset });
        this.#copies.set(rescueKey(source, id), copy);
        await copy.append(buffer.subarray(0, room), startOffset + room === sizeBytes);
        return room;
      } catch (error) {
        return refusalOf(error);
      }
    });
  }

  /**
   * Removes the copy when nobody needs it any more, after that is on the disk. Resolves when it is removed, was found to be needed after all, or
   * could not be removed (told; the next start does it). Never rejects.
   */
  release(copy: RescueCopy): Promise<void> {
    let releasing = this.#releasing.get(copy);
    if (releasing === undefined) {
      releasing = this.#options.flush().then(() =>
        this.#exclusive(async () => {
          const needs = this.needs(copy.source, copy.id);
          if (needs === null || needs >= copy.endOffset) await this.#remove(copy);
        })
      ).catch((error: unknown) => this.#tellRemoval(error)).finally(() => this.#releasing.delete(copy));
      this.#releasing.set(copy, releasing);
    }
    return releasing;
  }

  /** Removes a copy at once: its file has a name again. Never rejects. */
  discard(copy: RescueCopy): Promise<void> {
    return this.#exclusive(() => this.#remove(copy)).catch((error: unknown) => this.#tellRemoval(error));
  }

  /** Removes what is delivered by now; what is not stays for the next run. Waits no longer than `timeoutMs`. Never rejects. */
  async close(timeoutMs: number): Promise<void> {
    const delivered = [...this.#copies.values()].filter((copy) => {
      const needs = this.needs(copy.source, copy.id);
      return needs === null || needs >= copy.endOffset;
    });
    if (delivered.length > 0) {
      await untilHung(
        Promise.all(delivered.map((copy) => this.release(copy))).then(() => {}),
        timeoutMs,
        () => {},
      );
    }
    for (const copy of this.#copies.values()) copy.close();
  }

  /** How much of `wanted` there is room for, at least 1. */
  async #room(wanted: number, copy: RescueCopy | null): Promise<number | Refusal> {
    const limitBytes = this.#limitRoom(copy);
    if (limitBytes <= 0) return { reason: "limit" };
    const { freeBytes, totalBytes } = await this.#ops.space(this.#options.dataDir);
    const freeRoomBytes = freeBytes - Math.max(FREE_BYTES_MIN, totalBytes * FREE_SHARE_MIN);
    if (freeRoomBytes < wanted) return { reason: "space" };
    return Math.min(wanted, limitBytes);
  }

  #limitRoom(copy: RescueCopy | null): number {
    return copy?.isFull === true ? 0 : this.sizeBytesMax - this.heldBytes();
  }

  async #remove(copy: RescueCopy): Promise<void> {
    if (copy.isRemoved) return;
    await copy.remove();
    this.#copies.delete(rescueKey(copy.source, copy.id));
  }

  async #removeOrphans(names: readonly string[]): Promise<void> {
    try {
      for (const name of names) await this.#ops.remove(path.join(this.#dir, name));
    } catch (error) {
      this.#tellRemoval(error);
    }
  }

  #tellRemoval(error: unknown): void {
    this.#told.warn(
      "remove",
      `Cannot remove a file in "${this.#dir}" that nobody needs any more (${
        errnoName(error)
      }): the next start tries again`,
    );
  }

  #flushed(): Promise<void> {
    return untilHung(this.#options.flush().catch(() => {}), FLUSH_WAIT_MS, () => {});
  }

  /** One after the other; the one before may have failed. */
  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {}); // its caller is told
    return result;
  }
}

/** `readRescueIndexes` at the start. Throws `StartError` "rescue-unreadable". */
function readRescued(dataDir: string): ReturnType<typeof readRescueIndexes> {
  try {
    return readRescueIndexes(dataDir);
  } catch (error) {
    const code = errnoName(error);
    if (code === "UNKNOWN") throw error;
    throw new StartError(
      "rescue-unreadable",
      `Cannot read the copies of deleted files in "${path.join(dataDir, RESCUE_FOLDER)}": ${code}`,
      "make the folder readable for the user that runs shipper",
    );
  }
}

/**
 * Every file in `data_dir/rescue` by name; an index with what is whole of it, everything that is no
 * copy with null. Those of a newer shipper are left out. Throws the system's error.
 */
export function readRescueIndexes(dataDir: string): Map<string, ReturnType<typeof parseIndex>> {
  const dir = path.join(dataDir, RESCUE_FOLDER);
  const found = new Map<string, ReturnType<typeof parseIndex>>();
  let names: string[];
  try {
    names = fs.readdirSync(dir);
  } catch (error) {
    if (errnoName(error) === "ENOENT") return found;
    throw error;
  }
  const whole = new Set<string>();
  for (const name of names.filter((each) => each.endsWith(INDEX_SUFFIX))) {
    const key = name.slice(0, -INDEX_SUFFIX.length);
    const text = readText(path.join(dir, name));
    if (isOfNewer(text)) {
      for (const suffix of [INDEX_SUFFIX, DATA_SUFFIX]) whole.add(key + suffix);
      continue;
    }
    const index = parseIndex(text);
    const isOwn = index !== null && rescueKey(index.header.source, index.header.id) === key;
    const hasBytes = isOwn && index.pieces.length > 0 && names.includes(key + DATA_SUFFIX);
    found.set(name, hasBytes ? index : null);
    if (hasBytes) whole.add(key + DATA_SUFFIX);
  }
  for (const name of names) if (!found.has(name) && !whole.has(name)) found.set(name, null);
  return found;
}

/** A file that another process removes meanwhile is an empty one. */
function readText(file: string): string {
  try {
    return fs.readFileSync(file, "utf8");
  } catch (error) {
    if (errnoName(error) === "ENOENT") return "";
    throw error;
  }
}

function refusalOf(error: unknown): Refusal {
  const code = errnoName(error);
  if (code === "UNKNOWN") throw error;
  return code === "ENOSPC" || code === "EDQUOT" ? { reason: "space" } : { reason: "failed", code };
}
