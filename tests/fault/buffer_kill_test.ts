import { beforeAll, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import type { CrashPointSpec } from "../../src/telemetry/crash_point.ts";
import { API, diskBuffer, finish, StdinFeed, StdinLives, waitForBuffered } from "../support/disk_buffer.ts";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { startProxy } from "../support/proxy.ts";
import { expectExactly, filesToKafka, rotate, SteadyLoad } from "../support/scenario.ts";
import { seededRandom } from "../support/seed.ts";
import { runShipper, startShipper } from "../support/shipper.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

// Killed at any moment, or told to stop, with the buffer on disk.

const CYCLES = 15;
const LIFE_MS_MIN = 5;
const LIFE_MS_MAX = 800;
const FAST = "batch.max_bytes = 20000\nretry.interval_ms = 20\nretry.max_interval_ms = 200";
const RECOVERY_CRASHES: readonly CrashPointSpec[] = [
  "during_resolve",
  "after_buffer_commit",
  "after_ack",
  "before_buffer_commit",
  "during_resolve",
  "before_buffer_release",
  "after_intent_fsync",
  "after_resend",
];

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

function rotateIfThere(dir: TempDir, writer: OracleWriter, rotatedCounts: Map<string, number>): void {
  const path = dir.file(writer.file);
  if (!existsSync(path)) return;
  const count = rotatedCounts.get(path) ?? 0;
  rotate(path, count);
  rotatedCounts.set(path, count + 1);
}

test.concurrent(
  `kill -9 ${CYCLES} times at random moments while files are written and rotated, buffer on disk: exact`,
  async () => {
    await using dir = tempDir("buffer-kill");
    const random = seededRandom("buffer, kill -9, files");
    const topic = await kafka.createTopic({ partitions: 6 });
    const writers = ["a.log", "b.log", "c.log"].map((name) => new OracleWriter("buffer-kill", name));
    for (const writer of writers) writer.append(dir.file(writer.file), 2_000);
    const sink = `${FAST}\n${diskBuffer()}`;
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink });
    // A file that was rotated away before the very first look is none of its files.
    expect(await finish(config)).toMatchObject({ code: 0 });
    using load = new SteadyLoad(dir, writers, 4_000);
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
    load.stop();
    expect(await finish(config)).toMatchObject({ code: 0 });
    await expectExactly(kafka, topic, writers);
  },
  120_000,
);

test.concurrent(
  `kill -9 ${CYCLES} times at random moments while stdin is read, buffer on disk: nothing is missing but at the end of a life`,
  async () => {
    await using dir = tempDir("buffer-kill-stdin");
    const random = seededRandom("buffer, kill -9, stdin");
    const topic = await kafka.createTopic({ partitions: 3 });
    const sink = `${FAST}\n${diskBuffer()}`;
    const lives = new StdinLives(dir, "buffer-kill-stdin", { bootstrap: kafka.bootstrap, topic, sink });
    for (let cycle = 0; cycle < CYCLES; cycle++) {
      const writer = lives.next();
      await using shipper = startShipper({ config: lives.config, stdin: "pipe" });
      const feed = new StdinFeed(shipper, writer, () => random.between(1, 300), 10);
      await Bun.sleep(random.between(LIFE_MS_MIN, LIFE_MS_MAX));
      await shipper.kill();
      await feed.stop();
    }
    expect(await finish(lives.config, lives.next().lines(1_000))).toMatchObject({ code: 0 });
    await lives.check(kafka);
  },
  120_000,
);

test.concurrent(
  `kill -9 during recovery with the buffer on disk, ${RECOVERY_CRASHES.length} times in a row: exact`,
  async () => {
    await using dir = tempDir("buffer-crash-loop");
    const random = seededRandom("buffer, kill -9 during recovery");
    const topic = await kafka.createTopic({ partitions: 6 });
    const writers = ["a.log", "b.log"].map((name) => new OracleWriter("buffer-loop", name));
    for (const writer of writers) writer.append(dir.file(writer.file), 4_000);
    const sink = `${FAST}\n${diskBuffer()}`;
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink });
    using load = new SteadyLoad(dir, writers, 3_000);
    const crash = async (crashAt: CrashPointSpec) => {
      const { signal } = await runShipper({ config, crashAt });
      expect([crashAt, signal]).toEqual([crashAt, "SIGKILL"]);
    };
    await crash(`after_send:${random.between(1, 5)}`);
    for (const point of RECOVERY_CRASHES) {
      await crash(point);
      await using shipper = startShipper({ config });
      await Bun.sleep(random.between(30, 200));
      await shipper.kill();
      // What only a recovery passes needs something in doubt.
      if (point !== "during_resolve") await crash(`after_send:${random.between(1, 3)}`);
    }
    load.stop();
    expect(await finish(config)).toMatchObject({ code: 0 });
    await expectExactly(kafka, topic, writers);
  },
  120_000,
);

// One proxy has the address that the broker advertises: these come one after the other.

test(
  "SIGTERM under load with the broker away: ends with 0, all is in the buffer, and the next run delivers it",
  async () => {
    await using dir = tempDir("buffer-term");
    await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
    const topic = await kafka.createTopic({ partitions: 3 });
    const writers = ["a.log", "b.log"].map((name) => new OracleWriter("buffer-term", name));
    const config = filesToKafka(dir, {
      bootstrap: proxy.address,
      topic,
      top: "shutdown_timeout_secs = 1",
      sink: `${FAST}\n${diskBuffer("64MiB")}`,
    });
    using load = new SteadyLoad(dir, writers, 5_000);
    for (const fault of [{ swallow: ["response"] }, { swallow: ["request"] }, { refuse: true }] as const) {
      await using shipper = startShipper({ config });
      const count = await kafka.countRecords(topic);
      await waitUntil("it ships", async () => await kafka.countRecords(topic) > count + 1_000);
      proxy.setFault(fault);
      if ("refuse" in fault) proxy.cut();
      await Bun.sleep(300);
      shipper.signal("SIGTERM");
      const exit = await shipper.waitForExit(20_000);
      expect(exit).toMatchObject({ code: 0, signal: null });
      expect(exit.stderr).toMatch(/\d+ events wait in the disk buffer; the next run delivers them/);
      proxy.cut();
      proxy.heal();
    }
    load.stop();
    expect(await finish(config)).toMatchObject({ code: 0 });
    await expectExactly(kafka, topic, writers);
  },
  120_000,
);

for (const end of ["SIGTERM", "end of input", "kill -9"] as const) {
  test(`stdin with the broker away, ${end}: what is in the buffer is delivered by the next run`, async () => {
    await using dir = tempDir("buffer-stdin-term");
    await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
    const topic = await kafka.createTopic({ partitions: 3 });
    const lives = new StdinLives(dir, "buffer-stdin-term", {
      bootstrap: proxy.address,
      topic,
      top: `shutdown_timeout_secs = 1\n${API}`,
      sink: `${FAST}\n${diskBuffer("64MiB")}`,
    });
    const { config } = lives;
    const writer = lives.next();
    await using shipper = startShipper({ config, stdin: "pipe" });
    await shipper.writeStdin(writer.lines(1_000));
    await waitUntil("it ships", async () => await kafka.countRecords(topic) === 1_000);
    proxy.setFault({ refuse: true });
    proxy.cut();
    for (let i = 0; i < 10; i++) await shipper.writeStdin(writer.lines(1_000));
    await waitForBuffered(shipper, 10_000);
    if (end === "end of input") {
      // It waits for the broker: there is no limit to that but the stop.
      shipper.endStdin();
      await Bun.sleep(300);
      expect(shipper.isRunning).toBe(true);
    }
    shipper.signal(end === "kill -9" ? "SIGKILL" : "SIGTERM");
    const exit = await shipper.waitForExit(20_000);
    if (end !== "kill -9") expect(exit).toMatchObject({ code: 0, signal: null });
    expect(await kafka.countRecords(topic)).toBe(1_000);
    proxy.heal();
    expect(await finish(config, lives.next().lines(500))).toMatchObject({ code: 0 });
    // Of the first life, too, all is there.
    expect(await lives.check(kafka, 2)).toBe(0);
  }, 120_000);
}
