// A topic was made again, took a batch before anybody here had heard of it, and the answer was lost. Without READ right the new topic's leader cannot be
// asked; the batch was taken for one that had gone with the old topic, and was there twice, untold.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { appendFileSync } from "node:fs";
import { armTestKnobs } from "../../src/telemetry/test_knobs.ts";
import { ExactShipper, fileToLogs } from "../exact_shipper.ts";
import { until } from "../kafka/support.ts";
import { FakeKafka } from "../support/fake_kafka.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";

beforeAll(() => armTestKnobs({ SHIPPER_TEST_RECHECK_MS: "100" }));
afterAll(() => armTestKnobs({}));

function config(dir: TempDir, kafka: FakeKafka): string {
  return fileToLogs(dir.file("app.log"), kafka, {
    sink: `encoding.codec = "text"\nbatch.timeout_ms = 1\nsocket_timeout_ms = 200`,
  });
}

const KINDS = ["cut-after", "cut-before"] as const;

for (const isKilled of [false, true]) {
  for (const kind of KINDS) {
    const when = kind === "cut-after" ? "after" : "before";
    const then = isKilled ? ", and a crash" : "";
    test(`a batch whose connection was cut ${when} the new topic took it${then}`, async () => {
      await using dir = tempDir("made-again");
      await using kafka = await FakeKafka.start(1, { logs: 1 });
      await using shipper = new ExactShipper(dir);
      kafka.inspection.canRead = false;
      appendFileSync(dir.file("app.log"), "one\n");
      await shipper.start(config(dir, kafka));
      await until(() => kafka.values().length === 1 && shipper.liveCount() === 0, "the first line is there");
      kafka.makeAgain("logs", 1);
      let isCut = false;
      kafka.fault = () => {
        if (isCut) return isKilled ? { kind: "cut-before" } : undefined;
        isCut = true;
        return { kind };
      };
      appendFileSync(dir.file("app.log"), "two\n");
      await until(() => isCut, "the second line was sent");
      if (isKilled) {
        await shipper.kill();
        kafka.fault = () => undefined;
        await shipper.start(config(dir, kafka));
      }
      appendFileSync(dir.file("app.log"), "three\n");
      await until(() => kafka.values().includes("three"), "the third line is there");
      await until(() => shipper.liveCount() === 0, "nothing is open");
      await shipper.stop();
      expect(shipper.failure).toBe(null);
      expect(kafka.values()).toEqual(["two", "three"]);
      expect(kafka.violations).toEqual([]);
      expect(shipper.log.texts("error")).toEqual([]);
    }, 60_000);
  }
}
