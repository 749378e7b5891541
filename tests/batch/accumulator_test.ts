import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { PARKED_EVENTS_MAX } from "../../src/batch/accumulator.ts";
import { SEALED_MAX } from "../../src/batch/partition_choice.ts";
import { murmur2Partition } from "../../src/batch/murmur2.ts";
import type { Delivery } from "../../src/event/delivery.ts";
import { delivery } from "../support/events.ts";
import { accumulator, BATCH_EVENTS, type Queue, type TextBatch } from "./text_batch.ts";

const texts = (count: number, prefix = "e") => Array.from({ length: count }, (_, i) => `${prefix}${i}`);

describe("Accumulator", () => {
  test("fills one partition's batch before it goes to the next", () => {
    const acc = accumulator();
    acc.setPartitionCount("logs", 3, 0);
    const { delivery: from } = delivery(texts(10));
    expect(acc.append(from, 0, 0)).toBe(10);
    const byPartition = [...acc.active].map((
      queue,
    ) => [queue.id, [...queue.sealed, queue.open!].filter(Boolean).map((b) => b.texts)]);
    expect(byPartition).toEqual([[0, [["e0", "e1", "e2", "e3"]]], [1, [["e4", "e5", "e6", "e7"]]], [2, [[
      "e8",
      "e9",
    ]]]]);
  });

  test("holds events back while every partition has enough to do, and takes them after a finish", () => {
    const acc = accumulator();
    acc.setPartitionCount("logs", 1, 0);
    const { delivery: from } = delivery(texts(100));
    const taken = acc.append(from, 0, 0);
    expect(taken).toBe(SEALED_MAX * BATCH_EVENTS);
    const queue = [...acc.active][0]!;
    const head = queue.sealed[0]!;
    head.members.settle("delivered");
    acc.finish(queue, head);
    expect(acc.append(from, taken, 0)).toBe(taken + BATCH_EVENTS);
  });

  test("gives partitions without a leader nothing while there are others, also when those have enough to do", () => {
    const unavailable = [0, 2];
    const acc = accumulator({ unavailable });
    acc.setPartitionCount("logs", 3, 0);
    const { delivery: from } = delivery(texts(40));
    const taken = acc.append(from, 0, 0);
    expect(taken).toBe(SEALED_MAX * BATCH_EVENTS);
    expect([...acc.active].map((queue) => queue.id)).toEqual([1]);
    unavailable.push(1);
    expect(acc.append(from, taken, 0)).toBe(taken + 2 * SEALED_MAX * BATCH_EVENTS);
    expect([...acc.active].map((queue) => queue.id).sort()).toEqual([0, 1, 2]);
  });

  test("puts keyed events where the Java client puts them, and those without one anywhere", () => {
    const acc = accumulator();
    acc.setPartitionCount("logs", 5, 0);
    const keys = ["21", "foobar", "", "abc", "21", null];
    acc.append(delivery(texts(6), { keys }).delivery, 0, 0);
    const where = new Map<string, number>();
    for (const queue of acc.active) {
      for (const batch of [...queue.sealed, queue.open!]) {
        for (const text of batch.texts) where.set(text, queue.id);
      }
    }
    for (const [i, key] of keys.entries()) {
      if (key !== null) expect(where.get(`e${i}`)).toBe(murmur2Partition(Buffer.from(key), 0, key.length, 5));
    }
    expect(where.size).toBe(6);
  });

  test("stops at its memory limit, and one full partition cannot take all of it", () => {
    const acc = accumulator({ memoryMaxBytes: 1_000 });
    acc.setPartitionCount("logs", 2, 0);
    const keys = Array.from({ length: 100 }, () => "same");
    const taken = acc.append(delivery(texts(100), { keys }).delivery, 0, 0);
    expect(acc.memoryBytes).toBeLessThan(800);
    const other = ["a", "b", "c", "d", "e", "f"].find((key) =>
      murmur2Partition(Buffer.from(key), 0, 1, 2) !== murmur2Partition(Buffer.from("same"), 0, 4, 2)
    )!;
    expect(taken).toBeLessThan(100);
    expect(acc.append(delivery(["x"], { keys: [other] }).delivery, 0, 0)).toBe(1);
  });

  test("lets events of an unknown topic step aside when topics are templated, up to a limit", () => {
    const acc = accumulator({ canPark: true });
    acc.setPartitionCount("known", 1, 0);
    const { delivery: from } = delivery(texts(4), {
      topics: ["unknown", "known"],
      topicIndexes: [0, 1, 0, 1],
    });
    expect(acc.append(from, 0, 0)).toBe(4);
    expect(acc.parkedEvents).toBe(2);
    expect([...acc.unknownTopics]).toEqual(["unknown"]);
    acc.setPartitionCount("unknown", 1, 0);
    expect(acc.parkedEvents).toBe(0);
    const unknown = [...acc.active].find((queue) => queue.topic === "unknown")!;
    expect(unknown.open!.texts).toEqual(["e0", "e2"]);
    const many = delivery(Array.from({ length: PARKED_EVENTS_MAX + 10 }, () => "x"), { topics: ["other"] });
    expect(acc.append(many.delivery, 0, 0)).toBe(PARKED_EVENTS_MAX);
  });

  test("holds everything for an unknown topic when the topic is fixed", () => {
    const acc = accumulator();
    expect(acc.append(delivery(texts(3)).delivery, 0, 0)).toBe(0);
  });

  test("gives everything up as errored", () => {
    const acc = accumulator({ canPark: true });
    acc.setPartitionCount("logs", 2, 0);
    const one = delivery(texts(6));
    const two = delivery(texts(2), { topics: ["unknown"] });
    acc.append(one.delivery, 0, 0);
    acc.append(two.delivery, 0, 0);
    let releasedCount = 0;
    acc.abandon(() => releasedCount++);
    expect(one.statuses).toEqual(["errored"]);
    expect(two.statuses).toEqual(["errored"]);
    expect(releasedCount).toBe(2);
    expect(acc.memoryBytes).toBe(0);
    expect(acc.active.size).toBe(0);
  });

  test("whatever is appended, finished, split and parked: every event settles once, in order by partition", () => {
    fc.assert(
      fc.property(fc.array(actionArbitrary, { maxLength: 120 }), (actions) => {
        const run = new ModelRun();
        for (const action of actions) run.step(action);
        run.finishAll();
        run.check();
      }),
      { numRuns: 150 },
    );
  });
});

const actionArbitrary = fc.oneof(
  fc.record({
    kind: fc.constant("append" as const),
    count: fc.integer({ min: 1, max: 9 }),
    keyed: fc.boolean(),
    topics: fc.integer({ min: 1, max: 3 }),
  }),
  fc.record({ kind: fc.constant("finish" as const), pick: fc.nat() }),
  fc.record({ kind: fc.constant("seal" as const), pick: fc.nat() }),
  fc.record({
    kind: fc.constant("partitions" as const),
    topic: fc.integer({ min: 0, max: 2 }),
    count: fc.integer({ min: 1, max: 4 }),
  }),
);

type Action = typeof actionArbitrary extends fc.Arbitrary<infer A> ? A : never;

/** An accumulator whose events are numbered, and what became of them. */
class ModelRun {
  readonly #acc = accumulator({ canPark: true, memoryMaxBytes: 1_500 });
  readonly #pending: { delivery: Delivery; next: number }[] = [];
  readonly #all: { statuses: string[] }[] = [];
  /** Numbers of finished events by topic and partition, in the order of finishing. */
  readonly #done = new Map<string, number[]>();
  #nextValue = 0;

  constructor() {
    this.#acc.setPartitionCount("t0", 2, 0);
  }

  step(action: Action): void {
    const queues = [...this.#acc.active];
    if (action.kind === "append") this.#offer(action);
    else if (action.kind === "partitions") this.#acc.setPartitionCount(`t${action.topic}`, action.count, 0);
    else if (queues.length > 0) {
      const queue = queues[action.pick % queues.length]!;
      if (action.kind === "seal") this.#acc.seal(queue);
      else if (queue.sealed.length > 0) this.#finish(queue, queue.sealed[0]!);
    }
    this.#push();
  }

  /** Makes every topic known and finishes until nothing is left. */
  finishAll(): void {
    for (const topic of [0, 1, 2]) this.step({ kind: "partitions", topic, count: 4 });
    for (let rounds = 0; rounds < 10_000 && this.#isBusy(); rounds++) {
      for (const queue of [...this.#acc.active]) {
        this.#acc.seal(queue);
        while (queue.sealed.length > 0) this.#finish(queue, queue.sealed[0]!);
      }
      this.#acc.retryParked(0);
      this.#push();
    }
  }

  check(): void {
    const numbers = [...this.#done.values()].flat().sort((a, b) => a - b);
    expect(numbers).toEqual(Array.from({ length: this.#nextValue }, (_, i) => i));
    for (const { statuses } of this.#all) expect(statuses).toEqual(["delivered"]);
    for (const values of this.#done.values()) expect(values).toEqual([...values].sort((a, b) => a - b));
    expect(this.#acc.memoryBytes).toBe(0);
  }

  #isBusy(): boolean {
    return this.#acc.active.size > 0 || this.#acc.parkedEvents > 0 || this.#pending.length > 0;
  }

  #offer(action: Extract<Action, { kind: "append" }>): void {
    const values = Array.from({ length: action.count }, () => String(this.#nextValue++));
    const made = delivery(values, {
      topics: ["t0", "t1", "t2"].slice(0, action.topics),
      topicIndexes: values.map((_, i) => i % action.topics),
      ...(action.keyed ? { keys: values.map((v) => Number(v) % 3 === 0 ? "" : `k${Number(v) % 5}`) } : {}),
    });
    this.#all.push(made);
    this.#pending.push({ delivery: made.delivery, next: 0 });
  }

  #push(): void {
    while (this.#pending.length > 0) {
      const first = this.#pending[0]!;
      first.next = this.#acc.append(first.delivery, first.next, 0);
      if (first.next < first.delivery.batch.count) return;
      this.#pending.shift();
    }
  }

  #finish(queue: Queue, batch: TextBatch): void {
    this.#acc.finish(queue, batch);
    const key = `${queue.topic}-${queue.id}`;
    this.#done.set(key, [...(this.#done.get(key) ?? []), ...batch.texts.map(Number)]);
    batch.members.settle("delivered");
  }
}

test("a delivery that is alone shares its batch with no other", () => {
  for (const partitions of [1, 3]) {
    const acc = accumulator();
    acc.setPartitionCount("logs", partitions, 0);
    const alone = delivery(["marker"]);
    alone.delivery.isAlone = true;
    const held: string[] = [];
    for (const { delivery: from } of [delivery(["a", "b"]), alone, delivery(["c"])]) {
      while (acc.append(from, 0, 0) === 0) {
        const queue = [...acc.active][0]!;
        held.push(queue.sealed[0]!.texts.join());
        acc.finish(queue, queue.sealed[0]!);
      }
    }
    for (const { sealed, open } of acc.active) {
      held.push(...(open === null ? sealed : [...sealed, open]).map((batch) => batch.texts.join()));
    }
    expect(held.toSorted(), `${partitions}`).toEqual(["a,b", "c", "marker"]);
  }
});

test("a delivery that is alone waits while every partition has enough to do", () => {
  const acc = accumulator();
  acc.setPartitionCount("logs", 1, 0);
  expect(acc.append(delivery(texts(100)).delivery, 0, 0)).toBe(SEALED_MAX * BATCH_EVENTS);
  const alone = delivery(["marker"]);
  alone.delivery.isAlone = true;
  expect(acc.append(alone.delivery, 0, 0)).toBe(0);
});
