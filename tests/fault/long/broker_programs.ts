import { freePorts } from "../../../scripts/lib/ports.ts";
import { ownCluster } from "../../support/kafka.ts";
import { OracleWriter } from "../../support/oracle.ts";
import { startProxy } from "../../support/proxy.ts";
import { filesToKafka, SteadyLoad } from "../../support/scenario.ts";
import { startShipper } from "../../support/shipper.ts";
import { tempDir } from "../../support/temp_dir.ts";
import { waitUntil } from "../../support/wait_until.ts";
import { type FaultProgram, type FaultRun, isLinux, isRoot, require, stopInOrder } from "./program.ts";

const FAST = `retry.interval_ms = 50\nretry.max_interval_ms = 500\nbatch.max_bytes = 30000
connect_timeout_ms = 2000\nsocket_timeout_ms = 3000\nrequest_timeout_ms = 2000`;
const HEAL_TIMEOUT_MS = 60_000;

/** A leader that sleeps past every timeout, loses its office, and finds requests of long ago in its sockets when it wakes. */
async function frozenLeader(run: FaultRun): Promise<string> {
  const frozenMs = run.isQuick ? 20_000 : 60_000;
  const own = await ownCluster({ brokers: 3, heapMb: 384 });
  const { kafka, cluster } = own;
  try {
    await using dir = tempDir("frozen");
    const assignment = [[1, 2, 3], [2, 3, 1], [3, 1, 2]];
    const topic = await kafka.createTopic({ assignment, configs: { "min.insync.replicas": "2" } });
    const writers = ["a.log", "b.log"].map((file) => new OracleWriter("frozen", file));
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: FAST });
    using load = new SteadyLoad(dir, writers, 2_000);
    let shipper = startShipper({ config });
    try {
      for (const isKilled of [false, true]) {
        await run.waitForCount(kafka, topic, load.count, shipper);
        const { leader } = (await kafka.describeTopic(topic))[0]!;
        const broker = cluster.brokers[leader - 1]!;
        // The tests' own client must not hang on the frozen one: it is asked again when that is awake.
        broker.pause();
        run.log(`broker ${leader} sleeps for ${frozenMs / 1_000} s`);
        await Bun.sleep(frozenMs / 2);
        if (isKilled) {
          await shipper.kill();
          shipper = startShipper({ config });
        }
        await Bun.sleep(frozenMs / 2);
        broker.resume();
        await waitUntil(
          "all replicas are in sync",
          async () => (await kafka.describeTopic(topic)).every(({ isr }) => isr.length === 3),
          { timeoutMs: HEAL_TIMEOUT_MS },
        );
      }
      await run.waitForCount(kafka, topic, load.stop(), shipper);
      await stopInOrder(shipper);
    } finally {
      await shipper.kill();
    }
    await run.check(kafka, topic, writers);
  } finally {
    await own.stop();
  }
  return `twice ${frozenMs / 1_000} s, the second time with kill -9 in the middle`;
}

/** Acknowledged by a leader that then dies, while the replica that takes over never got it: Kafka loses it, and shipper says so. */
async function uncleanElection(run: FaultRun): Promise<string> {
  const own = await ownCluster({ brokers: 3, heapMb: 384 });
  const { kafka, cluster } = own;
  try {
    await using dir = tempDir("unclean");
    const topic = await kafka.createTopic({
      assignment: [[2, 3]],
      configs: { "unclean.leader.election.enable": "true", "min.insync.replicas": "1" },
    });
    const writer = new OracleWriter("unclean", "a.log");
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: FAST });
    await using shipper = startShipper({ config });
    const write = async (count: number) => {
      writer.append(dir.file(writer.file), count);
      await run.waitForCount(kafka, topic, writer.count, shipper);
    };
    const leads = (id: number) =>
      waitUntil(`broker ${id} leads`, async () => (await kafka.describeTopic(topic))[0]!.leader === id, {
        timeoutMs: HEAL_TIMEOUT_MS,
        pollMs: 100,
      });
    await write(1_000);
    await cluster.brokers[2]!.kill();
    await waitUntil(
      "the leader is alone",
      async () => (await kafka.describeTopic(topic))[0]!.isr.length === 1,
      {
        timeoutMs: HEAL_TIMEOUT_MS,
        pollMs: 100,
      },
    );
    await write(2_000);
    await cluster.brokers[1]!.kill();
    await cluster.launch([cluster.brokers[2]!]);
    await leads(3);
    writer.append(dir.file(writer.file), 1_000);
    // What the new leader has, and the 1000 that came after.
    await run.waitForCount(kafka, topic, 2_000, shipper);
    const { stderr } = await stopInOrder(shipper);
    const { lostCount } = await run.check(kafka, topic, [writer], { lostMax: 2_000 });
    require(lostCount === 2_000, `${lostCount} of 2000 lines are missing that only the dead leader had`);
    require(stderr.includes("has lost records"), `It did not tell\n${stderr.slice(-3_000)}`);
    return "Kafka lost 2000 acknowledged lines; shipper told so and went on";
  } finally {
    await own.stop();
  }
}

async function notEnoughReplicas(run: FaultRun): Promise<string> {
  const own = await ownCluster({ brokers: 3, heapMb: 384 });
  const { kafka, cluster } = own;
  const waitMs = run.isQuick ? 5_000 : 30_000;
  try {
    await using dir = tempDir("replicas");
    const assignment = [[1, 2, 3], [2, 3, 1]];
    const topic = await kafka.createTopic({ assignment, configs: { "min.insync.replicas": "3" } });
    const writers = ["a.log", "b.log"].map((file) => new OracleWriter("replicas", file));
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: FAST });
    using load = new SteadyLoad(dir, writers, 2_000);
    let shipper = startShipper({ config });
    try {
      await run.waitForCount(kafka, topic, 1_000, shipper);
      await cluster.brokers[2]!.kill();
      await Bun.sleep(waitMs);
      require(/NOT_ENOUGH_REPLICAS|timed out|REQUEST_TIMED_OUT/.test(shipper.stderr), "Nothing was told");
      await shipper.kill();
      shipper = startShipper({ config });
      await Bun.sleep(waitMs / 5);
      await cluster.startBroker(2);
      await run.waitForCount(kafka, topic, load.stop(), shipper);
      await stopInOrder(shipper);
    } finally {
      await shipper.kill();
    }
    await run.check(kafka, topic, writers);
  } finally {
    await own.stop();
  }
  return `one of three replicas away for ${waitMs / 1_000} s, with kill -9`;
}

const BROKER_DISK_MB = 96;

/** The broker's disk gets full while batches are on their way; the broker ends, and comes back when there is room. */
async function fullBrokerDisk(run: FaultRun): Promise<string> {
  await using mount = tempDir("broker-disk");
  const mounted = Bun.spawnSync([
    "mount",
    "-t",
    "tmpfs",
    "-o",
    `size=${BROKER_DISK_MB}m`,
    "tmpfs",
    mount.path,
  ]);
  require(mounted.exitCode === 0, `Cannot mount: ${mounted.stderr}`);
  try {
    const own = await ownCluster({
      dir: mount.file("cluster"),
      settings: { "log.segment.bytes": "1048576" },
    });
    const { kafka, cluster } = own;
    try {
      await using dir = tempDir("full");
      const topic = await kafka.createTopic({ partitions: 2 });
      const writers = ["a.log", "b.log"].map((file) => new OracleWriter("full", file));
      const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: FAST });
      using load = new SteadyLoad(dir, writers, 5_000);
      await using shipper = startShipper({ config });
      for (let round = 0; round < 3; round++) {
        await run.waitForCount(kafka, topic, load.count, shipper);
        Bun.spawnSync(["dd", "if=/dev/zero", `of=${mount.file("ballast")}`, "bs=64k"]);
        await waitUntil("the broker gives up", () => cluster.brokers[0]!.pid === null, { timeoutMs: 60_000 });
        await Bun.sleep(run.random.between(0, 1_000));
        Bun.spawnSync(["rm", mount.file("ballast")]);
        await cluster.startBroker(0);
      }
      await run.waitForCount(kafka, topic, load.stop(), shipper);
      await stopInOrder(shipper);
      await run.check(kafka, topic, writers);
    } finally {
      await own.stop();
    }
  } finally {
    Bun.spawnSync(["umount", "-l", mount.path]);
  }
  return "three times";
}

/** A broker that throttles and a slow way to it: what waits must not pile up in memory. */
async function slow(run: FaultRun): Promise<string> {
  const own = await ownCluster({ advertisedPorts: await freePorts(1) });
  const { kafka } = own;
  try {
    await using dir = tempDir("slow");
    await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
    const topic = await kafka.createTopic({ partitions: 3 });
    await kafka.setQuota("slow-shipper", "producer_byte_rate", 200_000);
    const writers = ["a.log", "b.log"].map((file) => new OracleWriter("slow", file));
    for (const writer of writers) writer.append(dir.file(writer.file), 200_000);
    const sink = `client_id = "slow-shipper"\ncompression = "none"`;
    const config = filesToKafka(dir, { bootstrap: proxy.address, topic, sink });
    proxy.setFault({ delayMs: 200 });
    const slowMs = run.isQuick ? 15_000 : 90_000;
    let shipper = startShipper({ config });
    let peakMb = 0;
    try {
      for (let round = 0; round < 3; round++) {
        await Bun.sleep(slowMs / 3);
        peakMb = Math.max(peakMb, await shipper.peakRssBytes() / 1e6);
        await shipper.kill();
        shipper = startShipper({ config });
      }
      const slowCount = await kafka.countRecords(topic);
      proxy.heal();
      await kafka.setQuota("slow-shipper", "producer_byte_rate", null);
      await run.waitForCount(kafka, topic, 400_000, shipper);
      await stopInOrder(shipper);
      await run.check(kafka, topic, writers);
      require(slowCount < 400_000, "It was not slow");
      require(peakMb < 350, `It took ${peakMb.toFixed(0)} MB`);
    } finally {
      await shipper.kill();
    }
    return `200 kB/s and 200 ms for ${slowMs / 1_000} s, three times kill -9: peak ${peakMb.toFixed(0)} MB`;
  } finally {
    await own.stop();
  }
}

/** What happens to brokers. */
export const brokerPrograms: readonly FaultProgram[] = [
  {
    name: "frozen-leader",
    title: "SIGSTOP of a leader for a minute, which then wakes up",
    run: frozenLeader,
  },
  {
    name: "unclean-election",
    title: "a replica that lags behind becomes leader: Kafka loses records",
    run: uncleanElection,
  },
  { name: "not-enough-replicas", title: "min.insync.replicas 3 with two brokers", run: notEnoughReplicas },
  {
    name: "full-broker-disk",
    title: "the broker's disk full, three times",
    needs: () => isRoot && isLinux ? null : "needs root",
    run: fullBrokerDisk,
  },
  {
    name: "slow",
    title: "a quota and a slow way to the broker, with a backlog",
    needs: () => isLinux ? null : "needs Linux",
    run: slow,
  },
];
