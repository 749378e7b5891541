import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { crc32 } from "node:zlib";
import { fnv1a } from "../../src/batch/key_hashes.ts";
import { murmur2 } from "../../src/batch/murmur2.ts";
import { areEventsTied, keyPartitioner, type PartitionerName } from "../../src/batch/partitioners.ts";

const at = (name: PartitionerName, key: string | Buffer, count: number) => {
  const data = Buffer.concat([Buffer.from("<"), Buffer.from(key as string), Buffer.from(">")]);
  return keyPartitioner(name)!.partition(data, 1, data.length - 1, count);
};

/** Of segmentio/kafka-go v0.4.43, balancer_test.go. */
const SEGMENTIO: readonly [name: PartitionerName, key: string, count: number, partition: number][] = [
  ["fnv1a", "blah", 2, 0],
  ["fnv1a", "blah", 3, 1],
  ["fnv1a", "boop", 3, 2],
  ["fnv1a", "20", 16, 1],
  ["fnv1a_reference", "blah", 2, 0],
  ["fnv1a_reference", "blah", 3, 1],
  ["fnv1a_reference", "castle", 3, 2],
  ["fnv1a_reference", "20", 16, 15],
  ["murmur2", "", 1000, 681],
  ["murmur2", "a", 1000, 524],
  ["murmur2", "ab", 1000, 434],
  ["murmur2", "abc", 1000, 107],
  ["murmur2", "123456789", 1000, 566],
  ["murmur2", "\u0000 ", 1000, 742],
];

/** Of librdkafka: hashes of its unit tests (rdkafka_partitioner's consistent, murmur2_random), as segmentio/kafka-go quotes them. */
const LIBRDKAFKA: readonly [name: PartitionerName, key: string, hash: number][] = [
  ["consistent", "23456", 0xb1b451d7],
  ["consistent", "this is another string with more length to it perhaps", 0xb0150df7],
  ["consistent", "hejsan", 0xd077037e],
  ["murmur2_random", "", 0x106e08d9],
  ["murmur2_random", "23456", 0x058d780f],
  ["murmur2_random", "this is another string with more length to it perhaps", 0x4f7703da],
  ["murmur2_random", "hejsan", 0x5ec19395],
];

/** Hashes of librdkafka's rdmurmur2.c and segmentio/kafka-go, which are Java's. */
const JAVA: readonly [key: string, hash: number][] = [
  ["kafka", 0xd067cf64],
  ["giberish123456789", 0x8f552b0c],
  ["1234", 0x9fc97b14],
  ["234", 0xe7c009ca],
  ["34", 0x873930da],
  ["4", 0x5a4b5ca1],
  ["PreAmbleWillBeRemoved,ThePrePartThatIs", 0x78424f1c],
  ["reAmbleWillBeRemoved,ThePrePartThatIs", 0x4a62b377],
  ["eAmbleWillBeRemoved,ThePrePartThatIs", 0xe0e4e09e],
  ["AmbleWillBeRemoved,ThePrePartThatIs", 0x62b8b43f],
  ["", 0x106e08d9],
];

describe("published vectors", () => {
  test("of segmentio/kafka-go", () => {
    for (const [name, key, count, partition] of SEGMENTIO) {
      expect(at(name, key, count), `${name} of "${key}"`).toBe(partition);
    }
  });

  test("of librdkafka", () => {
    for (const [name, key, hash] of LIBRDKAFKA) {
      for (const count of [1, 3, 17]) expect(at(name, key, count), `${name} of "${key}"`).toBe(hash % count);
    }
  });

  test("of murmur2", () => {
    for (const [key, hash] of JAVA) {
      expect(murmur2(Buffer.from(key), 0, Buffer.byteLength(key)) >>> 0, key).toBe(hash);
    }
  });

  test("of FNV-1a (draft-eastlake-fnv)", () => {
    const vectors: [string, number][] = [["", 0x811c9dc5], ["a", 0xe40c292c], ["foobar", 0xbf9cf968]];
    for (const [key, hash] of vectors) {
      expect(fnv1a(Buffer.from(key), 0, Buffer.byteLength(key)) >>> 0, key).toBe(hash);
    }
  });
});

/** The references again, in whole numbers of any size: slow, and nothing to get wrong. */
function fnvSlowly(key: Uint8Array): bigint {
  let hash = 0x811c9dc5n;
  for (const byte of key) hash = ((hash ^ BigInt(byte)) * 0x01000193n) & 0xffffffffn;
  return hash;
}

function murmurSlowly(key: Uint8Array): bigint {
  const m = 0x5bd1e995n;
  const u32 = (value: bigint) => value & 0xffffffffn;
  let hash = 0x9747b28cn ^ BigInt(key.length);
  const words = Math.floor(key.length / 4);
  for (let i = 0; i < words; i++) {
    let word = 0n;
    for (let byte = 0; byte < 4; byte++) word += BigInt(key[4 * i + byte]!) << BigInt(8 * byte);
    word = u32(word * m);
    word ^= word >> 24n;
    hash = u32(hash * m) ^ u32(word * m);
  }
  const rest = key.slice(4 * words);
  if (rest.length >= 3) hash ^= BigInt(rest[2]!) << 16n;
  if (rest.length >= 2) hash ^= BigInt(rest[1]!) << 8n;
  if (rest.length >= 1) hash = u32((hash ^ BigInt(rest[0]!)) * m);
  hash ^= hash >> 13n;
  hash = u32(hash * m);
  return hash ^ (hash >> 15n);
}

const asInt32 = (value: bigint) => BigInt.asIntN(32, value);
const abs = (value: bigint) => value < 0n ? -value : value;

const REFERENCES: { readonly [name in PartitionerName]?: (key: Uint8Array, count: bigint) => bigint } = {
  // Go's and C's remainder has the sign of the dividend, as BigInt's has.
  fnv1a: (key, count) => abs(asInt32(fnvSlowly(key)) % count),
  fnv1a_consistent: (key, count) => abs(asInt32(fnvSlowly(key)) % count),
  fnv1a_reference: (key, count) => (fnvSlowly(key) & 0x7fffffffn) % count,
  consistent: (key, count) => BigInt(crc32(key)) % count,
  consistent_random: (key, count) => BigInt(crc32(key)) % count,
  murmur2: (key, count) => (murmurSlowly(key) & 0x7fffffffn) % count,
  murmur2_random: (key, count) => (murmurSlowly(key) & 0x7fffffffn) % count,
};

test("every partitioner that goes by the key equals its reference, whatever the key and the number of partitions", () => {
  const count = fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constantFrom(1_000, 100_000, 2 ** 31 - 1));
  const signs = new Set<boolean>();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 70 }), count, (key, partitions) => {
      signs.add(fnv1a(Buffer.from(key), 0, key.length) < 0);
      for (const [name, reference] of Object.entries(REFERENCES)) {
        const found = at(name as PartitionerName, Buffer.from(key), partitions);
        expect(found, name).toBe(Number(reference(key, BigInt(partitions))));
        expect(found >= 0 && found < partitions).toBe(true);
      }
    }),
    { numRuns: 3_000 },
  );
  expect(signs.size).toBe(2);
});

test("the least of all signed hashes loses its sign as it does in Go and in librdkafka", () => {
  const key = "Hfma8K";
  expect(fnv1a(Buffer.from(key), 0, key.length)).toBe(-(2 ** 31));
  for (const count of [1, 3, 7, 16]) expect(at("fnv1a", key, count)).toBe(2 ** 31 % count);
  for (const count of [1, 3, 7, 16]) expect(at("fnv1a_reference", key, count)).toBe(0);
});

test("what spreads absent and empty keys, as the references do", () => {
  const spreads = (name: PartitionerName) => keyPartitioner(name)?.spreads ?? null;
  expect(["fnv1a", "fnv1a_reference", "murmur2_random"].map((name) => spreads(name as PartitionerName)))
    .toEqual([
      "absent",
      "absent",
      "absent",
    ]);
  expect(["consistent", "murmur2", "fnv1a_consistent"].map((name) => spreads(name as PartitionerName)))
    .toEqual(["none", "none", "none"]);
  expect(spreads("consistent_random")).toBe("absent_or_empty");
  expect(["sticky", "round_robin", "least_bytes", "field"].map((name) => spreads(name as PartitionerName)))
    .toEqual([
      null,
      null,
      null,
      null,
    ]);
});

test("events are tied to a partition unless whole batches are spread", () => {
  const tied = (partitioner: PartitionerName, more = {}) =>
    areEventsTied({ partitioner, keyField: null, key: null, ...more });
  expect(tied("sticky", { keyField: "k" })).toBe(false);
  expect(tied("murmur2_random")).toBe(false);
  expect(tied("murmur2_random", { key: "{{k}}" })).toBe(true);
  expect(tied("murmur2", { keyField: "k" })).toBe(true);
  expect([tied("round_robin"), tied("least_bytes"), tied("field")]).toEqual([true, true, true]);
});
