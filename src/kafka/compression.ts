import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { CompressionCodec } from "../config/config.ts";
import type { Log } from "../telemetry/log.ts";
import { CompressionThread, THREAD_LOST } from "./compression_thread.ts";
import { compressedSizeMax, type KernelHost, kernelHost, TABLE_BYTES } from "./kernels.ts";

const gzipAsync = promisify(gzip);

/** The `compression.type` bits of a record batch's attributes. */
export const CODEC_IDS: Readonly<Record<CompressionCodec, number>> = {
  none: 0,
  gzip: 1,
  snappy: 2,
  lz4: 3,
  zstd: 4,
};

/**
 * Level where the configuration names none. zstd 1 and 3 compress access logs equally well, and 1 takes three quarters of the time; gzip 1
 * takes a third of gzip 6.
 */
const DEFAULT_LEVELS = { gzip: 1, zstd: 1 } as const;

/** Compressions that run at the same time; more wait, because the thread pool that gzip and zstd share with file reads may have two threads. */
const RUNNING_MAX = 2;

/**
 * LZ4 and snappy of at most this many bytes are done at once on the calling thread: they take less than 0.1 ms there, handing them over
 * takes as long, and a shipper with little to do never pays for the Worker.
 */
export const INLINE_BYTES_MAX = 65_536;

/** Compressed records. Whoever got it owns it until `release`. */
export interface CompressedBuffer {
  /** The headroom, whose content is arbitrary and the owner's to write, then the compressed bytes. */
  readonly buffer: Buffer;
  /** Gives the memory back; `buffer` must not be used any more. Once: a second call throws. */
  release(): void;
}

/** Compresses record batches off the main thread, as Kafka's Java client reads them. */
export interface Compressor {
  /** The codec in the attributes of a record batch: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd. */
  readonly codecId: number;
  /**
   * Memory for records. From an arena LZ4 and snappy are compressed and all codecs are hashed (`crc32c`) without a copy. Owned by the caller
   * until `releaseArena`.
   */
  allocateArena(sizeBytes: number): Buffer;
  /** Takes back what `allocateArena` returned (that Buffer itself, not a view of it). */
  releaseArena(arena: Buffer): void;
  /**
   * Compresses `records`, which must stay valid and unchanged until the promise settles. Runs at most two at a time, in any order; the
   * result has `headroomBytes` of room in front. Rejects when the codec fails or memory ran out; the records are untouched then.
   */
  compress(records: Buffer, headroomBytes: number): Promise<CompressedBuffer>;
  /** Ends the Worker, if there is one. What is running is finished on the calling thread. */
  close(): void;
}

/** A compressor for `codec`; `level` is used by gzip (1-9) and zstd (1-22), null means the default. */
export function createCompressor(codec: CompressionCodec, level: number | null, log: Log): Compressor {
  const host = kernelHost();
  return new LimitedCompressor(CODEC_IDS[codec], host, createCodec(codec, level, host, log));
}

class LimitedCompressor implements Compressor {
  readonly codecId: number;
  readonly #host: KernelHost;
  readonly #codec: Codec;
  #runningCount = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(codecId: number, host: KernelHost, codec: Codec) {
    this.codecId = codecId;
    this.#host = host;
    this.#codec = codec;
  }

  allocateArena(sizeBytes: number): Buffer {
    return this.#host.shared.allocate(sizeBytes);
  }

  releaseArena(arena: Buffer): void {
    this.#host.shared.free(arena);
  }

  async compress(records: Buffer, headroomBytes: number): Promise<CompressedBuffer> {
    if (this.#runningCount >= RUNNING_MAX) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#runningCount++;
    try {
      return new Compressed(this.#host, await this.#codec.run(records, headroomBytes));
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#runningCount--;
      else next();
    }
  }

  close(): void {
    this.#codec.close();
  }
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

