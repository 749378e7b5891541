// A broker refused the numbers of a batch, its next request was cut off and arrived late, and the one after that was refused as well: nothing was found
// in the log, and the batch got new numbers at once, without the second look that waits for late requests. It was there twice.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { appendFileSync } from "node:fs";
import { ErrorCode } from "../../src/kafka/protocol/error_codes.ts";
import { armTestKnobs } from "../../src/telemetry/test_knobs.ts";
import { ExactShipper, fileToLogs } from "../exact_shipper.ts";
import { until } from "../kafka/support.ts";
import { FakeKafka } from "../support/fake_kafka.ts";
import { tempDir } from "../support/temp_dir.ts";

const LATE_MS = 300;

beforeAll(() => armTestKnobs({ SHIPPER_TEST_RECHECK_MS: String(2 * LATE_MS) }));
afterAll(() => armTestKnobs({}));

test("a batch whose numbers are refused twice gets new ones after a second look", async () => {
  await using dir = tempDir("refused-twice");
  await using kafka = await FakeKafka.start(1, { logs: 1 });
  await using shipper = new ExactShipper(dir);
  let isLate = false;
  /** The second request arrives, long after its connection was cut: right before another one with new numbers, if there is one by then. */
  const arriveLate = () => {
    if (!isLate) return;
    isLate = false;
    kafka.log().append(kafka.attempts[1]!.bytes);
  };
  kafka.fault = ([attempt]) => {
    if (attempt!.index === 1) {
      isLate = true;
      setTimeout(arriveLate, LATE_MS);
      return { kind: "cut-before" };
    }
    if (attempt!.header.producerEpoch > 0) arriveLate();
    return {};
  };
  kafka.refuse = ({ index }) => {
    if (index === 0) return { errorCode: ErrorCode.UNKNOWN_PRODUCER_ID };
    return index === 2 ? { errorCode: ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER } : undefined;
  };
  appendFileSync(dir.file("app.log"), "one\n");
  await shipper.start(
    fileToLogs(dir.file("app.log"), kafka, { sink: `encoding.codec = "text"\nbatch.timeout_ms = 1` }),
  );
  await until(() => shipper.metrics.sink("events").deliveredEventsCount === 1, "delivered");
  await Bun.sleep(LATE_MS);
  await shipper.stop();
  expect(kafka.attempts.length).toBeGreaterThanOrEqual(3);
  expect(kafka.values()).toEqual(["one"]);
  expect(kafka.violations).toEqual([]);
});
