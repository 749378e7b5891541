import { expect, test } from "bun:test";
import fc from "fast-check";
import { readVarint, varintBytes, varlongBytes, writeVarint, writeVarlong } from "../../src/event/varint.ts";

/** Zigzag and base 128 in whole numbers of any size. */
function slowly(value: number): string {
  let raw = BigInt(value) < 0n ? -2n * BigInt(value) - 1n : 2n * BigInt(value);
  const bytes: number[] = [];
  for (; raw > 0x7fn; raw >>= 7n) bytes.push(Number(raw & 0x7fn) | 0x80);
  return Buffer.from([...bytes, Number(raw)]).toString("hex");
}

test("whole numbers are written as Kafka does, in as many bytes as was said, and read back", () => {
  const edges = [
    0,
    1,
    -1,
    63,
    64,
    -64,
    -65,
    8_191,
    8_192,
    -8_193,
    2 ** 31,
    -(2 ** 31),
    2 ** 40,
    -(2 ** 51),
    2 ** 51,
  ];
  fc.assert(
    fc.property(
      fc.oneof(fc.constantFrom(...edges), fc.integer({ min: -(2 ** 51), max: 2 ** 51 })),
      (value) => {
        const target = Buffer.alloc(12, 0xee);
        const end = writeVarlong(target, 1, value);
        expect(target.toString("hex", 1, end)).toBe(slowly(value));
        expect([end - 1, target[0], target[end]]).toEqual([varlongBytes(value), 0xee, 0xee]);
        expect(readVarint(target, 1)).toEqual({ value, at: end });
        if (value < 0 || value >= 2 ** 31) return;
        expect(writeVarint(target, 1, value) - 1).toBe(varintBytes(value));
        expect(target.toString("hex", 1, 1 + varintBytes(value))).toBe(slowly(value));
      },
    ),
    { numRuns: 2_000 },
  );
});
