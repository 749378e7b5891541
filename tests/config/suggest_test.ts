import { expect, test } from "bun:test";
import { editDistance, nearest } from "../../src/config/suggest.ts";

test("edit distance counts insertions, deletions, replacements and swaps", () => {
  const cases: [string, string, number][] = [
    ["", "", 0],
    ["abc", "abc", 0],
    ["abc", "ab", 1],
    ["ab", "abc", 1],
    ["abc", "axc", 1],
    ["abc", "acb", 1],
    ["kitten", "sitting", 3],
  ];
  for (const [a, b, distance] of cases) expect(editDistance(a, b, 10), `${a} ${b}`).toBe(distance);
  expect(editDistance("abcdef", "uvwxyz", 3)).toBe(3);
});

test("the nearest word is found when it is near enough", () => {
  const words = ["include", "exclude", "read_from"];
  expect(nearest("inclde", words)).toBe("include");
  expect(nearest("READ_FORM", words)).toBe("read_from");
  expect(nearest("read", words)).toBe("read_from");
  expect(nearest("read", [...words, "read_by_somebody"])).toBeNull();
  expect(nearest("banana", words)).toBeNull();
  expect(nearest("x".repeat(10_000), words)).toBeNull();
  expect(nearest("", words)).toBeNull();
});
