import { expect, test } from "bun:test";
import { FakeKafka } from "../support/fake_kafka.ts";
import { ProducerHarness } from "../kafka/producer_harness.ts";
import { until } from "../kafka/support.ts";
import { ErrorCode } from "../../src/kafka/protocol/error_codes.ts";

// The events of a topic that was deleted while shipper ran waited for ever, whatever on_topic_missing said.

const DROP = { onTopicMissing: "drop", topicMissingTimeoutMs: 50 } as const;

test("events of a topic that was deleted are dropped, those in batches too", async () => {
  await using kafka = await FakeKafka.start(1, { logs: 2 });
  const config = { ...DROP, batchMaxEvents: 3 };
  await using harness = new ProducerHarness(kafka, { config, recheckMs: 100 });
  await harness.send(["a", "b", "c"]);
  await harness.producer.flush();
  kafka.topics.delete("logs");
  kafka.topicErrors.set("logs", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
  kafka.refuse = () => ({ errorCode: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION });
  await harness.send(["d", "e", "f", "g", "h"]);
  await harness.producer.flush();
  expect(harness.statuses).toEqual(["delivered", "rejected"]);
  expect(harness.audit().inFlight).toBe(0);
  expect(harness.metrics.dropped.values.get("app\u0000topic_missing")).toBe(5);
  expect(harness.log.texts("error").join()).toContain("may have been written to it before it was deleted");
});

test("what is given up although it is in the topic, which was never deleted, is told, and nobody else gets its numbers", async () => {
  await using kafka = await FakeKafka.start(1, { logs: 1 });
  await using harness = new ProducerHarness(kafka, { config: DROP, recheckMs: 100 });
  await harness.send(["a"]);
  await harness.producer.flush();
  kafka.topicErrors.set("logs", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
  // Appended, and answered with an error that says nothing.
  kafka.refuse = () => ({ errorCode: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, isAppended: true });
  await harness.send(["b"]);
  await harness.producer.flush();
  expect(harness.statuses).toEqual(["delivered", "rejected"]);
  expect(kafka.values()).toEqual(["a", "b"]);
  kafka.refuse = () => undefined;
  kafka.topicErrors.clear();
  await until(
    () => harness.log.texts("error").some((text) => text.includes("was not deleted")),
    "it is told",
  );
  await harness.send(["c"]);
  await harness.producer.flush();
  expect(kafka.values()).toEqual(["a", "b", "c"]);
  expect(kafka.violations).toEqual([]);
});
