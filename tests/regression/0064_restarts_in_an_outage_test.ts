// While no partition could be written to, each run journalled as many batches as its memory holds, whatever earlier runs had left: after enough restarts
// nobody had the memory to make all of them again, and each further start only added to them.
import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { ExactShipper, fileToLogs } from "../exact_shipper.ts";
import { BATCH_MEMORY_MAX_BYTES } from "../../src/kafka/batch_intake.ts";
import { readJournal } from "../../src/journal/journal_reader.ts";
import { FakeKafka } from "../support/fake_kafka.ts";
import { tempDir } from "../support/temp_dir.ts";

const PARTITIONS = 8;
const LINE_BYTES = 4_096;
/** More than all runs together journalled. */
const LINES = 15_000;

test("runs in an outage leave no more than one can take up", async () => {
  await using dir = tempDir("outage");
  await using kafka = await FakeKafka.start(1, { logs: PARTITIONS });
  await using shipper = new ExactShipper(dir);
  for (let id = 0; id < PARTITIONS; id++) kafka.moveLeader(-1, "logs", id);
  const line = (i: number) => String(i).padEnd(LINE_BYTES - 1, ".");
  writeFileSync(dir.file("app.log"), Array.from({ length: LINES }, (_, i) => `${line(i)}\n`).join(""));
  const toml = fileToLogs(dir.file("app.log"), kafka, {
    sink: `encoding.codec = "text"\nmetadata_refresh_ms = 100`,
  });
  const liveBytes = () => {
    let lineCount = 0;
    for (const { intent } of readJournal(shipper.dataDir).live.values()) lineCount += intent.count;
    return lineCount * LINE_BYTES;
  };
  /** Until no more comes. */
  const settle = async () => {
    for (let [before, stillCount] = [-1, 0]; stillCount < 5;) {
      await Bun.sleep(100);
      const now = liveBytes();
      stillCount = now === before && now > 0 ? stillCount + 1 : 0;
      before = now;
    }
  };
  const left: number[] = [];
  for (let run = 0; run < 3; run++) {
    await shipper.start(toml);
    await settle();
    await shipper.kill();
    left.push(liveBytes());
  }
  for (const bytes of left) expect(bytes).toBeLessThan(1.5 * BATCH_MEMORY_MAX_BYTES);
  for (let id = 0; id < PARTITIONS; id++) kafka.moveLeader(1, "logs", id);
  await shipper.start(toml);
  const deadlineMs = Date.now() + 60_000;
  while (kafka.values().length < LINES && Date.now() < deadlineMs) await Bun.sleep(50);
  await shipper.stop();
  const numbers = kafka.values().map((value) => parseInt(value)).sort((a, b) => a - b);
  expect([numbers.length, numbers[0], numbers.at(-1)]).toEqual([LINES, 0, LINES - 1]);
  expect(new Set(numbers).size).toBe(LINES);
  expect(kafka.violations).toEqual([]);
}, 120_000);
