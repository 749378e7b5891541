/*
 * CPU, ratio, event-loop lag and memory of every codec, as the producer uses them: two batches at a time out of two reused arenas.
 *
 *   bun bench/micro/compression.ts [--file LOG] [--batch BYTES] [CODEC ...]
 *
 * Without --file the lines are made up (like an access log, 176 bytes each). CODEC: gzip snappy lz4 zstd none; and for comparison
 * lz4-wasm (in a Worker), lz4-wasm-inline and lz4-napi, which are not dependencies: `npm install --no-save lz4-wasm lz4-napi`.
 * The CPU includes copying into the arenas (0.1 ns/B), which no codec spares the producer. Each codec runs in a process of its own.
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { createCompressor } from "../../src/kafka/compression.ts";
import type { CompressionCodec } from "../../src/config/config.ts";
import type { Log } from "../../src/telemetry/log.ts";

const TOTAL_BYTES = 176_000_000;
const SAMPLE_BYTES = 44_000_000;
const HEADROOM_BYTES = 61;
const LAG_TICK_MS = 2;

interface Subject {
  allocateArena(sizeBytes: number): Buffer;
  compress(records: Buffer): Promise<{ sizeBytes: number; release(): void }>;
  close(): void;
}

const log: Log = { debug() {}, info() {}, warn: console.warn, error: console.error };

function ours(codec: CompressionCodec): Subject {
  const compressor = createCompressor(codec, null, log);
  return {
    allocateArena: (sizeBytes) => compressor.allocateArena(sizeBytes),
    async compress(records) {
      const compressed = await compressor.compress(records, HEADROOM_BYTES);
      return {
        sizeBytes: compressed.buffer.length - HEADROOM_BYTES,
        release: () => compressed.release(),
      };
    },
    close: () => compressor.close(),
  };
}

function plain(compress: (records: Buffer) => Promise<number>, close: () => void): Subject {
  return {
    allocateArena: (sizeBytes) => Buffer.allocUnsafeSlow(sizeBytes),
    compress: async (records) => ({ sizeBytes: await compress(records), release() {} }),
    close,
  };
}

/**
 * lz4-wasm's block call. The package imports its .wasm as bundlers do, which Bun does not, so it is started by hand, as a program that took
 * it would have to. A frame header and the block's size would come on top.
 */
const LZ4_WASM = `
  const module = new WebAssembly.Module(bytes);
  const wasm = new WebAssembly.Instance(module, { "./lz4_wasm_bg.js": { __wbindgen_string_new() { return 0; } } }).exports;
  function compress(records) {
    const at = wasm.__wbindgen_malloc(records.length);
    new Uint8Array(wasm.memory.buffer).set(records, at);
    const result = wasm.__wbindgen_add_to_stack_pointer(-16);
    wasm.compress(result, at, records.length);
    const [start, length] = new Int32Array(wasm.memory.buffer, result, 2);
    const out = new Uint8Array(wasm.memory.buffer).slice(start, start + length);
    wasm.__wbindgen_free(start, length);
    wasm.__wbindgen_add_to_stack_pointer(16);
    return out;
  }`;

function lz4Wasm(inWorker: boolean): Subject {
  const bytes = readFileSync("node_modules/lz4-wasm/lz4_wasm_bg.wasm");
  if (!inWorker) {
    const compress = new Function("bytes", `${LZ4_WASM}; return compress;`)(bytes);
    return plain((records) => Promise.resolve(compress(records).length), () => {});
  }
  const source = `const bytes = Uint8Array.from(atob("${bytes.toString("base64")}"), (c) => c.charCodeAt(0));
    ${LZ4_WASM}
    self.onmessage = ({ data }) => { const out = compress(new Uint8Array(data)); postMessage(out.buffer, [out.buffer]); };`;
  const worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  const waiting: ((length: number) => void)[] = [];
  worker.onmessage = (event: MessageEvent<ArrayBuffer>) => waiting.shift()!(event.data.byteLength);
  return plain((records) => {
    const copy = new Uint8Array(records).buffer;
    worker.postMessage(copy, [copy]);
    return new Promise((resolve) => waiting.push(resolve));
  }, () => worker.terminate());
}

async function subject(name: string): Promise<Subject> {
  if (name === "lz4-napi") {
    const napi = "lz4-napi";
    const library = await import(napi);
    return plain(async (records) => (await library.compressFrame(records)).length, () => {});
  }
  if (name === "lz4-wasm" || name === "lz4-wasm-inline") return lz4Wasm(name === "lz4-wasm");
  return ours(name as CompressionCodec);
}

function sample(file: string | undefined): Buffer {
  if (file !== undefined) return readFileSync(file);
  let state = 12_345;
  const below = (limit: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % limit;
  };
  const agents = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0",
    "curl/8.5.0",
  ];
  const paths = [
    "/api/v1/users/",
    "/api/v1/orders/",
    "/static/js/app.",
    "/images/products/",
    "/search?q=item",
  ];
  const lines: string[] = [];
  let timeMs = 1_700_000_000_000;
  for (let sizeBytes = 0; sizeBytes < SAMPLE_BYTES;) {
    timeMs += below(40);
    const address = `${below(223) + 1}.${below(256)}.${below(256)}.${below(256)}`;
    const request = `"GET ${paths[below(5)]}${below(100_000)} HTTP/1.1" ${below(7) === 0 ? 404 : 200} ${
      below(50_000)
    }`;
    const line = `${address} - - [${new Date(timeMs).toISOString()}] ${request} "https://www.example.com/" "${
      agents[below(3)]
    }"\n`;
    lines.push(line);
    sizeBytes += line.length;
  }
  return Buffer.from(lines.join(""), "latin1");
}

async function measure(name: string, input: Buffer, batchBytes: number): Promise<void> {
  const tested = await subject(name);
  const arenas = [tested.allocateArena(batchBytes), tested.allocateArena(batchBytes)];
  let outBytes = 0;
  let inBytes = 0;
  let at = 0;
  let rssMax = 0;
  // What is done at once would never let the timer run.
  const yields = name === "none" || name === "lz4-wasm-inline";
  const drain = async (arena: Buffer, untilBytes: number) => {
    while (inBytes < untilBytes) {
      if (at + batchBytes > input.length) at = 0;
      input.copy(arena, 0, at, at + batchBytes);
      at += batchBytes;
      inBytes += batchBytes;
      const compressed = await tested.compress(arena);
      if (yields) await new Promise((resolve) => setImmediate(resolve));
      outBytes += compressed.sizeBytes;
      compressed.release();
    }
  };
  const run = (untilBytes: number) => Promise.all(arenas.map((arena) => drain(arena, untilBytes)));
  await run(TOTAL_BYTES / 4);
  inBytes = outBytes = 0;
  const lags: number[] = [];
  let last = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    lags.push(Math.max(0, now - last - LAG_TICK_MS));
    last = now;
    rssMax = Math.max(rssMax, process.memoryUsage.rss());
  }, LAG_TICK_MS);
  const startMs = performance.now();
  const cpu = process.cpuUsage();
  await run(TOTAL_BYTES);
  const used = process.cpuUsage(cpu);
  const elapsedMs = performance.now() - startMs;
  clearInterval(timer);
  lags.sort((a, b) => a - b);
  const perByte = ((used.user + used.system) * 1_000 / inBytes).toFixed(2);
  console.log(
    `${name.padEnd(16)} ${perByte} ns/B  ratio ${(inBytes / outBytes).toFixed(2)}  ${
      (inBytes / elapsedMs / 1_000).toFixed(0)
    } MB/s` +
      `  lag p99 ${lags[Math.floor(lags.length * 0.99)]!.toFixed(1)} max ${lags.at(-1)!.toFixed(1)} ms` +
      `  RSS ${((rssMax - input.length) / 1e6).toFixed(0)} MB without the input`,
  );
  tested.close();
}

const { values, positionals } = parseArgs({
  options: { file: { type: "string" }, batch: { type: "string", default: "1048576" } },
  allowPositionals: true,
});
const names = positionals.length > 0 ? positionals : ["none", "gzip", "snappy", "lz4", "zstd"];
if (names.length === 1) {
  await measure(names[0]!, sample(values.file), Number(values.batch));
} else {
  for (const name of names) {
    const options = ["--batch", values.batch, ...(values.file === undefined ? [] : ["--file", values.file])];
    Bun.spawnSync([process.execPath, import.meta.path, ...options, name], {
      stdio: ["ignore", "inherit", "inherit"],
    });
  }
}
