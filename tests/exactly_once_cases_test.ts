import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { appendFileSync, truncateSync } from "node:fs";
import { murmur2Partition } from "../src/batch/murmur2.ts";
import { readJournal } from "../src/journal/journal_reader.ts";
import { ApiKey } from "../src/kafka/protocol/api_keys.ts";
import { ErrorCode } from "../src/kafka/protocol/error_codes.ts";
import { armTestKnobs } from "../src/telemetry/test_knobs.ts";
import { ExactShipper, fileToLogs } from "./exact_shipper.ts";
import { until } from "./kafka/support.ts";
import { FakeKafka } from "./support/fake_kafka.ts";
import { type TempDir, tempDir } from "./support/temp_dir.ts";

beforeAll(() => armTestKnobs({ SHIPPER_TEST_RECHECK_MS: "500" }));
afterAll(() => armTestKnobs({}));

interface Sink {
  readonly topic?: string;
  readonly hasKeys?: boolean;
  readonly more?: string;
}

function config(
  dir: TempDir,
  kafka: FakeKafka,
  { topic = "logs", hasKeys = false, more = "" }: Sink = {},
): string {
  return fileToLogs(dir.file("app.log"), kafka, {
    topic,
    source: 'rotate_wait_secs = 0.05\ndecoding.codec = "json"',
    sink: `batch = { max_events = 4, timeout_ms = 1 }
socket_timeout_ms = 100
buffer.max_events = 100
encoding = { codec = "text" }
${hasKeys ? 'key_field = "k"' : ""}
${more}`,
  });
}

function write(
  dir: TempDir,
  from: number,
  to: number,
  key: (i: number) => string = (i) => `k${i % 5}`,
): void {
  let text = "";
  for (let i = from; i < to; i++) text += `{"message":"${i}","k":"${key(i)}"}\n`;
  appendFileSync(dir.file("app.log"), text);
}

/** A key that goes to this partition of a topic with so many. */
function keyOf(partition: number, count: number): string {
  for (let i = 0;; i++) {
    const key = Buffer.from(`key-${i}`);
    if (murmur2Partition(key, 0, key.length, count) === partition) return String(key);
  }
}

const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => String(from + i));
const sorted = (values: readonly string[]) => [...values].sort((a, b) => Number(a) - Number(b));

describe("a topic that is made again with fewer partitions", () => {
  test("while a batch is in doubt for a partition that is no more", async () => {
    await using dir = tempDir("exact");
    await using kafka = await FakeKafka.start(1, { logs: 4 });
    await using shipper = new ExactShipper(dir);
    kafka.fault = () => ({ kind: "silence" });
    write(dir, 0, 40);
    await shipper.start(config(dir, kafka, { hasKeys: true }));
    await until(() => kafka.attempts.some(({ partition }) => partition > 0), "sent");
    await shipper.kill();
    kafka.fault = () => undefined;
    kafka.makeAgain("logs", 1);
    // Metadata is asked for again while what became of the batches is being found out.
    let refusals = 5;
    kafka.refuse = () => refusals-- > 0 ? { errorCode: ErrorCode.NOT_LEADER_OR_FOLLOWER } : undefined;
    await shipper.start(config(dir, kafka, { hasKeys: true }));
    for (let i = 40; i < 60; i++) {
      write(dir, i, i + 1);
      await Bun.sleep(10);
    }
    await until(() => shipper.failure !== null || new Set(kafka.values()).size >= 60, "all there");
    await shipper.stop();
    expect(shipper.failure).toBe(null);
    expect(sorted(kafka.values())).toEqual(numbers(0, 60));
    expect(shipper.log.texts("error")).toEqual([]);
    expect(kafka.violations).toEqual([]);
  });

  test("while the partition that takes over has a batch in flight, whose answer is lost", async () => {
    await using dir = tempDir("exact");
    await using kafka = await FakeKafka.start(1, { logs: 4 });
    await using shipper = new ExactShipper(dir);
    kafka.fault = () => ({ kind: "silence" });
    write(dir, 0, 8, () => keyOf(3, 4));
    await shipper.start(config(dir, kafka, { hasKeys: true }));
    await until(() => kafka.attempts.some(({ partition }) => partition > 0), "sent");
    await shipper.kill();
    kafka.makeAgain("logs", 1);
    let requests = 0;
    kafka.fault = () => ++requests % 2 === 0 ? { kind: "silence-after" } : { delayMs: 30 };
    await shipper.start(config(dir, kafka, { hasKeys: true }));
    for (let i = 8; i < 140; i++) {
      write(dir, i, i + 1);
      await Bun.sleep(10);
    }
    kafka.fault = () => undefined;
    await until(() => shipper.failure !== null || new Set(kafka.values()).size >= 140, "all there");
    await Bun.sleep(50);
    await shipper.stop();
    expect(shipper.failure).toBe(null);
    expect(sorted(kafka.values())).toEqual(numbers(0, 140));
    expect(shipper.log.texts("error")).toEqual([]);
    expect(kafka.violations).toEqual([]);
  });

  test("and gets its partitions back while the batch is still in doubt", async () => {
    await using dir = tempDir("exact");
    await using kafka = await FakeKafka.start(1, { logs: 4 });
    await using shipper = new ExactShipper(dir);
    await shipper.start(config(dir, kafka, { hasKeys: true }));
    write(dir, 0, 8, () => keyOf(3, 4));
    await until(() => kafka.values().length === 8, "sent");
    kafka.fault = () => ({ kind: "silence" });
    write(dir, 8, 24, () => keyOf(3, 4));
    await until(() => kafka.attempts.some(({ index }) => index > 2), "sent in vain");
    kafka.makeAgain("logs", 1);
    kafka.fault = () => undefined;
    for (let i = 24; i < 34; i++) {
      write(dir, i, i + 1);
      await Bun.sleep(10);
    }
    kafka.addTopic("logs", 4);
    for (let i = 34; i < 134; i++) {
      write(dir, i, i + 1, (n) => n % 2 === 0 ? keyOf(3, 4) : "a");
      await Bun.sleep(10);
    }
    await until(() => shipper.failure !== null || new Set(kafka.values()).size >= 126, "all there");
    await Bun.sleep(50);
    await shipper.stop();
    expect(shipper.failure).toBe(null);
    expect(sorted(kafka.values())).toEqual(numbers(8, 134));
    expect(shipper.log.texts("error")).toEqual([]);
    expect(kafka.violations).toEqual([]);
  });
});

test("a batch of which a part is gone, and that is found to be written after all, leaves nothing in flight", async () => {
  await using dir = tempDir("exact");
  await using kafka = await FakeKafka.start(1);
  await using shipper = new ExactShipper(dir);
  kafka.fault = () => ({ kind: "silence" });
  write(dir, 0, 2);
  await shipper.start(config(dir, kafka));
  const read = () => shipper.metrics.sink("events").eventsInCount;
  await until(() => read() === 2, "the first region is read");
  write(dir, 2, 4);
  await until(() => read() === 4, "the second region is read");
  kafka.addTopic("logs", 1);
  await until(() => kafka.attempts.length > 0, "sent");
  const late = kafka.attempts[0]!;
  expect(late.values).toEqual(["0", "1", "2", "3"]);
  await shipper.kill();
  truncateSync(dir.file("app.log"), Buffer.byteLength('{"message":"0","k":"k0"}\n') * 2);
  write(dir, 7, 9);
  kafka.fault = () => undefined;
  await shipper.start(config(dir, kafka));
  await Bun.sleep(250);
  kafka.log().append(late.bytes);
  await until(() => kafka.values().includes("8"), "the new lines are there");
  await until(() => shipper.liveCount() === 0, "nothing is open");
  await Bun.sleep(20);
  expect(kafka.values()).toEqual(["0", "1", "2", "3", "7", "8"]);
  expect(shipper.metrics.sink("events").inFlightEvents).toBe(0);
  await shipper.stop();
  expect([shipper.failure, ...shipper.differences()]).toEqual([null]);
});

test("--once ends when all that was open is lost, although the producer id comes late", async () => {
  await using dir = tempDir("exact");
  await using kafka = await FakeKafka.start(1, { logs: 1 });
  await using shipper = new ExactShipper(dir);
  kafka.fault = () => ({ kind: "silence" });
  write(dir, 0, 4);
  await shipper.start(config(dir, kafka));
  await until(() => kafka.attempts.length > 0, "sent");
  await shipper.kill();
  truncateSync(dir.file("app.log"), 0);
  kafka.fault = () => undefined;
  kafka.producerIdError = ErrorCode.COORDINATOR_LOAD_IN_PROGRESS;
  await shipper.start(config(dir, kafka), { once: true });
  await until(() => shipper.metrics.sink("events").lost.total() === 4, "they are lost");
  await Bun.sleep(50);
  kafka.producerIdError = 0;
  await Promise.race([
    shipper.ended(),
    Bun.sleep(2_000).then(() => {
      throw new Error("It does not end");
    }),
  ]);
  expect(shipper.liveCount()).toBe(0);
});

test("the journal knows the cluster that a producer id came from", async () => {
  await using dir = tempDir("exact");
  await using kafka = await FakeKafka.start(1, { logs: 1 });
  await using shipper = new ExactShipper(dir);
  await shipper.start(config(dir, kafka));
  await until(() => kafka.countOf(ApiKey.InitProducerId) > 0, "the producer id is asked for");
  await Bun.sleep(20);
  write(dir, 0, 4);
  await until(() => kafka.values().length === 4, "sent");
  await shipper.stop();
  expect([...readJournal(shipper.dataDir).runs.values()].map((run) => run.clusterId)).toEqual(["fake"]);
});

test("what drop_newest dropped does not come behind later lines after a crash", async () => {
  await using dir = tempDir("exact");
  await using kafka = await FakeKafka.start(1, { logs: 1 });
  await using shipper = new ExactShipper(dir);
  kafka.fault = () => ({ kind: "silence" });
  const toml = config(dir, kafka, { more: 'buffer.when_full = "drop_newest"' }).replace(
    "max_events = 100",
    "max_events = 10",
  );
  await shipper.start(toml);
  let written = 0;
  const dropped = () => shipper.metrics.sink("events").dropped.total();
  while (dropped() < 10) {
    write(dir, written, written + 5);
    written += 5;
    await Bun.sleep(10);
  }
  kafka.fault = () => undefined;
  await until(() => shipper.metrics.sink("events").inFlightEvents === 0, "there is room");
  write(dir, written, written + 5);
  written += 5;
  await until(() => kafka.values().includes(String(written - 1)), "a later line is there");
  await shipper.kill();
  await shipper.start(toml);
  write(dir, written, written + 5);
  written += 5;
  await until(() => kafka.values().includes(String(written - 1)), "the last line is there");
  await Bun.sleep(100);
  await shipper.stop();
  expect(kafka.values()).toEqual(sorted([...new Set(kafka.values())]));
});

describe("a topic that is made again while nothing is sent", () => {
  test("takes a batch before anybody has heard of it; a crash does not send it again", async () => {
    await using dir = tempDir("exact");
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    await using shipper = new ExactShipper(dir);
    write(dir, 0, 4);
    await shipper.start(config(dir, kafka));
    await until(() => kafka.values().length === 4, "sent");
    await until(() => shipper.liveCount() === 0, "acknowledged");
    kafka.makeAgain("logs", 1);
    write(dir, 4, 8);
    await until(() => kafka.values().length === 4, "sent to the new one");
    expect(shipper.liveCount()).toBe(1);
    await shipper.kill();
    await shipper.start(config(dir, kafka));
    write(dir, 8, 12);
    await until(() => kafka.values().includes("11"), "the last line is there");
    await Bun.sleep(50);
    await shipper.stop();
    expect(kafka.values()).toEqual(numbers(4, 12));
  });

  test("takes a batch whose answer is lost", async () => {
    await using dir = tempDir("exact");
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    await using shipper = new ExactShipper(dir);
    write(dir, 0, 4);
    await shipper.start(config(dir, kafka));
    await until(() => kafka.values().length === 4, "sent");
    kafka.makeAgain("logs", 1);
    let isFirst = true;
    kafka.fault = () => {
      const kind = isFirst ? "silence-after" as const : undefined;
      isFirst = false;
      return kind === undefined ? undefined : { kind };
    };
    write(dir, 4, 8);
    await until(() => kafka.values().length === 4, "sent to the new one");
    write(dir, 8, 12);
    await until(() => kafka.values().includes("11"), "the last line is there");
    await Bun.sleep(50);
    await shipper.stop();
    expect(kafka.values()).toEqual(numbers(4, 12));
    expect(kafka.violations).toEqual([]);
  });
});

test("runs that end while a partition has no leader do not leave more and more open for it", async () => {
  await using dir = tempDir("exact");
  await using kafka = await FakeKafka.start(1, { logs: 2 });
  await using shipper = new ExactShipper(dir);
  const toml = config(dir, kafka, { hasKeys: true });
  kafka.log("logs", 1).leader = -1;
  let written = 0;
  const key = (i: number) => keyOf(i % 2, 2);
  for (let run = 0; run < 4; run++) {
    write(dir, written, written + 20, key);
    written += 20;
    await shipper.start(toml);
    await until(
      () => kafka.log("logs", 0).values.includes(String(written - 2)),
      "the other partition goes on",
    );
    await Bun.sleep(30);
    await shipper.kill();
  }
  expect(shipper.liveCount()).toBeLessThanOrEqual(4);
  kafka.log("logs", 1).leader = 1;
  await shipper.start(toml);
  await until(() => kafka.values().length === written, "all there");
  await shipper.stop();
  expect(sorted(kafka.values())).toEqual(numbers(0, written));
});

test("a sink that becomes another type reads again what was open", async () => {
  await using dir = tempDir("exact");
  await using kafka = await FakeKafka.start(1, { logs: 1 });
  await using shipper = new ExactShipper(dir);
  kafka.fault = () => ({ kind: "silence" });
  write(dir, 0, 8);
  await shipper.start(config(dir, kafka));
  await until(() => kafka.attempts.length > 0, "sent");
  await shipper.kill();
  expect(shipper.liveCount()).toBeGreaterThan(0);
  const before = config(dir, kafka);
  const printed =
    `[sinks.events]\ntype = "console"\ninputs = ["app"]\nencoding.codec = "text"\ntarget = "stderr"\n`;
  await shipper.start(before.slice(0, before.indexOf("[sinks.events]")) + printed);
  await until(() => shipper.metrics.sink("events").deliveredEventsCount === 8, "all are printed");
  await shipper.stop();
  expect(shipper.liveCount()).toBe(0);
});
