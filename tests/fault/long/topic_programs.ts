import { rmSync } from "node:fs";
import { join } from "node:path";
import { ownCluster } from "../../support/kafka.ts";
import { OracleWriter } from "../../support/oracle.ts";
import { filesToKafka, SteadyLoad } from "../../support/scenario.ts";
import { runShipper, startShipper } from "../../support/shipper.ts";
import { tempDir } from "../../support/temp_dir.ts";
import { waitUntil } from "../../support/wait_until.ts";
import { type FaultProgram, type FaultRun, require, requireExit, stopInOrder } from "./program.ts";

const FAST = `retry.interval_ms = 50\nretry.max_interval_ms = 500\nbatch.max_bytes = 30000
connect_timeout_ms = 1000\nsocket_timeout_ms = 3000\nrequest_timeout_ms = 2000`;
const LINES = 300;

/** One batch that was written and not noted; its records are deleted, and a restart of the broker forgets the producer. */
async function deletedRecords(run: FaultRun): Promise<string> {
  const own = await ownCluster();
  const { kafka, cluster } = own;
  try {
    for (const policy of ["duplicate", "drop"] as const) {
      await using dir = tempDir("deleted");
      const topic = await kafka.createTopic();
      const writer = new OracleWriter(`deleted-${policy}`, "a.log");
      writer.append(dir.file(writer.file), LINES);
      const sink = `on_undecidable = "${policy}"`;
      const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink });
      requireExit(await runShipper({ config, crashAt: "after_ack" }), "SIGKILL");
      await kafka.deleteRecords(topic, 0, LINES);
      await cluster.brokers[0]!.stop();
      await cluster.startBroker(0);
      await waitUntil(
        "the producer is forgotten",
        async () => (await kafka.describeProducers(topic, 0)).length === 0,
      );
      writer.append(dir.file(writer.file), LINES);
      const exit = await runShipper({ config, args: ["--once"] });
      requireExit(exit, policy === "drop" ? 1 : 0);
      const told = exit.stderr.split("\n").filter((line) => line.includes("Cannot tell whether")).length;
      require(told === 1, `It told ${told} times that it cannot tell\n${exit.stderr}`);
      // The reader sees what was not deleted.
      const lostMax = policy === "drop" ? LINES : 0;
      const { lostCount } = await run.check(kafka, topic, [writer], { lostMax });
      require(lostCount === lostMax, `${lostCount} lines are missing`);
    }
  } finally {
    await own.stop();
  }
  return `undecidable, told once, and by policy: sent again, or ${LINES} counted as lost (deleted anyway)`;
}

/** A cluster that is made again at the same address, whose producer ids start anew. */
async function wipedCluster(run: FaultRun): Promise<string> {
  const own = await ownCluster();
  const { kafka, cluster } = own;
  const wipe = async (topic: string) => {
    const broker = cluster.brokers[0]!;
    await broker.kill();
    rmSync(join(broker.dir, "data"), { recursive: true, force: true });
    await broker.prepare(
      Buffer.from(run.random.next().toString().padEnd(16)).subarray(0, 16).toString("base64url"),
    );
    await cluster.startBroker(0);
    await kafka.forget();
    // It has partitions that nothing was sent to: sequences begin at 0 there.
    await kafka.createTopic({ name: topic, partitions: 4 });
  };
  try {
    for (const isLive of [false, true]) {
      await using dir = tempDir("wiped");
      const topic = await kafka.createTopic({ partitions: 2 });
      const writer = new OracleWriter(`wiped-${isLive}`, "a.log");
      const sink = `${FAST}\nmetadata_refresh_ms = 300`;
      const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink });
      if (!isLive) {
        writer.append(dir.file(writer.file), LINES);
        requireExit(await runShipper({ config, crashAt: "after_ack" }), "SIGKILL");
        await wipe(topic);
        writer.append(dir.file(writer.file), LINES);
        requireExit(await runShipper({ config, args: ["--once"], timeoutMs: 60_000 }), 0);
        await run.check(kafka, topic, [writer]);
        continue;
      }
      await using shipper = startShipper({ config });
      const first = new OracleWriter("wiped-first", "first.log");
      first.append(dir.file("first.log"), LINES);
      await run.waitForCount(kafka, topic, LINES, shipper);
      await wipe(topic);
      // Others get the low producer ids of the new cluster, that of the running shipper among them, and write as many records from sequence 0
      // on: a broker that compares only numbers takes a batch of the shipper for a repeat of theirs.
      const other = new OracleWriter(writer.run, "other");
      for (let i = 0; i < 20; i++) {
        const records = Array.from(
          { length: 40 },
          (_, n) => ({ partition: n % 4, value: other.line().slice(0, -1) }),
        );
        await kafka.produce(topic, records, { properties: { "enable.idempotence": "true", "acks": "all" } });
      }
      for (let i = 0; i < 40; i++) {
        writer.append(dir.file(writer.file), 10);
        await Bun.sleep(50);
      }
      await run.waitForCount(kafka, topic, writer.count + other.count, shipper);
      await stopInOrder(shipper);
      await run.check(kafka, topic, [writer, other]);
      const { ends } = await kafka.offsets(topic);
      const own = Object.values(ends).map((end) => end - other.count / 4);
      require(own.every((count) => count > 0), "It did not use every partition");
    }
  } finally {
    await own.stop();
  }
  return "with a batch in doubt, and while it runs";
}

/** Lines that the topic does not take, among others. */
async function refusedRecords(run: FaultRun): Promise<string> {
  const kafka = await run.shared();
  await using dir = tempDir("refused");
  const topic = await kafka.createTopic({ partitions: 2, configs: { "max.message.bytes": "40000" } });
  const writer = new OracleWriter("refused", "a.log");
  const huge = new OracleWriter("refused", "huge", 0);
  const append = (text: string) => Bun.write(dir.file("b.log"), text);
  let hugeLines = "";
  for (let i = 0; i < 20; i++) hugeLines += `${"h".repeat(60_000)}\n${huge.lines(5)}`;
  await append(hugeLines);
  writer.append(dir.file(writer.file), 3_000);
  const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: 'compression = "none"' });
  const env = { SHIPPER_TEST_RECHECK_MS: "200" };
  requireExit(
    await runShipper({ config, crashAt: `before_replace:${run.random.between(1, 6)}`, env }),
    "SIGKILL",
  );
  requireExit(
    await runShipper({ config, crashAt: `after_replace:${run.random.between(1, 6)}`, env }),
    "SIGKILL",
  );
  const exit = await runShipper({ config, args: ["--once"], testBuild: true, env, timeoutMs: 60_000 });
  const dropped = /"message":"Stopped",.*"dropped":(\d+)/.exec(exit.stderr)?.[1];
  requireExit(exit, 1);
  await run.check(kafka, topic, [writer, huge]);
  // Nothing of it comes again.
  requireExit(await runShipper({ config, args: ["--once"] }), 0);
  await run.check(kafka, topic, [writer, huge]);
  return `20 lines of 60 kB for a limit of 40 kB, two crashes inside a renumbering; the last run dropped ${dropped}`;
}

async function missingTopic(run: FaultRun): Promise<string> {
  const kafka = await run.shared();
  await using dir = tempDir("missing");
  const topic = `missing-${run.seed}`;
  const writers = ["a.log", "b.log"].map((file) => new OracleWriter("missing", file));
  const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: FAST });
  using load = new SteadyLoad(dir, writers, 500);
  await using shipper = startShipper({ config });
  const waitMs = run.isQuick ? 20_000 : 60_000;
  await Bun.sleep(waitMs);
  const told = shipper.stderr;
  const lineCount = told.split("\n").length;
  await kafka.createTopic({ name: topic, partitions: 2 });
  await run.waitForCount(kafka, topic, load.stop(), shipper);
  await stopInOrder(shipper);
  await run.check(kafka, topic, writers);
  require(lineCount < 10 + waitMs / 2_000, `It logged ${lineCount} lines meanwhile\n${told}`);
  require(told.includes(topic), "It did not name the topic");
  return `created after ${waitMs / 1_000} s; ${lineCount} lines of log until then`;
}

async function morePartitions(run: FaultRun): Promise<string> {
  const kafka = await run.shared();
  await using dir = tempDir("partitions");
  const topic = await kafka.createTopic();
  const writers = ["a.log", "b.log", "c.log"].map((file) => new OracleWriter("partitions", file));
  const config = filesToKafka(dir, {
    bootstrap: kafka.bootstrap,
    topic,
    sink: `${FAST}\nmetadata_refresh_ms = 500`,
  });
  using load = new SteadyLoad(dir, writers, 4_000);
  let shipper = startShipper({ config });
  try {
    for (const total of [2, 3, 5, 8]) {
      await run.waitForCount(kafka, topic, 1_000, shipper);
      await kafka.addPartitions(topic, total);
      await Bun.sleep(run.random.between(500, 1_500));
      await shipper.kill();
      shipper = startShipper({ config });
    }
    await run.waitForCount(kafka, topic, load.stop(), shipper);
    await stopInOrder(shipper);
  } finally {
    await shipper.kill();
  }
  await run.check(kafka, topic, writers);
  const { ends } = await kafka.offsets(topic);
  const usedCount = Object.values(ends).filter((end) => end > 0).length;
  require(usedCount === 8, `It used ${usedCount} of 8 partitions`);
  return "1, 2, 3, 5 and 8 partitions, with kill -9 after each change";
}

/** A partition that nothing is written to for longer than the broker remembers a producer, again and again. */
async function idle(run: FaultRun): Promise<string> {
  const own = await ownCluster({
    settings: { "producer.id.expiration.ms": "2000", "producer.id.expiration.check.interval.ms": "500" },
  });
  try {
    const { kafka } = own;
    await using dir = tempDir("idle");
    const topic = await kafka.createTopic({ partitions: 3 });
    const writer = new OracleWriter("idle", "a.log");
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: FAST });
    await using shipper = startShipper({ config });
    const rounds = run.isQuick ? 3 : 10;
    for (let round = 0; round < rounds; round++) {
      writer.append(dir.file(writer.file), 3_000);
      await run.waitForCount(kafka, topic, writer.count, shipper);
      await Bun.sleep(5_000);
      const left = await kafka.describeProducers(topic, 0);
      require(left.length === 0, "The broker still knows the producer");
    }
    const { stderr } = await stopInOrder(shipper);
    await run.check(kafka, topic, [writer]);
    const lineCount = stderr.split("\n").length;
    require(lineCount < 20 + 6 * rounds, `It logged ${lineCount} lines:\n${stderr.slice(-3_000)}`);
    return `${rounds} bursts, each after the producer was forgotten; ${lineCount} lines of log`;
  } finally {
    await own.stop();
  }
}

/** What happens to topics. */
export const topicPrograms: readonly FaultProgram[] = [
  {
    name: "deleted-records",
    title: "records of a batch in doubt deleted and the producer forgotten",
    run: deletedRecords,
  },
  {
    name: "wiped-cluster",
    title: "a cluster made again at the same address, producer ids from 0",
    run: wipedCluster,
  },
  {
    name: "refused-records",
    title: "lines larger than the topic takes, and crashes inside renumberings",
    run: refusedRecords,
  },
  { name: "missing-topic", title: "a topic that is created a minute later", run: missingTopic },
  { name: "more-partitions", title: "partitions 1 to 8 while lines flow, with kill -9", run: morePartitions },
  { name: "idle", title: "bursts after times without any, longer than producers are remembered", run: idle },
];
