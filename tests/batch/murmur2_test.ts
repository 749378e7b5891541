import { expect, test } from "bun:test";
import { murmur2, murmur2Partition } from "../../src/batch/murmur2.ts";

// From Apache Kafka's own UtilsTest.testMurmur2.
const vectors: [string, number][] = [
  ["21", -973932308],
  ["foobar", -790332482],
  ["a-little-bit-long-string", -985981536],
  ["a-little-bit-longer-string", -1486304829],
  ["lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971],
  ["abc", 479470107],
];

test("murmur2 equals the Java client's on its published vectors, wherever the key lies in memory", () => {
  for (const [key, hash] of vectors) {
    const padded = Buffer.from(`<${key}>`);
    expect(murmur2(padded, 1, padded.length - 1)).toBe(hash);
  }
});

test("murmur2Partition takes the sign away as the Java client does", () => {
  const key = Buffer.from("21");
  expect(murmur2Partition(key, 0, 2, 10)).toBe((-973932308 & 0x7fffffff) % 10);
});
