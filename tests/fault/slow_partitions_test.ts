import { afterAll, beforeAll, expect, test } from "bun:test";
import { freePorts } from "../../scripts/lib/ports.ts";
import { type OwnCluster, ownCluster, sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleChecker, OracleWriter } from "../support/oracle.ts";
import { type Proxy, startProxy } from "../support/proxy.ts";
import { checkTopic, expectExactly, filesToKafka } from "../support/scenario.ts";
import { runShipper, type Shipper, startShipper } from "../support/shipper.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

// Partitions, sinks and leaders that stand still while others go on, with shipper killed in between.

const CLUSTER_TIMEOUT_MS = 120_000;
const FAST = `connect_timeout_ms = 1000\nsocket_timeout_ms = 1500\nrequest_timeout_ms = 1000
retry.interval_ms = 20\nretry.max_interval_ms = 300`;
const USER = "shipper";

let shared: TestKafka;
let own: OwnCluster;
beforeAll(async () => {
  [shared, own] = await Promise.all([
    sharedCluster(),
    freePorts(3).then((advertisedPorts) =>
      ownCluster({ brokers: 3, security: "sasl_ssl", acl: true, heapMb: 384, advertisedPorts })
    ),
  ]);
}, CLUSTER_TIMEOUT_MS);
afterAll(() => own?.stop(), CLUSTER_TIMEOUT_MS);

function waitForCount(kafka: TestKafka, topic: string, count: number): Promise<unknown> {
  return waitUntil(
    `topic "${topic}" holds ${count} records`,
    async () => await kafka.countRecords(topic) >= count,
    {
      timeoutMs: 40_000,
      pollMs: 50,
    },
  );
}

async function endOf(topic: string, partition: number): Promise<number> {
  return (await own.kafka.offsets(topic)).ends[partition]!;
}

/** Records of a partition, once there come no more. */
async function settledEnd(topic: string, partition: number): Promise<number> {
  for (let before = -1;;) {
    const now = await endOf(topic, partition);
    if (now === before) return now;
    before = now;
    await Bun.sleep(1_000);
  }
}

async function stop(shipper: Shipper): Promise<void> {
  shipper.signal("SIGTERM");
  expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
}

/** One in front of each broker. */
function openProxies(): Promise<Proxy[]> {
  return Promise.all(
    own.cluster.brokers.map(({ ports, advertisedPort }) => startProxy(ports.PROXIED!, advertisedPort!)),
  );
}

for (
  const [how, fault] of [
    ["refuses", { refuse: true }],
    ["does not answer", { stall: ["response"] }],
    ["hears nothing", { stall: ["request", "response"] }],
  ] as const
) {
  test(
    `one leader of two ${how}, and shipper is killed: the other partition's lines are not sent again`,
    async () => {
      await using dir = tempDir("one-leader");
      const { kafka } = own;
      const proxies = await openProxies();
      try {
        const topic = await kafka.createTopic({ assignment: [[1], [2]] });
        const writers = ["a.log", "b.log"].map((name) => new OracleWriter("one-leader", name));
        const sink = `${FAST}\nkey_field = "message"\nbatch.max_bytes = 20000`;
        const config = filesToKafka(dir, { bootstrap: proxies[0]!.address, topic, sink });
        const write = (count: number) => {
          for (const writer of writers) writer.append(dir.file(writer.file), count);
        };
        write(300);
        {
          await using shipper = startShipper({ config });
          await waitForCount(kafka, topic, 600);
          proxies[1]!.setFault(fault);
          proxies[1]!.cut();
          write(500);
          await waitUntil("the other partition goes on", async () => await endOf(topic, 0) > 500);
          await settledEnd(topic, 0);
          await shipper.kill();
        }
        const before = await endOf(topic, 0);
        await using shipper = startShipper({ config });
        await shipper.waitForLog(/Started shipper/);
        await Bun.sleep(1_500);
        // None of what is there came again.
        expect(await endOf(topic, 0)).toBe(before);
        write(200);
        await waitUntil("new lines go out", async () => await endOf(topic, 0) > before);
        proxies[1]!.cut();
        proxies[1]!.heal();
        await waitForCount(kafka, topic, 2_000);
        await stop(shipper);
        await expectExactly(kafka, topic, writers);
      } finally {
        for (const proxy of proxies) await proxy.close();
      }
    },
    120_000,
  );
}

function twoSinks(
  dir: TempDir,
  sinks: readonly { readonly bootstrap: string; readonly topic: string }[],
): string {
  const [first, second] = sinks;
  const config = filesToKafka(dir, { ...first!, sink: FAST });
  return `${config}
[sinks.other]
type = "kafka"
inputs = ["in"]
bootstrap_servers = "${second!.bootstrap}"
topic = "${second!.topic}"
batch.max_bytes = 20000
${FAST}
`;
}

test(
  "two sinks send a source to one topic: through kills every line is there twice, once for each",
  async () => {
    await using dir = tempDir("same-topic");
    const topic = await shared.createTopic();
    const writer = new OracleWriter("same-topic", "a.log");
    const place = { bootstrap: shared.bootstrap, topic };
    const config = twoSinks(dir, [place, place]);
    for (const crashAt of ["after_send:3", "after_ack:2", "after_intent_fsync:3"] as const) {
      writer.append(dir.file(writer.file), 500);
      expect(await runShipper({ config, crashAt })).toMatchObject({ signal: "SIGKILL" });
    }
    expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
    const report = (await checkTopic(shared, topic, [writer])).report();
    expect(report).toMatchObject({
      receivedCount: 2 * writer.count,
      duplicatedCount: writer.count,
      lostCount: 0,
      foreignCount: 0,
      damagedCount: 0,
    });
    // Not one of them three times and another once: without the first of each, the others are complete as well.
    const seen = new Set<string>();
    const second = new OracleChecker(writer.run, [writer]);
    await shared.scanTopic(topic, ({ partition, value }) => {
      const line = String(value);
      if (seen.has(line)) second.take(partition, line);
      seen.add(line);
    });
    expect(second.report()).toMatchObject({ receivedCount: writer.count, lostCount: 0, duplicatedCount: 0 });
  },
  120_000,
);

test(
  "two sinks to two clusters, one of which stands still: the other goes on, kills and all, and each is exact",
  async () => {
    await using dir = tempDir("two-clusters");
    await using proxy = await startProxy(shared.proxied!.targetPort, shared.proxied!.listenPort);
    const slow = { bootstrap: proxy.address, topic: await shared.createTopic({ partitions: 2 }) };
    const quick = { bootstrap: own.kafka.bootstrap, topic: await own.kafka.createTopic({ partitions: 2 }) };
    const config = twoSinks(dir, [slow, quick]);
    const writer = new OracleWriter("two-clusters", "a.log");
    writer.append(dir.file(writer.file), 500);
    for (let round = 0; round < 4; round++) {
      await using shipper = startShipper({ config });
      if (round === 0) await waitForCount(shared, slow.topic, 500);
      // What the slow one was sent arrives or not, and nobody hears of it.
      proxy.setFault({ stall: round % 2 === 0 ? ["response"] : ["request", "response"] });
      writer.append(dir.file(writer.file), 500);
      await waitForCount(own.kafka, quick.topic, writer.count);
      await shipper.kill();
      proxy.cut();
    }
    proxy.heal();
    expect(await runShipper({ config, args: ["--once"], timeoutMs: 40_000 })).toMatchObject({ code: 0 });
    await expectExactly(own.kafka, quick.topic, [writer]);
    await expectExactly(shared, slow.topic, [writer]);
  },
  200_000,
);

test(
  "without the right to read, killed in the middle of batches, and the leader dies: exact within the window",
  async () => {
    const { kafka, cluster } = own;
    const crashPoints = ["after_ack:2", "after_intent_fsync:2", "after_send:3"] as const;
    const cases = await Promise.all(crashPoints.map(async (crashAt) => {
      const dir = tempDir("no-read");
      const topic = await kafka.createTopic({
        assignment: [[3, 1, 2]],
        configs: { "min.insync.replicas": "2" },
      });
      await kafka.addAcl({ user: USER, resource: "topic", name: topic, operation: "write" });
      const writer = new OracleWriter("no-read", "a.log");
      const sink = `${FAST}\nbatch.max_bytes = 10000
sasl = { enabled = true, mechanism = "PLAIN", username = "${USER}", password = "shipper-secret" }`;
      const config = filesToKafka(dir, { bootstrap: kafka.listeners.SASL_PLAINTEXT!, topic, sink });
      writer.append(dir.file(writer.file), 500);
      expect(await runShipper({ config, crashAt })).toMatchObject({ signal: "SIGKILL" });
      writer.append(dir.file(writer.file), 300);
      return { dir, topic, writer, config };
    }));
    await cluster.brokers[2]!.kill();
    const exits = await Promise.all(
      cases.map(({ config }) => runShipper({ config, args: ["--once"], timeoutMs: 60_000 })),
    );
    await cluster.startBroker(2);
    for (const [i, exit] of exits.entries()) {
      const { dir, topic, writer } = cases[i]!;
      expect(exit).toMatchObject({ code: 0 });
      expect(exit.stderr).not.toContain("Cannot tell");
      await expectExactly(kafka, topic, [writer]);
      dir.remove();
    }
  },
  200_000,
);

test(
  "a broker that has lost what it knew of a producer takes no batch that was not written for one that was",
  async () => {
    const { kafka, cluster } = own;
    const cases = await Promise.all(
      (["after_intent_fsync:3", "after_intent_write:3"] as const).map(async (crashAt) => {
        const dir = tempDir("state-lost");
        const topic = await kafka.createTopic({ assignment: [[2]] });
        const writer = new OracleWriter("state-lost", "a.log");
        const sink = `${FAST}\nbatch.max_bytes = 10000`;
        const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink });
        writer.append(dir.file(writer.file), 500);
        expect(await runShipper({ config, crashAt })).toMatchObject({ signal: "SIGKILL" });
        // Batches of it were acknowledged, and are gone with all that the broker goes by after a start.
        const deletedCount = await kafka.countRecords(topic);
        await kafka.deleteRecords(topic, 0, deletedCount);
        return { dir, topic, writer, config, deletedCount };
      }),
    );
    await cluster.brokers[1]!.stop();
    await cluster.startBroker(1);
    for (const { dir, topic, writer, config, deletedCount } of cases) {
      expect(await kafka.describeProducers(topic, 0)).toEqual([]);
      const exit = await runShipper({ config, args: ["--once"], timeoutMs: 40_000 });
      expect(exit).toMatchObject({ code: 0 });
      // Found out, or left to on_undecidable = "duplicate": never taken for written.
      const report = (await checkTopic(kafka, topic, [writer])).report();
      expect(report).toMatchObject({ duplicatedCount: 0, outOfOrderCount: 0 });
      // Missing are lines that were deleted, and they alone: some of them came again, as nobody could tell.
      expect(report.lostCount).toBeLessThanOrEqual(deletedCount);
      expect(report.receivedCount + report.lostCount).toBe(writer.count);
      dir.remove();
    }
  },
  200_000,
);
