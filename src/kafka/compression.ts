import type { CompressionCodec } from "../config/config.ts";
import type { Log } from "../telemetry/log.ts";
import { type ActiveCodec, type CompressionJob, runJob } from "./compression_job.ts";
import { CompressionThread, THREAD_LOST } from "./compression_thread.ts";
import { prepareCrc32c } from "./crc32c.ts";
import { compressedSizeMax, type KernelHost, kernelHost } from "./kernels.ts";

/** The compression bits of a record batch's attributes. */
export const CODEC_IDS: Readonly<Record<CompressionCodec, number>> = {
  none: 0,
  gzip: 1,
  snappy: 2,
  lz4: 3,
  zstd: 4,
};

/**
 * Level where the configuration names none. zstd 3 takes 1.4 times as long as 1 and is no smaller on access logs; gzip (libdeflate) 6 takes
 * 2.3 times as long as 1.
 */
const DEFAULT_LEVEL = 1;

/** Compressions that are under way at the same time; the others wait without memory for their result. */
const RUNNING_MAX = 2;

/**
 * Up to this many bytes are compressed at once on the calling thread: handing them over costs 20 µs of CPU and a few wake-ups, the work
 * itself takes 0.1 ms (gzip 0.3), and a shipper with little to do never pays for the Worker's memory.
 */
export const INLINE_BYTES_MAX = 65_536;

/** Higher levels are too slow for the calling thread: zstd 19 takes tens of milliseconds for 64 KiB. */
const INLINE_LEVEL_MAX = 3;

/** Compressed records. Whoever got it owns it until `release`. */
export interface CompressedBuffer {
  /** The headroom, whose content is arbitrary and the owner's to write, then the compressed bytes. */
  readonly buffer: Buffer;
  /** Gives the memory back; `buffer` must not be used any more. Once: a second call throws. */
  release(): void;
}

/** Compresses the records of batches off the main thread, so that Kafka's Java client can read them. */
export interface Compressor {
  /** The codec in the attributes of a record batch: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd. */
  readonly codecId: number;
  /**
   * Memory for records. From here they are compressed and hashed (`crc32c`) where they are; other memory is copied first (0.1 ns a byte).
   * Owned by the caller until `releaseArena`. When the shared memory is at its limit (many sinks that stand still), it is ordinary memory.
   */
  allocateArena(sizeBytes: number): Buffer;
  /** Takes back what `allocateArena` returned: that Buffer itself, not a view of it. */
  releaseArena(arena: Buffer): void;
  /**
   * Compresses `records`, which must stay valid and unchanged until the promise settles; the result has `headroomBytes` of room in front.
   * At most two run at a time, in any order. Rejects when the codec fails or memory ran out; the records are untouched then.
   */
  compress(records: Buffer, headroomBytes: number): Promise<CompressedBuffer>;
  /** Ends the Worker, if there is one, after what it is doing. What is compressed afterwards is done on the calling thread. */
  close(): void;
}

/** A compressor for `codec`; `level` is used by gzip (1-12) and zstd (1-22), null means the default. */
export function createCompressor(codec: CompressionCodec, level: number | null, log: Log): Compressor {
  const host = kernelHost();
  prepareCrc32c();
  if (codec === "none") return new NoCompressor(host);
  return new ThreadedCompressor(codec, level ?? DEFAULT_LEVEL, host, new CompressionThread(host, log));
}

/** Keeps records as they are. Copies them behind the headroom, which a producer does better itself. */
class NoCompressor implements Compressor {
  readonly codecId: number = CODEC_IDS.none;
  readonly #host: KernelHost;

  constructor(host: KernelHost) {
    this.#host = host;
  }

  allocateArena(sizeBytes: number): Buffer {
    return allocateArena(this.#host, sizeBytes);
  }

  releaseArena(arena: Buffer): void {
    releaseArena(this.#host, arena);
  }

  async compress(records: Buffer, headroomBytes: number): Promise<CompressedBuffer> {
    const target = this.#host.shared.allocate(headroomBytes + records.length);
    records.copy(target, headroomBytes);
    return new Compressed(this.#host, target);
  }

  close(): void {}
}

/** Compresses small batches at once and large ones in a Worker. Made by `createCompressor`; exported for tests. */
export class ThreadedCompressor implements Compressor {
  readonly codecId: number;
  readonly #codec: ActiveCodec;
  readonly #level: number;
  readonly #host: KernelHost;
  readonly #thread: CompressionThread;
  readonly #inlineBytesMax: number;
  #runningCount = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(codec: ActiveCodec, level: number, host: KernelHost, thread: CompressionThread) {
    this.codecId = CODEC_IDS[codec];
    this.#codec = codec;
    this.#level = level;
    this.#host = host;
    this.#thread = thread;
    const isFast = codec === "lz4" || codec === "snappy" || level <= INLINE_LEVEL_MAX;
    this.#inlineBytesMax = isFast ? INLINE_BYTES_MAX : 0;
  }

  allocateArena(sizeBytes: number): Buffer {
    return allocateArena(this.#host, sizeBytes);
  }

  releaseArena(arena: Buffer): void {
    releaseArena(this.#host, arena);
  }

  async compress(records: Buffer, headroomBytes: number): Promise<CompressedBuffer> {
    if (this.#runningCount >= RUNNING_MAX) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#runningCount++;
    try {
      return new Compressed(this.#host, await this.#compressShared(records, headroomBytes));
    } finally {
      // The place goes to the next one directly, so that nobody else can take it meanwhile.
      const next = this.#waiting.shift();
      if (next === undefined) this.#runningCount--;
      else next();
    }
  }

  close(): void {
    this.#thread.close();
  }

  /** Makes sure that the records are in shared memory, and takes memory for the result. */
  async #compressShared(records: Buffer, headroomBytes: number): Promise<Buffer> {
    const { shared } = this.#host;
    if (shared.addressOf(records) !== 0) return await this.#compressTo(records, headroomBytes);
    const copy = shared.allocate(records.length);
    try {
      records.copy(copy);
      return await this.#compressTo(copy, headroomBytes);
    } finally {
      shared.free(copy);
    }
  }

  async #compressTo(records: Buffer, headroomBytes: number): Promise<Buffer> {
    const { shared } = this.#host;
    const targetLength = compressedSizeMax(records.length);
    const target = shared.allocate(headroomBytes + targetLength);
    try {
      const sizeBytes = await this.#run({
        codec: this.#codec,
        level: this.#level,
        source: shared.addressOf(records),
        length: records.length,
        target: shared.addressOf(target) + headroomBytes,
        targetLength,
      });
      return shared.shrink(target, headroomBytes + sizeBytes);
    } catch (error) {
      shared.free(target);
      throw error;
    }
  }

  async #run(job: CompressionJob): Promise<number> {
    if (job.length > this.#inlineBytesMax) {
      const sizeBytes = await this.#thread.run(job);
      if (sizeBytes !== THREAD_LOST) return sizeBytes;
      // Without the Worker nothing here would wait for the event loop, and a row of large batches would keep everything else waiting.
      await new Promise((resolve) => setImmediate(resolve));
    }
    return runJob(job, this.#host);
  }
}

function allocateArena({ shared }: KernelHost, sizeBytes: number): Buffer {
  try {
    return shared.allocate(sizeBytes);
  } catch (error) {
    if (error instanceof RangeError) return Buffer.allocUnsafeSlow(sizeBytes);
    throw error;
  }
}

function releaseArena({ shared }: KernelHost, arena: Buffer): void {
  if (shared.addressOf(arena) !== 0) shared.free(arena);
}

class Compressed implements CompressedBuffer {
  readonly buffer: Buffer;
  readonly #host: KernelHost;
  #isReleased = false;

  constructor(host: KernelHost, buffer: Buffer) {
    this.#host = host;
    this.buffer = buffer;
  }

  release(): void {
    if (this.#isReleased) throw new Error("Cannot release compressed records that were released before");
    this.#isReleased = true;
    this.#host.shared.free(this.buffer);
  }
}
