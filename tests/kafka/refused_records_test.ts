import { describe, expect, test } from "bun:test";
import type { DeadLetter, DeadLetters } from "../../src/event/dead_letters.ts";
import { ErrorCode } from "../../src/kafka/protocol/error_codes.ts";
import { type Attempt, FakeKafka } from "../support/fake_kafka.ts";
import { waitUntil } from "../support/wait_until.ts";
import { ProducerHarness } from "./producer_harness.ts";

/** Dead letters that become safe when a test says so. */
class KeptLetters implements DeadLetters {
  readonly letters: DeadLetter[] = [];
  readonly #waiting: (() => void)[] = [];
  isOpen = true;

  put(letter: DeadLetter, onSafe: () => void): void {
    // What is kept must not depend on memory that goes back to its pool.
    this.letters.push({ ...letter, value: Buffer.from(letter.value) });
    if (this.isOpen) queueMicrotask(onSafe);
    else this.#waiting.push(onSafe);
  }

  open(): void {
    this.isOpen = true;
    for (const onSafe of this.#waiting.splice(0)) onSafe();
  }
}

const isBad = ({ values }: Attempt) => values.some((value) => value.startsWith("bad"));

describe("dead letters", () => {
  test("are made of a batch that retry.max_attempts gives up, not of events that are too old", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    kafka.refuse = (attempt) =>
      isBad(attempt) ? { errorCode: ErrorCode.TOPIC_AUTHORIZATION_FAILED } : undefined;
    const deadLetters = new KeptLetters();
    deadLetters.isOpen = false;
    const config = { retryMaxAttempts: 3, messageTimeoutMs: 1_500 };
    await using harness = new ProducerHarness(kafka, { deadLetters, config });
    await harness.send(["bad 1", "bad 2"], { receivedMs: Date.now() });
    await waitUntil("letters are written", () => deadLetters.letters.length === 2);
    expect(deadLetters.letters.map(({ reason }) => reason)).toEqual([
      "retries_exhausted",
      "retries_exhausted",
    ]);
    await harness.send(["behind"], { receivedMs: Date.now() });
    await waitUntil("what waits behind it is dropped", () => harness.metrics.dropped.total() === 1);
    expect([...harness.metrics.dropped.values]).toEqual([["app\u0000message_timeout", 1]]);
    deadLetters.open();
    await harness.send(["next"], { receivedMs: Date.now() });
    await harness.producer.flush();
    expect(kafka.values()).toEqual(["next"]);
    expect([...harness.metrics.deadLettered.values]).toEqual([["app\u0000retries_exhausted", 2]]);
    expect(harness.metrics.inFlightEvents).toBe(0);
  });

  test("of records that the broker refuses hold what is behind them, until they are safe", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    kafka.refuse = (attempt) => {
      if (!isBad(attempt)) return undefined;
      const recordErrors = attempt.values.flatMap((value, index) =>
        value.startsWith("bad") ? [{ index, message: "no key" }] : []
      );
      return { errorCode: ErrorCode.INVALID_RECORD, recordErrors };
    };
    const deadLetters = new KeptLetters();
    deadLetters.isOpen = false;
    await using harness = new ProducerHarness(kafka, { deadLetters });
    await harness.send(["a", "bad 1", "b", "bad 3"], { offset: 100 });
    await harness.send(["c"]);
    await waitUntil("a letter is written", () => deadLetters.letters.length > 0);
    await Bun.sleep(50);
    expect(kafka.values()).toEqual(["a"]);
    expect(harness.metrics.heldEvents).toBe(1);
    expect(harness.statuses).toEqual([]);
    deadLetters.open();
    await harness.producer.flush();
    expect(kafka.values()).toEqual(["a", "b", "c"]);
    expect(harness.statuses.sort()).toEqual(["delivered", "rejected"]);
    expect(harness.metrics.heldEvents).toBe(0);
    expect([...harness.metrics.deadLettered.values]).toEqual([["app\u0000invalid_record", 2]]);
    expect(harness.audit()).toEqual({ in: 5, delivered: 3, dropped: 0, inFlight: 0 });
    expect(kafka.violations).toEqual([]);
    expect(deadLetters.letters.map(({ value, offset }) => [String(value), offset])).toEqual([
      ["bad 1", 102],
      ["bad 3", 110],
    ]);
    expect(deadLetters.letters[0]).toMatchObject({
      reason: "invalid_record",
      error: "the broker answers INVALID_RECORD (no key)",
      sink: "events",
      topic: "logs",
      stream: { source: "app", path: "/var/log/app.log" },
      key: null,
    });
  });

  test("of a record that is too large take its key along; other partitions go on meanwhile", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 2 });
    const deadLetters = new KeptLetters();
    deadLetters.isOpen = false;
    const config = { maxMessageBytes: 1_000, onTooLarge: "dead_letter" as const, keyField: "k" };
    await using harness = new ProducerHarness(kafka, { config, deadLetters });
    // Keys of both partitions (murmur2).
    const keys = Array.from({ length: 20 }, (_, i) => `key ${i}`);
    await harness.send(["x".repeat(3_000)], { keys: ["key 0"] });
    await harness.send(keys.map((key) => `after ${key}`), { keys });
    await waitUntil("the other partition is delivered", () => kafka.values().length > 0);
    await Bun.sleep(50);
    const before = kafka.values().length;
    expect(before).toBeLessThan(20);
    deadLetters.open();
    await harness.producer.flush();
    expect(kafka.values().length).toBe(20);
    expect(deadLetters.letters.map(({ key, value, reason }) => [String(key), value.length, reason])).toEqual([
      ["key 0", 3_000, "record_too_large"],
    ]);
    expect(harness.audit()).toEqual({ in: 21, delivered: 20, dropped: 0, inFlight: 0 });
  });

  test("that are not safe when the producer is closed leave their events with their source", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    const deadLetters = new KeptLetters();
    deadLetters.isOpen = false;
    const config = { maxMessageBytes: 1_000, onTooLarge: "dead_letter" as const };
    await using harness = new ProducerHarness(kafka, { config, deadLetters });
    await harness.send(["x".repeat(3_000)]);
    await waitUntil("a letter is written", () => deadLetters.letters.length === 1);
    harness.producer.close();
    expect(harness.statuses).toEqual(["errored"]);
    deadLetters.open();
    expect(harness.metrics.deadLettered.total()).toBe(0);
  });

  test('are not made by on_too_large = "drop", though there is a place for them', async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    const deadLetters = new KeptLetters();
    await using harness = new ProducerHarness(kafka, { config: { maxMessageBytes: 1_000 }, deadLetters });
    await harness.send(["x".repeat(3_000), "a"]);
    await harness.producer.flush();
    expect(deadLetters.letters).toEqual([]);
    expect(harness.audit()).toEqual({ in: 2, delivered: 1, dropped: 1, inFlight: 0 });
  });
});

describe('on_too_large = "truncate"', () => {
  test("cuts a record so that it fits into max_message_bytes, key and neighbours untouched", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    const config = { maxMessageBytes: 1_000, onTooLarge: "truncate" as const, keyField: "k" };
    await using harness = new ProducerHarness(kafka, { config });
    await harness.send(["a", "ä".repeat(2_000), "b"], { keys: ["1", "2", "3"] });
    await harness.producer.flush();
    const [first, cut, last] = kafka.values();
    expect([first, last]).toEqual(["a", "b"]);
    expect(cut).toMatch(/^ä+$/u);
    const sizes = kafka.attempts.map(({ bytes }) => bytes.length);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(1_000);
    expect(Math.max(...sizes)).toBeGreaterThan(990);
    expect(harness.metrics.truncatedRecordsCount).toBe(1);
    expect(harness.log.texts("warn")[0]).toContain('"/var/log/app.log" at byte 2 was cut from 4000 to');
    expect(harness.audit()).toEqual({ in: 3, delivered: 3, dropped: 0, inFlight: 0 });
    expect(kafka.violations).toEqual([]);
  });

  test("halves what a broker refuses whose limit is not known, and keeps JSON whole", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    kafka.refuse = ({ bytes }) => bytes.length > 600 ? { errorCode: ErrorCode.MESSAGE_TOO_LARGE } : undefined;
    const encoding = {
      codec: "json" as const,
      onlyFields: null,
      exceptFields: null,
      timestampFormat: "rfc3339" as const,
    };
    await using harness = new ProducerHarness(kafka, { config: { onTooLarge: "truncate", encoding } });
    const value = JSON.stringify({ host: "h", message: "x".repeat(5_000), n: 1 });
    await harness.send([value, "{}"]);
    await harness.producer.flush();
    const found = JSON.parse(kafka.values()[0]!);
    expect([found.host, found.n, found.message.length > 50]).toEqual(["h", 1, true]);
    expect(harness.metrics.truncatedRecordsCount).toBe(1);
    expect(harness.audit()).toEqual({ in: 2, delivered: 2, dropped: 0, inFlight: 0 });
  });

  test("drops what does not fit even when it is empty", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    kafka.refuse = () => ({ errorCode: ErrorCode.MESSAGE_TOO_LARGE });
    await using harness = new ProducerHarness(kafka, { config: { onTooLarge: "truncate" } });
    await harness.send(["x".repeat(300)]);
    await harness.producer.flush();
    expect([...harness.metrics.dropped.values]).toEqual([["app\u0000record_too_large", 1]]);
    expect(harness.audit()).toEqual({ in: 1, delivered: 0, dropped: 1, inFlight: 0 });
  });
});
