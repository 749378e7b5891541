import { beforeAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { isBrokerAtLeast } from "../support/broker_version.ts";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { startProxy } from "../support/proxy.ts";
import { checkTopic, expectExactly, filesToKafka } from "../support/scenario.ts";
import { runShipper, startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

// Records that the broker does not take, and topics that are not there yet.

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

/** Bytes that no codec makes smaller. */
function noise(length: number): string {
  let text = "";
  let x = 12345;
  while (text.length < length) {
    x = Math.imul(x, 1103515245) + 12345 | 0;
    text += (x >>> 8).toString(36);
  }
  return text.slice(0, length);
}

const numbered = (count: number) => Array.from({ length: count }, (_, i) => `line ${i}`);

async function valuesOf(topic: string): Promise<string[]> {
  return (await kafka.readTopic(topic)).map((record) => String(record.value));
}

for (const codec of ["none", "zstd"]) {
  test(
    `a record that is too large for its topic is dropped alone, named and counted (${codec})`,
    async () => {
      await using dir = tempDir("large");
      const topic = await kafka.createTopic({ configs: { "max.message.bytes": "5000" } });
      const lines = numbered(5_000);
      lines[1_234] = noise(20_000);
      lines[1_236] = noise(4_000);
      writeFileSync(dir.file("app.log"), lines.join("\n") + "\n");
      const sink = `compression = "${codec}"`;
      const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink });
      const exit = await runShipper({ config, args: ["--once"] });
      expect(exit.code).toBe(1);
      const byte = Buffer.byteLength(lines.slice(0, 1_234).join("\n")) + 1;
      expect(exit.stderr).toContain(`at byte ${byte}:`);
      const errors = exit.stderr.split("\n").filter((line) => line.includes("Cannot deliver"));
      expect(errors).toEqual([expect.stringContaining(`at byte ${byte}:`)]);
      expect(exit.stderr).toContain('"delivered":4999,"dropped":1');
      expect(await valuesOf(topic)).toEqual(lines.filter((_, i) => i !== 1_234));
      expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
      expect(await kafka.countRecords(topic)).toBe(4_999);
    },
    90_000,
  );
}

test("a topic whose limit is lowered while shipper runs: batches are split until they fit", async () => {
  await using dir = tempDir("lowered");
  const topic = await kafka.createTopic();
  const writer = new OracleWriter("lowered", "app.log");
  writer.append(dir.file("app.log"), 10);
  const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic });
  await using shipper = startShipper({ config });
  await waitUntil("it works", async () => await kafka.countRecords(topic) === 10);
  await kafka.alterConfigs("topic", topic, { "max.message.bytes": "3000" });
  writer.append(dir.file("app.log"), 20_000);
  await waitUntil("everything is there", async () => await kafka.countRecords(topic) === 20_010, {
    timeoutMs: 40_000,
  });
  shipper.signal("SIGTERM");
  const exit = await shipper.waitForExit();
  expect(exit).toMatchObject({ code: 0 });
  expect(exit.stderr).not.toContain('"level":"error"');
  await expectExactly(kafka, topic, [writer]);
}, 90_000);

test(
  "records larger than max_message_bytes are dropped before they are sent, and their neighbours arrive",
  async () => {
    await using dir = tempDir("own-limit");
    const topic = await kafka.createTopic({ partitions: 2 });
    const lines = numbered(200).map((line, i) => i % 50 === 7 ? noise(3_000) : line);
    writeFileSync(dir.file("app.log"), lines.join("\n") + "\n");
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: "max_message_bytes = 2000" });
    const exit = await runShipper({ config, args: ["--once"] });
    expect(exit.code).toBe(1);
    expect(exit.stderr).toContain('"delivered":196,"dropped":4');
    expect(exit.stderr).toContain("exceed max_message_bytes");
    expect((await valuesOf(topic)).sort()).toEqual(lines.filter((line) => line.length < 3_000).sort());
  },
  90_000,
);

test("records that a compacted topic refuses are named by the broker and dropped alone", async () => {
  await using dir = tempDir("compacted");
  const topic = await kafka.createTopic({ configs: { "cleanup.policy": "compact" } });
  const lines = Array.from({ length: 30 }, (_, i) => `{"message":"m${i}","k":"k${i}"}`);
  writeFileSync(dir.file("app.log"), lines.join("\n") + "\n");
  const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic });
  const exit = await runShipper({ config, args: ["--once"] });
  expect(exit.code).toBe(1);
  expect(exit.stderr).toContain("INVALID_RECORD");
  expect(exit.stderr).toContain('"delivered":0,"dropped":30');

  await using other = tempDir("compacted");
  writeFileSync(other.file("app.log"), lines.join("\n") + "\n");
  const keyed = filesToKafka(other, {
    bootstrap: kafka.bootstrap,
    topic,
    source: 'decoding.codec = "json"',
    sink: 'key_field = "k"',
  });
  expect(await runShipper({ config: keyed, args: ["--once"] })).toMatchObject({ code: 0 });
  expect(await valuesOf(topic)).toEqual(lines.map((_, i) => `m${i}`));
}, 90_000);

test("topics_autocreate makes the topic with what is asked for", async () => {
  await using dir = tempDir("autocreate");
  const topic = `auto-${crypto.randomUUID()}`;
  const writer = new OracleWriter("autocreate", "app.log");
  writer.append(dir.file("app.log"), 500);
  const sink = "topics_autocreate = true\nautocreate = { partitions = 3, replication_factor = 1 }";
  const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink });
  const exit = await runShipper({ config, args: ["--once", "--require-healthy"] });
  expect(exit).toMatchObject({ code: 0 });
  // Kafka 3.0: a controller in KRaft mode has created it when it was asked whether that may be.
  if (isBrokerAtLeast(3, 1)) expect(exit.stderr).toContain(`Created topic`);
  expect(await kafka.describeTopic(topic)).toHaveLength(3);
  await expectExactly(kafka, topic, [writer]);
}, 90_000);

test("partitions that are added while it runs are used, and nothing is lost or repeated", async () => {
  await using dir = tempDir("grown");
  const topic = await kafka.createTopic();
  const writer = new OracleWriter("grown", "app.log");
  writer.append(dir.file("app.log"), 1_000);
  const sink = "metadata_refresh_ms = 1000\nbatch.max_events = 100";
  await using shipper = startShipper({
    config: filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink }),
  });
  await waitUntil("it works", async () => await kafka.countRecords(topic) === 1_000);
  await kafka.addPartitions(topic, 4);
  const isUsed = async () => {
    writer.append(dir.file("app.log"), 500);
    const { ends } = await kafka.offsets(topic);
    return Object.values(ends).every((end) => end > 0);
  };
  await waitUntil("all partitions are used", isUsed, { pollMs: 100 });
  await waitUntil("everything is there", async () => await kafka.countRecords(topic) === writer.count);
  shipper.signal("SIGTERM");
  expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
  await expectExactly(kafka, topic, [writer]);
}, 90_000);

test("a topic that is deleted and made again while it runs gets what comes then", async () => {
  await using dir = tempDir("again");
  const topic = await kafka.createTopic({ partitions: 3 });
  const first = new OracleWriter("again", "first.log");
  first.append(dir.file("first.log"), 3_000);
  const sink = "metadata_refresh_ms = 1000\nbatch.max_events = 100";
  await using shipper = startShipper({
    config: filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink }),
    testBuild: true,
    env: { SHIPPER_TEST_RECHECK_MS: "500" },
  });
  await waitUntil("it works", async () => await kafka.countRecords(topic) === 3_000);
  await kafka.deleteTopic(topic);
  await kafka.createTopic({ name: topic, partitions: 2 });
  const second = new OracleWriter("again", "second.log");
  second.append(dir.file("second.log"), 3_000);
  await waitUntil("everything is there", async () => await kafka.countRecords(topic) >= 3_000);
  shipper.signal("SIGTERM");
  expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
  // Batches that waited for the third partition went to others, behind what was there.
  const report = (await checkTopic(kafka, topic, [second])).report();
  expect(report).toMatchObject({ receivedCount: 3_000, lostCount: 0, duplicatedCount: 0, damagedCount: 0 });
}, 90_000);

test("answers that are lost, cut or damaged on the way lose and repeat nothing", async () => {
  await using dir = tempDir("cuts");
  await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
  const topic = await kafka.createTopic({ partitions: 3 });
  const writer = new OracleWriter("cuts", "app.log");
  writer.append(dir.file("app.log"), 1_000);
  const sink = "batch.max_events = 200\nretry = { interval_ms = 20, max_interval_ms = 100 }";
  await using shipper = startShipper({
    config: filesToKafka(dir, { bootstrap: proxy.address, topic, sink }),
  });
  await waitUntil("it works", async () => await kafka.countRecords(topic) === 1_000);
  for (let round = 0; round < 12; round++) {
    writer.append(dir.file("app.log"), 3_000);
    const direction = round % 2 === 0 ? "response" : "request";
    if (round % 3 === 2) proxy.setFault({ corrupt: { direction, at: 200 + round * 37 } });
    else proxy.setFault({ cutAfter: { direction, bytes: 30 + round * 997 } });
    await Bun.sleep(60);
    if (round % 4 === 3) proxy.cut();
  }
  proxy.heal();
  await waitUntil("everything is there", async () => await kafka.countRecords(topic) >= writer.count);
  shipper.signal("SIGTERM");
  expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
  await expectExactly(kafka, topic, [writer]);
}, 120_000);
