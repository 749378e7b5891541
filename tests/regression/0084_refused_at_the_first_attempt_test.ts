// A broker that had forgotten the producer refused the numbers of a batch at its first attempt, and without READ right nothing else could be asked. It was
// certainly not written, and all the same it was left to on_undecidable: "drop" lost its lines, "stop" ended the run.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { appendFileSync } from "node:fs";
import { ErrorCode } from "../../src/kafka/protocol/error_codes.ts";
import { armTestKnobs } from "../../src/telemetry/test_knobs.ts";
import { ExactShipper, fileToLogs } from "../exact_shipper.ts";
import { until } from "../kafka/support.ts";
import { FakeKafka } from "../support/fake_kafka.ts";
import { tempDir } from "../support/temp_dir.ts";

beforeAll(() => armTestKnobs({ SHIPPER_TEST_RECHECK_MS: "50" }));
afterAll(() => armTestKnobs({}));

for (const policy of ["drop", "stop"]) {
  test(
    `a batch whose only attempt was refused is sent under new numbers, also with on_undecidable = "${policy}"`,
    async () => {
      await using dir = tempDir("refused-first");
      await using kafka = await FakeKafka.start(1, { logs: 1 });
      await using shipper = new ExactShipper(dir);
      kafka.inspection.canRead = false;
      kafka.refuse = ({ index }) =>
        index === 1 ? { errorCode: ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER } : undefined;
      appendFileSync(dir.file("app.log"), "one\n");
      await shipper.start(
        fileToLogs(dir.file("app.log"), kafka, {
          sink: `on_undecidable = "${policy}"\nencoding.codec = "text"\nbatch.timeout_ms = 1`,
        }),
      );
      await until(() => kafka.values().length === 1, "the first line is there");
      appendFileSync(dir.file("app.log"), "two\n");
      const sink = shipper.metrics.sink("events");
      await until(
        () => shipper.failure !== null || sink.lost.total() > 0 || sink.deliveredEventsCount === 2,
        "the second line has met its fate",
      );
      await shipper.stop();
      expect(shipper.failure).toBe(null);
      expect(kafka.values()).toEqual(["one", "two"]);
      expect(shipper.log.texts("error")).toEqual([]);
      expect(shipper.differences()).toEqual([]);
    },
    60_000,
  );
}
