import { expect, test } from "bun:test";
import { type StorageOps, systemOps } from "../../src/storage/storage_ops.ts";
import { TolerantReads } from "../../src/storage/tolerant_reads.ts";

const FILE_BYTES = 20_000;

/** A file whose bytes are all 1, with a block that cannot be read. */
function withBadBlock(block: number, code = "EIO"): StorageOps {
  return {
    ...systemOps,
    read(_fd, target, offset, length, position) {
      if (position < block + 4096 && position + length > block) {
        throw Object.assign(new Error(code), { code });
      }
      const count = Math.max(0, Math.min(length, FILE_BYTES - position));
      target.fill(1, offset, offset + count);
      return count;
    },
  };
}

test("zeros stand for a block that cannot be read, and all others are what they are", () => {
  const reads = new TolerantReads(withBadBlock(8192));
  const target = Buffer.alloc(30_000, 9);
  expect(reads.ops.read(3, target, 100, 25_000, 1_000)).toBe(FILE_BYTES - 1_000);
  for (let i = 0; i < target.length; i++) {
    const position = i - 100 + 1_000;
    const wanted = i < 100 || position >= FILE_BYTES ? 9 : position >= 8192 && position < 12_288 ? 0 : 1;
    if (target[i] !== wanted) throw new Error(`byte ${i} is ${target[i]} instead of ${wanted}`);
  }
  expect(reads.unreadableCount).toBe(1);
  expect([reads.isUnreadable(0, 8192), reads.isUnreadable(8000, 8193), reads.isUnreadable(12_288, 20_000)])
    .toEqual(
      [false, true, false],
    );
  reads.forget();
  expect(reads.unreadableCount).toBe(0);
});

test("a read inside of a bad block gives zeros up to the length that was asked for", () => {
  const reads = new TolerantReads(withBadBlock(4096));
  const target = Buffer.alloc(100, 9);
  expect(reads.ops.read(3, target, 0, 50, 5_000)).toBe(50);
  expect(target.subarray(0, 50).every((byte) => byte === 0)).toBe(true);
  expect(target[50]).toBe(9);
});

test("other errors are not swallowed", () => {
  const reads = new TolerantReads(withBadBlock(0, "EBADF"));
  expect(() => reads.ops.read(3, Buffer.alloc(10), 0, 10, 0)).toThrow("EBADF");
});
