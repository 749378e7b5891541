import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { SHARED_MEMORY_MAX_BYTES, SharedMemory } from "../../src/kafka/kernels.ts";
import { KERNELS_SOURCE_SHA256 } from "../../src/kafka/kernels_wasm.ts";
import { kernelSourcesSha256 } from "../../src/kafka/wasm/sources.ts";

test("the compiled kernels come from the sources", () => {
  expect(kernelSourcesSha256()).toBe(KERNELS_SOURCE_SHA256);
});

describe("shared memory", () => {
  test("views stay valid while it grows", () => {
    const shared = new SharedMemory();
    const early = shared.allocate(1_000);
    early.fill(7);
    const late = shared.allocate(5_000_000);
    late.fill(9);
    expect(early.every((byte) => byte === 7)).toBe(true);
    expect(shared.addressOf(early)).toBe(early.byteOffset);
    expect(Buffer.from(shared.memory.buffer as unknown as ArrayBuffer)[early.byteOffset]).toBe(7);
  });

  test("memory from elsewhere has no address", () => {
    expect(new SharedMemory().addressOf(Buffer.alloc(10))).toBe(0);
    expect(new SharedMemory().addressOf(new SharedMemory().allocate(10))).toBe(0);
  });

  test("giving back twice throws", () => {
    const shared = new SharedMemory();
    const buffer = shared.allocate(10);
    shared.allocate(10);
    shared.free(buffer);
    expect(() => shared.free(buffer)).toThrow("Cannot free shared memory");
  });

  test("the limit throws, and what was freed can be had again", () => {
    const shared = new SharedMemory();
    const half = shared.allocate(SHARED_MEMORY_MAX_BYTES / 2);
    expect(() => shared.allocate(SHARED_MEMORY_MAX_BYTES / 2)).toThrow(RangeError);
    shared.free(half);
    expect(shared.allocate(SHARED_MEMORY_MAX_BYTES / 2).byteOffset).toBe(half.byteOffset);
  });

  test("allocations never overlap, and all of it comes back", () => {
    const action = fc.oneof(
      fc.record({ kind: fc.constant("allocate" as const), sizeBytes: fc.nat(300_000) }),
      fc.record({
        kind: fc.constant("shrink" as const),
        pick: fc.nat(),
        part: fc.double({ min: 0, max: 1, noNaN: true }),
      }),
      fc.record({ kind: fc.constant("free" as const), pick: fc.nat() }),
    );
    fc.assert(fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
      const shared = new SharedMemory();
      const live: Buffer[] = [];
      for (const step of actions) {
        if (step.kind === "allocate") live.push(shared.allocate(step.sizeBytes));
        else if (live.length > 0) {
          const [buffer] = live.splice(step.pick % live.length, 1) as [Buffer];
          if (step.kind === "free") shared.free(buffer);
          else live.push(shared.shrink(buffer, Math.floor(buffer.length * step.part)));
        }
        const sorted = live.toSorted((a, b) => a.byteOffset - b.byteOffset);
        for (let i = 1; i < sorted.length; i++) {
          expect(sorted[i]!.byteOffset).toBeGreaterThanOrEqual(
            sorted[i - 1]!.byteOffset + sorted[i - 1]!.length + 64,
          );
        }
      }
      const last = live.reduce((end, buffer) => Math.max(end, buffer.byteOffset + buffer.length), 0);
      expect(last + 64).toBeLessThanOrEqual(shared.memory.buffer.byteLength);
      for (const buffer of live) shared.free(buffer);
      expect(shared.usedBytes).toBe(0);
    }));
  });
});
