import { afterAll, beforeAll, expect, test } from "bun:test";
import { type OwnCluster, ownCluster } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { expectExactly, filesToKafka, SteadyLoad } from "../support/scenario.ts";
import { seededRandom } from "../support/seed.ts";
import { runShipper, startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

const BROKERS = 3;
const PARTITIONS = 6;
const CLUSTER_TIMEOUT_MS = 120_000;
const HEAL_TIMEOUT_MS = 90_000;
/** Batches of about 300 lines: at any moment some are on their way. */
const SINK = `batch.max_bytes = 30000
retry.max_interval_ms = 500
connect_timeout_ms = 2000
socket_timeout_ms = 3000
request_timeout_ms = 2000`;

let own: OwnCluster;
beforeAll(async () => {
  own = await ownCluster({ brokers: BROKERS, heapMb: 384 });
}, CLUSTER_TIMEOUT_MS);
afterAll(() => own?.stop(), CLUSTER_TIMEOUT_MS);

/** Leaders are spread over the brokers. What two replicas have survives the death of one. */
function createTopic(): Promise<string> {
  const assignment = Array.from(
    { length: PARTITIONS },
    (_, p) => [0, 1, 2].map((i) => (p + i) % BROKERS + 1),
  );
  return own.kafka.createTopic({ assignment, configs: { "min.insync.replicas": "2" } });
}

function waitForReplicas(topic: string): Promise<unknown> {
  return waitUntil(
    "all replicas are in sync",
    async () => (await own.kafka.describeTopic(topic)).every((partition) => partition.isr.length === BROKERS),
    { timeoutMs: HEAL_TIMEOUT_MS, pollMs: 100 },
  );
}

function waitForCount(topic: string, count: number): Promise<unknown> {
  return waitUntil(
    `topic "${topic}" holds ${count} records`,
    async () => await own.kafka.countRecords(topic) >= count,
    { timeoutMs: HEAL_TIMEOUT_MS, pollMs: 50 },
  );
}

test("kill -9 of a leader in the middle of batches, and of shipper while it is dead: exact", async () => {
  await using dir = tempDir("kill-leader");
  const { kafka, cluster } = own;
  const random = seededRandom("kill -9 of a leader");
  const topic = await createTopic();
  const writers = ["a.log", "b.log", "c.log"].map((name) => new OracleWriter("kill-leader", name));
  const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: SINK });
  using load = new SteadyLoad(dir, writers, 6_000);
  {
    await using shipper = startShipper({ config });
    await waitForCount(topic, 2_000);
    await Bun.sleep(random.between(0, 300));
    const victim = random.between(0, BROKERS - 1);
    await cluster.brokers[victim]!.kill();
    await Bun.sleep(random.between(0, 500));
    // What was on its way to the dead leader is in doubt, and is now for the next run to find out.
    await shipper.kill();
    await using next = startShipper({ config });
    await waitForCount(topic, load.count);
    await cluster.startBroker(victim);
    await next.kill();
  }
  load.stop();
  expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
  await expectExactly(kafka, topic, writers);
}, 200_000);

test(
  "every broker restarted in order while batches of all partitions are in doubt, and while they are shipped: exact",
  async () => {
    await using dir = tempDir("rolling");
    const { kafka, cluster } = own;
    const random = seededRandom("rolling restart");
    const topic = await createTopic();
    await waitForReplicas(topic);
    const writers = ["a.log", "b.log", "c.log"].map((name) => new OracleWriter("rolling", name));
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: SINK });
    for (const writer of writers) writer.append(dir.file(writer.file), 3_000);
    // Acknowledged by the broker, and nobody wrote that down. A broker that ends in order remembers only the newest batch of a producer.
    const crashAt = `after_ack:${random.between(3, 9)}` as const;
    expect(await runShipper({ config, crashAt })).toMatchObject({ signal: "SIGKILL" });
    using load = new SteadyLoad(dir, writers, 3_000);
    for (let index = 0; index < BROKERS; index++) {
      await cluster.brokers[index]!.stop();
      if (index === 1) {
        // Half of the way a run finds out what it can, ships, and leaves other batches in doubt.
        expect(await runShipper({ config, crashAt: "after_send:12" })).toMatchObject({ signal: "SIGKILL" });
      }
      await cluster.startBroker(index);
      await waitForReplicas(topic);
    }
    load.stop();
    expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
    await expectExactly(kafka, topic, writers);
  },
  200_000,
);

test(
  "too few replicas in sync, kill -9 of shipper meanwhile: said why, nothing given up, exact when they are back",
  async () => {
    await using dir = tempDir("too-few");
    const { kafka, cluster } = own;
    const topic = await kafka.createTopic({ assignment: [[1, 2]], configs: { "min.insync.replicas": "2" } });
    const writer = new OracleWriter("too-few", "a.log");
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: SINK });
    using load = new SteadyLoad(dir, [writer], 2_000);
    let shipper = startShipper({ config });
    try {
      await waitForCount(topic, 1_000);
      await cluster.brokers[1]!.kill();
      await shipper.waitForLog(/NOT_ENOUGH_REPLICAS/u, HEAL_TIMEOUT_MS);
      const before = await kafka.countRecords(topic);
      await shipper.kill();
      shipper = startShipper({ config });
      await shipper.waitForLog(/wants 2 replicas in sync \(min\.insync\.replicas\), and partition 0 has 1/u);
      // Written by the leader alone before, or refused now.
      await shipper.waitForLog(/NOT_ENOUGH_REPLICAS|has not replicated it: what comes behind it waits/u);
      expect(await kafka.countRecords(topic) - before).toBeLessThan(1_000);
      await cluster.startBroker(1);
      await waitForCount(topic, load.stop());
      shipper.signal("SIGTERM");
      expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
    } finally {
      await shipper.kill();
    }
    await expectExactly(kafka, topic, [writer]);
  },
  200_000,
);
