import { beforeAll, expect, test } from "bun:test";
import type { CrashPointSpec } from "../../src/telemetry/crash_point.ts";
import {
  API,
  bufferSegments,
  diskBuffer,
  finish,
  StdinLives,
  toldLosses,
  waitForBuffered,
} from "../support/disk_buffer.ts";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { expectExactly, filesToKafka } from "../support/scenario.ts";
import { seededRandom } from "../support/seed.ts";
import { runShipper, startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";

// Another configuration while there are events in a buffer on disk.

const LINES = 6_000;
const SINK = "batch.max_bytes = 20000\nretry.interval_ms = 20\nretry.max_interval_ms = 200";
const TOP = `${API}\nshutdown_timeout_secs = 1`;
const MEMORY = 'buffer.type = "memory"';
/** Nobody listens there. */
const NOBODY = "127.0.0.1:1";

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

/** Where the first run ends: in order with nothing delivered, or by a crash with batches in doubt and others behind them in the buffer. */
const ENDS: readonly ("SIGTERM" | CrashPointSpec)[] = [
  "SIGTERM",
  "after_send:3",
  "after_intent_fsync:3",
  "after_ack:3",
];

for (const end of ENDS) {
  test.concurrent(
    `disk to memory and back, files, after ${end}: what is in the buffer comes first, exact and in order`,
    async () => {
      await using dir = tempDir("buffer-to-memory");
      seededRandom(`buffer, disk to memory, ${end}`);
      const topic = await kafka.createTopic({ partitions: 1 });
      const writer = new OracleWriter("to-memory", "a.log");
      const configOf = (buffer: string, bootstrap = kafka.bootstrap) =>
        filesToKafka(dir, { bootstrap, topic, top: TOP, sink: `${SINK}\n${buffer}` });
      writer.append(dir.file(writer.file), LINES);
      if (end === "SIGTERM") {
        await using shipper = startShipper({ config: configOf(diskBuffer("8MiB"), NOBODY) });
        await waitForBuffered(shipper, LINES);
        shipper.signal("SIGTERM");
        expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
      } else {
        const crash = { config: configOf(diskBuffer("8MiB")), crashAt: end };
        expect(await runShipper(crash)).toMatchObject({ signal: "SIGKILL" });
      }
      writer.append(dir.file(writer.file), LINES);
      // Killed once more while the one on disk is being emptied.
      const killed = await runShipper({ config: configOf(MEMORY), crashAt: "after_ack:2" });
      expect(killed).toMatchObject({ signal: "SIGKILL" });
      expect(await finish(configOf(MEMORY))).toMatchObject({ code: 0 });
      await expectExactly(kafka, topic, [writer]);
      writer.append(dir.file(writer.file), LINES);
      expect(await finish(configOf(diskBuffer()))).toMatchObject({ code: 0 });
      writer.append(dir.file(writer.file), 100);
      expect(await finish(configOf(MEMORY))).toMatchObject({ code: 0 });
      await expectExactly(kafka, topic, [writer]);
    },
    120_000,
  );
}

test.concurrent("disk to memory, stdin: what is in the buffer is delivered", async () => {
  await using dir = tempDir("buffer-to-memory-stdin");
  const topic = await kafka.createTopic({ partitions: 3 });
  const on = (sink: string) => ({ bootstrap: kafka.bootstrap, topic, top: TOP, sink: `${SINK}\n${sink}` });
  const lives = new StdinLives(dir, "to-memory", on(diskBuffer("8MiB")));
  const crash = { config: lives.config, stdin: lives.next().lines(LINES), crashAt: "after_ack:2" } as const;
  expect(await runShipper(crash)).toMatchObject({ signal: "SIGKILL" });
  const config = lives.config.replace(diskBuffer("8MiB"), MEMORY);
  expect(config).not.toBe(lives.config);
  expect(await finish(config, lives.next().lines(LINES))).toMatchObject({ code: 0 });
  expect(await finish(lives.config, lives.next().lines(LINES))).toMatchObject({ code: 0 });
  await lives.check(kafka, 2);
}, 120_000);

test.concurrent(
  "a sink with another name: its buffer waits and is told, and is delivered when the name is back",
  async () => {
    await using dir = tempDir("buffer-renamed");
    const [before, after] = [await kafka.createTopic(), await kafka.createTopic()];
    const writer = new OracleWriter("renamed", "a.log");
    const configOf = (topic: string, bootstrap: string) =>
      filesToKafka(dir, { bootstrap, topic, top: TOP, sink: `${SINK}\n${diskBuffer("8MiB")}` });
    writer.append(dir.file(writer.file), LINES);
    {
      await using shipper = startShipper({ config: configOf(before, NOBODY) });
      await waitForBuffered(shipper, LINES);
      shipper.signal("SIGTERM");
      expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
    }
    const renamed = configOf(after, kafka.bootstrap).replace("[sinks.out]", "[sinks.other]");
    const exit = await finish(renamed);
    expect(exit).toMatchObject({ code: 0 });
    expect(exit.stderr).toMatch(/There is a disk buffer of sink .*out.*, which is not configured/);
    // It has positions of its own, and reads the file for itself.
    await expectExactly(kafka, after, [writer]);
    expect(await kafka.countRecords(before)).toBe(0);
    expect(await finish(configOf(before, kafka.bootstrap))).toMatchObject({ code: 0 });
    await expectExactly(kafka, before, [writer]);
  },
  120_000,
);

for (const whenFull of ["block", "drop_newest", "drop_oldest"] as const) {
  test.concurrent(
    `max_size below what is in the buffer, ${whenFull}: nothing of it is thrown away that may stay`,
    async () => {
      await using dir = tempDir("buffer-lowered");
      const topic = await kafka.createTopic({ partitions: 2 });
      const writer = new OracleWriter("lowered", "a.log");
      const configOf = (bootstrap: string, size: string, when: string) =>
        filesToKafka(dir, { bootstrap, topic, top: TOP, sink: `${SINK}\n${diskBuffer(size, when)}` });
      writer.append(dir.file(writer.file), 5 * LINES);
      {
        await using shipper = startShipper({ config: configOf(NOBODY, "16MiB", "block") });
        await waitForBuffered(shipper, 5 * LINES);
        shipper.signal("SIGTERM");
        expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
      }
      writer.append(dir.file(writer.file), 100);
      const told = toldLosses(await finish(configOf(kafka.bootstrap, "1MiB", whenFull)));
      if (whenFull === "block") {
        expect(told).toEqual({ code: 0, droppedCount: 0, lostCount: 0 });
        await expectExactly(kafka, topic, [writer]);
      } else {
        // The new lines may find it full; under drop_oldest old ones may have to go.
        expect(told.lostCount).toBe(0);
        expect(await kafka.countRecords(topic)).toBe(writer.count - told.droppedCount);
        if (whenFull === "drop_newest") expect(told.droppedCount).toBeLessThanOrEqual(100);
      }
      expect(bufferSegments(dir.file("data")).length).toBeLessThanOrEqual(8);
    },
    120_000,
  );
}
