import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { ARENA_FREE_BYTES_MAX, ARENA_SIZES_BYTES, ArenaPool } from "../../src/kafka/arena_pool.ts";

/** Knows every arena that is handed out, and fails on one that it does not know. */
class CountedMemory {
  readonly out = new Set<Buffer>();

  allocateArena(sizeBytes: number): Buffer {
    const arena = Buffer.allocUnsafeSlow(sizeBytes);
    this.out.add(arena);
    return arena;
  }

  releaseArena(arena: Buffer): void {
    if (!this.out.delete(arena)) throw new Error("Released twice, or never allocated");
  }

  get bytes(): number {
    let sum = 0;
    for (const arena of this.out) sum += arena.length;
    return sum;
  }
}

describe("ArenaPool", () => {
  test("gives the smallest size that is enough, and what is larger than all of them exactly", () => {
    const pool = new ArenaPool(new CountedMemory());
    expect([1, 16_384, 16_385, 262_144, 1_048_576, 1_048_577].map((size) => pool.take(size).length)).toEqual([
      16_384,
      16_384,
      65_536,
      262_144,
      1_048_576,
      1_048_577,
    ]);
  });

  test("takes and gives in any order: nobody shares an arena, what is kept is bounded, and all goes back at the end", () => {
    const sizes = fc.integer({ min: 1, max: 1_200_000 });
    const action = fc.oneof(sizes.map((size) => ({ size })), fc.nat(30).map((give) => ({ give })));
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
        const memory = new CountedMemory();
        const pool = new ArenaPool(memory);
        const held: Buffer[] = [];
        for (const each of actions) {
          if ("size" in each) {
            const arena = pool.take(each.size);
            expect(arena.length).toBeGreaterThanOrEqual(each.size);
            expect(held.includes(arena)).toBe(false);
            held.push(arena);
          } else if (held.length > 0) pool.give(held.splice(each.give % held.length, 1)[0]!);
        }
        for (const arena of held.splice(0)) pool.give(arena);
        expect(memory.bytes).toBeLessThanOrEqual(ARENA_FREE_BYTES_MAX * ARENA_SIZES_BYTES.length);
        pool.clear();
        expect(memory.out.size).toBe(0);
      }),
      { numRuns: 50 },
    );
  });

  test("keeps at most its bytes of each size", () => {
    const memory = new CountedMemory();
    const pool = new ArenaPool(memory);
    const arenas = Array.from({ length: 20 }, () => pool.take(1_048_576));
    for (const arena of arenas) pool.give(arena);
    expect(memory.bytes).toBe(ARENA_FREE_BYTES_MAX);
  });
});
