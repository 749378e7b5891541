import { expect, test } from "bun:test";
import { formatBytes, formatCount, formatDuration } from "../../src/telemetry/format.ts";

test("formatBytes uses the largest unit that keeps a digit before the point", () => {
  const cases: [number, string][] = [
    [0, "0 B"],
    [0.4, "0 B"],
    [1_023, "1023 B"],
    [1_024, "1.0 KiB"],
    [1_048_575, "1.0 MiB"],
    [1_572_864, "1.5 MiB"],
    [1024 ** 5 * 2, "2048.0 TiB"],
    [-2_048, "-2.0 KiB"],
  ];
  for (const [bytes, text] of cases) expect(formatBytes(bytes)).toBe(text);
});

test("formatCount groups by thousands", () => {
  expect([0, 999, 1_000, 1_234_567, -12_345].map(formatCount)).toEqual([
    "0",
    "999",
    "1,000",
    "1,234,567",
    "-12,345",
  ]);
});

test("formatDuration grows with the time", () => {
  const cases: [number, string][] = [
    [-5, "0:00"],
    [7_900, "0:07"],
    [754_000, "12:34"],
    [3_723_000, "1:02:03"],
    [176_523_000, "2 d 01:02:03"],
  ];
  for (const [ms, text] of cases) expect(formatDuration(ms)).toBe(text);
});
