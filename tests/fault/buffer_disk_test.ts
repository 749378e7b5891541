import { beforeAll, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { basename } from "node:path";
import {
  API,
  bufferSegments,
  damagedSegments,
  diskBuffer,
  figureOf,
  fillDisk,
  finish,
  StdinLives,
  toldLosses,
} from "../support/disk_buffer.ts";
import { faultsEnv, type FaultText } from "../support/file_faults.ts";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { checkTopic, expectExactly, filesToKafka, SteadyLoad } from "../support/scenario.ts";
import { seededRandom } from "../support/seed.ts";
import { runShipper, startShipper } from "../support/shipper.ts";
import { testIf } from "../support/skip.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

// A disk that refuses under the buffer: its sources wait and nothing is lost, or what is dropped is counted to the last event.

const LINES = 4_000;
const PARTITIONS = 3;
const SINK = "batch.max_bytes = 6000\nretry.interval_ms = 20\nretry.max_interval_ms = 200";
const TMPFS_BYTES = 12 << 20;

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

interface Shipment {
  readonly topic: string;
  readonly writers: readonly OracleWriter[];
  readonly config: string;
}

/** Two files on their way to a topic of their own. */
async function shipment(name: string, dir: TempDir, sink: string): Promise<Shipment> {
  const topic = await kafka.createTopic({ partitions: PARTITIONS });
  const writers = ["a.log", "b.log"].map((file) => new OracleWriter(name, file));
  const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, top: API, sink: `${SINK}\n${sink}` });
  return { topic, writers, config };
}

/** Ships files while these calls fail: exact. Returns the log. */
async function shipFiles(name: string, ...faults: readonly FaultText[]): Promise<string> {
  await using dir = tempDir("buffer-faults");
  const { topic, writers, config } = await shipment(name, dir, diskBuffer());
  for (const writer of writers) writer.append(dir.file(writer.file), LINES);
  const exit = await runShipper({ config, args: ["--once"], testBuild: true, env: faultsEnv(...faults) });
  expect({ name, ...exit }).toMatchObject({ code: 0 });
  await expectExactly(kafka, topic, writers);
  return exit.stderr;
}

/** The same with stdin. */
async function shipStdin(name: string, ...faults: readonly FaultText[]): Promise<string> {
  await using dir = tempDir("buffer-faults");
  const topic = await kafka.createTopic({ partitions: PARTITIONS });
  const sink = `${SINK}\n${diskBuffer()}`;
  const lives = new StdinLives(dir, name, { bootstrap: kafka.bootstrap, topic, sink });
  const stdin = lives.next().lines(2 * LINES);
  const exit = await runShipper({ config: lives.config, stdin, testBuild: true, env: faultsEnv(...faults) });
  expect({ name, ...exit }).toMatchObject({ code: 0 });
  await lives.check(kafka);
  return exit.stderr;
}

for (const { op, error } of [{ op: "write", error: "ENOSPC" }, { op: "sync", error: "EIO" }] as const) {
  test.concurrent(
    `a ${op} of the buffer that fails at the n-th call: its sources wait, and exact`,
    async () => {
      const random = seededRandom(`buffer, failing ${op}`);
      const logs: string[] = [];
      for (const from of [1, 2, 3, random.between(4, 10)]) {
        // The second failure in a row makes it wait, the first only takes a new segment.
        const fault = { op, path: "/buffer/", error, from, count: random.between(1, 4) } as const;
        const ship = from % 2 === 0 ? shipStdin : shipFiles;
        logs.push(await ship(`${op}-${from}`, fault));
      }
      expect(logs.join()).toContain("Cannot write the disk buffer of sink");
      expect(logs.join()).toContain("can be written again");
    },
    120_000,
  );
}

test.concurrent("buffer and journal fail by turns, on the same disk: exact", async () => {
  const random = seededRandom("buffer and journal fail");
  for (let round = 0; round < 3; round++) {
    const faults = ["/buffer/", "/journal/"].map((path) => ({
      op: random.pick(["write", "sync"] as const),
      path,
      error: random.pick(["ENOSPC", "EIO", "EDQUOT"]),
      // The journal's first calls are those of the start.
      from: random.between(8, 20) - (path === "/buffer/" ? 6 : 0),
      count: random.between(1, 5),
    }));
    await (round % 2 === 0 ? shipStdin : shipFiles)(`both-${round}`, ...faults);
  }
}, 120_000);

for (const whenFull of ["block", "drop_newest"] as const) {
  test.concurrent(`a buffer that cannot be written for seconds, ${whenFull}`, async () => {
    await using dir = tempDir("buffer-stalls");
    const random = seededRandom(`buffer, ENOSPC, ${whenFull}`);
    const { topic, writers, config } = await shipment(`stall-${whenFull}`, dir, diskBuffer("1MiB", whenFull));
    const fault = {
      op: "write",
      path: "/buffer/",
      error: "ENOSPC",
      from: random.between(3, 8),
      count: 9,
    } as const;
    await using shipper = startShipper({ config, testBuild: true, env: faultsEnv(fault) });
    using load = new SteadyLoad(dir, writers, 2_000);
    await shipper.waitForLog(/Cannot write the disk buffer .*ENOSPC.*free space where data_dir is/);
    await shipper.waitForLog(/The disk buffer of sink .* can be written again/);
    await Bun.sleep(500);
    load.stop();
    const gone = async () =>
      await figureOf(shipper, "shipper_sink_events_in_total") === load.count &&
      await figureOf(shipper, "shipper_buffer_events") +
            await figureOf(shipper, "shipper_sink_in_flight_events") === 0;
    await waitUntil("all is gone", gone, { timeoutMs: 40_000, pollMs: 100 });
    shipper.signal("SIGTERM");
    const { code, droppedCount } = toldLosses(await shipper.waitForExit());
    expect(code).toBe(0);
    if (whenFull === "block") {
      expect(droppedCount).toBe(0);
      await expectExactly(kafka, topic, writers);
    } else {
      const { lostCount, ...report } = (await checkTopic(kafka, topic, writers)).report();
      expect({ ...report, lostCount }).toMatchObject({
        duplicatedCount: 0,
        outOfOrderCount: 0,
        lostCount: droppedCount,
      });
      expect(droppedCount).toBeGreaterThan(0);
    }
  }, 120_000);
}

test.concurrent(
  "too many files are open for a while when a segment is to be read: nothing is lost",
  async () => {
    for (const from of [1, 5, 7, 8]) {
      await using dir = tempDir("buffer-emfile");
      const topic = await kafka.createTopic({ partitions: PARTITIONS });
      const lives = new StdinLives(dir, "emfile", {
        bootstrap: kafka.bootstrap,
        topic,
        sink: `${SINK}\n${diskBuffer()}`,
      });
      const { config } = lives;
      // Before anything of it is sent.
      const stdin = lives.next().lines(2 * LINES);
      expect(await runShipper({ config, stdin, crashAt: "after_buffer_commit:3" })).toMatchObject({
        signal: "SIGKILL",
      });
      const before = await kafka.countRecords(topic);
      const fault = { op: "open", path: "/buffer/out/0", error: "EMFILE", from, count: 3 } as const;
      const exit = await runShipper({ config, stdin: "", testBuild: true, env: faultsEnv(fault) });
      // A start that cannot look at what is there says so, and touches nothing.
      expect(exit.code).toBeOneOf([0, 78]);
      if (exit.code === 0) expect(await kafka.countRecords(topic)).toBeGreaterThan(before);
      else expect(exit.stderr).toContain("error[buffer-unreadable]");
      expect(await finish(config, lives.next().lines(10))).toMatchObject({ code: 0 });
      await lives.check(kafka);
      expect(damagedSegments(dir.file("data"))).toEqual([]);
    }
  },
  120_000,
);

test.concurrent(
  "reads of the newest segment fail (EIO) when shipper starts: tried again, or refused; nothing is lost",
  async () => {
    for (const [from, count] of [[1, 2], [2, 3], [2, 1_000], [5, 2]] as const) {
      await using dir = tempDir("buffer-eio");
      const topic = await kafka.createTopic({ partitions: PARTITIONS });
      const sink = `${SINK}\n${diskBuffer()}`;
      const lives = new StdinLives(dir, "eio", { bootstrap: kafka.bootstrap, topic, sink });
      const { config } = lives;
      const stdin = lives.next().lines(2 * LINES);
      expect(await runShipper({ config, stdin, crashAt: "after_buffer_commit:3" })).toMatchObject({
        signal: "SIGKILL",
      });
      // Files that are free come behind them.
      const newest = bufferSegments(dir.file("data")).map((path) => basename(path)).filter((name) =>
        /^\d/.test(name)
      ).at(-1)!;
      const fault = { op: "read", path: `/buffer/out/${newest}`, error: "EIO", from, count } as const;
      const exit = await runShipper({ config, stdin: "", testBuild: true, env: faultsEnv(fault) });
      expect({ code: exit.code, stderr: exit.stderr }).toMatchObject({ code: count > 5 ? 78 : 0 });
      expect(exit.stderr).toContain("the start waits, and reading is tried again");
      if (count > 5) expect(exit.stderr).toContain("error[buffer-unreadable]");
      expect(damagedSegments(dir.file("data"))).toEqual([]);
      expect(await finish(config, lives.next().lines(10))).toMatchObject({ code: 0 });
      await lives.check(kafka);
    }
  },
  240_000,
);

testIf(
  process.getuid?.() === 0,
  "needs root",
  "a disk that is full under the buffer, block: exact, and it goes on",
  async () => {
    await using dir = tempDir("buffer-full");
    const data = dir.file("data");
    mkdirSync(data);
    const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${TMPFS_BYTES}`, "tmpfs", data]);
    expect({ status: mounted.status, stderr: String(mounted.stderr) }).toMatchObject({ status: 0 });
    try {
      const { topic, writers, config } = await shipment("full", dir, diskBuffer("1GiB"));
      using load = new SteadyLoad(dir, writers, 4_000);
      let shipper = startShipper({ config });
      try {
        const filler = `${data}/filler`;
        for (let round = 0; round < 3; round++) {
          await waitUntil("it ships", async () => await kafka.countRecords(topic) >= (round + 1) * 3_000, {
            timeoutMs: 40_000,
          });
          fillDisk(filler);
          await shipper.waitForLog(
            /counts as full: the disk has less than|Cannot write the (disk buffer|journal) .*ENOSPC/,
          );
          if (round === 1) {
            await shipper.kill();
            // Without room at the start what is there is delivered all the same, or it says what is missing.
            const full = await runShipper({ config, args: ["--once"], timeoutMs: 8_000 }).catch(() => null);
            if (full !== null) expect(full.code).toBeOneOf([0, 78]);
            rmSync(filler);
            shipper = startShipper({ config });
            continue;
          }
          await Bun.sleep(500);
          rmSync(filler);
        }
        load.stop();
        await waitUntil("all is there", async () => await kafka.countRecords(topic) >= load.count, {
          timeoutMs: 30_000,
        });
        shipper.signal("SIGTERM");
        expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
      } finally {
        await shipper.kill();
      }
      await expectExactly(kafka, topic, writers);
    } finally {
      spawnSync("umount", ["-l", data]);
    }
  },
  120_000,
);
