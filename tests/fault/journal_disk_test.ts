import { beforeAll, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { faultsEnv, type FaultText } from "../support/file_faults.ts";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { expectExactly, filesToKafka, SteadyLoad } from "../support/scenario.ts";
import { seededRandom } from "../support/seed.ts";
import { runShipper, startShipper } from "../support/shipper.ts";
import { testIf } from "../support/skip.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

// A disk under data_dir that refuses: nothing is sent that the journal does not have, and nothing is lost or sent twice for it.

const LINES = 3_000;
const PARTITIONS = 3;
/** Batches of about 60 lines: some 50 of them, and about as many commits. */
const SINK = "batch.max_bytes = 6000";
const FULL_DISK_BYTES = 4 << 20;

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

interface Shipment {
  readonly dir: TempDir;
  readonly topic: string;
  readonly writer: OracleWriter;
  readonly config: string;
}

async function shipment(
  name: string,
  dir: TempDir,
  more: { readonly source?: string } = {},
): Promise<Shipment> {
  const topic = await kafka.createTopic({ partitions: PARTITIONS });
  const writer = new OracleWriter(name, "a.log");
  const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: SINK, ...more });
  return { dir, topic, writer, config };
}

/** Everything goes out while these calls fail. Returns the log. */
async function shipWith(name: string, faults: readonly FaultText[]): Promise<string> {
  await using dir = tempDir("journal-faults");
  const { topic, writer, config } = await shipment(name, dir);
  writer.append(dir.file(writer.file), LINES);
  const exit = await runShipper({ config, args: ["--once"], testBuild: true, env: faultsEnv(...faults) });
  expect({ name, ...exit }).toMatchObject({ code: 0 });
  await expectExactly(kafka, topic, [writer]);
  return exit.stderr;
}

test("a sync of the journal that fails at the n-th call: a new segment, and exact", async () => {
  const random = seededRandom("failing syncs");
  // The first calls are those of the start. Some sync a file that is only made ready for later, and nobody has to wait for it.
  const logs: string[] = [];
  for (const from of [6, 9, random.between(10, 30)]) {
    logs.push(
      await shipWith(`sync-${from}`, [{ op: "sync", path: "journal", error: "EIO", from, count: 2 }]),
    );
  }
  expect(logs.join()).toContain("Cannot write the journal in");
  expect(logs.join()).toContain("The journal can be written again: delivery goes on");
}, 120_000);

test("a start whose journal cannot be synced ends with 78, and the next one is exact", async () => {
  await using dir = tempDir("journal-start");
  const { topic, writer, config } = await shipment("start", dir);
  writer.append(dir.file(writer.file), LINES);
  const fault = { op: "sync", path: "journal", error: "EIO", from: 1, count: 1 } as const;
  const exit = await runShipper({ config, args: ["--once"], testBuild: true, env: faultsEnv(fault) });
  expect(exit).toMatchObject({ code: 78 });
  expect(exit.stderr).toContain("error[journal-unwritable]: Cannot write the journal in");
  expect(exit.stderr).toContain("EIO");
  expect(await kafka.countRecords(topic)).toBe(0);
  expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
  await expectExactly(kafka, topic, [writer]);
}, 120_000);

for (const op of ["write", "sync"] as const) {
  test(
    `nothing is sent while a ${op} of the journal fails, not even before a kill -9; then exact`,
    async () => {
      await using dir = tempDir("journal-stalls");
      const random = seededRandom(`a ${op} that goes on failing`);
      const { topic, writer, config } = await shipment(`stall-${op}`, dir);
      const error = op === "write" ? "ENOSPC" : "EIO";
      const fault = { op, path: "journal", error, from: random.between(8, 30), count: 1_000_000 } as const;
      writer.append(dir.file(writer.file), LINES);
      {
        await using shipper = startShipper({ config, testBuild: true, env: faultsEnv(fault) });
        // However many batches share a group: there are more groups for as long as lines come.
        using load = new SteadyLoad(dir, [writer], 500);
        await shipper.waitForLog(/Cannot write the journal in .*delivery waits/);
        load.stop();
        await Bun.sleep(300); // what was durable before is sent
        const before = await kafka.countRecords(topic);
        await Bun.sleep(700);
        expect(await kafka.countRecords(topic)).toBe(before);
        expect(before).toBeLessThan(writer.count);
        await shipper.kill();
      }
      expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
      await expectExactly(kafka, topic, [writer]);
    },
    120_000,
  );
}

test("writes of the journal that fail now and then, with a crash among them: exact", async () => {
  await using dir = tempDir("journal-crash");
  const random = seededRandom("failing writes and crashes");
  const { topic, writer, config } = await shipment("crash", dir);
  writer.append(dir.file(writer.file), LINES);
  for (let run = 0; run < 4; run++) {
    const fault = {
      op: random.pick(["write", "sync"] as const),
      path: "journal",
      error: random.pick(["EIO", "ENOSPC", "EDQUOT"]),
      from: random.between(8, 25),
      count: random.between(1, 4),
    } as const;
    const crashAt = random.pick(
      ["after_send:5", "after_ack:4", "after_intent_write:6", "after_intent_fsync:5"] as const,
    );
    const exit = await runShipper({ config, args: ["--once"], crashAt, env: faultsEnv(fault) });
    expect(exit.signal ?? exit.code).toBeOneOf(["SIGKILL", 0]);
  }
  expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
  await expectExactly(kafka, topic, [writer]);
}, 120_000);

test("reads of a file that fail, at first and when a batch in doubt is read again: exact", async () => {
  await using dir = tempDir("read-faults");
  const { topic, writer, config } = await shipment("read", dir);
  writer.append(dir.file(writer.file), LINES);
  const fault = { op: "read", path: "a\\.log$", error: "EIO", from: 2, count: 2 } as const;
  const first = await runShipper({ config, crashAt: "after_intent_fsync:3", env: faultsEnv(fault) });
  expect(first).toMatchObject({ signal: "SIGKILL" });
  await using shipper = startShipper({
    config,
    testBuild: true,
    // The file is opened meanwhile, again and again: each time takes one.
    env: faultsEnv({ ...fault, from: 1, count: 40 }),
  });
  await shipper.waitForLog(/Cannot read .* again, which was being sent when the last run ended: .*EIO/);
  await waitUntil("all is there", async () => await kafka.countRecords(topic) >= LINES, {
    timeoutMs: 40_000,
  });
  shipper.signal("SIGTERM");
  expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
  await expectExactly(kafka, topic, [writer]);
}, 120_000);

testIf(
  process.getuid?.() === 0,
  "needs root",
  "a disk that is full under the journal: exact, and it goes on",
  async () => {
    await using dir = tempDir("journal-full");
    const data = dir.file("data");
    mkdirSync(data);
    const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${FULL_DISK_BYTES}`, "tmpfs", data]);
    expect({ status: mounted.status, stderr: String(mounted.stderr) }).toMatchObject({ status: 0 });
    try {
      const { topic, writer, config } = await shipment("full", dir);
      writer.append(dir.file(writer.file), LINES);
      await using shipper = startShipper({ config });
      await waitUntil("it ships", async () => await kafka.countRecords(topic) === LINES);
      const filler = `${data}/filler`;
      const { bavail, bsize } = statfsSync(data);
      writeFileSync(filler, Buffer.alloc(bavail * bsize));
      // As much as recycled segments hold goes through, and perhaps all of it.
      writer.append(dir.file(writer.file), 40 * LINES);
      await Bun.sleep(1_500);
      rmSync(filler);
      await waitUntil("all is there", async () => await kafka.countRecords(topic) >= 41 * LINES, {
        timeoutMs: 40_000,
      });
      await shipper.kill();
      // A start on a disk that is full says what is missing, and keeps its hands off.
      const left = statfsSync(data);
      writeFileSync(filler, Buffer.alloc(left.bavail * left.bsize));
      const full = await runShipper({ config, args: ["--once"] });
      expect(full.code).toBeOneOf([0, 78]);
      if (full.code === 78) expect(full.stderr).toContain("hint: free ");
      rmSync(filler);
      expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
      await expectExactly(kafka, topic, [writer]);
    } finally {
      spawnSync("umount", ["-l", data]);
    }
  },
  120_000,
);
