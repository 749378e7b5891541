import { beforeAll, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  statSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { readRescueIndexes } from "../../src/source/rescue_store.ts";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { QUICK } from "../support/killed_lives.ts";
import { OracleWriter } from "../support/oracle.ts";
import { type Proxy, startProxy } from "../support/proxy.ts";
import { checkTopic, expectExactly, filesToKafka } from "../support/scenario.ts";
import { runShipper, type Shipper, startShipper } from "../support/shipper.ts";
import { testIf } from "../support/skip.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

// Files that are deleted or moved away while the broker is away: what nobody has is in data_dir before the process dies.

const PARTITIONS = 3;
/** Part of what is written is in batches, part in the buffer, part in the file alone. */
const SINK = "batch.max_bytes = 6000\nbuffer.max_events = 500\nretry.max_interval_ms = 200";
const ROOMY_DISK_BYTES = 24 << 20;

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

interface Outage {
  readonly proxy: Proxy;
  readonly topic: string;
  readonly config: string;
}

/** A broker that can be taken away, and a configuration that goes to it. */
async function outage(
  dir: TempDir,
  more: { readonly top?: string; readonly buffer?: string } = {},
): Promise<Outage & AsyncDisposable> {
  const proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
  const topic = await kafka.createTopic({ partitions: PARTITIONS });
  const config = filesToKafka(dir, {
    bootstrap: proxy.address,
    topic,
    top: more.top ?? "",
    sink: more.buffer ?? SINK,
  });
  return { proxy, topic, config, [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose]() };
}

/** Ships some lines of each file, and takes the broker away. */
async function shipSome(
  { proxy, topic, config }: Outage,
  dir: TempDir,
  writers: OracleWriter[],
): Promise<Shipper> {
  for (const writer of writers) writer.append(dir.file(writer.file), 500);
  const shipper = startShipper({ config });
  const count = 500 * writers.length;
  await waitUntil("it ships", async () => await kafka.countRecords(topic) >= count);
  proxy.setFault({ stall: ["request"] });
  return shipper;
}

/** Where the copies end, in order. */
function copyEnds(dir: TempDir): number[] {
  const ends: number[] = [];
  for (const index of readRescueIndexes(dir.file("data")).values()) {
    if (index !== null) ends.push(index.pieces.at(-1)!.endOffset);
  }
  return ends.sort((a, b) => a - b);
}

async function untilCopied(dir: TempDir, sizes: number[]): Promise<void> {
  const expected = [...sizes].sort((a, b) => a - b).join();
  await waitUntil("all is copied", () => copyEnds(dir).join() === expected, { timeoutMs: 40_000 });
}

function copiesLeft(dir: TempDir): string[] {
  const folder = dir.file("data/rescue");
  return existsSync(folder) ? readdirSync(folder) : [];
}

/** The broker is back: one more run delivers all that is left. */
async function expectDelivered(way: Outage, writers: readonly OracleWriter[]): Promise<void> {
  way.proxy.heal();
  const exit = await runShipper({ config: way.config, args: ["--once"], testBuild: true, env: QUICK });
  expect(exit).toMatchObject({ code: 0 });
  await expectExactly(kafka, way.topic, writers);
}

test("a file is deleted and one moved away with the broker gone, killed twice: exactly once", async () => {
  await using dir = tempDir("rescue");
  await using away = tempDir("rescue-away");
  await using way = await outage(dir);
  const writers = ["deleted.log", "moved.log"].map((name) => new OracleWriter("rescue", name));
  await using shipper = await shipSome(way, dir, writers);
  for (const writer of writers) writer.append(dir.file(writer.file), 3_000);
  const sizes = writers.map((writer) => statSync(dir.file(writer.file)).size);
  await Bun.sleep(300);
  unlinkSync(dir.file("deleted.log"));
  renameSync(dir.file("moved.log"), away.file("moved.log"));
  await untilCopied(dir, sizes);
  await shipper.kill();

  // The next run reads the copies, delivers nothing either, and dies as well.
  await using second = startShipper({ config: way.config });
  await second.waitForLog(/reading on in the copy of bytes/);
  await Bun.sleep(500);
  await second.kill();
  writeFileSync(dir.file("config.toml"), way.config);
  const positions = await runShipper({ args: ["positions", "--config", dir.file("config.toml")] });
  expect(positions.stdout.match(/\(rescued\)/g)?.length).toBe(2);

  await expectDelivered(way, writers);
  expect(copiesLeft(dir)).toEqual([]);
}, 120_000);

test(
  "a deleted file that is still written to, killed: what was written a moment ago is delivered too",
  async () => {
    await using dir = tempDir("rescue-open");
    await using way = await outage(dir);
    const writer = new OracleWriter("rescue-open", "a.log");
    await using shipper = await shipSome(way, dir, [writer]);
    const fd = openSync(dir.file("a.log"), "a");
    unlinkSync(dir.file("a.log"));
    let size = 0;
    for (let round = 0; round < 5; round++) {
      size = writeSync(fd, writer.lines(700)) + size;
      await Bun.sleep(300);
    }
    closeSync(fd);
    const before = copyEnds(dir)[0] ?? 0;
    expect(before).toBeGreaterThan(0);
    // The guard looks once a second.
    await Bun.sleep(1_500);
    await shipper.kill();
    await expectDelivered(way, [writer]);
  },
  120_000,
);

test(
  "a small disk buffer that is full, the file deleted, killed: the rest of it is in the copy",
  async () => {
    await using dir = tempDir("rescue-disk");
    const buffer = `batch.max_bytes = 6000\nbuffer.type = "disk"\nbuffer.max_size = "8MiB"`;
    await using way = await outage(dir, { buffer });
    const writer = new OracleWriter("rescue-disk", "a.log");
    await using shipper = await shipSome(way, dir, [writer]);
    for (let round = 0; round < 4; round++) writer.append(dir.file("a.log"), 50_000);
    const { size } = statSync(dir.file("a.log"));
    await Bun.sleep(1_000);
    unlinkSync(dir.file("a.log"));
    await untilCopied(dir, [size]);
    await shipper.kill();
    await expectDelivered(way, [writer]);
    expect(copiesLeft(dir)).toEqual([]);
  },
  120_000,
);

test(
  "logrotate deletes its oldest file during a long outage, SIGTERM, and a restart: exactly once",
  async () => {
    await using dir = tempDir("rescue-rotate");
    await using way = await outage(dir, { top: "shutdown_timeout_secs = 1" });
    const writer = new OracleWriter("rescue-rotate", "a.log");
    await using shipper = await shipSome(way, dir, [writer]);
    for (let rotation = 0; rotation < 5; rotation++) {
      writer.append(dir.file("a.log"), 800);
      await Bun.sleep(200);
      for (const [from, to] of [["a.log.1", "a.log.2"], ["a.log", "a.log.1"]] as const) {
        if (existsSync(dir.file(from))) renameSync(dir.file(from), dir.file(to));
      }
      writer.append(dir.file("a.log"), 10);
      await Bun.sleep(200);
    }
    await waitUntil("copies", () => copyEnds(dir).length >= 3, { timeoutMs: 40_000 });
    shipper.signal("SIGTERM");
    const stopped = await shipper.waitForExit();
    expect(stopped).toMatchObject({ code: 0 });
    await expectDelivered(way, [writer]);
    expect(copiesLeft(dir)).toEqual([]);
  },
  120_000,
);

test(
  "killed in the middle of copying: what is whole is delivered, nothing twice, nothing damaged",
  async () => {
    await using dir = tempDir("rescue-torn");
    await using way = await outage(dir);
    const writer = new OracleWriter("rescue-torn", "a.log");
    await using first = await shipSome(way, dir, [writer]);
    await first.kill();
    writer.append(dir.file("a.log"), 60_000);
    const { size } = statSync(dir.file("a.log"));
    expect(size).toBeGreaterThan(4 << 20);
    await using shipper = startShipper({ config: way.config, crashAt: "mid_rescue:3" });
    await shipper.waitForLog(/Started shipper/);
    await Bun.sleep(300);
    unlinkSync(dir.file("a.log"));
    expect(await shipper.waitForExit()).toMatchObject({ signal: "SIGKILL" });
    const [end] = copyEnds(dir);
    expect(end).toBeLessThan(size);
    way.proxy.heal();
    await runShipper({ config: way.config, args: ["--once"], testBuild: true, env: QUICK });
    const report = (await checkTopic(kafka, way.topic, [writer])).report();
    expect(report).toMatchObject({
      duplicatedCount: 0,
      outOfOrderCount: 0,
      foreignCount: 0,
      damagedCount: 0,
    });
    // Two pieces of 1 MiB were whole; averages differ a little.
    const averageBytes = size / writer.count;
    expect(report.receivedCount).toBeGreaterThan(0.95 * (2 << 20) / averageBytes);
    expect(report.lostCount).toBeGreaterThan(0);
  },
  120_000,
);

test("rescue_max_size is reached: a warning, nothing lost without a kill, and the copy is gone", async () => {
  await using dir = tempDir("rescue-limit");
  await using way = await outage(dir, { top: 'rescue_max_size = "100KiB"' });
  const writer = new OracleWriter("rescue-limit", "a.log");
  await using shipper = await shipSome(way, dir, [writer]);
  writer.append(dir.file("a.log"), 5_000);
  unlinkSync(dir.file("a.log"));
  await shipper.waitForLog(/Cannot copy bytes \d+ to \d+ of .*\(rescue_max_size \(100\.0 KiB\) is used up/);
  way.proxy.heal();
  await waitUntil("all", async () => await kafka.countRecords(way.topic) >= writer.count, {
    timeoutMs: 40_000,
  });
  await waitUntil("no copy", () => copiesLeft(dir).length === 0, { timeoutMs: 40_000 });
  shipper.signal("SIGTERM");
  expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
  await expectExactly(kafka, way.topic, [writer]);
}, 120_000);

test(
  "batches in doubt whose file is deleted after the restart, the broker still away: made again from the open file",
  async () => {
    await using dir = tempDir("rescue-doubt");
    await using way = await outage(dir);
    const writer = new OracleWriter("rescue-doubt", "a.log");
    writer.append(dir.file("a.log"), 2_000);
    expect(await runShipper({ config: way.config, crashAt: "after_intent_fsync:3" })).toMatchObject({
      signal: "SIGKILL",
    });
    way.proxy.setFault({ stall: ["request"] });
    await using shipper = startShipper({ config: way.config, testBuild: true, env: QUICK });
    await shipper.waitForLog(/Started shipper/);
    await Bun.sleep(500);
    unlinkSync(dir.file("a.log"));
    await Bun.sleep(500);
    way.proxy.heal();
    await waitUntil("all", async () => await kafka.countRecords(way.topic) >= writer.count, {
      timeoutMs: 40_000,
    });
    shipper.signal("SIGTERM");
    expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
    await expectExactly(kafka, way.topic, [writer]);
  },
  120_000,
);

testIf(
  process.platform === "linux" && process.getuid?.() === 0,
  "needs root",
  "a small disk under data_dir: its last 16 MiB are left to the journal, and nothing is lost without a kill",
  async () => {
    await using dir = tempDir("rescue-full");
    const data = dir.file("data");
    mkdirSync(data, { mode: 0o700 });
    const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${ROOMY_DISK_BYTES}`, "tmpfs", data]);
    expect({ status: mounted.status, stderr: String(mounted.stderr) }).toMatchObject({ status: 0 });
    try {
      await using way = await outage(dir);
      const writer = new OracleWriter("rescue-full", "a.log");
      await using shipper = await shipSome(way, dir, [writer]);
      writer.append(dir.file("a.log"), 120_000);
      unlinkSync(dir.file("a.log"));
      await shipper.waitForLog(/Cannot copy bytes .*the disk of data_dir is nearly full/);
      way.proxy.heal();
      await waitUntil("all", async () => await kafka.countRecords(way.topic) >= writer.count, {
        timeoutMs: 40_000,
      });
      shipper.signal("SIGTERM");
      expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
      await expectExactly(kafka, way.topic, [writer]);
    } finally {
      spawnSync("umount", ["-l", data]);
    }
  },
  120_000,
);
