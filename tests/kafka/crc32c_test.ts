import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { crc32c, crc32cCombine } from "../../src/kafka/crc32c.ts";
import { kernelHost } from "../../src/kafka/kernels.ts";

/** Bit by bit. */
function reference(data: Uint8Array, seed = 0): number {
  let crc = ~seed;
  for (const byte of data) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) !== 0 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

/** Bytes without a pattern, always the same. */
function noise(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = 88_172_645;
  for (let i = 0; i < length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state;
  }
  return bytes;
}

/** A copy in the memory that the kernels work in. */
function inArena(bytes: Buffer): Buffer {
  const arena = kernelHost().shared.allocate(bytes.length);
  bytes.copy(arena);
  return arena;
}

const ascending = Buffer.from(Array.from({ length: 32 }, (_, i) => i));

describe("crc32c", () => {
  test.each([
    ["nothing", Buffer.alloc(0), 0],
    ["the check value", Buffer.from("123456789"), 0xe3069283],
    ["RFC 3720: zeros", Buffer.alloc(32), 0x8a9136aa],
    ["RFC 3720: ones", Buffer.alloc(32, 0xff), 0x62a8ab43],
    ["RFC 3720: ascending", ascending, 0x46dd794e],
    ["RFC 3720: descending", Buffer.from(ascending).reverse(), 0x113fdb5c],
    [
      "RFC 3720: SCSI read",
      Buffer.from(
        "01c00000000000000000000000000000140000000000040000000014000000182800000000000000" +
          "0200000000000000",
        "hex",
      ),
      0xd9963a56,
    ],
  ])("%s", (_, data, want) => {
    expect(crc32c(data, 0, data.length)).toBe(want);
    expect(crc32c(inArena(data), 0, data.length)).toBe(want);
  });

  // Lengths around the ways through the code: tables only, folding, the window's move, the copy from other memory.
  const edges = [
    1_671,
    1_672,
    3_343,
    3_344,
    3_345,
    3_352,
    9_864,
    11_536,
    18_056,
    65_535,
    65_536,
    65_537,
    140_001,
  ];

  test.each([...edges, ...edges.map((edge) => edge + 9)])("%d bytes from any start", (length) => {
    const data = noise(length + 8);
    const arena = inArena(data);
    for (const start of [0, 1, 7]) {
      const want = reference(data.subarray(start, start + length), 77);
      expect(crc32c(data, start, start + length, 77)).toBe(want);
      expect(crc32c(arena, start, start + length, 77)).toBe(want);
    }
    kernelHost().shared.free(arena);
  });

  test("every short length", () => {
    const data = noise(700);
    for (let length = 0; length <= data.length; length++) {
      expect(crc32c(data, 0, length)).toBe(reference(data.subarray(0, length)));
    }
  });

  test("one changed bit anywhere changes the result", () => {
    const data = noise(20_000);
    const want = crc32c(data, 0, data.length);
    for (let at = 0; at < data.length; at += 37) {
      data[at]! ^= 1 << (at & 7);
      expect(crc32c(data, 0, data.length)).not.toBe(want);
      data[at]! ^= 1 << (at & 7);
    }
  });
});

describe("in pieces", () => {
  const data = noise(300_000);
  const split = fc.tuple(fc.nat(data.length), fc.nat(data.length)).map((
    [a, b],
  ) => [Math.min(a, b), Math.max(a, b)]);

  test("the CRC so far is the seed of the next piece", () => {
    fc.assert(fc.property(split, ([middle, end]) => {
      const first = crc32c(data, 0, middle!);
      expect(crc32c(data, middle!, end!, first)).toBe(crc32c(data, 0, end!));
    }));
  });

  test("two CRCs combine to that of both", () => {
    fc.assert(fc.property(split, ([middle, end]) => {
      const combined = crc32cCombine(crc32c(data, 0, middle!), crc32c(data, middle!, end!), end! - middle!);
      expect(combined).toBe(crc32c(data, 0, end!));
    }));
  });

  test("lengths beyond 2 GiB combine", () => {
    // Zeros after A: the CRC of 3 GiB of them is built up by doubling.
    let zeros = crc32c(Buffer.alloc(1_048_576), 0, 1_048_576);
    let length = 1_048_576;
    const a = crc32c(data, 0, 1_000);
    let stepwise = a;
    for (let i = 0; i < 3 * 1_024; i++) stepwise = crc32cCombine(stepwise, zeros, length);
    const unit = zeros;
    for (let i = 1; i < 3 * 1_024; i++) zeros = crc32cCombine(zeros, unit, 1_048_576);
    length = 3 * 1_024 * 1_048_576;
    expect(crc32cCombine(a, zeros, length)).toBe(stepwise);
  });
});
