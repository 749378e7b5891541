import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { ErrorCode } from "../../src/kafka/protocol/error_codes.ts";
import { LIMITS_FRESH_MS } from "../../src/kafka/topic_limits.ts";
import { type Attempt, FakeKafka } from "../support/fake_kafka.ts";
import { ProducerHarness } from "./producer_harness.ts";

const lines = (count: number, prefix = "line ") => Array.from({ length: count }, (_, i) => `${prefix}${i}`);

describe("refusals", () => {
  test("MESSAGE_TOO_LARGE splits down to the record that is to blame, which alone is dropped, counted and named", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    kafka.refuse = ({ bytes }) => bytes.length > 500 ? { errorCode: ErrorCode.MESSAGE_TOO_LARGE } : undefined;
    await using harness = new ProducerHarness(kafka);
    const values = lines(40);
    values[17] = "x".repeat(600);
    await harness.send(values, { offset: 1_000 });
    await harness.producer.flush();
    expect(kafka.values()).toEqual(values.filter((_, i) => i !== 17));
    expect(harness.statuses).toEqual(["rejected"]);
    expect([...harness.metrics.dropped.values]).toEqual([["app\u0000record_too_large", 1]]);
    const [error, ...more] = harness.log.texts("error");
    expect(more).toEqual([]);
    const byte = 1_000 + values.slice(0, 17).reduce((sum, value) => sum + value.length + 1, 0);
    expect(error).toContain(`"/var/log/app.log" at byte ${byte}`);
    expect(kafka.violations).toEqual([]);
    expect(harness.audit()).toEqual({ in: 40, delivered: 39, dropped: 1, inFlight: 0 });
  });

  test("a record larger than max_message_bytes is not even sent; the topic's own limit shapes the batches", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    kafka.maxMessageBytes = 700;
    await using harness = new ProducerHarness(kafka, {
      config: { maxMessageBytes: 1_000, batchTimeoutMs: 0 },
    });
    await harness.send(["a"]);
    await harness.producer.flush();
    await harness.send(["b", "x".repeat(2_000), "y".repeat(900), ...lines(100)]);
    await harness.producer.flush();
    expect(kafka.values()).toEqual(["a", "b", ...lines(100)]);
    expect([...harness.metrics.dropped.values]).toEqual([["app\u0000record_too_large", 2]]);
    const [option, topic] = harness.log.texts("error");
    expect(option).toContain("2070 bytes exceed max_message_bytes");
    expect(topic).toContain('970 bytes exceed max.message.bytes of topic "logs", which is 700');
    const sizes = kafka.attempts.filter((each) => each.header.recordCount > 1).map((each) =>
      each.bytes.length
    );
    expect(Math.max(...sizes)).toBeLessThanOrEqual(700);
  });

  test("a record that is small enough when it is compressed is sent; one that is not is given up before", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    kafka.maxMessageBytes = 700;
    await using harness = new ProducerHarness(kafka, { config: { compression: "gzip", batchTimeoutMs: 0 } });
    await harness.send(["a"]);
    await harness.producer.flush();
    const noise = Buffer.concat(
      Array.from({ length: 30 }, (_, i) => createHash("sha256").update(`${i}`).digest()),
    );
    await harness.send(["b", "y".repeat(5_000), noise, "c"]);
    await harness.producer.flush();
    expect(kafka.values()).toEqual(["a", "b", "y".repeat(5_000), "c"]);
    expect(harness.log.texts("error").length).toBe(1);
    expect(harness.log.texts("error")[0]).toMatch(/\d+ bytes compressed exceed max.message.bytes/u);
    expect(harness.audit()).toEqual({ in: 5, delivered: 4, dropped: 1, inFlight: 0 });
    expect(Math.max(...kafka.attempts.map((each) => each.bytes.length))).toBeLessThanOrEqual(700);
  });

  test("each topic has a limit of its own, and one that was learnt long ago gives nothing up", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1, audit: 1 });
    kafka.maxMessageBytes = 700;
    await using harness = new ProducerHarness(kafka, {
      config: { batchTimeoutMs: 0 },
      hasTopicTemplate: true,
    });
    await harness.send(["a"]);
    await harness.producer.flush();
    kafka.maxMessageBytes = 5_000;
    await harness.send(["b"], { topics: ["audit"] });
    await harness.producer.flush();
    await harness.send(["x".repeat(2_000)], { topics: ["audit"] });
    await harness.send(["y".repeat(2_000)]);
    await harness.producer.flush();
    expect([...harness.metrics.dropped.values]).toEqual([["app\u0000record_too_large", 1]]);
    const now = performance.now;
    performance.now = () => now.call(performance) + 2 * LIMITS_FRESH_MS;
    try {
      await harness.send(["z".repeat(2_000)]);
      await harness.producer.flush();
    } finally {
      performance.now = now;
    }
    expect([kafka.values(), kafka.values("audit")]).toEqual([["a", "z".repeat(2_000)], [
      "b",
      "x".repeat(2_000),
    ]]);
    expect(harness.audit()).toEqual({ in: 5, delivered: 4, dropped: 1, inFlight: 0 });
  });

  test("INVALID_RECORD takes out only the records that the broker names", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    kafka.refuse = (attempt) => {
      const bad = indexesOf(attempt, "bad");
      if (bad.length === 0) return undefined;
      const recordErrors = bad.map((index) => ({ index, message: "no key" }));
      return { errorCode: ErrorCode.INVALID_RECORD, recordErrors };
    };
    await using harness = new ProducerHarness(kafka);
    await harness.send(["bad 0", "1", "2", "bad 3", "bad 4", "5", "bad 6"]);
    await harness.producer.flush();
    expect(kafka.values()).toEqual(["1", "2", "5"]);
    expect([...harness.metrics.dropped.values]).toEqual([["app\u0000invalid_record", 4]]);
    expect(harness.log.texts("error").every((text) => text.includes("INVALID_RECORD (no key)"))).toBe(true);
    expect(harness.audit()).toEqual({ in: 7, delivered: 3, dropped: 4, inFlight: 0 });
  });

  test("INVALID_RECORD without names, or with names that cannot be, is searched by halves", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    kafka.refuse = (attempt) => {
      if (indexesOf(attempt, "bad").length === 0) return undefined;
      return {
        errorCode: ErrorCode.INVALID_RECORD,
        recordErrors: [{ index: 99, message: null }, { index: -1, message: null }],
      };
    };
    await using harness = new ProducerHarness(kafka);
    const values = lines(33).map((value, i) => i === 20 ? "bad" : value);
    await harness.send(values);
    await harness.producer.flush();
    expect(kafka.values()).toEqual(values.filter((value) => value !== "bad"));
    expect(harness.metrics.dropped.total()).toBe(1);
  });

  for (
    const name of ["OUT_OF_ORDER_SEQUENCE_NUMBER", "UNKNOWN_PRODUCER_ID", "INVALID_PRODUCER_EPOCH"] as const
  ) {
    test(`${name} starts over under the next epoch, on that partition alone`, async () => {
      await using kafka = await FakeKafka.start(1, { logs: 2 });
      await using harness = new ProducerHarness(kafka, {
        config: { batchMaxEvents: 5, partitioner: "sticky" },
      });
      await harness.send(lines(10, "a"));
      await harness.producer.flush();
      let isRefused = false;
      kafka.refuse = ({ partition }) => {
        if (partition !== 0 || isRefused) return undefined;
        isRefused = true;
        return { errorCode: ErrorCode[name] };
      };
      await harness.send(lines(10, "b"));
      await harness.producer.flush();
      await harness.send(lines(10, "c"));
      await harness.producer.flush();
      const numbers = (partition: number) =>
        kafka.log("logs", partition).batches.map((batch) => [batch.producerEpoch, batch.baseSequence]);
      expect(numbers(0)).toEqual([[0, 0], [1, 0], [1, 5]]);
      expect(numbers(1)).toEqual([[0, 0], [0, 5], [0, 10]]);
      expect(kafka.values()).toHaveLength(30);
      expect(harness.log.texts("warn").join("\n")).toContain(name);
    });
  }

  test("DUPLICATE_SEQUENCE_NUMBER is an acknowledgement", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    kafka.refuse = ({ index }) =>
      index === 0 ? { errorCode: ErrorCode.DUPLICATE_SEQUENCE_NUMBER, isAppended: true } : undefined;
    await using harness = new ProducerHarness(kafka, { config: { batchMaxEvents: 2 } });
    await harness.send(lines(4));
    await harness.producer.flush();
    expect(kafka.values()).toEqual(lines(4));
  });

  test("an error that nobody foresaw is tried again for ever, with back-off", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    kafka.refuse = ({ index }) => index < 6 ? { errorCode: 1_234, message: "surprise" } : undefined;
    await using harness = new ProducerHarness(kafka);
    await harness.send(["x"]);
    await harness.producer.flush();
    expect(kafka.attempts).toHaveLength(7);
    expect(harness.log.texts("warn")[0]).toContain("ERROR_1234 (surprise)");
    expect(harness.metrics.retries.values.get("ERROR_1234")).toBe(6);
    expect(harness.metrics.lastError).toBeNull();
  });
});

function indexesOf(attempt: Attempt, text: string): number[] {
  return attempt.values.flatMap((value, index) => value.startsWith(text) ? [index] : []);
}
