import { beforeAll, expect, test } from "bun:test";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { QUICK } from "../support/killed_lives.ts";
import { OracleWriter } from "../support/oracle.ts";
import { startProxy } from "../support/proxy.ts";
import { expectExactly, filesToKafka } from "../support/scenario.ts";
import { runShipper, startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

// Brokers that take nothing for now, or little: it is said why, nothing is given up, and all is there once in the end.

const FAST = `connect_timeout_ms = 1000\nsocket_timeout_ms = 2000\nrequest_timeout_ms = 1000
retry.interval_ms = 20\nretry.max_interval_ms = 200`;

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

function waitForCount(topic: string, count: number): Promise<unknown> {
  return waitUntil(`${count} records`, async () => await kafka.countRecords(topic) >= count, {
    timeoutMs: 30_000,
    pollMs: 50,
  });
}

for (const delivery of ["exactly_once", "transactional"] as const) {
  test.concurrent(`${delivery}: a topic that is created later, kill -9 while it is missing`, async () => {
    await using dir = tempDir("later");
    const topic = `later-${delivery.replace("_", "-")}-${Date.now()}`;
    const more = delivery === "transactional"
      ? `\ndelivery = "transactional"\ntransactional_id = "${topic}"\nposition_topic = "${topic}-positions"`
      : "";
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: FAST + more });
    const writer = new OracleWriter("later", "a.log");
    writer.append(dir.file(writer.file), 500);
    for (let run = 0; run < 2; run++) {
      await using shipper = startShipper({ config });
      await shipper.waitForLog(/the cluster does not know it/u);
      await Bun.sleep(1_000);
      writer.append(dir.file(writer.file), 500);
      await shipper.kill();
    }
    await using shipper = startShipper({ config });
    await Bun.sleep(1_000);
    await kafka.createTopic({ name: topic, partitions: 2 });
    await waitForCount(topic, writer.count);
    shipper.signal("SIGTERM");
    expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
    await expectExactly(kafka, topic, [writer]);
  }, 120_000);
}

test.concurrent("a quota: told and counted, memory stays bounded, exact through kill -9", async () => {
  await using dir = tempDir("quota");
  const topic = await kafka.createTopic({ partitions: 2 });
  const clientId = `quota-${topic}`;
  await kafka.setQuota(clientId, "producer_byte_rate", 100_000);
  const sink = `client_id = "${clientId}"\nbatch.max_bytes = 50000`;
  const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink });
  const writer = new OracleWriter("quota", "a.log");
  writer.append(dir.file(writer.file), 20_000);
  let peakMb = 0;
  for (let run = 0; run < 2; run++) {
    await using shipper = startShipper({ config });
    await shipper.waitForLog(/asks this sink to wait for \d+ ms: a quota of the cluster is used up/u);
    await Bun.sleep(2_000);
    peakMb = Math.max(peakMb, await shipper.peakRssBytes() / 1e6);
    await shipper.kill();
  }
  const slowCount = await kafka.countRecords(topic);
  expect(slowCount).toBeGreaterThan(0);
  expect(slowCount).toBeLessThan(writer.count);
  expect(peakMb).toBeLessThan(350);
  await kafka.setQuota(clientId, "producer_byte_rate", null);
  expect(await runShipper({ config, args: ["--once"], timeoutMs: 40_000 })).toMatchObject({ code: 0 });
  await expectExactly(kafka, topic, [writer]);
}, 120_000);

test("a line of 20 kB/s: memory stays bounded, exact through kill -9", async () => {
  await using dir = tempDir("slow-line");
  await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
  const topic = await kafka.createTopic({ partitions: 2 });
  // As who has such a line would: batches that get through within the timeouts.
  const sink =
    "batch.max_bytes = 10000\nsocket_timeout_ms = 5000\nrequest_timeout_ms = 4000\nmax_in_flight = 1";
  const config = filesToKafka(dir, { bootstrap: proxy.address, topic, sink });
  const writer = new OracleWriter("slow-line", "a.log");
  writer.append(dir.file(writer.file), 100_000);
  proxy.setFault({ bytesPerSecond: 20_000 });
  let peakMb = 0;
  for (let run = 0; run < 2; run++) {
    await using shipper = startShipper({ config });
    const before = await kafka.countRecords(topic);
    await waitForCount(topic, before + 200);
    await Bun.sleep(2_000);
    peakMb = Math.max(peakMb, await shipper.peakRssBytes() / 1e6);
    await shipper.kill();
  }
  expect(await kafka.countRecords(topic)).toBeLessThan(20_000);
  expect(peakMb).toBeLessThan(350);
  proxy.heal();
  const exit = await runShipper({ config, args: ["--once"], testBuild: true, env: QUICK, timeoutMs: 60_000 });
  expect(exit).toMatchObject({ code: 0 });
  await expectExactly(kafka, topic, [writer]);
}, 180_000);

test(
  "a network that swallows answers: the partition is taken up step by step, each told, and exact when it heals",
  async () => {
    await using dir = tempDir("swallowed");
    await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
    const topic = await kafka.createTopic();
    const sink =
      "connect_timeout_ms = 500\nsocket_timeout_ms = 1000\nrequest_timeout_ms = 500\nretry.max_interval_ms = 200";
    const config = filesToKafka(dir, { bootstrap: proxy.address, topic, sink });
    const writer = new OracleWriter("swallowed", "a.log");
    writer.append(dir.file(writer.file), 200);
    await using shipper = startShipper({ config, testBuild: true, env: QUICK });
    await waitForCount(topic, 200);
    proxy.setFault({ swallow: ["response"] });
    writer.append(dir.file(writer.file), 200);
    for (
      const step of [
        "its leader is asked for again",
        "a new connection is made",
        "what is known of its leader is forgotten",
      ]
    ) {
      await shipper.waitForLog(new RegExp(`no broker has answered for it: ${step}`, "u"), 20_000);
    }
    writer.append(dir.file(writer.file), 200);
    proxy.heal();
    await waitForCount(topic, writer.count);
    shipper.signal("SIGTERM");
    expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
    await expectExactly(kafka, topic, [writer]);
  },
  120_000,
);
