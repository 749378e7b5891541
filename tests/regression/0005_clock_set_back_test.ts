import { expect, test } from "bun:test";
import { ErrorCode } from "../../src/kafka/protocol/error_codes.ts";
import { FakeKafka } from "../support/fake_kafka.ts";
import { ProducerHarness } from "../kafka/producer_harness.ts";
import { until } from "../kafka/support.ts";

// Lingering and back-off were measured by the wall clock: after it was set back an hour, delivery stood still for that hour.

test("delivery goes on when the wall clock is set back while a batch lingers and another backs off", async () => {
  await using kafka = await FakeKafka.start(1, { logs: 1 });
  let skewMs = 0;
  await using harness = new ProducerHarness(kafka, {
    config: { batchTimeoutMs: 30, retryIntervalMs: 30, retryMaxIntervalMs: 30 },
    now: () => Date.now() + skewMs,
  });
  kafka.refuse = ({ index }) => index === 1 ? { errorCode: ErrorCode.NOT_ENOUGH_REPLICAS } : undefined;
  await harness.send(["a"]);
  skewMs = -3_600_000;
  await until(() => kafka.values().length === 1, "what lingered was sent");
  skewMs = 0;
  await harness.send(["b"]);
  await until(() => harness.metrics.retries.total() === 1, "the first attempt was refused");
  skewMs = -3_600_000;
  await until(() => kafka.values().length === 2, "it was tried again");
  expect(kafka.violations).toEqual([]);
});
