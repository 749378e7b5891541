import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Accumulator } from "../../src/batch/accumulator.ts";
import { Membership } from "../../src/batch/membership.ts";
import { type OpenBatch, PartitionQueue } from "../../src/batch/partition_queue.ts";
import type { PartitionerName } from "../../src/batch/partitioners.ts";
import type { Delivery } from "../../src/event/delivery.ts";
import { delivery, type TestBatchOptions } from "../support/events.ts";

const BATCH_EVENTS = 4;

class TextBatch implements OpenBatch {
  readonly members = new Membership();
  readonly texts: string[] = [];
  readonly capacityBytes = 100;

  get count(): number {
    return this.texts.length;
  }

  appendRange(from: Delivery, first: number, end: number): number {
    let index = first;
    while (index < end && this.appendOne(from, index)) index++;
    return index;
  }

  appendOne(from: Delivery, index: number): boolean {
    if (this.count >= BATCH_EVENTS) return false;
    const { data, starts, ends } = from.batch.values;
    this.texts.push(data.toString("utf8", starts[index], ends[index]));
    this.members.addRange(from, index, index + 1);
    return true;
  }
}

type Queue = PartitionQueue<TextBatch>;

function accumulator(
  partitioner: PartitionerName,
  unavailable: readonly number[] = [],
  memoryMaxBytes = 1e9,
) {
  return new Accumulator<TextBatch, Queue>({
    newBatch: () => new TextBatch(),
    newQueue: (topic, partition) => new PartitionQueue<TextBatch>(topic, partition),
    onSealed: () => {},
    onGivenUp: (_topic, members) => members.settle("rejected"),
    isAvailable: (_topic, partition) => !unavailable.includes(partition),
    partitioner,
    memoryMaxBytes,
    canPark: false,
  });
}

/** The texts of each partition, in order. */
function placed(acc: Accumulator<TextBatch, Queue>, count: number): string[][] {
  return Array.from({ length: count }, (_, id) => {
    const queue = acc.queueBeyond("logs", id);
    const batches = queue.open === null ? queue.sealed : [...queue.sealed, queue.open];
    return batches.flatMap((batch) => batch.texts);
  });
}

function place(
  partitioner: PartitionerName,
  count: number,
  values: readonly string[],
  options: TestBatchOptions = {},
): string[][] {
  const acc = accumulator(partitioner);
  acc.setPartitionCount("logs", count, 0);
  expect(acc.append(delivery(values, options).delivery, 0, 0)).toBe(values.length);
  return placed(acc, count);
}

const numbers = (count: number) => Array.from({ length: count }, (_, i) => `e${i}`);

describe("round_robin", () => {
  test("goes from partition to partition, event by event, whatever the key and the batches", () => {
    const keys = numbers(11).map(() => "same");
    for (const options of [{}, { keys }]) {
      const found = place("round_robin", 3, numbers(11), options);
      expect(found.map((texts) => texts.length)).toEqual([4, 4, 3]);
      for (const [id, texts] of found.entries()) {
        expect(texts).toEqual(numbers(11).filter((_, i) => i % 3 === id));
      }
    }
  });

  test("goes on over deliveries, and passes over partitions without a leader while there are others", () => {
    const acc = accumulator("round_robin", [1]);
    acc.setPartitionCount("logs", 3, 0);
    for (const value of numbers(5)) acc.append(delivery([value]).delivery, 0, 0);
    expect(placed(acc, 3)).toEqual([["e0", "e2", "e4"], [], ["e1", "e3"]]);
    const none = accumulator("round_robin", [0, 1, 2]);
    none.setPartitionCount("logs", 3, 0);
    none.append(delivery(numbers(4)).delivery, 0, 0);
    expect(placed(none, 3)).toEqual([["e0", "e3"], ["e1"], ["e2"]]);
  });
});

/** segmentio/kafka-go's LeastBytes, once more. */
class LeastBytes {
  #counters: { partition: number; bytes: number }[] = [];

  balance(bytes: number, partitions: number): number {
    if (partitions !== this.#counters.length) {
      this.#counters = Array.from({ length: partitions }, (_, partition) => ({ partition, bytes: 0 }));
    }
    let least = this.#counters[0]!;
    for (const each of this.#counters) if (each.bytes < least.bytes) least = each;
    least.bytes += bytes;
    return least.partition;
  }
}

test("least_bytes equals segmentio/kafka-go's, also when the number of partitions changes", () => {
  const event = fc.record({ value: fc.nat(30), key: fc.nat(9) });
  const step = fc.record({
    events: fc.array(event, { minLength: 1, maxLength: 30 }),
    count: fc.integer({ min: 1, max: 7 }),
  });
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 5 }), fc.boolean(), (steps, hasKeys) => {
      const acc = accumulator("least_bytes");
      const reference = new LeastBytes();
      const wanted: string[][] = Array.from({ length: 8 }, () => []);
      let number = 0;
      let count = 1;
      for (const { events, count: more } of steps) {
        // Partitions of a topic are only ever added.
        count = Math.max(count, more);
        acc.setPartitionCount("logs", count, 0);
        const values = events.map(({ value }) => `${number++}:`.padEnd(value, "x"));
        const keys = events.map(({ key }) => "k".repeat(key));
        expect(acc.append(delivery(values, hasKeys ? { keys } : {}).delivery, 0, 0)).toBe(values.length);
        for (const [i, value] of values.entries()) {
          wanted[reference.balance(value.length + (hasKeys ? keys[i]!.length : 0), count)]!.push(value);
        }
      }
      expect(placed(acc, 8)).toEqual(wanted);
    }),
    { numRuns: 300 },
  );
});

test("field: the partition that is named; 0 where there is none or the topic has fewer", () => {
  const partitions = [2, 0, 3, 0xffffffff, 1, 2];
  expect(place("field", 3, numbers(6), { partitions })).toEqual([["e1", "e2", "e3"], ["e4"], ["e0", "e5"]]);
  // Of a disk buffer that was filled with another configuration.
  expect(place("field", 2, numbers(2))).toEqual([["e0", "e1"], []]);
});

describe("absent and empty keys", () => {
  const keys = [null, "", "a"];
  const where = (partitioner: PartitionerName) => {
    const found = place(partitioner, 16, ["absent", "empty", "a"], { keys });
    return (text: string) => found.findIndex((texts) => texts.includes(text));
  };

  test("are hashed or spread as the reference does", () => {
    // murmur2("") & 0x7fffffff is 0x106e08d9, CRC-32 of nothing 0, FNV-1a of nothing 0x811c9dc5.
    expect([where("murmur2")("absent"), where("murmur2")("empty")]).toEqual([0x9, 0x9]);
    expect([where("murmur2_random")("absent"), where("murmur2_random")("empty")]).toEqual([0, 0x9]);
    expect([where("consistent")("absent"), where("consistent")("empty")]).toEqual([0, 0]);
    expect([where("fnv1a")("absent"), where("fnv1a")("empty")]).toEqual([0, 0xb]);
    expect([where("fnv1a_consistent")("absent"), where("fnv1a_consistent")("empty")]).toEqual([0xb, 0xb]);
    expect([where("fnv1a_reference")("absent"), where("fnv1a_reference")("empty")]).toEqual([0, 0x5]);
  });

  test("that are spread stay in one partition until its batch is sealed", () => {
    for (const partitioner of ["murmur2_random", "consistent_random", "fnv1a", "fnv1a_reference"] as const) {
      const found = place(partitioner, 3, numbers(12), { keys: numbers(12).map(() => null) });
      expect(found, partitioner).toEqual([
        numbers(12).slice(0, 4),
        numbers(12).slice(4, 8),
        numbers(12).slice(8),
      ]);
    }
    const empty = place("consistent_random", 2, numbers(8), { keys: numbers(8).map(() => "") });
    expect(empty).toEqual([numbers(8).slice(0, 4), numbers(8).slice(4)]);
  });
});

test("whatever partitioner, and however partitions are added and events waited for: every event once, in order by partition", () => {
  const names: PartitionerName[] = [
    "sticky",
    "round_robin",
    "least_bytes",
    "fnv1a",
    "fnv1a_reference",
    "consistent",
    "consistent_random",
    "murmur2",
    "murmur2_random",
    "field",
  ];
  const step = fc.record({ count: fc.integer({ min: 1, max: 8 }), events: fc.nat(40), finish: fc.nat(10) });
  fc.assert(
    fc.property(
      fc.constantFrom(...names),
      fc.array(step, { maxLength: 12 }),
      fc.array(fc.option(fc.constantFrom("", "a", "b", "c", "dd")), { minLength: 40, maxLength: 40 }),
      fc.integer({ min: 150, max: 2_000 }),
      (partitioner, steps, keys, memoryMaxBytes) => {
        const acc = accumulator(partitioner, [2], memoryMaxBytes);
        const seen = new Map<number, number[]>();
        const finish = () => {
          for (const queue of [...acc.active]) {
            acc.seal(queue);
            const batch = queue.sealed[0]!;
            seen.set(queue.id, [...seen.get(queue.id) ?? [], ...batch.texts.map(Number)]);
            acc.finish(queue, batch);
          }
        };
        let number = 0;
        let count = 1;
        for (const { count: more, events, finish: finishes } of steps) {
          count = Math.max(count, more);
          acc.setPartitionCount("logs", count, 0);
          const values = Array.from({ length: events }, () => String(number++));
          const { delivery: from } = delivery(values, {
            ...(partitioner === "field" ? { partitions: values.map((value) => Number(value) % 5) } : {}),
            ...(partitioner === "sticky" || partitioner === "round_robin"
              ? {}
              : { keys: keys.slice(0, events) }),
          });
          for (let next = acc.append(from, 0, 0); next < events; next = acc.append(from, next, 0)) finish();
          for (let i = 0; i < finishes; i++) finish();
        }
        while (acc.active.size > 0) finish();
        for (const numbers of seen.values()) expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
        expect([...seen.values()].flat().sort((a, b) => a - b)).toEqual(
          Array.from({ length: number }, (_, i) => i),
        );
      },
    ),
    { numRuns: 500 },
  );
});
