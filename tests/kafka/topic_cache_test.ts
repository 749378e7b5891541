import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { TopicMetadata } from "../../src/kafka/protocol/metadata.ts";
import { findPartition, TopicCache } from "../../src/kafka/topic_cache.ts";

function topicOf(name: string, epochs: readonly number[], topicId = "id"): TopicMetadata {
  const partitions = epochs.map((leaderEpoch, id) => ({
    id,
    leader: leaderEpoch % 3,
    leaderEpoch,
    replicas: [],
    isr: [],
    errorCode: 0,
  }));
  return { name, topicId, errorCode: 0, partitions, operations: null };
}

describe("TopicCache", () => {
  test("of each partition the highest leader epoch stays, in whatever order answers come", () => {
    const answers = fc.array(fc.tuple(fc.nat(9), fc.nat(9)), { minLength: 1, maxLength: 12 });
    fc.assert(fc.property(answers, (epochs) => {
      const cache = new TopicCache();
      cache.remember("a");
      for (const each of epochs) cache.update([topicOf("a", each)]);
      const highest = [0, 1].map((id) => Math.max(...epochs.map((each) => each[id]!)));
      expect(cache.get("a")!.partitions.map((partition) => partition.leaderEpoch)).toEqual(highest);
    }));
  });

  test("says whether an answer brought anything new", () => {
    const cache = new TopicCache();
    cache.remember("a");
    expect(cache.get("a")).toBeUndefined();
    expect(cache.update([topicOf("a", [1])])).toBe(true);
    expect(cache.update([topicOf("a", [1])])).toBe(false);
    expect(cache.update([topicOf("a", [0])])).toBe(false);
    expect(cache.update([topicOf("a", [2])])).toBe(true);
    expect(cache.update([topicOf("a", [2, 0])])).toBe(true);
    expect(cache.update([topicOf("a", [0, 0], "another")])).toBe(true);
    expect(cache.update([topicOf("never asked for", [1])])).toBe(false);
    expect(cache.get("never asked for")).toBeUndefined();
  });

  test("keeps which replicas are in sync up to date, though that is nothing new", () => {
    const cache = new TopicCache();
    cache.remember("a");
    const withIsr = (epoch: number, isr: number[]) => {
      const topic = topicOf("a", [epoch]);
      return {
        ...topic,
        partitions: topic.partitions.map((each) => ({ ...each, replicas: [1, 2, 3], isr })),
      };
    };
    cache.update([withIsr(1, [1, 2, 3])]);
    expect(cache.update([withIsr(1, [1])])).toBe(false);
    expect(cache.get("a")!.partitions[0]!.isr).toEqual([1]);
    expect(cache.update([withIsr(1, [1, 2])])).toBe(false);
    expect(cache.get("a")!.partitions[0]!.isr).toEqual([1, 2]);
    // What a broker says that lags behind.
    expect(cache.update([withIsr(0, [3])])).toBe(false);
    expect(cache.get("a")!.partitions[0]!.isr).toEqual([1, 2]);
  });

  test("an error replaces what was known, and is replaced", () => {
    const cache = new TopicCache();
    cache.remember("a");
    cache.update([topicOf("a", [5])]);
    const gone: TopicMetadata = { name: "a", topicId: null, errorCode: 3, partitions: [], operations: null };
    expect(cache.update([gone])).toBe(true);
    expect(cache.get("a")!.errorCode).toBe(3);
    cache.update([topicOf("a", [0])]);
    expect(cache.get("a")!.partitions[0]!.leaderEpoch).toBe(0);
  });

  test("forgets what was asked for longest ago", () => {
    const cache = new TopicCache(3);
    for (const name of ["a", "b", "c", "a", "d"]) cache.remember(name);
    expect(cache.names()).toEqual(["c", "a", "d"]);
    cache.update([topicOf("b", [1]), topicOf("d", [1])]);
    expect([cache.get("b"), cache.get("d")?.name, cache.size]).toEqual([undefined, "d", 3]);
  });

  test("partitions are found by id, also when some are missing", () => {
    const topic = { ...topicOf("a", [0, 1, 2]) };
    const gaps = { ...topic, partitions: topic.partitions.slice(1) };
    expect(findPartition(topic, 2)!.leaderEpoch).toBe(2);
    expect(findPartition(gaps, 2)!.leaderEpoch).toBe(2);
    expect([findPartition(gaps, 0), findPartition(topic, -1)]).toEqual([null, null]);
  });
});
