// All partitions with a leader had enough to do, at a broker that stood still, and what came next waited for them; that another partition
// got a leader meanwhile woke nobody.
import { expect, test } from "bun:test";
import { ProducerHarness } from "../kafka/producer_harness.ts";
import { until } from "../kafka/support.ts";
import { FakeKafka } from "../support/fake_kafka.ts";

test("a partition that gets a leader takes what waits for room at others", async () => {
  await using kafka = await FakeKafka.start(2, { logs: 2 });
  const [first, second] = kafka.topics.get("logs")!;
  first!.leader = 1;
  second!.leader = 2;
  kafka.fault = (attempts) => attempts[0]?.nodeId === 1 ? { kind: "silence" } : undefined;
  await using harness = new ProducerHarness(kafka, {
    config: { batchMaxEvents: 1, partitioner: "sticky", requestTimeoutMs: 60_000, socketTimeoutMs: 60_000 },
  });
  const made = harness.delivery(["a", "b", "c", "d"]);
  expect(harness.producer.append(made, 0)).toBe(0);
  await harness.producer.waitForRoom(); // the topic is known
  second!.leader = -1;
  await harness.cluster.refresh(["logs"], "a test");
  expect(harness.producer.append(made, 0)).toBe(2);
  await until(() => kafka.attempts.length > 0, "the first broker has a batch");
  expect(harness.producer.append(made, 2)).toBe(2);
  const woken = harness.producer.waitForRoom();
  second!.leader = 2;
  second!.leaderEpoch++;
  await harness.cluster.refresh(["logs"], "a test");
  await Promise.race([woken, Bun.sleep(1_000).then(() => Promise.reject(new Error("Nobody was woken")))]);
  expect(harness.producer.append(made, 2)).toBeGreaterThan(2);
  await until(() => second!.records.length > 0, "it is sent");
});
