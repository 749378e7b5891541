import { expect, test } from "bun:test";
import { ApiKey } from "../../src/kafka/protocol/api_keys.ts";
import { ErrorCode } from "../../src/kafka/protocol/error_codes.ts";
import { EPOCH_MAX } from "../../src/kafka/partition_sender.ts";
import { FakeKafka } from "../support/fake_kafka.ts";
import { ProducerHarness } from "../kafka/producer_harness.ts";

// The epoch is 16 bits on the wire; the one after the last could not be written, and that ended the process.

test("after the last epoch of a producer id, a fresh id is asked for", async () => {
  await using kafka = await FakeKafka.start(1, { logs: 2 });
  kafka.firstEpoch = EPOCH_MAX;
  kafka.refuse = ({ index, partition }) =>
    index === 0 && partition === 0 ? { errorCode: ErrorCode.UNKNOWN_PRODUCER_ID } : undefined;
  await using harness = new ProducerHarness(kafka, { config: { batchMaxEvents: 2, partitioner: "sticky" } });
  await harness.send(["a", "b", "c", "d"]);
  await harness.producer.flush();
  await harness.send(["e", "f", "g", "h"]);
  await harness.producer.flush();
  expect(kafka.countOf(ApiKey.InitProducerId)).toBe(2);
  expect(kafka.values().sort()).toEqual(["a", "b", "c", "d", "e", "f", "g", "h"]);
  expect(kafka.violations).toEqual([]);
  const ids = (partition: number) => kafka.log("logs", partition).batches.map((batch) => batch.producerId);
  expect(new Set(ids(0))).toEqual(new Set([7_001n]));
  expect(ids(1)).toEqual([7_000n, 7_001n]);
});
