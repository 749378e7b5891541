import { afterAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { CompressionCodec } from "../../src/config/config.ts";
import {
  type Compressor,
  createCompressor,
  INLINE_BYTES_MAX,
  ThreadedCompressor,
} from "../../src/kafka/compression.ts";
import { CompressionThread } from "../../src/kafka/compression_thread.ts";
import { compressedSizeMax, kernelHost } from "../../src/kafka/kernels.ts";
import type { Log } from "../../src/telemetry/log.ts";
import { decompress, readLz4Frame, readXerial } from "./decompress.ts";
import { silentLog } from "./support.ts";

const CODECS: readonly CompressionCodec[] = ["none", "gzip", "snappy", "lz4", "zstd"];
const HEADROOM_BYTES = 61;
const LARGE_BYTES = 4 * INLINE_BYTES_MAX;

const compressors = new Map<CompressionCodec, Compressor>(
  CODECS.map((codec) => [codec, createCompressor(codec, null, silentLog)]),
);

afterAll(() => {
  for (const compressor of compressors.values()) compressor.close();
});

function noise(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at += 65_536) {
    crypto.getRandomValues(bytes.subarray(at, Math.min(length, at + 65_536)));
  }
  return bytes;
}

function text(length: number): Buffer {
  const lines: string[] = [];
  for (let i = 0, size = 0; size < length; i++) {
    const line = `10.0.${i % 200}.${(i * 7) % 250} - - [2024-05-0${i % 9}] "GET /item/${
      (i * 7_919) % 100_003
    } HTTP/1.1" 200 ${i * 31}\n`;
    lines.push(line);
    size += line.length;
  }
  return Buffer.from(lines.join("")).subarray(0, length);
}

/** Compresses, gives the memory back and returns a copy of the compressed bytes. */
async function compress(compressor: Compressor, records: Buffer): Promise<Buffer> {
  const compressed = await compressor.compress(records, HEADROOM_BYTES);
  const bytes = Buffer.from(compressed.buffer.subarray(HEADROOM_BYTES));
  compressed.release();
  return bytes;
}

/** The same, out of an arena. */
async function compressInArena(compressor: Compressor, content: Buffer): Promise<Buffer> {
  const arena = compressor.allocateArena(content.length);
  content.copy(arena);
  try {
    const bytes = await compress(compressor, arena);
    expect(arena.equals(content)).toBe(true);
    return bytes;
  } finally {
    compressor.releaseArena(arena);
  }
}

const SIZES = [0, 1, 4, 5, 12, 13, 15, 16, 61, 255, 4_096, 65_535, 65_536, 65_537, 262_143, 262_144, 262_145];
const LARGE_SIZES = [1_048_576, 4_194_304];
const CONTENTS = { zeros: (length: number) => Buffer.alloc(length), noise, text };

describe.each([...compressors])("%s", (codec, compressor) => {
  const codecId = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 }[codec];

  test("is known to the broker by its number", () => expect(compressor.codecId).toBe(codecId));

  test.each(Object.entries(CONTENTS))("comes back from every size of %s", async (_, content) => {
    const sizes = codec === "none" ? SIZES : [...SIZES, ...LARGE_SIZES];
    for (const size of sizes) {
      const records = content(size);
      expect(decompress(codec, await compressInArena(compressor, records)).equals(records)).toBe(true);
      expect(decompress(codec, await compress(compressor, records)).equals(records)).toBe(true);
    }
  });

  test("comes back from any mixture of repeats and noise", async () => {
    const piece = fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 90 }), fc.integer({ min: 1, max: 200 }));
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 12 }), fc.nat(80_000), async (pieces, gap) => {
        const repeats = pieces.map(([bytes, count]) => Buffer.concat(Array<Uint8Array>(count).fill(bytes)));
        const records = Buffer.concat([...repeats, text(gap), ...repeats]);
        expect(decompress(codec, await compressInArena(compressor, records)).equals(records)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  test("leaves the headroom to its owner", async () => {
    const compressed = await compressor.compress(text(1_000), HEADROOM_BYTES);
    const want = Buffer.from(compressed.buffer.subarray(HEADROOM_BYTES));
    compressed.buffer.fill(0xee, 0, HEADROOM_BYTES);
    expect(compressed.buffer.subarray(HEADROOM_BYTES).equals(want)).toBe(true);
    compressed.release();
  });

  test("gives all memory back, and only once", async () => {
    const before = kernelHost().shared.usedBytes;
    const results = await Promise.all(
      [10, LARGE_BYTES, 100].map((length) => compressor.compress(text(length), HEADROOM_BYTES)),
    );
    expect(kernelHost().shared.usedBytes).toBeGreaterThan(before);
    for (const result of results) result.release();
    expect(kernelHost().shared.usedBytes).toBe(before);
    expect(() => results[0]!.release()).toThrow("released before");
  });

  test("keeps many batches apart", async () => {
    const contents = Array.from({ length: 24 }, (_, i) => text(LARGE_BYTES + i * 1_000).subarray(i * 100));
    const results = await Promise.all(
      contents.map((content) => compressor.compress(content, HEADROOM_BYTES)),
    );
    for (const [i, result] of results.entries()) {
      expect(decompress(codec, Buffer.from(result.buffer.subarray(HEADROOM_BYTES))).equals(contents[i]!))
        .toBe(true);
      result.release();
    }
  });
});

test.each(["gzip", "zstd"] as const)("a higher level of %s makes smaller batches", async (codec) => {
  const records = text(200_000);
  const sizes: number[] = [];
  for (const level of [1, 9]) {
    const compressor = createCompressor(codec, level, silentLog);
    const compressed = await compress(compressor, records);
    expect(decompress(codec, compressed).equals(records)).toBe(true);
    sizes.push(compressed.length);
    compressor.close();
  }
  expect(sizes[1]!).toBeLessThan(sizes[0]!);
});

test.each(["snappy", "lz4"] as const)("%s stays within the room reserved for it", async (codec) => {
  // Short matches far apart cost most: noise in which every 40 bytes something from 60 kB before comes back.
  const records = noise(300_000);
  for (let at = 61_000; at + 6 < records.length; at += 40) {
    records.copy(records, at, at - 60_000, at - 59_995);
  }
  for (const content of [records, noise(300_000), noise(7), Buffer.alloc(0)]) {
    const compressed = await compress(compressors.get(codec)!, content);
    expect(compressed.length).toBeLessThan(compressedSizeMax(content.length));
    expect(decompress(codec, compressed).equals(content)).toBe(true);
  }
});

describe("the decoders of these tests", () => {
  test("read a frame of the LZ4 tool", () => {
    // printf 'abcabcabcabcabcabcabcabcabcabc\n' | lz4 -BI --no-frame-crc
    const frame = Buffer.from("04224d186040820d0000003f61626303000450636162630a00000000", "hex");
    expect(readLz4Frame(frame).toString()).toBe("abc".repeat(10) + "\n");
  });

  test("refuse damage", async () => {
    const lz4 = await compress(compressors.get("lz4")!, text(5_000));
    const snappy = await compress(compressors.get("snappy")!, text(5_000));
    expect(() => readLz4Frame(lz4.subarray(0, -4))).toThrow();
    expect(() => readXerial(snappy.subarray(0, -1))).toThrow("Cannot decompress");
    lz4[6]! ^= 1;
    expect(() => readLz4Frame(lz4)).toThrow("header checksum");
  });
});

describe("the Worker", () => {
  class Recorder implements Log {
    readonly warnings: string[] = [];
    debug(): void {}
    info(): void {}
    warn(message: string): void {
      this.warnings.push(message);
    }
    error(): void {}
  }

  function workerUrl(source: string): string {
    return URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  }

  test("is replaced after a crash, and nothing is lost meanwhile or when it crashes for ever", async () => {
    const log = new Recorder();
    const crashing = workerUrl(
      `self.onmessage = ({ data }) => { if ("id" in data) throw new Error("struck"); };`,
    );
    const compressor = new ThreadedCompressor(
      "lz4",
      1,
      kernelHost(),
      new CompressionThread(kernelHost(), log, crashing),
    );
    const records = text(LARGE_BYTES);
    for (let i = 0; i < 6; i++) {
      expect(readLz4Frame(await compress(compressor, records)).equals(records)).toBe(true);
    }
    compressor.close();
    const replaced = "The compression thread was lost; another one is started for the next batch";
    const givenUp =
      "The compression thread was lost; batches are compressed on the main thread from now on, which is slower";
    expect(log.warnings).toEqual([replaced, replaced, replaced, givenUp]);
  });

  test("that ends by itself gives its jobs back", async () => {
    const log = new Recorder();
    const ending = workerUrl(`self.onmessage = ({ data }) => { if ("id" in data) process.exit(3); };`);
    const compressor = new ThreadedCompressor(
      "zstd",
      1,
      kernelHost(),
      new CompressionThread(kernelHost(), log, ending),
    );
    const records = text(LARGE_BYTES);
    const both = await Promise.all([compress(compressor, records), compress(compressor, records)]);
    for (const bytes of both) expect(decompress("zstd", bytes).equals(records)).toBe(true);
    compressor.close();
    expect(log.warnings.length).toBeGreaterThan(0);
  });

  test("that can't be loaded is done without", async () => {
    const log = new Recorder();
    const missing = new URL("./no_such_worker.ts", import.meta.url).href;
    const compressor = new ThreadedCompressor(
      "lz4",
      1,
      kernelHost(),
      new CompressionThread(kernelHost(), log, missing),
    );
    const records = text(LARGE_BYTES);
    expect(readLz4Frame(await compress(compressor, records)).equals(records)).toBe(true);
    compressor.close();
    expect(log.warnings).toHaveLength(1);
  });

  test("reports a codec that fails, and the memory comes back", async () => {
    const failing = workerUrl(
      `self.onmessage = ({ data }) => { if ("id" in data) postMessage({ id: data.id, sizeBytes: 0, error: "no way" }); };`,
    );
    const thread = new CompressionThread(kernelHost(), silentLog, failing);
    const compressor = new ThreadedCompressor("lz4", 1, kernelHost(), thread);
    const before = kernelHost().shared.usedBytes;
    await expect(compressor.compress(text(LARGE_BYTES), HEADROOM_BYTES)).rejects.toThrow(
      'Cannot compress a batch: the codec failed with "no way"',
    );
    expect(kernelHost().shared.usedBytes).toBe(before);
    compressor.close();
  });

  test("finishes what it is doing when it is closed, and small and large batches work afterwards", async () => {
    const compressor = createCompressor("lz4", null, silentLog);
    const records = text(LARGE_BYTES);
    const running = [
      compress(compressor, records),
      compress(compressor, records),
      compress(compressor, records),
    ];
    compressor.close();
    for (const bytes of await Promise.all(running)) expect(readLz4Frame(bytes).equals(records)).toBe(true);
    expect(readLz4Frame(await compress(compressor, records)).equals(records)).toBe(true);
    expect(readLz4Frame(await compress(compressor, text(10))).equals(text(10))).toBe(true);
  });

  test("does not keep the process alive", async () => {
    const script = `
      import { createCompressor } from ${
      JSON.stringify(import.meta.resolve("../../src/kafka/compression.ts"))
    };
      const log = { debug() {}, info() {}, warn() {}, error() {} };
      const compressed = await createCompressor("lz4", null, log).compress(Buffer.alloc(${LARGE_BYTES}), 61);
      console.log(compressed.buffer.length > 61);`;
    const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "inherit" });
    const timer = setTimeout(() => child.kill("SIGKILL"), 10_000);
    expect(await new Response(child.stdout).text()).toBe("true\n");
    expect(await child.exited).toBe(0);
    clearTimeout(timer);
  });
});
