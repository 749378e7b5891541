import { expect, test } from "bun:test";
import { ApiKey } from "../../src/kafka/protocol/api_keys.ts";
import { FakeKafka } from "../support/fake_kafka.ts";
import { ProducerHarness } from "../kafka/producer_harness.ts";
import { until } from "../kafka/support.ts";

// Requests for metadata and configs counted for max_in_flight, and nothing looked again when they were answered: with a limit of 1 and a
// full buffer, nothing was ever sent.

test("max_in_flight = 1: other requests on the connection do not hold batches back", async () => {
  await using kafka = await FakeKafka.start(1, { logs: 3 });
  // The topic's limit is asked for when the topic becomes known, over the connection that the batches need.
  kafka.brokers[0]!.on(ApiKey.DescribeConfigs, () => "silence");
  await using harness = new ProducerHarness(kafka, { config: { maxInFlight: 1, batchMaxEvents: 5 } });
  const lines = Array.from({ length: 100 }, (_, i) => String(i));
  const sent = harness.send(lines);
  await until(() => kafka.values().length > 20, "batches are sent meanwhile");
  await sent;
  await harness.producer.flush();
  expect(kafka.values()).toHaveLength(100);
  expect(kafka.violations).toEqual([]);
});
