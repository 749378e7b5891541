import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { appendFileSync, statSync } from "node:fs";
import { ErrorCode } from "../src/kafka/protocol/error_codes.ts";
import { armTestKnobs } from "../src/telemetry/test_knobs.ts";
import { ExactShipper, fileToLogs } from "./exact_shipper.ts";
import { until } from "./kafka/support.ts";
import { FakeKafka } from "./support/fake_kafka.ts";
import { type Random, seededRandom } from "./support/seed.ts";
import { type TempDir, tempDir } from "./support/temp_dir.ts";

// Events that are given up under exactly-once delivery, with a real journal: what is dropped is never sent, what may have arrived never dropped.

beforeAll(() => armTestKnobs({ SHIPPER_TEST_RECHECK_MS: "100" }));
afterAll(() => armTestKnobs({}));

/** Long enough for a busy machine to deliver in time what can be delivered. */
const TIMEOUT_MS = 1_500;

function config(dir: TempDir, kafka: FakeKafka, more = `message_timeout_ms = ${TIMEOUT_MS}`): string {
  return fileToLogs(dir.file("app.log"), kafka, {
    source: 'decoding.codec = "json"',
    sink: `batch = { max_events = 4, timeout_ms = 1 }
metadata_refresh_ms = 100
socket_timeout_ms = 100
${more}`,
  });
}

function write(dir: TempDir, from: number, to: number): void {
  let text = "";
  for (let i = from; i < to; i++) text += `{"message":"${i}","k":"k${i % 7}"}\n`;
  appendFileSync(dir.file("app.log"), text);
}

const KINDS = ["silence", "silence-after", "cut-before", "cut-after", "garbage"] as const;
const CODES = [
  ErrorCode.TOPIC_AUTHORIZATION_FAILED,
  ErrorCode.NOT_ENOUGH_REPLICAS,
  ErrorCode.NOT_LEADER_OR_FOLLOWER,
  ErrorCode.REQUEST_TIMED_OUT,
];

/** Something else goes wrong from now on, or nothing. */
function disturb(kafka: FakeKafka, random: Random): void {
  const what = random.between(0, 4);
  kafka.fault = () => what === 0 ? { kind: random.pick(KINDS) } : undefined;
  kafka.refuse = () => what === 1 ? { errorCode: random.pick(CODES) } : undefined;
  const leader = random.pick([-1, -1, 1, 2]);
  if (what === 2) kafka.moveLeader(leader, "logs", random.between(0, 2));
}

const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => String(from + i));
const sorted = (values: readonly string[]) => [...values].sort((a, b) => Number(a) - Number(b));

function droppedBy(shipper: ExactShipper): Record<string, number> {
  return Object.fromEntries(shipper.metrics.sink("events").dropped.values);
}

describe("message_timeout_ms with a journal", () => {
  for (const more of ["", 'key_field = "k"\n']) {
    test(
      `what no broker can take is dropped and counted, and a restart does not send it (${
        more === "" ? "no keys" : "keys"
      })`,
      async () => {
        await using dir = tempDir("expiry");
        await using kafka = await FakeKafka.start(1, { logs: 2 });
        await using shipper = new ExactShipper(dir);
        const toml = config(dir, kafka, `${more}message_timeout_ms = ${TIMEOUT_MS}`);
        write(dir, 0, 20);
        await shipper.start(toml);
        await until(() => kafka.values().length === 20, "delivered");
        for (const partition of [0, 1]) kafka.moveLeader(-1, "logs", partition);
        // Until that is known, a batch would be sent, and its answer would say nothing.
        await Bun.sleep(400);
        write(dir, 20, 120);
        await until(() => droppedBy(shipper)["app\u0000message_timeout"] === 100, "dropped");
        expect(shipper.differences()).toEqual([]);
        expect(shipper.log.texts("error").every((text) => text.includes("message_timeout_ms"))).toBe(true);
        // The position has passed: it is stored a moment later.
        await Bun.sleep(1_200);
        await shipper.kill();
        for (const partition of [0, 1]) kafka.moveLeader(1, "logs", partition);
        await shipper.start(toml);
        write(dir, 120, 130);
        await until(() => kafka.values().length >= 30, "the next are there");
        await shipper.stop();
        expect(sorted(kafka.values())).toEqual([...numbers(0, 20), ...numbers(120, 130)]);
        expect(droppedBy(shipper)).toEqual({});
        expect(shipper.liveCount()).toBe(0);
        expect(kafka.violations).toEqual([]);
      },
      90_000,
    );
  }

  test(
    "a batch in doubt is delivered once its broker answers, what was numbered behind it is dropped then",
    async () => {
      await using dir = tempDir("expiry");
      await using kafka = await FakeKafka.start(1, { logs: 1 });
      await using shipper = new ExactShipper(dir);
      kafka.fault = () => ({ kind: "silence-after" });
      write(dir, 0, 30);
      await shipper.start(config(dir, kafka));
      await Bun.sleep(2 * TIMEOUT_MS);
      expect(shipper.differences()).toEqual([]);
      kafka.fault = () => undefined;
      await until(() => shipper.metrics.sink("events").inFlightEvents === 0, "settled");
      expect(kafka.values()).toEqual(numbers(0, 4));
      expect(droppedBy(shipper)).toEqual({ "app\u0000message_timeout": 26 });
      write(dir, 30, 40);
      await until(() => kafka.values().length === 14, "goes on");
      await shipper.stop();
      expect(kafka.values()).toEqual([...numbers(0, 4), ...numbers(30, 40)]);
      expect(shipper.liveCount()).toBe(0);
      expect(shipper.failure).toBe(null);
      expect(kafka.violations).toEqual([]);
    },
    90_000,
  );

  test("batches of an earlier run are sent, however old, also under new numbers", async () => {
    await using dir = tempDir("expiry");
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    await using shipper = new ExactShipper(dir);
    kafka.fault = () => ({ kind: "silence" });
    write(dir, 0, 4);
    await shipper.start(config(dir, kafka));
    await until(() => kafka.attempts.length > 0, "sent");
    await shipper.kill();
    kafka.makeAgain("logs", 1);
    kafka.fault = () => undefined;
    await Bun.sleep(TIMEOUT_MS);
    await shipper.start(config(dir, kafka));
    await until(() => kafka.values().length === 4 || Object.keys(droppedBy(shipper)).length > 0, "settled");
    await shipper.stop();
    expect([kafka.values(), droppedBy(shipper)]).toEqual([numbers(0, 4), {}]);
    expect(kafka.violations).toEqual([]);
  }, 30_000);

  for (const seed of [1, 2, 3, 4]) {
    const hasKeys = seed % 2 === 0;
    const killsMax = seed > 2 ? 2 : 0;
    test(
      `random faults, ${killsMax} kills: nothing twice, and nothing missing that was not dropped (${seed})`,
      async () => {
        await using dir = tempDir("expiry");
        await using kafka = await FakeKafka.start(2, { logs: 3 });
        await using shipper = new ExactShipper(dir);
        const random = seededRandom(`expiry ${seed}`);
        const toml = config(dir, kafka, `message_timeout_ms = 150\n${hasKeys ? 'key_field = "k"\n' : ""}`);
        let count = 0;
        let droppedCount = 0;
        const dropsOf = () => shipper.metrics.sink("events").dropped.total();
        for (let round = 0; round <= killsMax; round++) {
          await shipper.start(toml);
          for (let step = 0; step < 24 - 6 * killsMax; step++) {
            write(dir, count, count += random.between(1, 12));
            disturb(kafka, random);
            await Bun.sleep(random.between(5, 80));
            expect(shipper.differences()).toEqual([]);
          }
          kafka.fault = () => undefined;
          kafka.refuse = () => undefined;
          if (round < killsMax) {
            droppedCount += dropsOf();
            await shipper.kill();
          }
        }
        const settled = () => {
          const { inFlightEvents, bufferedEvents, partitionsInDoubt } = shipper.metrics.sink("events");
          return inFlightEvents + bufferedEvents + partitionsInDoubt === 0;
        };
        const leadAll = (leader: number) =>
          [0, 1, 2].forEach((each) => kafka.moveLeader(leader, "logs", each));
        // With a batch in doubt in every partition nothing would be dropped before a leader answers.
        leadAll(1);
        await until(settled, "settled after the faults");
        leadAll(-1);
        await Bun.sleep(400);
        write(dir, count, count += 10);
        await until(() => dropsOf() > 0, "something is dropped");
        leadAll(1);
        await until(settled, "settled with leaders");
        await until(() => {
          write(dir, count, count += 1);
          return kafka.values().includes(String(count - 2));
        }, "it goes on");
        // What was written last may not be read yet.
        const sizeBytes = statSync(dir.file("app.log")).size;
        const isDone = () =>
          shipper.metrics.source("app").fileLags()[0]?.deliveredBytes === sizeBytes && settled();
        await until(isDone, "settled at the end");
        droppedCount += dropsOf();
        await shipper.stop();
        expect(shipper.failure).toBe(null);
        const values = sorted(kafka.values());
        expect(values).toEqual([...new Set(values)]);
        for (const partition of [0, 1, 2]) {
          const own = kafka.log("logs", partition).values;
          expect(own).toEqual(sorted(own));
        }
        // What was dropped right before a kill may be dropped again by the next run.
        if (killsMax > 0) expect(count - values.length).toBeLessThanOrEqual(droppedCount);
        else expect(values.length + droppedCount).toBe(count);
        expect(droppedCount).toBeGreaterThan(0);
        expect(kafka.violations).toEqual([]);
        expect(shipper.liveCount()).toBe(0);
      },
      90_000,
    );
  }
});

test(
  "retry.max_attempts with a journal: the refused batch is dropped, a restart does not send it",
  async () => {
    await using dir = tempDir("attempts");
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    await using shipper = new ExactShipper(dir);
    kafka.refuse = ({ values }) =>
      values.includes("5") ? { errorCode: ErrorCode.TOPIC_AUTHORIZATION_FAILED } : undefined;
    const toml = config(dir, kafka, "retry.max_attempts = 3");
    write(dir, 0, 12);
    await shipper.start(toml);
    await until(
      () => shipper.metrics.sink("events").inFlightEvents === 0 && kafka.values().length === 8,
      "settled",
    );
    expect(droppedBy(shipper)).toEqual({ "app\u0000retries_exhausted": 4 });
    expect(shipper.differences()).toEqual([]);
    await Bun.sleep(1_200);
    await shipper.kill();
    kafka.refuse = () => undefined;
    await shipper.start(toml);
    write(dir, 12, 14);
    await until(() => kafka.values().length >= 10, "goes on");
    await shipper.stop();
    expect(sorted(kafka.values())).toEqual([...numbers(0, 4), ...numbers(8, 14)]);
    expect(kafka.violations).toEqual([]);
  },
  90_000,
);
