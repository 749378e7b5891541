import { beforeAll, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import type { CrashPointSpec } from "../../src/telemetry/crash_point.ts";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { startProxy } from "../support/proxy.ts";
import { expectExactly, filesToKafka, rotate, SteadyLoad } from "../support/scenario.ts";
import { type Random, seededRandom } from "../support/seed.ts";
import { runShipper, startShipper } from "../support/shipper.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

const CYCLES = 20;
const LIFE_MS_MIN = 5;
const LIFE_MS_MAX = 800;
/** Each of them is reached: the crash before it leaves a batch in doubt, or (after_intent_fsync) one that was certainly not sent. */
const RECOVERY_CRASHES = [
  "during_resolve",
  "after_ack",
  "during_resolve",
  "after_intent_fsync",
  "after_resend",
  "during_resolve",
  "random",
  "after_intent_fsync",
  "after_resend",
  "during_resolve",
] as const;
const EXIT_CONFIG = 78;
/** Small batches: whenever it dies, several are on their way. */
const SINK = "batch.max_bytes = 20000\nretry.max_interval_ms = 200";

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

/** Renames a writer's file and those before it, when the application has made it again since. */
function rotateIfThere(dir: TempDir, writer: OracleWriter, rotatedCounts: Map<string, number>): void {
  const path = dir.file(writer.file);
  if (!existsSync(path)) return;
  const count = rotatedCounts.get(path) ?? 0;
  rotate(path, count);
  rotatedCounts.set(path, count + 1);
}

/** Starts shipper and kills it at a random moment, again and again, while files are written and rotated. Lives of 5 ms end before it reads. */
async function killAgainAndAgain(
  dir: TempDir,
  config: string,
  writers: readonly OracleWriter[],
  random: Random,
): Promise<void> {
  const rotatedCounts = new Map<string, number>();
  for (let cycle = 0; cycle < CYCLES; cycle++) {
    await using shipper = startShipper({ config });
    const lifeMs = random.between(LIFE_MS_MIN, LIFE_MS_MAX);
    const rotateMs = random.between(0, lifeMs);
    await Bun.sleep(rotateMs);
    if (cycle % 3 === 0) rotateIfThere(dir, random.pick(writers), rotatedCounts);
    await Bun.sleep(lifeMs - rotateMs);
    expect(await shipper.kill()).toMatchObject({ signal: "SIGKILL" });
  }
}

/** One run that ends at a named point. */
async function crashAt(config: string, point: CrashPointSpec): Promise<void> {
  expect(await runShipper({ config, crashAt: point })).toMatchObject({ signal: "SIGKILL" });
}

for (const partitions of [1, 6]) {
  test.concurrent(
    `kill -9 ${CYCLES} times at random moments while files are written and rotated: exact on ${partitions} partition(s)`,
    async () => {
      await using dir = tempDir("kill");
      const random = seededRandom(`kill -9, ${partitions} partition(s)`);
      const topic = await kafka.createTopic({ partitions });
      const writers = ["a.log", "b.log", "c.log"].map((name) => new OracleWriter(`kill-${partitions}`, name));
      for (const writer of writers) writer.append(dir.file(writer.file), 2_000);
      const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: SINK });
      // A file that was rotated away before the very first look is none of its files.
      expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
      using load = new SteadyLoad(dir, writers, 4_000);
      await killAgainAndAgain(dir, config, writers, random);
      load.stop();
      expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
      await expectExactly(kafka, topic, writers);
    },
    120_000,
  );
}

test.concurrent(
  `kill -9 during recovery, ${RECOVERY_CRASHES.length} times in a row: what was in doubt is found out by the next run`,
  async () => {
    await using dir = tempDir("crash-loop");
    const random = seededRandom("kill -9 during recovery");
    const topic = await kafka.createTopic({ partitions: 6 });
    const writers = ["a.log", "b.log"].map((name) => new OracleWriter("crash-loop", name));
    for (const writer of writers) writer.append(dir.file(writer.file), 4_000);
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: SINK });
    using load = new SteadyLoad(dir, writers, 2_000);
    await crashAt(config, `after_send:${random.between(1, 5)}`);
    for (const point of RECOVERY_CRASHES) {
      if (point !== "random") {
        await crashAt(config, point);
        continue;
      }
      await using shipper = startShipper({ config });
      await Bun.sleep(random.between(30, 150));
      await shipper.kill();
    }
    load.stop();
    expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
    await expectExactly(kafka, topic, writers);
  },
  120_000,
);

test(
  "SIGTERM with batches in doubt: ends at the deadline with 0, keeps the doubt, and the next run is exact",
  async () => {
    await using dir = tempDir("term");
    await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
    seededRandom("SIGTERM with batches in doubt");
    const topic = await kafka.createTopic({ partitions: 3 });
    const writers = ["a.log", "b.log", "c.log"].map((name) => new OracleWriter("term", name));
    const config = filesToKafka(dir, {
      bootstrap: proxy.address,
      topic,
      top: "shutdown_timeout_secs = 2",
      sink: SINK,
    });
    using load = new SteadyLoad(dir, writers, 5_000);
    for (const direction of ["response", "request"] as const) {
      await using shipper = startShipper({ config });
      const count = await kafka.countRecords(topic);
      await waitUntil("it ships", async () => await kafka.countRecords(topic) > count + 1_000);
      // Batches are written whose answers never come; or they never arrive.
      proxy.setFault({ swallow: [direction] });
      await Bun.sleep(300);
      const startMs = performance.now();
      shipper.signal("SIGTERM");
      const exit = await shipper.waitForExit(20_000);
      expect(exit).toMatchObject({ code: 0, signal: null });
      expect(exit.stderr).toContain("Not everything could be delivered within 2 s");
      expect(performance.now() - startMs).toBeGreaterThan(1_900);
      proxy.cut();
      proxy.heal();
    }
    load.stop();
    expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
    await expectExactly(kafka, topic, writers);
  },
  120_000,
);

test("a second instance on the same data_dir ends with 78 and names the first, which goes on", async () => {
  await using dir = tempDir("second");
  seededRandom("second instance");
  const topic = await kafka.createTopic();
  const writer = new OracleWriter("second", "a.log");
  writer.append(dir.file("a.log"), 1_000);
  const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic });
  await using first = startShipper({ config });
  await waitUntil("it ships", async () => await kafka.countRecords(topic) > 0);
  for (const args of [[], ["--once"]]) {
    const exit = await runShipper({ config, args });
    expect(exit).toMatchObject({ code: EXIT_CONFIG, signal: null });
    expect(exit.stderr).toContain(`process ${first.pid} is using it`);
    writer.append(dir.file("a.log"), 1_000);
  }
  await waitUntil("all are there", async () => await kafka.countRecords(topic) >= writer.count);
  // One that was killed leaves nothing that keeps the next from starting.
  await first.kill();
  writer.append(dir.file("a.log"), 1_000);
  expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
  await expectExactly(kafka, topic, [writer]);
}, 90_000);
