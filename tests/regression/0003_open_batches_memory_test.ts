import { expect, test } from "bun:test";
import { BATCH_MEMORY_MAX_BYTES } from "../../src/kafka/batch_intake.ts";
import { FakeKafka } from "../support/fake_kafka.ts";
import { ProducerHarness } from "../kafka/producer_harness.ts";

// The limit counted only when a batch was begun: those that were open grew on, and a topic with many partitions took the memory of all
// their full batches.

test("the batches of a hundred partitions keep to the memory of a sink, whatever state they are in", async () => {
  await using kafka = await FakeKafka.start(1, { logs: 100 });
  await using harness = new ProducerHarness(kafka, { config: { batchTimeoutMs: 5_000 } });
  await harness.send(["first"]);
  await harness.producer.flush();
  kafka.fault = () => ({ kind: "silence" });
  const value = Buffer.alloc(10_000, "x");
  let bytes = 0;
  for (let round = 0;; round++) {
    const keys = Array.from({ length: 500 }, (_, i) => `${round} ${i}`);
    const taken = harness.producer.append(harness.delivery(Array(500).fill(value), { keys }), 0);
    bytes += taken * value.length;
    if (taken < 500) break;
    expect(bytes).toBeLessThan(3 * BATCH_MEMORY_MAX_BYTES);
  }
  expect(bytes).toBeGreaterThan(BATCH_MEMORY_MAX_BYTES / 4);
  expect(bytes).toBeLessThan(BATCH_MEMORY_MAX_BYTES + 2_000_000);
});
