import { beforeAll, expect, test } from "bun:test";
import { appendFileSync, readFileSync, truncateSync } from "node:fs";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { QUICK } from "../support/killed_lives.ts";
import { OracleWriter } from "../support/oracle.ts";
import { checkTopic, expectExactly, expectNothingLost, filesToKafka } from "../support/scenario.ts";
import { seededRandom } from "../support/seed.ts";
import { runShipper, startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

// Files that are not what they were when shipper comes back, and where a start begins to read.

/** Lines that are written, and read, at a time: what a region of the journal holds. */
const STEP = 100;

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

function waitForCount(topic: string, count: number): Promise<unknown> {
  return waitUntil(`${count} records`, async () => await kafka.countRecords(topic) >= count, {
    timeoutMs: 40_000,
    pollMs: 20,
  });
}

/** Where line `line` of a text starts. */
function offsetOfLine(text: Buffer, line: number): number {
  let offset = 0;
  for (let i = 0; i < line; i++) offset = text.indexOf(10, offset) + 1;
  return offset;
}

/** Ships ten steps, so that the journal knows where each began. */
async function shipInSteps(config: string, file: string, topic: string, writer: OracleWriter): Promise<void> {
  await using shipper = startShipper({ config });
  for (let step = 0; step < 10; step++) {
    writer.append(file, STEP);
    await waitForCount(topic, writer.count);
  }
  shipper.signal("SIGTERM");
  expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
}

for (const isKeptExactly of [true, false]) {
  test(
    `a power cut took the end of a file, ${
      isKeptExactly ? "from the end of a read on" : "from the middle of one"
    }, and other lines were written there`,
    async () => {
      await using dir = tempDir("cut-tail");
      const topic = await kafka.createTopic();
      const writer = new OracleWriter("cut-tail", "a.log");
      const file = dir.file(writer.file);
      const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic });
      await shipInSteps(config, file, topic, writer);
      const keptLines = isKeptExactly ? 6 * STEP : 6 * STEP + STEP / 2;
      truncateSync(file, offsetOfLine(readFileSync(file), keptLines));
      // More than was there, so that the length alone says nothing.
      const after = new OracleWriter("cut-tail", "after");
      after.append(file, 8 * STEP);
      const exit = await runShipper({ config, args: ["--once"] });
      expect(exit).toMatchObject({ code: 0 });
      expect(exit.stderr).toContain(`File \\"${file}\\" lost its end, or it was written anew`);
      const { duplicatedCount } = await expectNothingLost(kafka, topic, [writer, after]);
      // Only what lies between the last read that is still whole and the cut.
      expect(duplicatedCount).toBe(keptLines - 6 * STEP);
    },
    120_000,
  );
}

for (const crashAt of ["after_intent_fsync", "after_ack"] as const) {
  test(
    `the same with the batch of those lines in doubt (${crashAt}): sent or counted, nothing twice`,
    async () => {
      await using dir = tempDir("cut-doubt");
      const topic = await kafka.createTopic();
      const writer = new OracleWriter("cut-doubt", "a.log");
      const file = dir.file(writer.file);
      const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic });
      await shipInSteps(config, file, topic, writer);
      writer.append(file, STEP);
      expect(await runShipper({ config, crashAt })).toMatchObject({ signal: "SIGKILL" });
      truncateSync(file, offsetOfLine(readFileSync(file), 10 * STEP));
      const after = new OracleWriter("cut-doubt", "after");
      after.append(file, 3 * STEP);
      const exit = await runShipper({ config, args: ["--once"], testBuild: true, env: QUICK });
      const report = (await checkTopic(kafka, topic, [writer, after])).report();
      const isWritten = crashAt === "after_ack";
      expect(report).toMatchObject({
        lostCount: isWritten ? 0 : STEP,
        duplicatedCount: 0,
        foreignCount: 0,
        damagedCount: 0,
      });
      expect(exit.code).toBe(isWritten ? 0 : 1);
      if (!isWritten) expect(exit.stderr).toContain(`Lost ${STEP} events from \\"${file}\\"`);
      // It is told once: the next run has nothing to say.
      after.append(file, 10);
      expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
      expect((await checkTopic(kafka, topic, [writer, after])).report()).toMatchObject({
        lostCount: isWritten ? 0 : STEP,
        duplicatedCount: 0,
      });
    },
    120_000,
  );
}

test(
  "a batch in doubt with lines that are still there, and lines that are gone: only those are lost",
  async () => {
    await using dir = tempDir("half-gone");
    const topic = await kafka.createTopic();
    const [a, b] = ["a.log", "b.log"].map((name) => new OracleWriter("half-gone", name)) as [
      OracleWriter,
      OracleWriter,
    ];
    a.append(dir.file(a.file), 200);
    b.append(dir.file(b.file), 100);
    const sink = "batch.timeout_ms = 500";
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink });
    expect(await runShipper({ config, crashAt: "after_intent_fsync" })).toMatchObject({ signal: "SIGKILL" });
    truncateSync(dir.file(b.file), 0);
    const exit = await runShipper({ config, args: ["--once"], testBuild: true, env: QUICK });
    expect(exit.code).toBe(1);
    const report = (await checkTopic(kafka, topic, [a, b])).report();
    expect(report).toMatchObject({ receivedCount: 200, lostCount: 100, duplicatedCount: 0 });
    expect(report.examples.filter((text) => !text.includes("b.log"))).toEqual([]);
  },
  120_000,
);

for (const how of ["before anything is read", "before the first batch is in the journal"] as const) {
  test(`read_from = "end", killed ${how}: what was written since the file was seen is shipped`, async () => {
    await using dir = tempDir("from-end");
    const random = seededRandom(`read_from = "end", ${how}`);
    const topic = await kafka.createTopic();
    const old = new OracleWriter("from-end", "old");
    const writer = new OracleWriter("from-end", "new");
    const file = dir.file("a.log");
    old.append(file, random.between(1, 500));
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, source: 'read_from = "end"' });
    if (how === "before anything is read") {
      await using shipper = startShipper({ config });
      await shipper.waitForLog(/Health check of sink .* passed/);
      await Bun.sleep(200);
      await shipper.kill();
      writer.append(file, 100);
    } else {
      await using shipper = startShipper({ config, crashAt: "after_intent_write" });
      await shipper.waitForLog(/Health check of sink .* passed/);
      await Bun.sleep(200);
      writer.append(file, 100);
      expect(await shipper.waitForExit()).toMatchObject({ signal: "SIGKILL" });
    }
    writer.append(file, 100);
    expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
    await expectExactly(kafka, topic, [writer]);
  }, 120_000);
}

test(
  "a file that is deleted while shipper is down: the batch in doubt that arrived is not missed, the rest is counted",
  async () => {
    await using dir = tempDir("deleted");
    const topic = await kafka.createTopic();
    const writer = new OracleWriter("deleted", "a.log");
    const other = new OracleWriter("deleted", "b.log");
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: "batch.max_bytes = 5000" });
    writer.append(dir.file(writer.file), 300);
    expect(await runShipper({ config, crashAt: "after_ack:2" })).toMatchObject({ signal: "SIGKILL" });
    const sentCount = await kafka.countRecords(topic);
    await Bun.file(dir.file(writer.file)).delete();
    appendFileSync(dir.file(other.file), other.lines(50));
    const exit = await runShipper({ config, args: ["--once"], testBuild: true, env: QUICK });
    const report = (await checkTopic(kafka, topic, [writer, other])).report();
    expect(report).toMatchObject({ duplicatedCount: 0, foreignCount: 0, outOfOrderCount: 0 });
    expect(report.receivedCount).toBeGreaterThanOrEqual(sentCount + 50);
    expect(exit.stderr).toMatch(/Lost|deleted/);
    expect(exit.code).toBe(1);
  },
  120_000,
);
