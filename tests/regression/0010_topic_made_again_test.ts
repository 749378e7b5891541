import { expect, test } from "bun:test";
import { FakeKafka } from "../support/fake_kafka.ts";
import { ProducerHarness } from "../kafka/producer_harness.ts";
import { until } from "../kafka/support.ts";

// A topic was deleted and made again with fewer partitions: what had been sorted into the others waited for a leader for ever, and so
// did everything behind it.

test("what waits for partitions that are no more goes to those that are there", async () => {
  await using kafka = await FakeKafka.start(1, { logs: 6 });
  await using harness = new ProducerHarness(kafka, { config: { batchMaxEvents: 5 } });
  const keys = Array.from({ length: 60 }, (_, i) => `key ${i}`);
  await harness.send(keys, { keys });
  await harness.producer.flush();
  expect(kafka.topics.get("logs")!.every((log) => log.records.length > 0)).toBe(true);
  kafka.makeAgain("logs", 2);
  const later = keys.map((key) => `${key} later`);
  await harness.send(later, { keys });
  await harness.send(["x", "y", "z"]);
  await harness.producer.flush();
  expect(kafka.values().sort()).toEqual([...later, "x", "y", "z"].sort());
  expect(kafka.violations).toEqual([]);
  expect(harness.statuses).toEqual(["delivered", "delivered", "delivered"]);
  // From now on keys are sorted into two partitions.
  await harness.send(["a1", "a2"], { keys: ["a", "a"] });
  await harness.producer.flush();
  expect(harness.audit().inFlight).toBe(0);
});

test("a broker that lags behind and tells fewer partitions changes nothing", async () => {
  await using kafka = await FakeKafka.start(1, { logs: 3 });
  await using harness = new ProducerHarness(kafka, { config: { batchMaxEvents: 1, metadataRefreshMs: 20 } });
  await harness.send(["a", "b", "c"]);
  await harness.producer.flush();
  const [gone] = kafka.topics.get("logs")!.splice(2, 1);
  await until(() => harness.cluster.topic("logs")!.partitions.length === 2, "it is told");
  const sent = harness.send(["d", "e", "f"], { keys: ["d", "e", "f"] });
  kafka.topics.get("logs")!.push(gone!);
  await sent;
  await harness.producer.flush();
  expect(kafka.values().sort()).toEqual(["a", "b", "c", "d", "e", "f"]);
  expect(kafka.violations).toEqual([]);
});
