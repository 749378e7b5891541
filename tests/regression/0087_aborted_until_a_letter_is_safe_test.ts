// A batch of a transaction whose commit had failed was refused in the next one, and its records became dead letters. Until these were safe, which takes as long
// as their topic is away, transaction after transaction was begun, sent, and aborted.
import { expect, test } from "bun:test";
import { ApiKey } from "../../src/kafka/protocol/api_keys.ts";
import { ErrorCode } from "../../src/kafka/protocol/error_codes.ts";
import { TransactionHarness } from "../kafka/transaction/transaction_harness.ts";
import { until } from "../kafka/support.ts";
import { FakeKafka } from "../support/fake_kafka.ts";

const WATCHED_MS = 500;

test("no transaction is begun that cannot be committed before a dead letter is safe", async () => {
  await using kafka = await FakeKafka.start(1, { logs: 2, positions: 1 });
  kafka.transactions.isVersion2 = true;
  let isLost = false;
  kafka.transactions.fault = (apiKey) => {
    if (apiKey !== ApiKey.EndTxn || isLost || !kafka.values().includes("bad")) return undefined;
    isLost = true;
    return "cut-before";
  };
  kafka.refuse = ({ values }) => {
    if (!isLost || values[0] !== "bad") return undefined;
    return { errorCode: ErrorCode.INVALID_RECORD, recordErrors: [{ index: 0, message: "no" }] };
  };
  const waiting: (() => void)[] = [];
  const letters = { put: (_letter: unknown, onSafe: () => void) => waiting.push(onSafe) };
  await using harness = new TransactionHarness(kafka, { batchMaxEvents: 1 }, undefined, letters);
  await harness.started();
  await harness.producer.flush();
  await harness.send(["bad"]);
  await until(() => waiting.length === 1, "it becomes a dead letter");
  await harness.send(["good", "better"]);
  harness.positions.set("in\u0000a", "there");
  await Bun.sleep(WATCHED_MS);
  expect(harness.metrics.transactionsAbortedCount).toBe(2);
  for (const onSafe of waiting) onSafe();
  await harness.producer.flush();
  expect(kafka.committedValues().filter((value) => value !== "").sort()).toEqual(["better", "good"]);
  expect(harness.metrics.transactionsAbortedCount).toBe(2);
  expect(harness.failure).toBe(null);
  expect(kafka.violations).toEqual([]);
}, 60_000);
