import { describe, expect, test } from "bun:test";
import { ErrorCode } from "../../src/kafka/protocol/error_codes.ts";
import { FakeKafka } from "../support/fake_kafka.ts";
import { waitUntil } from "../support/wait_until.ts";
import { type HarnessOptions, ProducerHarness } from "./producer_harness.ts";
import { TransactionHarness } from "./transaction/transaction_harness.ts";

const TIMEOUT_MS = 200;
/** Long enough for a busy machine to send something first. */
const SENT_TIMEOUT_MS = 2_000;
const lines = (count: number, prefix = "line ") => Array.from({ length: count }, (_, i) => `${prefix}${i}`);
const read = () => ({ receivedMs: Date.now() });

function harnessOf(kafka: FakeKafka, options: HarnessOptions = {}): ProducerHarness {
  return new ProducerHarness(kafka, {
    ...options,
    config: {
      messageTimeoutMs: TIMEOUT_MS,
      socketTimeoutMs: 2_000,
      requestTimeoutMs: 1_000,
      ...options.config,
    },
  });
}

function dropped(harness: ProducerHarness | TransactionHarness): Record<string, number> {
  return Object.fromEntries(
    [...harness.metrics.dropped.values].map(([key, count]) => [key.split("\u0000")[1], count]),
  );
}

describe("message_timeout_ms", () => {
  test("drops what waits for a partition without a leader, and the rest when its time has come", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    // Long enough for a busy machine to deliver the second ones in time.
    const timeoutMs = 1_000;
    kafka.moveLeader(-1);
    await using harness = harnessOf(kafka, { config: { messageTimeoutMs: timeoutMs } });
    const startMs = performance.now();
    await harness.send(lines(5), read());
    await Bun.sleep(timeoutMs * 0.9);
    await harness.send(lines(3, "later "), read());
    await waitUntil("the first are dropped", () => harness.settledCount >= 5);
    const tookMs = performance.now() - startMs;
    expect(tookMs).toBeGreaterThanOrEqual(timeoutMs);
    expect(harness.settledCount).toBe(5);
    kafka.moveLeader(1);
    await harness.cluster.refresh(["logs"], "a test");
    await harness.producer.flush();
    expect(kafka.values()).toEqual(lines(3, "later "));
    expect(dropped(harness)).toEqual({ message_timeout: 5 });
    expect(harness.statuses).toEqual(["rejected", "delivered"]);
    expect(harness.audit()).toEqual({ in: 8, delivered: 3, dropped: 5, inFlight: 0 });
    const [error, ...more] = harness.log.texts("error");
    expect(error).toContain(
      'Cannot deliver 5 events to partition 0 of topic "logs" within message_timeout_ms',
    );
    expect(more).toEqual([]);
  });

  test("without it nothing is dropped, however old", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    kafka.moveLeader(-1);
    await using harness = harnessOf(kafka, { config: { messageTimeoutMs: 0 } });
    await harness.send(lines(5), { receivedMs: 0 });
    await Bun.sleep(2 * TIMEOUT_MS);
    expect(harness.settledCount).toBe(0);
  });

  test("keeps a batch whose answer is missing, and drops what waits behind it", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    kafka.fault = () => ({ kind: "silence" });
    await using harness = harnessOf(kafka, { config: { messageTimeoutMs: SENT_TIMEOUT_MS } });
    await harness.send(lines(5), read());
    await waitUntil("it was sent", () => kafka.attempts.length > 0);
    await harness.send(lines(4, "behind "), read());
    await waitUntil("those behind are dropped", () => harness.settledCount > 0);
    await Bun.sleep(TIMEOUT_MS);
    expect(dropped(harness)).toEqual({ message_timeout: 4 });
    kafka.fault = () => undefined;
    await harness.producer.flush();
    expect(kafka.values()).toEqual(lines(5));
    expect(harness.statuses).toEqual(["rejected", "delivered"]);
    expect(kafka.violations).toEqual([]);
  });

  test("keeps a batch that was answered with an error that may come after it was written", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    kafka.refuse = () => ({ errorCode: ErrorCode.REQUEST_TIMED_OUT, isAppended: true });
    await using harness = harnessOf(kafka);
    await harness.send(lines(5), read());
    await Bun.sleep(2 * TIMEOUT_MS);
    expect(harness.settledCount).toBe(0);
    kafka.refuse = () => undefined;
    await harness.producer.flush();
    expect(kafka.values()).toEqual(lines(5));
    expect(dropped(harness)).toEqual({});
  });

  for (const name of ["TOPIC_AUTHORIZATION_FAILED", "NOT_ENOUGH_REPLICAS"] as const) {
    test(`drops what is refused with ${name} all the time; what follows is taken under the same numbers`, async () => {
      await using kafka = await FakeKafka.start(1, { logs: 1 });
      kafka.refuse = () => ({ errorCode: ErrorCode[name] });
      // An answer that comes too late would leave the batch in doubt.
      await using harness = harnessOf(kafka, {
        config: { messageTimeoutMs: SENT_TIMEOUT_MS, socketTimeoutMs: 20_000, requestTimeoutMs: 20_000 },
      });
      await harness.send(lines(5), read());
      await waitUntil("dropped", () => harness.settledCount === 5);
      expect(kafka.attempts.length).toBeGreaterThan(0);
      kafka.refuse = () => undefined;
      await harness.send(lines(2, "next "), { receivedMs: Date.now() + 60_000 });
      await harness.producer.flush();
      expect(kafka.values()).toEqual(lines(2, "next "));
      expect(kafka.log("logs", 0).batches[0]!.baseSequence).toBe(0);
      expect(dropped(harness)).toEqual({ message_timeout: 5 });
      expect(kafka.violations).toEqual([]);
    });
  }

  test("drops what waits for a topic that nobody knows: parked, and in front of the batches", async () => {
    for (const hasTopicTemplate of [true, false]) {
      await using kafka = await FakeKafka.start(1, { logs: 1 });
      await using harness = harnessOf(kafka, { hasTopicTemplate });
      const made = harness.delivery(lines(7), { topics: ["unknown"], ...read() });
      const next = harness.producer.append(made, 0);
      expect(next).toBe(hasTopicTemplate ? 7 : 0);
      if (!hasTopicTemplate) {
        while (!harness.producer.dropLate(made, next)) await harness.producer.waitForRoom();
      }
      await waitUntil("dropped", () => harness.settledCount === 7);
      await harness.producer.flush();
      expect(dropped(harness)).toEqual({ message_timeout: 7 });
      expect(harness.audit()).toEqual({ in: 7, delivered: 0, dropped: 7, inFlight: 0 });
    }
  });

  test("events that come slowly while their partition is held are not all as old as the first", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    kafka.moveLeader(-1);
    await using harness = harnessOf(kafka, { config: { messageTimeoutMs: 500 } });
    const sentMs: number[] = [];
    for (let i = 0; i < 60; i++) {
      sentMs.push(performance.now());
      await harness.send([`slow ${i}`], { keys: ["k"], ...read() });
      await Bun.sleep(20);
    }
    // 60 events in 1,200 ms or more: the first are too old by then, and nothing is dropped that is not.
    await waitUntil("some are dropped", () => harness.metrics.dropped.total() > 10);
    const count = harness.metrics.dropped.total();
    const nowMs = performance.now();
    expect(count).toBeLessThanOrEqual(sentMs.filter((each) => nowMs - each >= 500).length);
    kafka.moveLeader(1);
    await harness.cluster.refresh(["logs"], "a test");
    await harness.producer.flush();
    const { delivered, inFlight, dropped: droppedCount } = harness.audit();
    expect(inFlight).toBe(0);
    expect(delivered + droppedCount).toBe(60);
    expect(kafka.values()).toEqual(Array.from({ length: delivered }, (_, i) => `slow ${60 - delivered + i}`));
  });

  test("a clock that is set ahead drops nothing", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    kafka.moveLeader(-1);
    let aheadMs = 0;
    await using harness = harnessOf(kafka, {
      config: { messageTimeoutMs: 5_000 },
      now: () => Date.now() + aheadMs,
    });
    await harness.send(lines(5), read());
    await Bun.sleep(50);
    aheadMs = 3_600_000;
    await Bun.sleep(1_200);
    expect(harness.settledCount).toBe(0);
  });

  test("in transactions: keeps what belongs to one that is open, drops it when it was aborted", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1, positions: 1 });
    await using harness = new TransactionHarness(kafka, {
      messageTimeoutMs: SENT_TIMEOUT_MS,
      socketTimeoutMs: 1_000,
      requestTimeoutMs: 500,
    });
    await harness.started();
    kafka.fault = () => ({ kind: "silence" });
    await harness.send(lines(5), read());
    await waitUntil("dropped", () => harness.settledCount === 5);
    expect(harness.metrics.transactionsAbortedCount).toBeGreaterThan(0);
    kafka.fault = () => undefined;
    await harness.send(lines(3, "next "), { receivedMs: Date.now() + 60_000 });
    await harness.producer.flush();
    expect(kafka.committedValues()).toEqual(lines(3, "next "));
    expect(dropped(harness)).toEqual({ message_timeout: 5 });
    expect(harness.metrics.inFlightEvents).toBe(0);
  });
});

describe("retry.max_attempts", () => {
  const config = { retryMaxAttempts: 3, partitioner: "sticky", batchMaxEvents: 5 } as const;

  test("drops a batch after so many refusals, and nothing but that batch", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 2 });
    let refusedCount = 0;
    kafka.refuse = ({ partition, values }) => {
      if (partition !== 0 || !values.includes("a0")) return undefined;
      refusedCount++;
      return { errorCode: ErrorCode.TOPIC_AUTHORIZATION_FAILED };
    };
    await using harness = new ProducerHarness(kafka, { config });
    await harness.send(lines(5, "a"));
    await harness.send(lines(5, "b"));
    await harness.send(lines(5, "c"));
    await harness.producer.flush();
    expect(refusedCount).toBe(3);
    expect([...kafka.values()].sort()).toEqual([...lines(5, "b"), ...lines(5, "c")]);
    expect(dropped(harness)).toEqual({ retries_exhausted: 5 });
    expect(harness.log.texts("error")[0]).toContain(
      "it was refused 3 times, as often as retry.max_attempts allows, with TOPIC_AUTHORIZATION_FAILED",
    );
    expect(harness.audit()).toEqual({ in: 15, delivered: 10, dropped: 5, inFlight: 0 });
    expect(kafka.violations).toEqual([]);
  });

  test("never drops what may have been written, however often it is tried", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    let answers = 0;
    kafka.refuse = () => ++answers > 8 ? undefined : { errorCode: ErrorCode.REQUEST_TIMED_OUT };
    await using harness = new ProducerHarness(kafka, { config });
    await harness.send(lines(5));
    await harness.producer.flush();
    expect(kafka.values()).toEqual(lines(5));
    expect(dropped(harness)).toEqual({});
    // One answer that says nothing is enough: those that refuse it afterwards say nothing of that attempt.
    answers = 0;
    kafka.refuse = () => {
      answers++;
      if (answers > 8) return undefined;
      return answers === 1
        ? { errorCode: ErrorCode.REQUEST_TIMED_OUT, isAppended: true }
        : { errorCode: ErrorCode.TOPIC_AUTHORIZATION_FAILED };
    };
    await harness.send(lines(5, "again "));
    await harness.producer.flush();
    expect(kafka.values()).toEqual([...lines(5), ...lines(5, "again ")]);
    expect(dropped(harness)).toEqual({});
  });

  test("0 tries for ever", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    let answers = 0;
    kafka.refuse = () => ++answers > 20 ? undefined : { errorCode: ErrorCode.TOPIC_AUTHORIZATION_FAILED };
    await using harness = new ProducerHarness(kafka, { config: { ...config, retryMaxAttempts: 0 } });
    await harness.send(lines(5));
    await harness.producer.flush();
    expect(kafka.values()).toEqual(lines(5));
  });

  test("in transactions: the batch that is refused is dropped, the others are committed", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 2, positions: 1 });
    kafka.refuse = ({ values }) =>
      values.includes("a0") ? { errorCode: ErrorCode.TOPIC_AUTHORIZATION_FAILED } : undefined;
    await using harness = new TransactionHarness(kafka, config);
    await harness.started();
    for (const prefix of ["a", "b", "c"]) await harness.send(lines(5, prefix));
    await harness.producer.flush();
    expect([...kafka.committedValues()].sort()).toEqual([...lines(5, "b"), ...lines(5, "c")]);
    expect(dropped(harness)).toEqual({ retries_exhausted: 5 });
    expect(harness.metrics.inFlightEvents).toBe(0);
  });
});
