import { KERNELS_WASM_BASE64 } from "./kernels_wasm.ts";

/**
 * The byte work that plain TypeScript is too slow for (CRC-32C, LZ4, snappy), compiled from `wasm/`. Addresses and lengths are bytes in
 * the shared memory; what is written needs room for the worst case (`compressedSizeMax`) plus `SLACK_BYTES`.
 */
export interface Kernels {
  crc32cPrepare(work: number): void;
  /** The CRC as a signed 32-bit number. */
  crc32c(source: number, length: number, seed: number, work: number): number;
  /** Size of the LZ4 frame at `target`. `table` holds `TABLE_BYTES`. */
  lz4Frame(source: number, length: number, target: number, table: number): number;
  /** Size of the xerial stream at `target`. `table` holds `TABLE_BYTES`. */
  snappyXerial(source: number, length: number, target: number, table: number): number;
}

/** Scratch memory of a compressor; each thread needs its own. */
export const TABLE_BYTES = 16_384;

/** Scratch memory of the CRC: tables, window and a piece, see `wasm/crc32c.ts`. */
export const CRC_WORK_BYTES = 18_432;

/** The compressors read and write up to this many bytes behind what they were given. */
export const SLACK_BYTES = 64;

/** Most that the shared memory grows to; part of the address space is reserved for it, not memory. */
export const SHARED_MEMORY_MAX_BYTES = 512 * 1024 * 1024;

/**
 * What it starts with, and grows by at least. A grow takes about a millisecond and makes a new SharedArrayBuffer, pages that nobody
 * touched cost nothing: so it is rare.
 */
const STEP_BYTES = 32 * 1024 * 1024;

const PAGE_BYTES = 65_536;
const GRANULE_BYTES = 1_024;
/** Never handed out: address 0 means "not here". */
const RESERVED_BYTES = 1_024;

/** Upper limit of the compressed size of `length` bytes, for every codec here, headers included. */
export function compressedSizeMax(length: number): number {
  return length + Math.ceil(length / 6) + 1_024;
}

/** The compiled kernels. Costs about 0.2 ms. */
export function compileKernels(): WebAssembly.Module {
  return new WebAssembly.Module(Buffer.from(KERNELS_WASM_BASE64, "base64"));
}

/** Kernels over `memory` for the calling thread. */
export function bindKernels(module: WebAssembly.Module, memory: WebAssembly.Memory): Kernels {
  return new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as Kernels;
}

interface Range {
  start: number;
  end: number;
}

/**
 * Memory that the kernels and the compression Worker work in without copying, handed out as plain Buffers: socket.write, Buffer.copy and
 * zlib take them like any other. It grows when needed and never shrinks; pages that nobody touched cost nothing.
 */
export class SharedMemory {
  readonly memory: WebAssembly.Memory;
  readonly #views = new WeakSet<object>();
  #view: ArrayBufferLike;
  /** Free ranges by address, never touching each other. */
  readonly #free: Range[];

  constructor() {
    this.memory = new WebAssembly.Memory({
      initial: STEP_BYTES / PAGE_BYTES,
      maximum: SHARED_MEMORY_MAX_BYTES / PAGE_BYTES,
      shared: true,
    });
    this.#view = this.memory.buffer;
    this.#views.add(this.#view);
    this.#free = [{ start: RESERVED_BYTES, end: STEP_BYTES }];
  }

  /** Memory for `sizeBytes`, with slack behind it, owned by the caller until `free`. Throws RangeError when the limit is reached. */
  allocate(sizeBytes: number): Buffer {
    const wanted = roundUp(sizeBytes + SLACK_BYTES, GRANULE_BYTES);
    let range = this.#free.find((free) => free.end - free.start >= wanted);
    if (range === undefined) range = this.#grow(wanted);
    const start = range.start;
    range.start += wanted;
    if (range.start === range.end) this.#free.splice(this.#free.indexOf(range), 1);
    return Buffer.from(this.#view as ArrayBuffer, start, sizeBytes);
  }

  /** Gives back the end of an allocation and returns the view that is left of it, which takes over the ownership. */
  shrink(buffer: Buffer, sizeBytes: number): Buffer {
    const start = buffer.byteOffset;
    const keptEnd = start + roundUp(sizeBytes + SLACK_BYTES, GRANULE_BYTES);
    const end = start + roundUp(buffer.length + SLACK_BYTES, GRANULE_BYTES);
    if (keptEnd < end) this.#insert({ start: keptEnd, end });
    return Buffer.from(buffer.buffer, start, sizeBytes);
  }

  /** Gives back what `allocate` or `shrink` returned; nobody may use it afterwards. */
  free(buffer: Buffer): void {
    const start = buffer.byteOffset;
    this.#insert({ start, end: start + roundUp(buffer.length + SLACK_BYTES, GRANULE_BYTES) });
  }

  /** Address of the first byte, or 0 when the Buffer lies elsewhere. */
  addressOf(buffer: Buffer): number {
    const backing = buffer.buffer;
    return backing === this.#view || this.#views.has(backing) ? buffer.byteOffset : 0;
  }

  /** Bytes that are handed out, slack included. For tests and metrics. */
  get usedBytes(): number {
    let used = this.#view.byteLength - RESERVED_BYTES;
    for (const range of this.#free) used -= range.end - range.start;
    return used;
  }

  #grow(wanted: number): Range {
    const last = this.#free.at(-1);
    const sizeBytes = this.#view.byteLength;
    const tail = last !== undefined && last.end === sizeBytes ? last.end - last.start : 0;
    const pagesMin = Math.ceil((wanted - tail) / PAGE_BYTES);
    const pagesLeft = (SHARED_MEMORY_MAX_BYTES - sizeBytes) / PAGE_BYTES;
    if (pagesMin > pagesLeft) {
      throw new RangeError(
        `Cannot take ${wanted} bytes more of shared memory: ${sizeBytes} of at most ${SHARED_MEMORY_MAX_BYTES} are in use; ` +
          `lower batch.max_bytes or the number of partitions with large batches`,
      );
    }
    const pages = Math.min(Math.max(pagesMin, STEP_BYTES / PAGE_BYTES), pagesLeft);
    this.memory.grow(pages);
    this.#view = this.memory.buffer;
    this.#views.add(this.#view);
    this.#insert({ start: sizeBytes, end: sizeBytes + pages * PAGE_BYTES });
    return this.#free.at(-1)!;
  }

  #insert(range: Range): void {
    const free = this.#free;
    let at = free.length;
    while (at > 0 && free[at - 1]!.start > range.start) at--;
    const before = free[at - 1];
    const after = free[at];
    if (
      (before !== undefined && before.end > range.start) || (after !== undefined && after.start < range.end)
    ) {
      throw new Error(`Cannot free shared memory at ${range.start}: it was already given back`);
    }
    if (before !== undefined && before.end === range.start) {
      before.end = range.end;
      if (after === undefined || after.start !== range.end) return;
      before.end = after.end;
      free.splice(at, 1);
    } else if (after !== undefined && after.start === range.end) {
      after.start = range.start;
    } else {
      free.splice(at, 0, range);
    }
  }
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}

/** What the main thread works with. `table` is the compressors' scratch memory: calls are synchronous, so all share it. */
export interface KernelHost {
  readonly module: WebAssembly.Module;
  readonly shared: SharedMemory;
  readonly memory: WebAssembly.Memory;
  readonly kernels: Kernels;
  readonly table: number;
}

let host: KernelHost | null = null;

/** The kernels of the main thread: made at the first use, one for the process. */
export function kernelHost(): KernelHost {
  if (host === null) {
    const module = compileKernels();
    const shared = new SharedMemory();
    const { memory } = shared;
    const table = shared.addressOf(shared.allocate(TABLE_BYTES));
    host = { module, shared, memory, kernels: bindKernels(module, memory), table };
  }
  return host;
}
