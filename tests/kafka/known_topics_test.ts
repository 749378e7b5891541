import { expect, test } from "bun:test";
import type { Cluster } from "../../src/kafka/cluster.ts";
import { KnownTopics } from "../../src/kafka/known_topics.ts";

function start(hasIds: boolean) {
  const state = { id: "id 1", partitions: 3, known: [] as string[] };
  const topic = () => ({
    errorCode: 0,
    topicId: hasIds ? state.id : null,
    partitions: Array.from({ length: state.partitions }, (_, id) => ({ id })),
  });
  const topics = new KnownTopics({
    cluster: { topic } as unknown as Cluster,
    want: () => {},
    onKnown: (name, count, isNew) => state.known.push(`${name} ${count} ${isNew ? "new" : "same"}`),
    wantLimits: () => {},
  });
  return { state, topics };
}

test("a topic that was missing may have fewer partitions afterwards, also where brokers are too old to name it", () => {
  for (const hasIds of [true, false]) {
    const { state, topics } = start(hasIds);
    topics.told("logs", 3);
    topics.missing("logs");
    state.id = "id 2";
    topics.told("logs", 1);
    expect(state.known).toEqual(["logs 3 new", "logs 1 new"]);
    expect(topics.partitionCount("logs")).toBe(1);
  }
});

test("one that was not missing, or is the same one by its id, has never fewer: a broker lags behind", () => {
  const { state, topics } = start(true);
  topics.told("logs", 3);
  topics.missing("logs");
  topics.told("logs", 1);
  const old = start(false);
  old.topics.told("logs", 3);
  old.topics.told("logs", 1);
  expect([state.known, old.state.known]).toEqual([["logs 3 new", "logs 3 same"], [
    "logs 3 new",
    "logs 3 same",
  ]]);
});
