/**
 * Ways to write `{"message":"<line>","timestamp":...}` for every line of a 256 KiB chunk. Run: `bun bench/micro/json_envelope.ts`.
 *
 * Every way gets the same chunk, line positions and output buffer, and its output is compared with that of JSON.stringify. All of them
 * include the check that the chunk is UTF-8. `indexOf` and `latin1` rely on what a chunk-wide test found (no control bytes; no
 * backslash), and are measured only where that holds; a product that used them would need a second way for the rest.
 *
 * CPU ns a line of 175 bytes, Bun 1.4.5, x64, 2 shared cores, 2026-11 (two runs, within 5 %):
 *
 *   way            6 quotes   nothing to escape
 *   byteLoop            411                 294
 *   indexOf             292                  85
 *   latin1              246                 251
 *   stringify           373                 289
 *   wasm, 64 KiB         85                  69     <- src/shape/escape_kernel.ts
 *
 * Pieces of 16 KiB take 3 % more, whole chunks no less beyond the noise. Vector instructions were not tried: JavaScriptCore wants AVX
 * for them.
 */
import { isUtf8 } from "node:buffer";
import { ESCAPE_WASM_BASE64 } from "../../src/shape/escape_wasm.ts";

const QUOTE = 34;
const BACKSLASH = 92;
const CHUNK_BYTES = 262_144;
const MIN_MS = 700;

interface Work {
  readonly data: Buffer;
  readonly count: number;
  readonly starts: Uint32Array;
  readonly ends: Uint32Array;
  readonly head: Buffer;
  readonly tail: Buffer;
  /** The tail of an object and the head of the next one. */
  readonly joint: Buffer;
  readonly out: Buffer;
  readonly outStarts: Uint32Array;
  readonly outEnds: Uint32Array;
}

/** Writes all objects; returns the bytes used of `out`. */
type Way = (work: Work) => number;

function eachLine(work: Work, escape: (at: number, start: number, end: number) => number): number {
  const { count, starts, ends, head, tail, joint, out, outStarts, outEnds } = work;
  let at = head.copy(out, 0);
  let start = 0;
  for (let i = 0; i < count; i++) {
    at = escape(at, starts[i]!, ends[i]!);
    outStarts[i] = start;
    outEnds[i] = start = at + tail.length;
    at += joint.copy(out, at, 0, joint.length);
  }
  return start;
}

/** A byte at a time, runs copied. */
function byteLoop(work: Work): number {
  const { data, out } = work;
  isUtf8(data);
  return eachLine(work, (at, start, end) => {
    let run = start;
    for (let i = start; i < end; i++) {
      const byte = data[i]!;
      if (byte >= 32 && byte !== QUOTE && byte !== BACKSLASH) continue;
      at += data.copy(out, at, run, i);
      run = i + 1;
      out[at++] = BACKSLASH;
      out[at++] = byte;
    }
    return at + data.copy(out, at, run, end);
  });
}

/** The positions of all that needs escaping are found by two indexOf per find; control bytes once per chunk by a RegExp. */
function indexOf(work: Work): number {
  const { data, out } = work;
  isUtf8(data);
  // deno-lint-ignore no-control-regex -- control bytes are what is looked for
  if (/[\0-\x09\x0b-\x1f]/.test(data.toString("latin1"))) throw new Error("not for this input");
  let quote = data.indexOf(QUOTE);
  let backslash = data.indexOf(BACKSLASH);
  if (quote === -1) quote = Infinity;
  if (backslash === -1) backslash = Infinity;
  return eachLine(work, (at, start, end) => {
    for (;;) {
      const next = quote < backslash ? quote : backslash;
      if (next >= end) return at + data.copy(out, at, start, end);
      at += data.copy(out, at, start, next);
      out[at++] = BACKSLASH;
      out[at++] = next === quote ? QUOTE : BACKSLASH;
      start = next + 1;
      if (next === quote) {
        if ((quote = data.indexOf(QUOTE, start)) === -1) quote = Infinity;
      } else if ((backslash = data.indexOf(BACKSLASH, start)) === -1) backslash = Infinity;
    }
  });
}

/** The whole chunk as one latin1 string, escaped by JSON.stringify, cut at "\n"; not for chunks that hold backslashes or "\r". */
function latin1(work: Work): number {
  const { data, out, head, tail, outStarts, outEnds, count } = work;
  isUtf8(data);
  if (data.includes(BACKSLASH)) throw new Error("not for this input");
  const text = JSON.stringify(data.toString("latin1", 0, data.length - 1)).slice(1, -1);
  const objects = text.replaceAll("\\n", `${tail.toString("latin1")}\n${head.toString("latin1")}`);
  let used = head.copy(out, 0);
  used += out.write(objects, used, "latin1");
  used += tail.copy(out, used);
  for (let i = 0, start = 0; i < count; i++) {
    outStarts[i] = start;
    const newline = out.indexOf(10, start);
    outEnds[i] = newline === -1 || newline >= used ? used : newline;
    start = outEnds[i]! + 1;
  }
  return used;
}

/** A string per line, the plain way. */
function stringify(work: Work): number {
  const { data, out, count, starts, ends, tail, outStarts, outEnds } = work;
  const rest = "," + tail.toString().slice(2);
  let at = 0;
  for (let i = 0; i < count; i++) {
    outStarts[i] = at;
    at += out.write(`{"message":${JSON.stringify(data.toString("utf8", starts[i], ends[i]))}${rest}`, at);
    outEnds[i] = at;
  }
  return at;
}

type EncodeLines = (...addresses: number[]) => number;

/** Words of 8 bytes in WebAssembly; chunk, positions and output are copied in and out. */
function webAssembly(pieceBytes: number): Way {
  const memory = new WebAssembly.Memory({ initial: 48, maximum: 48 });
  const bytes = Buffer.from(memory.buffer);
  const module = new WebAssembly.Module(Buffer.from(ESCAPE_WASM_BASE64, "base64"));
  const encode = new WebAssembly.Instance(module, { env: { memory } }).exports["encodeLines"] as EncodeLines;
  const columnBytes = 16_384;
  const starts = new Uint32Array(memory.buffer, 0, columnBytes / 4);
  const ends = new Uint32Array(memory.buffer, columnBytes, columnBytes / 4);
  const jointAt = 2 * columnBytes;
  const sourceAt = 3 * columnBytes;
  const targetAt = sourceAt + 512 * 1024;
  return (work) => {
    const { data, out, head, tail, joint } = work;
    isUtf8(data);
    joint.copy(bytes, jointAt);
    head.copy(bytes, targetAt);
    let at = 0;
    for (let i = 0; i < work.count;) {
      const from = work.starts[i]!;
      let to = i;
      while (to < work.count && work.ends[to]! - from <= pieceBytes) {
        starts[to - i] = work.starts[to]! - from;
        ends[to - i] = work.ends[to]! - from;
        to++;
      }
      data.copy(bytes, sourceAt, from, work.ends[to - 1]);
      const done = encode(
        sourceAt,
        0,
        columnBytes,
        to - i,
        jointAt,
        joint.length,
        tail.length,
        targetAt,
        bytes.length,
        at,
      );
      work.outStarts.set(starts.subarray(0, done), i);
      work.outEnds.set(ends.subarray(0, done), i);
      i += done;
      const used = work.outEnds[i - 1]! - at;
      bytes.copy(out, at, targetAt, targetAt + used);
      at += used;
    }
    return at;
  };
}

function workOf(line: string): Work {
  const count = Math.floor(CHUNK_BYTES / (line.length + 1));
  const data = Buffer.from(`${line}\n`.repeat(count));
  const head = Buffer.from('{"message":"');
  const tail = Buffer.from(
    '","timestamp":"2026-01-31T09:05:07.123Z","host":"web-1.example.com","file":"/var/log/nginx/access.log","source_type":"file"}',
  );
  const joint = Buffer.concat([tail, head]);
  const column = () => new Uint32Array(count);
  const starts = column().map((_, i) => i * (line.length + 1));
  const ends = starts.map((start) => start + line.length);
  const out = Buffer.alloc(4 * CHUNK_BYTES);
  return { data, count, starts, ends, head, tail, joint, out, outStarts: column(), outEnds: column() };
}

function check(work: Work, used: number, line: string): void {
  const { count, out, outStarts, outEnds, tail } = work;
  const expected = `{"message":${JSON.stringify(line)},${tail.toString().slice(2)}`;
  for (const i of [0, 1, count - 1]) {
    const got = out.toString("utf8", outStarts[i], outEnds[i]);
    if (got !== expected) throw new Error(`Line ${i}: ${got}`);
  }
  if (used !== outEnds[count - 1]) {
    throw new Error(`Used ${used}, the last line ends at ${outEnds[count - 1]}`);
  }
}

const quoted =
  '192.168.17.23 - - [21/Nov/2025:11:04:27 +0000] "GET /api/v1/items/12345 HTTP/1.1" 200 5123 "https://example.com/start" "Mozilla/5.0 (X11; Linux x86_64) Firefox/128.0"'
    .padEnd(175, "0");
const ways: Record<string, Way> = {
  byteLoop,
  indexOf,
  latin1,
  stringify,
  "wasm, whole": webAssembly(400_000),
  "wasm, 64 KiB": webAssembly(65_536),
  "wasm, 16 KiB": webAssembly(16_384),
};
for (const [name, line] of [["6 quotes", quoted], ["no quotes", quoted.replaceAll('"', "'")]] as const) {
  for (const [way, encode] of Object.entries(ways)) {
    const work = workOf(line);
    check(work, encode(work), line);
    for (let i = 0; i < 200; i++) encode(work);
    const cpu = process.cpuUsage();
    const start = performance.now();
    let lines = 0;
    while (performance.now() - start < MIN_MS) for (let i = 0; i < 20; i++, lines += work.count) encode(work);
    const { user, system } = process.cpuUsage(cpu);
    const nsPerLine = (user + system) * 1000 / lines;
    console.log(
      `${name.padEnd(10)} ${way.padEnd(14)} ${
        nsPerLine.toFixed(0).padStart(5)
      } CPU ns a line of ${line.length} bytes`,
    );
  }
}
