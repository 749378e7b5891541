// A file was cut back, and the same bytes were written there again: two batches in doubt named a region of the same place and checksum. A restart took it
// for one and the same region, whose lines were settled twice, and the sink stood still. Where
// the bytes came again in other pieces, and the older batch was split, the journal contradicted itself, and no start was possible any more.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { appendFileSync, truncateSync } from "node:fs";
import { readJournal } from "../../src/journal/journal_reader.ts";
import { ErrorCode } from "../../src/kafka/protocol/error_codes.ts";
import { armTestKnobs } from "../../src/telemetry/test_knobs.ts";
import { ExactShipper, fileToLogs } from "../exact_shipper.ts";
import { until } from "../kafka/support.ts";
import { FakeKafka } from "../support/fake_kafka.ts";
import { tempDir } from "../support/temp_dir.ts";

beforeAll(() => armTestKnobs({ SHIPPER_TEST_RECHECK_MS: "200" }));
afterAll(() => armTestKnobs({}));

function config(file: string, kafka: FakeKafka, eventsMax: number): string {
  return fileToLogs(file, kafka, {
    sink: `encoding.codec = "text"\nbatch = { max_events = ${eventsMax}, timeout_ms = 1 }`,
  });
}

/** Up to where the journal on disk says that the only file was read. */
function storedEnd(shipper: ExactShipper): number {
  const { positions } = readJournal(shipper.dataDir);
  const [record] = positions.records("app");
  return positions.knownEnd("app", record!.id, "events");
}

test("two batches in doubt that hold the same bytes of the same place are both delivered", async () => {
  await using dir = tempDir("same-bytes");
  await using kafka = await FakeKafka.start(1, { logs: 1 });
  await using shipper = new ExactShipper(dir);
  const file = dir.file("app.log");
  const toml = config(file, kafka, 1);
  appendFileSync(file, "one\n");
  await shipper.start(toml);
  await until(() => kafka.values().length === 1, "the first line is delivered");
  kafka.fault = () => ({ kind: "silence" });
  appendFileSync(file, "two\n");
  await until(() => kafka.attempts.length === 2, "the second line is sent");
  truncateSync(file, 4);
  await until(() => storedEnd(shipper) === 4, "it is noticed");
  appendFileSync(file, "two\n");
  await until(() => shipper.metrics.sink("events").eventsInCount === 3, "the line that came again is read");
  // Its batch is sealed by the next one.
  appendFileSync(file, "three\n");
  await until(() => shipper.liveCount() === 2, "it is in an intent");
  await shipper.kill();
  kafka.fault = () => undefined;
  await shipper.start(toml);
  await until(() => kafka.values().includes("three") && shipper.liveCount() === 0, "all is delivered");
  await shipper.stop();
  expect(shipper.failure).toBe(null);
  expect(kafka.values()).toEqual(["one", "two", "two", "three"]);
  expect(shipper.log.texts("error")).toEqual([]);
  expect(shipper.differences()).toEqual([]);
}, 60_000);

test(
  "bytes that were cut off and came again in other pieces do not have the journal contradict itself",
  async () => {
    await using dir = tempDir("same-bytes");
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    await using shipper = new ExactShipper(dir);
    const file = dir.file("app.log");
    const toml = config(file, kafka, 2);
    const read = () => shipper.metrics.sink("events").eventsInCount;
    appendFileSync(file, "one\n");
    await shipper.start(toml);
    await until(() => kafka.values().length === 1, "the first line is delivered");
    kafka.fault = () => ({ kind: "silence" });
    appendFileSync(file, "two\nthree\n");
    await until(() => kafka.attempts.length === 2, "the other lines are sent");
    expect(kafka.attempts[1]!.values).toEqual(["two", "three"]);
    truncateSync(file, 4);
    await until(() => storedEnd(shipper) === 4, "it is noticed");
    await shipper.kill();
    kafka.fault = () => undefined;
    kafka.log().leader = -1;
    appendFileSync(file, "two\n");
    await shipper.start(toml);
    await until(() => read() === 1, "the first piece is read");
    appendFileSync(file, "three\n");
    await until(() => read() === 2, "the second piece is read");
    let isRefused = false;
    kafka.refuse = () => {
      if (isRefused) return undefined;
      isRefused = true;
      return { errorCode: ErrorCode.MESSAGE_TOO_LARGE };
    };
    kafka.log().leader = 1;
    await until(() => kafka.values().length === 5 && shipper.liveCount() === 0, "all is delivered");
    await shipper.kill();
    await shipper.start(toml);
    appendFileSync(file, "four\n");
    await until(() => kafka.values().includes("four"), "the next run goes on");
    await shipper.stop();
    expect(shipper.failure).toBe(null);
    expect(kafka.values()).toEqual(["one", "two", "three", "two", "three", "four"]);
    expect(shipper.log.texts("error")).toEqual([]);
  },
  60_000,
);
