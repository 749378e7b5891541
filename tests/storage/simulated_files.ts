import { basename } from "node:path";
import type { GroupWriter } from "../../src/storage/group_writer.ts";
import { runJob, type StorageJob } from "../../src/storage/storage_jobs.ts";
import type { StorageOps } from "../../src/storage/storage_ops.ts";

/** Numbers from 0 to below 1, the same for the same seed (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** What goes wrong at a call. "short": half is written. "crash": part is written, and the process is gone. */
export type Fault = "ENOSPC" | "EIO" | "EINTR" | "short" | "crash";

/** Thrown at every call after a "crash": the process that makes it does not exist any more. */
export class Crashed extends Error {}

class File {
  /** What the system shows. */
  cache: Buffer = Buffer.alloc(0);
  /** What is on the device. */
  device: Buffer = Buffer.alloc(0);
  /** Sectors of the cache that the system would still write. */
  readonly dirty = new Set<number>();
}

type NameChange = { readonly name: string; readonly file: File | null }[];

/**
 * One folder of files with a page cache above a device: what is not synced may or may not be there after `powerCut`, sector by sector and
 * name by name. A failed sync forgets that the sectors were to be written, as Linux does, so a second one that "works" saves nothing.
 */
export class SimulatedFiles implements StorageOps {
  readonly #random: () => number;
  readonly #sectorBytes: number;
  readonly #open = new Map<number, File>();
  #names = new Map<string, File>();
  #deviceNames = new Map<string, File>();
  #nameChanges: NameChange[] = [];
  #nextFd = 3;
  #isCrashed = false;
  /** Calls so far that change something. */
  calls = 0;
  /** What goes wrong, by the number of the call. */
  readonly faults = new Map<number, Fault>();
  /** Bytes that fit; what is there is not counted twice. */
  capacityBytes = Infinity;
  dataSyncs = 0;

  constructor(seed: number, sectorBytes = 512) {
    this.#random = randomNumbers(seed);
    this.#sectorBytes = sectorBytes;
  }

  /** The machine loses power: returns what it finds afterwards. Works without a "crash" before as well. */
  powerCut(): void {
    const names = new Map(this.#deviceNames);
    for (const change of this.#nameChanges) {
      if (this.#random() < 0.5) this.#apply(change, names);
    }
    this.#names = names;
    for (const file of new Set(names.values())) this.#loseSome(file);
    this.#settle();
  }

  /** The process is killed: what it wrote is there. */
  kill(): void {
    this.#open.clear();
    this.#isCrashed = false;
    this.faults.clear();
  }

  /** A file's content, to be looked at or changed in place. */
  content(name: string): Buffer {
    const file = this.#names.get(name);
    if (file === undefined) throw new Error(`No file ${name}`);
    return file.cache;
  }

  put(name: string, content: Buffer): void {
    const file = new File();
    file.cache = content;
    this.#names.set(name, file);
    this.#deviceNames = new Map(this.#names);
  }

  delete(name: string): void {
    this.#names.delete(name);
    this.#deviceNames.delete(name);
  }

  makeDir(): void {}

  list(): string[] {
    return [...this.#names.keys()];
  }

  openRead(path: string): number {
    return this.#openFile(this.#find(path));
  }

  openWrite(path: string): number {
    this.#call();
    const name = basename(path);
    let file = this.#names.get(name);
    if (file === undefined) {
      file = new File();
      this.#change([{ name, file }]);
    }
    return this.#openFile(file);
  }

  size(path: string): number {
    return this.#find(path).cache.length;
  }

  read(fd: number, target: Uint8Array, offset: number, length: number, position: number): number {
    const { cache } = this.#fileOf(fd);
    if (position >= cache.length) return 0;
    return cache.copy(target, offset, position, Math.min(cache.length, position + length));
  }

  write(fd: number, source: Uint8Array, offset: number, length: number, position: number): number {
    const file = this.#fileOf(fd);
    const fault = this.#nextFault();
    if (fault === "EINTR" || fault === "EIO") throw systemError(fault);
    let taken = length;
    if (fault !== null) {
      taken = fault === "short" ? Math.ceil(length / 2) : Math.floor(length * this.#random());
    }
    const grown = Math.max(0, position + taken - file.cache.length);
    const isFull = grown > 0 && this.usedBytes() + grown > this.capacityBytes;
    if (isFull) taken = 0;
    if (taken > 0) this.#put(file, Buffer.from(source.buffer, source.byteOffset + offset, taken), position);
    if (fault === "crash") this.#crash();
    if (fault === "ENOSPC" || isFull) throw systemError("ENOSPC");
    return taken;
  }

  truncate(fd: number, sizeBytes: number): void {
    this.#call();
    const file = this.#fileOf(fd);
    const { length } = file.cache;
    file.cache = Buffer.concat([
      file.cache.subarray(0, sizeBytes),
      Buffer.alloc(Math.max(0, sizeBytes - length)),
    ]);
    const last = Math.floor(Math.max(0, sizeBytes - 1) / this.#sectorBytes);
    for (const sector of [...file.dirty]) if (sector > last) file.dirty.delete(sector);
    file.dirty.add(last);
  }

  dataSync(fd: number): void {
    const file = this.#fileOf(fd);
    const fault = this.#nextFault();
    if (fault === "EINTR") throw systemError("EIO");
    if (fault === "EIO" || fault === "ENOSPC") {
      this.#loseSomeDirty(file);
      throw systemError(fault);
    }
    if (fault === "crash") this.#crash();
    this.dataSyncs++;
    this.#grow(file);
    if (file.device.length > file.cache.length) file.device = file.device.subarray(0, file.cache.length);
    for (const sector of file.dirty) this.#save(file, sector);
    file.dirty.clear();
  }

  syncDir(): void {
    this.#call();
    this.#deviceNames = new Map(this.#names);
    this.#nameChanges = [];
  }

  close(fd: number): void {
    this.#open.delete(fd);
  }

  rename(from: string, to: string): void {
    this.#call();
    const file = this.#find(from);
    this.#change([{ name: basename(from), file: null }, { name: basename(to), file }]);
  }

  remove(path: string): void {
    this.#call();
    this.#find(path);
    this.#change([{ name: basename(path), file: null }]);
  }

  usedBytes(): number {
    let sum = 0;
    for (const file of this.#names.values()) sum += file.cache.length;
    return sum;
  }

  /** A call without bytes. */
  #call(): void {
    const fault = this.#nextFault();
    if (fault === "crash") this.#crash();
    if (fault !== null && fault !== "short" && fault !== "EINTR") throw systemError(fault);
  }

  #nextFault(): Fault | null {
    if (this.#isCrashed) throw new Crashed();
    const fault = this.faults.get(this.calls++) ?? null;
    return fault;
  }

  #crash(): never {
    this.#isCrashed = true;
    throw new Crashed();
  }

  #openFile(file: File): number {
    if (this.#isCrashed) throw new Crashed();
    this.#open.set(this.#nextFd, file);
    return this.#nextFd++;
  }

  #fileOf(fd: number): File {
    if (this.#isCrashed) throw new Crashed();
    const file = this.#open.get(fd);
    if (file === undefined) throw systemError("EBADF");
    return file;
  }

  #find(path: string): File {
    const file = this.#names.get(basename(path));
    if (file === undefined) throw systemError("ENOENT");
    return file;
  }

  #change(change: NameChange): void {
    this.#apply(change, this.#names);
    this.#nameChanges.push(change);
  }

  #apply(change: NameChange, names: Map<string, File>): void {
    for (const { name, file } of change) {
      if (file === null) names.delete(name);
      else names.set(name, file);
    }
  }

  #put(file: File, bytes: Buffer, position: number): void {
    const end = position + bytes.length;
    if (end > file.cache.length) {
      file.cache = Buffer.concat([file.cache, Buffer.alloc(end - file.cache.length)]);
    }
    bytes.copy(file.cache, position);
    const last = Math.floor((end - 1) / this.#sectorBytes);
    for (let s = Math.floor(position / this.#sectorBytes); s <= last; s++) file.dirty.add(s);
  }

  #save(file: File, sector: number): void {
    const start = sector * this.#sectorBytes;
    file.cache.copy(file.device, start, start, start + this.#sectorBytes);
  }

  #grow(file: File): void {
    const missing = file.cache.length - file.device.length;
    if (missing > 0) file.device = Buffer.concat([file.device, Buffer.alloc(missing)]);
  }

  #loseSomeDirty(file: File): void {
    if (this.#random() < 0.5) this.#grow(file);
    for (const sector of file.dirty) if (this.#random() < 0.5) this.#save(file, sector);
    file.dirty.clear();
  }

  #loseSome(file: File): void {
    this.#loseSomeDirty(file);
    file.cache = Buffer.from(file.device);
  }

  #settle(): void {
    this.#deviceNames = new Map(this.#names);
    this.#nameChanges = [];
    this.kill();
  }
}

/** Does its jobs one by one, when the test says so: what is not done when the test crashes never happens. */
export class SteppedWriter implements GroupWriter {
  readonly #ops: StorageOps;
  readonly #jobs: { job: StorageJob; resolve: (value: number) => void; reject: (error: unknown) => void }[] =
    [];

  constructor(ops: StorageOps) {
    this.#ops = ops;
  }

  allocate(sizeBytes: number): Buffer {
    return Buffer.alloc(sizeBytes);
  }

  run(job: StorageJob): Promise<number> {
    return new Promise((resolve, reject) => this.#jobs.push({ job, resolve, reject }));
  }

  /** Does the next job. False when there is none. */
  step(): boolean {
    const next = this.#jobs.shift();
    if (next === undefined) return false;
    try {
      next.resolve(runJob(this.#ops, next.job));
    } catch (error) {
      // Nobody hears of a crash.
      if (!(error instanceof Crashed)) next.reject(error);
    }
    return true;
  }

  /** Does what there is, and what follows from it, until `isDone`. Rejects after far too many turns. */
  async until(isDone: () => boolean): Promise<void> {
    for (let turns = 0; !isDone(); turns++) {
      if (turns > 300_000) throw new Error("The log does not come to an end");
      this.step();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  close(): void {
    this.#jobs.length = 0;
  }
}

function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: simulated`), { code });
}
