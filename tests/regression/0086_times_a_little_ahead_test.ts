// Without READ right a batch whose time was ahead of the clock, by a millisecond or more, counted as too old for brokers to recognise a repeat: after a small
// step of the clock, or with times of events from a host whose clock is ahead, it was left to on_undecidable, which lost its lines or ended the run.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { appendFileSync } from "node:fs";
import { judge } from "../../src/kafka/resolve/verdict.ts";
import { armTestKnobs } from "../../src/telemetry/test_knobs.ts";
import { ExactShipper, fileToLogs } from "../exact_shipper.ts";
import { until } from "../kafka/support.ts";
import { FakeKafka } from "../support/fake_kafka.ts";
import { tempDir } from "../support/temp_dir.ts";

beforeAll(() => armTestKnobs({ SHIPPER_TEST_RECHECK_MS: "50" }));
afterAll(() => armTestKnobs({}));

test("a clock that was set back a little does not make a batch undecidable, one that was set back far does", () => {
  const sentMs = 1_800_000_000_000;
  const batch = {
    producer: { producerIdHigh: 0, producerIdLow: 7, epoch: 0, baseSequence: 0 },
    count: 1,
    baseTimestampMs: sentMs,
    hintOffset: 0,
    clusterId: "c",
    topicId: "t",
    sentMs,
  };
  const evidence = {
    clusterId: "c",
    topicId: "t",
    leaderEpoch: 1,
    listing: { kind: "denied" } as const,
    logEndOffset: 1,
    highWatermark: 1,
    logStartOffset: 0,
  };
  const kindAt = (nowMs: number) =>
    judge([batch], evidence, null, { nowMs, dedupWindowMs: 60_000, hasClockJumped: false });
  expect(kindAt(sentMs - 2_000)).toMatchObject({ kind: "resend" });
  expect(kindAt(sentMs - 60_000)).toMatchObject({ kind: "undecidable" });
});

for (const policy of ["drop", "stop"]) {
  test(
    `times of events that are an hour ahead do not leave a batch to on_undecidable = "${policy}"`,
    async () => {
      await using dir = tempDir("times-ahead");
      await using kafka = await FakeKafka.start(2, { logs: 1 });
      await using shipper = new ExactShipper(dir);
      kafka.inspection.canRead = false;
      let isCut = false;
      kafka.fault = () => {
        if (isCut) return undefined;
        isCut = true;
        kafka.moveLeader(2);
        return { kind: "cut-before" };
      };
      const time = new Date(Date.now() + 3_600_000).toISOString();
      appendFileSync(dir.file("app.log"), `{"message":"one","timestamp":"${time}"}\n`);
      await shipper.start(
        fileToLogs(dir.file("app.log"), kafka, {
          source: 'decoding.codec = "json"',
          sink: `timestamp_source = "event"
on_undecidable = "${policy}"
encoding.codec = "text"
batch.timeout_ms = 1`,
        }),
      );
      const sink = shipper.metrics.sink("events");
      await until(
        () => shipper.failure !== null || sink.lost.total() > 0 || sink.deliveredEventsCount === 1,
        "the line has met its fate",
      );
      await shipper.stop();
      expect(shipper.failure).toBe(null);
      expect(kafka.values()).toEqual(["one"]);
      expect(shipper.log.texts("error")).toEqual([]);
    },
    60_000,
  );
}
