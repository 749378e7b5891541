import { expect, test } from "bun:test";
import { Accumulator, NO_PARTITION } from "../../src/batch/accumulator.ts";
import { PartitionQueue } from "../../src/batch/partition_queue.ts";
import { delivery } from "../support/events.ts";
import { accumulator, type Queue, TextBatch } from "./text_batch.ts";

const texts = (count: number) => Array.from({ length: count }, (_, i) => `e${i}`);

test("events of a topic that is given up are handed over, those that come too, until it has partitions", () => {
  for (const canPark of [true, false]) {
    const givenUp: number[] = [];
    const acc = new Accumulator<TextBatch, Queue>({
      newBatch: () => new TextBatch(),
      newQueue: (topic, partition) => new PartitionQueue<TextBatch>(topic, partition),
      onSealed: () => {},
      isAvailable: () => true,
      partitioner: "sticky",
      memoryMaxBytes: 1_000_000,
      canPark,
      onGivenUp: (topic, members) => {
        expect(topic).toBe("logs");
        givenUp.push(members.count);
        members.settle("rejected");
      },
    });
    const first = delivery(texts(3));
    expect(acc.append(first.delivery, 0, 0)).toBe(canPark ? 3 : 0);
    acc.giveUpTopic("logs");
    expect(givenUp).toEqual(canPark ? [3] : []);
    expect(acc.append(first.delivery, canPark ? 3 : 0, 0)).toBe(3);
    expect([first.statuses, acc.parkedEvents]).toEqual([["rejected"], 0]);
    const second = delivery(texts(2));
    expect(acc.append(second.delivery, 0, 0)).toBe(2);
    expect(second.statuses).toEqual(["rejected"]);
    acc.setPartitionCount("logs", 1, 0);
    const third = delivery(texts(2));
    expect(acc.append(third.delivery, 0, 0)).toBe(2);
    expect([third.statuses, acc.active.size]).toEqual([[], 1]);
    acc.giveUpTopic("logs");
    expect(third.statuses).toEqual([]);
    acc.forgetTopic("logs");
    expect(acc.active.size).toBe(1);
  }
});

test("a topic that was given up and forgotten is waited for anew", () => {
  const acc = accumulator({ canPark: true });
  acc.append(delivery(["a"]).delivery, 0, 0);
  acc.giveUpTopic("logs");
  acc.forgetTopic("logs");
  expect([...acc.unknownTopics]).toEqual([]);
  expect(acc.append(delivery(["b"]).delivery, 0, 0)).toBe(1);
  expect([acc.parkedEvents, ...acc.unknownTopics]).toEqual([1, "logs"]);
});

test("a topic that had partitions is given up: what is in batches stays there, what comes is handed over, until it has some", () => {
  const acc = accumulator();
  acc.setPartitionCount("logs", 2, 0);
  const first = delivery(["a"]);
  acc.append(first.delivery, 0, 0);
  const [queue] = [...acc.active];
  acc.giveUpTopic("logs");
  expect(first.statuses).toEqual([]);
  expect(acc.heirOf(queue!)).toBeNull();
  expect(acc.queueBeyond("logs", queue!.id)).toBe(queue!);
  const second = delivery(["b"]);
  expect(acc.append(second.delivery, 0, 0)).toBe(1);
  expect(second.statuses).toEqual(["rejected"]);
  acc.setPartitionCount("logs", 3, 0);
  expect(acc.queueBeyond("logs", queue!.id)).toBe(queue!);
  const third = delivery(["c"]);
  acc.append(third.delivery, 0, 0);
  expect(third.statuses).toEqual([]);
});

test("events of a topic are diverted to a queue that is no partition and no other's heir, until it has partitions", () => {
  for (const partitioner of ["murmur2_random", "round_robin", "least_bytes", "sticky"] as const) {
    const acc = accumulator({ canPark: true, partitioner });
    expect(acc.append(delivery(["parked"]).delivery, 0, 0)).toBe(1);
    acc.setPartitionCount("logs", 2, 0);
    const old = [...acc.active][0]!;
    const diverted = acc.divertTopic("logs", 0);
    expect(diverted.id).toBe(NO_PARTITION);
    for (let i = 0; i < 5; i++) expect(acc.append(delivery([`${i}`]).delivery, 0, 0)).toBe(1);
    acc.seal(diverted);
    expect(diverted.sealed.flatMap(({ texts }) => texts)).toEqual(["0", "1", "2", "3", "4"]);
    expect(old.open?.texts).toEqual(["parked"]);
    expect(acc.heirOf(old)).toBeNull();
    expect(acc.queueBeyond("logs", 0)).not.toBe(diverted);
    acc.setPartitionCount("logs", 1, 0);
    expect(acc.append(delivery(["later"]).delivery, 0, 0)).toBe(1);
    expect(acc.queueBeyond("logs", 0).open?.texts.at(-1)).toBe("later");
    expect(diverted.open).toBeNull();
    expect(acc.divertTopic("logs", 0)).toBe(diverted);
  }
});

test("a topic that was there, given up and forgotten is waited for anew, with the same queues", () => {
  const acc = accumulator({ canPark: true });
  acc.setPartitionCount("logs", 1, 0);
  const queue = acc.queueBeyond("logs", 0);
  acc.giveUpTopic("logs");
  acc.forgetTopic("logs");
  expect(acc.append(delivery(["b"]).delivery, 0, 0)).toBe(1);
  expect([acc.parkedEvents, ...acc.unknownTopics]).toEqual([1, "logs"]);
  acc.setPartitionCount("logs", 1, 0);
  expect(acc.queueBeyond("logs", 0)).toBe(queue);
});
