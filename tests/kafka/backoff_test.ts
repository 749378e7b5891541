import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { backoffMs } from "../../src/kafka/backoff.ts";

describe("backoffMs", () => {
  test("doubles from the interval up to the maximum", () => {
    const waits = [1, 2, 3, 4, 5, 6].map((failures) => backoffMs(failures, 100, 1_000, 1));
    expect(waits).toEqual([100, 200, 400, 800, 1_000, 1_000]);
  });

  test("is between half and all of that, for any number of failures", () => {
    fc.assert(
      fc.property(
        fc.nat(1e9),
        fc.integer({ min: 1, max: 10_000 }),
        fc.integer({ min: 1, max: 1e6 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (failures, intervalMs, maxMs, random) => {
          const fullMs = Math.min(maxMs, intervalMs * 2 ** Math.min(Math.max(failures - 1, 0), 40));
          const waitMs = backoffMs(failures, intervalMs, maxMs, random);
          if (intervalMs * 2 ** 16 >= maxMs) {
            expect(waitMs).toBeGreaterThanOrEqual(fullMs / 2);
            expect(waitMs).toBeLessThanOrEqual(fullMs);
          }
          expect(waitMs).toBeLessThanOrEqual(maxMs);
          expect(waitMs).toBeGreaterThan(0);
        },
      ),
    );
  });
});
