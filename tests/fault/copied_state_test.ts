import { beforeAll, expect, test } from "bun:test";
import { cpSync, renameSync, rmSync } from "node:fs";
import { newCluster } from "../kafka/support.ts";
import { batchBytes, produce } from "../kafka/resolve/batches.ts";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { FAST, QUICK } from "../support/killed_lives.ts";
import { OracleWriter } from "../support/oracle.ts";
import { startProxy } from "../support/proxy.ts";
import { expectExactly, expectNothingLost, filesToKafka } from "../support/scenario.ts";
import { seededRandom } from "../support/seed.ts";
import { runShipper, type Shipper, startShipper } from "../support/shipper.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

// A data_dir that is a copy, or older than the topic: lines may come twice, and that is told; none is ever missing.

/** A broker takes a changed configuration up a moment after it has answered. */
const CONFIG_APPLIED_MS = 500;

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

/** As cp -a does: the same bytes and times under new inodes. */
function copyDir(from: string, to: string): void {
  rmSync(to, { recursive: true, force: true });
  cpSync(from, to, { recursive: true, preserveTimestamps: true });
}

function waitForCount(topic: string, count: number): Promise<unknown> {
  return waitUntil(`${count} records`, async () => await kafka.countRecords(topic) >= count, {
    timeoutMs: 40_000,
    pollMs: 20,
  });
}

async function shipOnce(config: string): Promise<string> {
  const exit = await runShipper({ config, args: ["--once"], testBuild: true, env: QUICK, timeoutMs: 40_000 });
  expect(exit).toMatchObject({ code: 0 });
  return exit.stderr;
}

test(
  "a data_dir from an older copy: what was shipped since comes twice, nothing is lost, and it is told",
  async () => {
    await using dir = tempDir("older-copy");
    const topic = await kafka.createTopic({ partitions: 2 });
    const writer = new OracleWriter("older-copy", "a.log");
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic });
    writer.append(dir.file(writer.file), 1_000);
    await shipOnce(config);
    copyDir(dir.file("data"), dir.file("copy"));
    writer.append(dir.file(writer.file), 1_000);
    await shipOnce(config);
    rmSync(dir.file("data"), { recursive: true });
    renameSync(dir.file("copy"), dir.file("data"));
    writer.append(dir.file(writer.file), 500);

    const strict = filesToKafka(dir, {
      bootstrap: kafka.bootstrap,
      topic,
      sink: 'on_cloned_state = "stop"',
    });
    const refused = await runShipper({ config: strict, args: ["--once"] });
    expect(refused).toMatchObject({ code: 78 });
    expect(refused.stderr).toContain("error[cloned-data-dir]: Cannot use data_dir");

    expect(await shipOnce(config)).toContain("is a copy, or was moved to another filesystem");
    const { duplicatedCount } = await expectNothingLost(kafka, topic, [writer]);
    expect(duplicatedCount).toBe(1_000);
    // From then on it is no copy any more.
    writer.append(dir.file(writer.file), 10);
    expect(await shipOnce(config)).not.toContain("is a copy");
    expect((await expectNothingLost(kafka, topic, [writer])).duplicatedCount).toBe(1_000);
  },
  120_000,
);

test(
  "an older copy with a batch in doubt, of which the broker has newer ones: starts, and nothing is lost",
  async () => {
    await using dir = tempDir("older-doubt");
    const topic = await kafka.createTopic();
    const writer = new OracleWriter("older-doubt", "a.log");
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: "batch.max_bytes = 4000" });
    writer.append(dir.file(writer.file), 200);
    await using shipper = startShipper({ config });
    await waitForCount(topic, 200);
    // Acknowledgements are not written at once: the copy has batches open that the broker has long had, and newer ones behind them.
    copyDir(dir.file("data"), dir.file("copy"));
    writer.append(dir.file(writer.file), 200);
    await waitForCount(topic, 400);
    await shipper.kill();
    rmSync(dir.file("data"), { recursive: true });
    renameSync(dir.file("copy"), dir.file("data"));
    await shipOnce(config);
    const { duplicatedCount } = await expectNothingLost(kafka, topic, [writer]);
    expect(duplicatedCount).toBeGreaterThanOrEqual(200);
    expect(duplicatedCount).toBeLessThanOrEqual(400);
  },
  120_000,
);

for (const crashAt of ["after_intent_fsync:2", "after_ack:2"] as const) {
  test.concurrent(
    `a data_dir that is copied with a batch in doubt (${crashAt}), both running: no line is lost`,
    async () => {
      await using dir = tempDir("two-copies");
      const topic = await kafka.createTopic();
      const writer = new OracleWriter(`two-copies-${crashAt.length}`, "a.log");
      const sink = `${FAST}\nbatch.max_bytes = 4000`;
      const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink });
      writer.append(dir.file(writer.file), 500);
      expect(await runShipper({ config, crashAt })).toMatchObject({ signal: "SIGKILL" });
      copyDir(dir.file("data"), dir.file("data2"));
      const config2 = config.replace(dir.file("data"), dir.file("data2"));
      expect(config2).not.toBe(config);
      writer.append(dir.file(writer.file), 500);
      await using first = startShipper({ config, testBuild: true, env: QUICK });
      await using second = startShipper({ config: config2, testBuild: true, env: QUICK });
      await waitForDelivered([first, second], topic, 1_000);
      await stop(first);
      await stop(second);
      const { duplicatedCount } = await expectNothingLost(kafka, topic, [writer]);
      expect(duplicatedCount).toBeGreaterThan(500);
    },
    120_000,
  );
}

/** Both have nothing more to send: the topic does not grow any more. */
async function waitForDelivered(shippers: readonly Shipper[], topic: string, count: number): Promise<void> {
  await waitForCount(topic, count);
  for (let before = -1, now = 0; before !== now;) {
    before = now;
    await Bun.sleep(1_500);
    now = await kafka.countRecords(topic);
  }
  for (const shipper of shippers) expect(shipper.isRunning).toBe(true);
}

async function stop(shipper: Shipper): Promise<void> {
  shipper.signal("SIGTERM");
  expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
}

test("a journal that is one epoch behind the broker: starts, finds it, and nothing is lost", async () => {
  await using dir = tempDir("epoch-behind");
  await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
  const topic = await kafka.createTopic();
  const writer = new OracleWriter("epoch-behind", "a.log");
  const config = filesToKafka(dir, { bootstrap: proxy.address, topic, sink: "retry.interval_ms = 20" });
  writer.append(dir.file(writer.file), 10);
  {
    await using shipper = startShipper({ config, testBuild: true, env: QUICK });
    await waitForCount(topic, 10);
    await Bun.sleep(200);
    // The answer, a refusal, is held while the copy is made: what comes of it is not in there.
    await kafka.alterConfigs("topic", topic, { "max.message.bytes": "2000" });
    await Bun.sleep(CONFIG_APPLIED_MS);
    proxy.setFault({ stall: ["response"] });
    writer.append(dir.file(writer.file), 100);
    await Bun.sleep(400);
    copyDir(dir.file("data"), dir.file("copy"));
    proxy.heal();
    await waitForCount(topic, 110);
    await stop(shipper);
  }
  expect((await kafka.describeProducers(topic, 0)).map(({ producerEpoch }) => producerEpoch > 0)).toEqual([
    true,
  ]);
  rmSync(dir.file("data"), { recursive: true });
  renameSync(dir.file("copy"), dir.file("data"));
  writer.append(dir.file(writer.file), 10);
  const log = await shipOnce(config);
  expect(log).toContain("data_dir is older than what partition 0");
  const { duplicatedCount } = await expectNothingLost(kafka, topic, [writer]);
  expect(duplicatedCount).toBeLessThanOrEqual(110);
}, 120_000);

test(
  "another process writes under our producer id: this one stops, and acknowledges nothing that is not its own",
  async () => {
    await using dir = tempDir("resumed");
    const random = seededRandom("a process image that was resumed");
    const topic = await kafka.createTopic();
    const writer = new OracleWriter("resumed", "a.log");
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: FAST });
    const cluster = newCluster([kafka.bootstrap]);
    try {
      writer.append(dir.file(writer.file), 20);
      await using shipper = startShipper({ config, testBuild: true, env: QUICK });
      await waitForCount(topic, 20);
      await cluster.refresh([topic], "a batch is made");
      const [state] = await kafka.describeProducers(topic, 0);
      // Its successor went on from the same memory: more than ours writes next.
      const producer = {
        producerIdHigh: 0,
        producerIdLow: state!.producerId,
        epoch: state!.producerEpoch,
        baseSequence: state!.lastSequence + 1,
      };
      const count = random.between(30, 60);
      const bytes = batchBytes(producer, count, Date.now());
      expect(await produce(await cluster.connectionTo(1), topic, bytes)).toMatchObject({ errorCode: 0 });
      writer.append(dir.file(writer.file), 20);
      const exit = await shipper.waitForExit();
      expect(exit.code).toBe(1);
      expect(exit.stderr).toContain("Another process writes to partition 0 of topic");
    } finally {
      cluster.close();
    }
    // Its own lines are sent by the next run, under numbers of its own.
    await shipOnce(config);
    const records = await kafka.readTopic(topic);
    const own = records.filter(({ value }) => String(value).startsWith("resumed "));
    const seqs = own.map(({ value }) => Number(String(value).split(" ")[2]));
    expect(seqs).toEqual(Array.from({ length: 40 }, (_, i) => i));
  },
  120_000,
);

/** Kept here, as the only test that needs it: a data_dir of two processes at once is refused by its lock. */
test("a second process on the same data_dir ends with 78 and disturbs nothing", async () => {
  await using dir: TempDir = tempDir("same-data");
  const topic = await kafka.createTopic();
  const writer = new OracleWriter("same-data", "a.log");
  const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic });
  await using shipper = startShipper({ config });
  writer.append(dir.file(writer.file), 300);
  await waitForCount(topic, 300);
  for (let i = 0; i < 3; i++) {
    const exit = await runShipper({ config, args: ["--once"] });
    expect(exit).toMatchObject({ code: 78 });
    expect(exit.stderr).toContain(`process ${shipper.pid} is using it`);
    writer.append(dir.file(writer.file), 100);
  }
  await waitForCount(topic, 600);
  await stop(shipper);
  await expectExactly(kafka, topic, [writer]);
}, 120_000);
