/** Strict decoders that share no code with the compressors: everything the formats forbid throws. */
import { gunzipSync } from "node:zlib";
import type { ActiveCodec } from "../../src/kafka/compression_job.ts";

export function decompress(codec: ActiveCodec | "none", compressed: Buffer): Buffer {
  switch (codec) {
    case "none":
      return compressed;
    case "gzip":
      return gunzipSync(compressed);
    case "zstd":
      return Buffer.from(Bun.zstdDecompressSync(new Uint8Array(compressed)));
    case "lz4":
      return readLz4Frame(compressed);
    case "snappy":
      return readXerial(compressed);
  }
}

/** Bytes of the largest block, by the number in the frame's header. */
const LZ4_BLOCK_BYTES = [0, 0, 0, 0, 65_536, 262_144, 1_048_576, 4_194_304];

/** An LZ4 frame as Kafka's Java client accepts it: independent blocks, nothing behind the end mark. */
export function readLz4Frame(frame: Buffer): Buffer {
  check(frame.readUInt32LE(0) === 0x184d2204, "magic number");
  const flags = frame[4]!;
  check(flags >> 6 === 1, "version");
  check((flags & 0x20) !== 0, "blocks depend on each other");
  check((flags & 0x1f) === 0, "checksums, content size or reserved bits are not expected");
  const descriptor = frame[5]!;
  const blockBytesMax = LZ4_BLOCK_BYTES[(descriptor >> 4) & 7]!;
  check((descriptor & 0x8f) === 0 && blockBytesMax > 0, "block descriptor");
  check(frame[6] === ((xxh32(frame.subarray(4, 6)) >>> 8) & 0xff), "header checksum");
  const blocks: Buffer[] = [];
  let at = 7;
  while (true) {
    const size = frame.readUInt32LE(at);
    at += 4;
    if (size === 0) break;
    const length = (size & 0x7fffffff) >>> 0;
    check(at + length <= frame.length, "block passes the end of the frame");
    const block = frame.subarray(at, at + length);
    const raw = size > 0x7fffffff ? block : readLz4Block(block, blockBytesMax);
    check(raw.length > 0 && raw.length <= blockBytesMax, "size of a block");
    blocks.push(raw);
    at += length;
  }
  check(at === frame.length, "bytes behind the end mark");
  return Buffer.concat(blocks);
}

function readLz4Block(block: Buffer, sizeMax: number): Buffer {
  const out = Buffer.alloc(sizeMax);
  let from = 0;
  let to = 0;
  let lastMatchStart = -1;
  const length = (nibble: number): number => {
    if (nibble < 15) return nibble;
    let total = 15;
    while (true) {
      const byte = block[from++];
      check(byte !== undefined, "block ends in a length");
      total += byte!;
      if (byte !== 255) return total;
    }
  };
  while (true) {
    check(from < block.length, "block ends without a last literal run");
    const token = block[from++]!;
    const literals = length(token >> 4);
    check(from + literals <= block.length && to + literals <= sizeMax, "literals pass the end");
    to += block.copy(out, to, from, from + literals);
    from += literals;
    if (from === block.length) {
      check((token & 15) === 0, "match length in the last sequence");
      check(lastMatchStart < 0 || literals >= 5, "last five bytes are not literals");
      check(lastMatchStart < 0 || lastMatchStart <= to - 12, "match starts in the last twelve bytes");
      return out.subarray(0, to);
    }
    const offset = block.readUInt16LE(from);
    from += 2;
    check(offset > 0 && offset <= to, "offset");
    lastMatchStart = to;
    to = copyMatch(out, to, offset, length(token & 15) + 4);
  }
}

/** A stream in the framing of snappy-java. */
export function readXerial(stream: Buffer): Buffer {
  check(stream.toString("latin1", 0, 8) === "\x82SNAPPY\0", "magic bytes");
  check(stream.readUInt32BE(8) === 1 && stream.readUInt32BE(12) === 1, "versions");
  const blocks: Buffer[] = [];
  let at = 16;
  while (at < stream.length) {
    const size = stream.readUInt32BE(at);
    at += 4;
    check(size > 0 && at + size <= stream.length, "block passes the end of the stream");
    blocks.push(readSnappyBlock(stream.subarray(at, at + size)));
    at += size;
  }
  return Buffer.concat(blocks);
}

function readSnappyBlock(block: Buffer): Buffer {
  let from = 0;
  let size = 0;
  for (let shift = 0;; shift += 7) {
    const byte = block[from++]!;
    size += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) break;
  }
  const out = Buffer.alloc(size);
  let to = 0;
  while (from < block.length) {
    const tag = block[from++]!;
    if ((tag & 3) === 0) {
      let length = (tag >> 2) + 1;
      if (length > 60) {
        const bytes = length - 60;
        length = block.readUIntLE(from, bytes) + 1;
        from += bytes;
      }
      check(from + length <= block.length && to + length <= size, "literals pass the end");
      to += block.copy(out, to, from, from + length);
      from += length;
      continue;
    }
    check((tag & 3) !== 3, "offset of four bytes is not expected");
    const isShort = (tag & 3) === 1;
    const length = isShort ? ((tag >> 2) & 7) + 4 : (tag >> 2) + 1;
    const offset = isShort ? ((tag >> 5) << 8) | block[from]! : block.readUInt16LE(from);
    from += isShort ? 1 : 2;
    check(offset > 0 && offset <= to, "offset");
    to = copyMatch(out, to, offset, length);
  }
  check(to === size, "length of a block");
  return out;
}

function copyMatch(out: Buffer, to: number, offset: number, length: number): number {
  check(to + length <= out.length, "match passes the end");
  for (let i = 0; i < length; i++, to++) out[to] = out[to - offset]!;
  return to;
}

function check(isRight: boolean, what: string): void {
  if (!isRight) throw new Error(`Cannot decompress: ${what}`);
}

/** XXH32 with seed 0, for inputs of less than four bytes. */
function xxh32(bytes: Buffer): number {
  let hash = (374_761_393 + bytes.length) | 0;
  for (const byte of bytes) {
    hash = (hash + Math.imul(byte, 374_761_393)) | 0;
    hash = Math.imul((hash << 11) | (hash >>> 21), 2_654_435_761);
  }
  hash = Math.imul(hash ^ (hash >>> 15), 2_246_822_519);
  hash = Math.imul(hash ^ (hash >>> 13), 3_266_489_917);
  return (hash ^ (hash >>> 16)) >>> 0;
}
