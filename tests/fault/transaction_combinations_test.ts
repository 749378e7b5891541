import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import type { CrashPointSpec } from "../../src/telemetry/crash_point.ts";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { deliveryOptions, FAST, finish, killOften } from "../support/killed_lives.ts";
import { MixedLog } from "../support/mixed_log.ts";
import { OracleChecker, OracleWriter } from "../support/oracle.ts";
import { type Proxy, startProxy } from "../support/proxy.ts";
import { checkTopic, expectExactlyCommitted, filesToKafka, stdinToKafka } from "../support/scenario.ts";
import { seededRandom } from "../support/seed.ts";
import { runShipper, startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

// Delivery in transactions together with what else a sink can do. Everything is counted as a reader with read_committed sees it. Dead letters are in
// dead_letters_test.ts and dead_letter_topic_test.ts, message_timeout_ms in message_timeout_test.ts.

const WAIT_MS = 120_000;
const MARKER = '{"shipper_gap":';
const MAX_BYTES = 4_000;

let kafka: TestKafka;
/** It has the address that the broker advertises. */
let proxy: Proxy;
beforeAll(async () => {
  kafka = await sharedCluster();
  proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
}, 120_000);
afterAll(async () => {
  await proxy.close();
});

const isMarker = (value: string) => value.startsWith(MARKER);
const sinkOf = (topic: string) => `${deliveryOptions("transactional", topic)}\n`;
const withInput = (file: string) => ["sh", "-c", `exec "$@" < '${file}'`, "sh"];

async function committedOf(topic: string): Promise<string[]> {
  return (await kafka.readTopic(topic, { isolation: "read_committed" })).map(({ value }) => String(value));
}

const committedCount = async (topic: string) => (await committedOf(topic)).length;

describe("shipper exec", () => {
  const writers = () => [new OracleWriter("txn-exec", "stdout"), new OracleWriter("txn-exec", "stderr")];

  test("both outputs of a command arrive whole and in order, and its exit code is kept", async () => {
    await using dir = tempDir("txn-exec");
    const topic = await kafka.createTopic({ partitions: 3 });
    const both = writers();
    for (const writer of both) writer.append(dir.file(writer.file), 20_000);
    const config = dir.file("exec.toml");
    const sink = `batch.max_bytes = 50000\n${sinkOf(topic)}`;
    // What is not delivered by then is lost, and said so.
    const top = "shutdown_timeout_secs = 60";
    writeFileSync(config, stdinToKafka(dir, { bootstrap: kafka.bootstrap, topic, top, sink }), {
      mode: 0o600,
    });
    const command = ["sh", "-c", "cat stdout & cat stderr >&2; wait; exit 42"];
    await using shipper = startShipper({
      args: ["exec", "--config", config, "--", ...command],
      cwd: dir.path,
    });
    expect(await shipper.waitForExit(WAIT_MS)).toMatchObject({ code: 42, signal: null });
    await expectExactlyCommitted(kafka, topic, both);
  }, 90_000);

  test("kill -9: nothing is there twice, and what was read and not committed is lost", async () => {
    await using dir = tempDir("txn-exec-killed");
    const topic = await kafka.createTopic({ partitions: 3 });
    const both = writers();
    for (const writer of both) writer.append(dir.file(writer.file), 20_000);
    const config = dir.file("exec.toml");
    const sink = `batch.max_bytes = 20000\ncommit_interval_ms = 20\n${sinkOf(topic)}`;
    writeFileSync(config, stdinToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink }), { mode: 0o600 });
    const command = ["sh", "-c", "cat stdout & cat stderr >&2; wait; exec sleep 30"];
    await using shipper = startShipper({
      args: ["exec", "--config", config, "--", ...command],
      cwd: dir.path,
    });
    await waitUntil("it commits", async () => await committedCount(topic) > 0, {
      timeoutMs: WAIT_MS,
      pollMs: 10,
    });
    await shipper.kill();
    // The next command's shipper ends what that one left open.
    const next = ["exec", "--config", config, "--", "true"];
    expect(await runShipper({ args: next, cwd: dir.path, timeoutMs: WAIT_MS })).toMatchObject({ code: 0 });
    const report = (await checkTopic(kafka, topic, both, "read_committed")).report();
    expect(report).toMatchObject({
      duplicatedCount: 0,
      outOfOrderCount: 0,
      foreignCount: 0,
      damagedCount: 0,
    });
    expect(report.receivedCount).toBeGreaterThan(0);
  }, 120_000);
});

describe("a regular file on stdin", () => {
  const points: readonly (CrashPointSpec | "random")[] = [
    "txn_after_positions:2",
    "txn_after_commit_send:2",
    "txn_after_commit:2",
    "random",
  ];
  for (const crashAt of points) {
    test(`killed (${crashAt}) and started again: exact, and then what was appended`, async () => {
      await using dir = tempDir("txn-stdin-file");
      const topic = await kafka.createTopic({ partitions: 3 });
      const writer = new OracleWriter("txn-stdin-file", "in");
      const file = dir.file("in");
      writer.append(file, 20_000);
      const sink = `batch.max_bytes = 20000\ncommit_interval_ms = 20\n${sinkOf(topic)}`;
      const config = stdinToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink });
      const wrapper = withInput(file);
      if (crashAt === "random") {
        await using shipper = startShipper({ config, wrapper });
        await waitUntil("it commits", async () => await committedCount(topic) > 0, {
          timeoutMs: WAIT_MS,
          pollMs: 5,
        });
        await shipper.kill();
      } else {
        expect(await runShipper({ config, wrapper, crashAt, timeoutMs: WAIT_MS })).toMatchObject({
          signal: "SIGKILL",
        });
      }
      const again = await runShipper({ config, wrapper, timeoutMs: WAIT_MS });
      expect(again).toMatchObject({ code: 0 });
      expect(again.stderr).not.toContain("lost with the process");
      await expectExactlyCommitted(kafka, topic, [writer]);
      writer.append(file, 100);
      expect(await runShipper({ config, wrapper, timeoutMs: WAIT_MS })).toMatchObject({ code: 0 });
      await expectExactlyCommitted(kafka, topic, [writer]);
    }, 120_000);
  }
});

for (const kind of ["a pipe", "a file"] as const) {
  test(`gap_markers, ${kind}: markers and committed events are all that was written`, async () => {
    await using dir = tempDir("txn-gaps");
    const topic = await kafka.createTopic({ partitions: 3 });
    const sink = `gap_markers = true\nbuffer.max_events = 1000\nbuffer.when_full = "drop_newest"\n` +
      `batch.max_events = 200\nretry.max_interval_ms = 300\n${sinkOf(topic)}`;
    const isPipe = kind === "a pipe";
    const config = (isPipe ? stdinToKafka : filesToKafka)(dir, { bootstrap: proxy.address, topic, sink });
    const writer = new OracleWriter("txn-gaps", "a.log");
    await using shipper = startShipper({ config, stdin: "pipe" });
    const write = async (count: number) => {
      if (isPipe) await shipper.writeStdin(writer.lines(count));
      else writer.append(dir.file(writer.file), count);
    };
    await write(100);
    await waitUntil("it commits", async () => await committedCount(topic) === 100, { timeoutMs: WAIT_MS });
    for (let round = 1; round <= 2; round++) {
      proxy.setFault({ stall: ["request"] });
      const seen = shipper.stderr.length;
      for (let i = 0; i < 20; i++) await write(1_000);
      const isDropped = () => shipper.stderr.slice(seen).includes("new events of source");
      await waitUntil("events are dropped", isDropped, { timeoutMs: WAIT_MS });
      proxy.heal();
      const isTold = async () => (await committedOf(topic)).filter(isMarker).length >= round;
      await waitUntil("the gap is told", isTold, { timeoutMs: WAIT_MS });
    }
    await write(10);
    if (isPipe) shipper.endStdin();
    else {
      const isLastThere = async () => {
        const last = writer.count - 1;
        return (await committedOf(topic)).some((value) => value.startsWith(`${writer.run} a.log ${last} `));
      };
      await waitUntil("the last line is there", isLastThere, { timeoutMs: WAIT_MS });
      shipper.signal("SIGTERM");
    }
    const exit = await shipper.waitForExit(WAIT_MS);
    expect(exit).toMatchObject({ code: 0, signal: null });
    const dropped = Number(/"message":"Stopped","delivered":\d+,"dropped":(\d+)/u.exec(exit.stderr)![1]);
    expect(dropped).toBeGreaterThan(0);
    const check = async () => {
      const checker = new OracleChecker(writer.run, [writer]);
      const records = await kafka.readTopic(topic, { isolation: "read_committed" });
      for (const { partition, value } of records) {
        if (!isMarker(String(value))) checker.take(partition, String(value));
      }
      const report = checker.report();
      expect(report).toMatchObject({
        duplicatedCount: 0,
        outOfOrderCount: 0,
        foreignCount: 0,
        damagedCount: 0,
      });
      expect(report.lostCount).toBe(dropped);
    };
    await check();
    const markers = (await committedOf(topic)).filter(isMarker);
    const gaps = markers.map((value) => JSON.parse(value).shipper_gap);
    expect(gaps.reduce<number>((sum, gap) => sum + (gap.events ?? 0), 0)).toBe(dropped);
    for (const gap of gaps) expect(gap).toMatchObject({ source: "in", cause: "buffer_full", sink: "out" });
    if (isPipe) return;
    // The positions in Kafka have passed what was dropped.
    expect(await runShipper({ config, args: ["--once"], timeoutMs: WAIT_MS })).toMatchObject({ code: 0 });
    await check();
  }, 240_000);
}

for (const what of ["drop", "truncate"] as const) {
  test(
    `on_too_large = "${what}", kill -9 at random times: what is not too large exactly, in order`,
    async () => {
      await using dir = tempDir(`txn-${what}`);
      const random = seededRandom(`transactions, on_too_large ${what}`);
      const topic = await kafka.createTopic({
        partitions: 3,
        configs: { "max.message.bytes": String(MAX_BYTES) },
      });
      const log = new MixedLog(`txn-${what}`, dir);
      const sink = `${FAST}\non_too_large = "${what}"\ncompression = "lz4"\n${sinkOf(topic)}`;
      const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink });
      await killOften(config, random, 4, () => log.append(300, 3));
      log.append(300, 3);
      // An event that was dropped is no reason for a run under --once to be called well.
      if (what === "truncate") await finish(config);
      else {
        const exit = await runShipper({ config, args: ["--once"], testBuild: true, timeoutMs: WAIT_MS });
        expect(exit).toMatchObject({ code: 1, signal: null });
      }
      const checker = new OracleChecker(log.writer.run, [log.writer]);
      const cut: string[] = [];
      for (const { partition, value } of await kafka.readTopic(topic, { isolation: "read_committed" })) {
        if (String(value).startsWith("big ")) cut.push(String(value));
        else checker.take(partition, String(value));
      }
      checker.assertComplete();
      if (what === "drop") expect(cut).toEqual([]);
      else {
        const numberOf = (line: string) => line.split(" ")[1]!;
        expect(cut.map(numberOf).sort()).toEqual(log.big.map(numberOf).sort());
        for (const line of cut) expect(line.length).toBeLessThan(MAX_BYTES);
      }
    },
    180_000,
  );
}
