import { beforeAll, expect, test } from "bun:test";
import { appendFileSync } from "node:fs";
import type { CrashPointSpec } from "../../src/telemetry/crash_point.ts";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { FAST, QUICK } from "../support/killed_lives.ts";
import { OracleWriter } from "../support/oracle.ts";
import { startProxy } from "../support/proxy.ts";
import { expectExactly, filesToKafka } from "../support/scenario.ts";
import { seededRandom } from "../support/seed.ts";
import { runShipper, startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

// Batches that the broker does not take under the numbers that the journal gave them.

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

async function finish(config: string): Promise<string> {
  const exit = await runShipper({ config, args: ["--once"], testBuild: true, env: QUICK, timeoutMs: 40_000 });
  expect(exit).toMatchObject({ code: 0 });
  return exit.stderr;
}

function waitForCount(topic: string, count: number): Promise<unknown> {
  return waitUntil(`${count} records`, async () => await kafka.countRecords(topic) >= count, {
    timeoutMs: 40_000,
    pollMs: 20,
  });
}

test("killed ten times in a row inside of replacements: exact", async () => {
  await using dir = tempDir("replace-crashes");
  const random = seededRandom("crashes inside of replacements");
  // Every batch is too large and is split, more than once.
  const topic = await kafka.createTopic({ partitions: 2, configs: { "max.message.bytes": "3000" } });
  const writer = new OracleWriter("replace-crashes", "a.log");
  const sink = `${FAST}\nbatch.max_bytes = 30000\ncompression = "none"`;
  const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink });
  writer.append(dir.file(writer.file), 1_000);
  for (let crash = 0; crash < 10; crash++) {
    const name = crash % 2 === 0 ? "before_replace" : "after_replace";
    const crashAt: CrashPointSpec = `${name}:${random.between(1, 3)}`;
    const exit = await runShipper({ config, crashAt, args: ["--once"], env: QUICK, timeoutMs: 40_000 });
    expect({ crashAt, ...exit }).toMatchObject({ signal: "SIGKILL" });
    if (crash % 3 === 0) writer.append(dir.file(writer.file), 200);
  }
  await finish(config);
  await expectExactly(kafka, topic, [writer]);
}, 120_000);

for (const crashAt of ["after_send:4", "after_ack:5", "after_intent_fsync:3"] as const) {
  test.concurrent(`sequence numbers that wrap, killed at ${crashAt}: exact`, async () => {
    await using dir = tempDir("wrap");
    const topic = await kafka.createTopic();
    const writer = new OracleWriter("wrap", "a.log");
    const config = filesToKafka(dir, {
      bootstrap: kafka.bootstrap,
      topic,
      sink: `${FAST}\nbatch.max_bytes = 4000`,
    });
    writer.append(dir.file(writer.file), 600);
    for (const batch of [70, 40]) {
      // The wrap is in one of the first batches, and in another one in the second run.
      const env = { SHIPPER_TEST_FIRST_SEQUENCE: String(2 ** 31 - batch) };
      expect(await runShipper({ config, crashAt, env })).toMatchObject({ signal: "SIGKILL" });
    }
    const exit = await runShipper({
      config,
      args: ["--once"],
      testBuild: true,
      env: { SHIPPER_TEST_FIRST_SEQUENCE: String(2 ** 31 - 1) },
    });
    expect(exit).toMatchObject({ code: 0 });
    expect(exit.stderr).not.toContain("has lost records");
    await expectExactly(kafka, topic, [writer]);
  }, 120_000);
}

test("sequence numbers that wrap while answers are lost: exact", async () => {
  await using dir = tempDir("wrap-live");
  await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
  const topic = await kafka.createTopic();
  const writer = new OracleWriter("wrap-live", "a.log");
  const config = filesToKafka(dir, {
    bootstrap: proxy.address,
    topic,
    sink: `${FAST}\nbatch.max_bytes = 4000`,
  });
  const env = { ...QUICK, SHIPPER_TEST_FIRST_SEQUENCE: String(2 ** 31 - 250) };
  await using shipper = startShipper({ config, testBuild: true, env });
  for (let round = 0; round < 10; round++) {
    writer.append(dir.file(writer.file), 50);
    await waitForCount(topic, writer.count - 50);
    proxy.setFault({ swallow: ["response"] });
    await Bun.sleep(60);
    proxy.cut();
    proxy.heal();
  }
  await waitForCount(topic, writer.count);
  shipper.signal("SIGTERM");
  expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
  await expectExactly(kafka, topic, [writer]);
}, 120_000);

for (const isWritten of [true, false]) {
  const what = isWritten ? "arrived" : "did not arrive";
  test.concurrent(
    `a batch in doubt that ${what}, and a limit of the size that was lowered since: exact`,
    async () => {
      await using dir = tempDir("lowered");
      const topic = await kafka.createTopic();
      const writer = new OracleWriter("lowered", "a.log");
      const sink = `${FAST}\ncompression = "none"`;
      const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink });
      writer.append(dir.file(writer.file), 100);
      const crashAt = isWritten ? "after_ack" : "after_intent_fsync";
      expect(await runShipper({ config, crashAt })).toMatchObject({ signal: "SIGKILL" });
      await kafka.alterConfigs("topic", topic, { "max.message.bytes": "2000" });
      writer.append(dir.file(writer.file), 50);
      const log = await finish(config);
      expect(log).not.toContain("has lost records");
      expect(log).toContain(`"message":"Stopped","delivered":${isWritten ? 50 : 150},"dropped":0`);
      await expectExactly(kafka, topic, [writer]);
    },
    120_000,
  );

  test.concurrent(
    `a batch in doubt that ${what}, and a limit of its age that was set since: exact`,
    async () => {
      await using dir = tempDir("aged");
      const topic = await kafka.createTopic();
      const writer = new OracleWriter("aged", "a.log");
      const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: FAST });
      writer.append(dir.file(writer.file), 100);
      const crashAt = isWritten ? "after_ack" : "after_intent_fsync";
      expect(await runShipper({ config, crashAt })).toMatchObject({ signal: "SIGKILL" });
      await Bun.sleep(2_500);
      await kafka.alterConfigs("topic", topic, { "message.timestamp.before.max.ms": "2000" });
      writer.append(dir.file(writer.file), 50);
      const log = await finish(config);
      expect(log).not.toContain("has lost records");
      expect(log).toContain(`"message":"Stopped","delivered":${isWritten ? 50 : 150},"dropped":0`);
      await expectExactly(kafka, topic, [writer]);
    },
    120_000,
  );
}

test("a single line in doubt that is too old for the topic now is sent with the time of now", async () => {
  await using dir = tempDir("aged-one");
  const topic = await kafka.createTopic();
  const writer = new OracleWriter("aged-one", "a.log");
  const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: FAST });
  writer.append(dir.file(writer.file), 1);
  expect(await runShipper({ config, crashAt: "after_intent_fsync" })).toMatchObject({ signal: "SIGKILL" });
  await Bun.sleep(2_500);
  await kafka.alterConfigs("topic", topic, { "message.timestamp.before.max.ms": "2000" });
  await finish(config);
  await expectExactly(kafka, topic, [writer]);
}, 120_000);

test(
  "one record in the middle that the topic never takes: it alone is dropped, under new numbers, through crashes",
  async () => {
    await using dir = tempDir("one-bad");
    const topic = await kafka.createTopic({ configs: { "max.message.bytes": "4000" } });
    const writer = new OracleWriter("one-bad", "a.log");
    const sink = `${FAST}\ncompression = "none"`;
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink });
    writer.append(dir.file(writer.file), 150);
    appendFileSync(dir.file(writer.file), `${"x".repeat(6_000)}\n`);
    writer.append(dir.file(writer.file), 150);
    for (const crashAt of ["after_replace:2", "before_replace:3", "after_send:2"] as const) {
      const exit = await runShipper({ config, crashAt, args: ["--once"], env: QUICK, timeoutMs: 40_000 });
      expect({ crashAt, ...exit }).toMatchObject({ signal: "SIGKILL" });
    }
    const exit = await runShipper({
      config,
      args: ["--once"],
      testBuild: true,
      env: QUICK,
      timeoutMs: 40_000,
    });
    expect(exit.code).toBeOneOf([0, 1]);
    expect(exit.stderr).not.toContain("has lost records");
    await expectExactly(kafka, topic, [writer]);
    expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
  },
  120_000,
);
