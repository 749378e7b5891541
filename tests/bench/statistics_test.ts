import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { median, pairedRatio, percentile } from "../../bench/lib/statistics.ts";

test("the median is the middle value, or the mean of the two middle ones", () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(median([7])).toBe(7);
  expect(median([])).toBeNaN();
});

test("percentiles lie between the nearest ranks", () => {
  const hundred = Array.from({ length: 101 }, (_, i) => 100 - i);
  expect(percentile(hundred, 99)).toBe(99);
  expect(percentile([10, 20], 25)).toBe(12.5);
  expect(percentile([10, 20], 100)).toBe(20);
});

test("a percentile is never outside of the values, and leaves them as they are", () => {
  const values = fc.array(fc.double({ min: -1e9, max: 1e9, noNaN: true }), { minLength: 1 });
  fc.assert(fc.property(values, fc.double({ min: 0, max: 100, noNaN: true }), (list, percent) => {
    const before = [...list];
    const found = percentile(list, percent);
    expect(found).toBeGreaterThanOrEqual(Math.min(...list));
    expect(found).toBeLessThanOrEqual(Math.max(...list));
    expect(list).toEqual(before);
  }));
});

test("ratios are taken within a round, so that a slow round of both does not count", () => {
  // The machine was ten times slower in the second round.
  expect(pairedRatio([2, 0.2, 2.2], [1, 0.1, 1])).toEqual({ median: 2, min: 2, max: 2.2 });
  expect(() => pairedRatio([1], [1, 2])).toThrow("Cannot pair 1 runs with 2");
  expect(() => pairedRatio([], [])).toThrow("Cannot pair");
});
