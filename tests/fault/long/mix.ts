import { existsSync } from "node:fs";
import { freePorts } from "../../../scripts/lib/ports.ts";
import { diskBuffer } from "../../support/disk_buffer.ts";
import { type OwnCluster, ownCluster } from "../../support/kafka.ts";
import { OracleWriter } from "../../support/oracle.ts";
import { type Direction, type Proxy, type ProxyFault, startProxy } from "../../support/proxy.ts";
import { filesToKafka, rotate, SteadyLoad } from "../../support/scenario.ts";
import type { Random } from "../../support/seed.ts";
import { type Shipper, startShipper } from "../../support/shipper.ts";
import { type TempDir, tempDir } from "../../support/temp_dir.ts";
import { waitUntil } from "../../support/wait_until.ts";
import { type FaultProgram, type FaultRun, require, requireExit, stopInOrder } from "./program.ts";

const BROKERS = 3;
/** After so long everything is healed, shipped, stopped and compared, and a new topic is begun. */
const EPOCH_MS = 60_000;
const LINES_PER_SECOND = 2_000;
const PAUSE_MS_MAX = 1_200;
const HEAL_TIMEOUT_MS = 300_000;
const SINK =
  `retry.interval_ms = 20\nretry.max_interval_ms = 500\nbatch.max_bytes = 30000\nmetadata_refresh_ms = 2000
connect_timeout_ms = 1500\nsocket_timeout_ms = 2500\nrequest_timeout_ms = 1500`;
const CRASH_POINTS = [
  "after_intent_write",
  "after_intent_fsync",
  "after_partial_send",
  "after_send",
  "after_ack",
  "before_ack_frame",
  "mid_checkpoint",
  "during_resolve",
  "after_resend",
  "before_buffer_commit",
  "after_buffer_commit",
  "before_buffer_release",
] as const;
/** A sink's buffers over its restarts; "changing" is another one each time: what is left on disk comes first then. */
const BUFFERS = [["memory"], ["1MiB"], ["16MiB"], ["memory", "1MiB", "16MiB"]] as const;

/** A minute of whatever comes: one topic, a few files, one data_dir. */
class Epoch {
  readonly #run: FaultRun;
  readonly #random: Random;
  readonly #own: OwnCluster;
  readonly #proxies: readonly Proxy[];
  readonly #dir: TempDir;
  readonly #topic: string;
  readonly #configs: readonly string[];
  /** For the log. */
  readonly buffers: string;
  readonly #writers: readonly OracleWriter[];
  readonly #rotatedCounts = new Map<string, number>();
  readonly #done = new Map<string, number>();
  #partitions: number;
  #shipper: Shipper;
  /** Index of the broker that is down or frozen; -1: none. */
  #hurt = -1;

  constructor(
    run: FaultRun,
    own: OwnCluster,
    proxies: readonly Proxy[],
    dir: TempDir,
    topic: { readonly name: string; readonly partitions: number },
  ) {
    this.#run = run;
    this.#random = run.random.fork();
    this.#own = own;
    this.#proxies = proxies;
    this.#dir = dir;
    this.#topic = topic.name;
    this.#partitions = topic.partitions;
    const files = Array.from({ length: this.#random.between(1, 5) }, (_, i) => `${i}.log`);
    this.#writers = files.map((file) => new OracleWriter(topic.name, file));
    const compression = this.#random.pick(["none", "lz4", "zstd", "gzip", "snappy"]);
    const buffers = this.#random.pick(BUFFERS);
    this.buffers = buffers.join(" or ");
    this.#configs = buffers.map((buffer) =>
      filesToKafka(dir, {
        bootstrap: proxies.map(({ address }) => address).join(","),
        topic: topic.name,
        sink: `${SINK}\ncompression = "${compression}"\n${buffer === "memory" ? "" : diskBuffer(buffer)}`,
      })
    );
    this.#shipper = this.#start();
  }

  /** How often what was done. */
  get done(): ReadonlyMap<string, number> {
    return this.#done;
  }

  async live(): Promise<void> {
    const { kafka } = this.#own;
    using load = new SteadyLoad(this.#dir, this.#writers, LINES_PER_SECOND);
    try {
      // A file that was rotated away before the very first look is none of its files.
      await this.#run.waitForCount(kafka, this.#topic, 500, this.#shipper);
      const endMs = performance.now() + EPOCH_MS;
      while (performance.now() < endMs) {
        const [name, action] = this.#random.pick(this.#actions());
        this.#done.set(name, (this.#done.get(name) ?? 0) + 1);
        await action();
        await Bun.sleep(this.#random.between(0, PAUSE_MS_MAX));
        this.#requireNoOwnEnd();
      }
      await this.#heal();
      const count = load.stop();
      if (!this.#shipper.isRunning) this.#shipper = this.#start();
      await this.#run.waitForCount(kafka, this.#topic, count, this.#shipper);
      await stopInOrder(this.#shipper);
    } finally {
      await this.#shipper.kill();
      await this.#heal();
    }
    await this.#run.check(kafka, this.#topic, this.#writers);
  }

  #actions(): [name: string, action: () => Promise<void> | void][] {
    const random = this.#random;
    const directions: readonly Direction[] = random.pick([["request"], ["response"], [
      "request",
      "response",
    ]]);
    const setFault = (fault: ProxyFault) => random.pick(this.#proxies).setFault(fault);
    const cutAfter = (direction: Direction, bytesMax: number) =>
      setFault({
        cutAfter: { direction, bytes: random.between(1, bytesMax), everyNth: random.between(1, 3) },
      });
    return [
      ["kill -9", () => this.#restart()],
      ["kill -9", () => this.#restart()],
      ["crash point", () => this.#crashAtPoint()],
      ["crash point", () => this.#crashAtPoint()],
      ["SIGTERM", () => this.#terminate()],
      ["SIGSTOP", () => this.#freezeShipper()],
      ["cut", () => random.pick(this.#proxies).cut()],
      ["cut request", () => cutAfter("request", 80_000)],
      ["cut answer", () => cutAfter("response", 200)],
      ["stall", () => setFault({ stall: directions })],
      ["swallow", () => setFault({ swallow: directions })],
      ["delay", () => setFault({ delayMs: random.between(1, 300) })],
      ["refuse", () => setFault({ refuse: true })],
      ["late requests", () => this.#lateRequests()],
      ["heal", () => this.#proxies.forEach((proxy) => proxy.heal())],
      ["heal", () => this.#proxies.forEach((proxy) => proxy.heal())],
      ["rotate", () => this.#rotate()],
      ["rotate", () => this.#rotate()],
      ["broker killed", () => this.#hurtBroker("kill")],
      ["broker stopped", () => this.#hurtBroker("stop")],
      ["broker frozen", () => this.#hurtBroker("pause")],
      ["broker back", () => this.#healBroker()],
      ["broker back", () => this.#healBroker()],
      ["leaders moved", () => this.#moveLeader()],
      ["partitions added", () => this.#addPartition()],
    ];
  }

  #start(crashAt?: (typeof CRASH_POINTS)[number], passing = 1): Shipper {
    return startShipper({
      config: this.#random.pick(this.#configs),
      testBuild: true,
      // The usual 15 s would make a minute of very few faults.
      env: { SHIPPER_TEST_RECHECK_MS: "3000" },
      ...(crashAt === undefined ? {} : { crashAt: `${crashAt}:${passing}` as const }),
    });
  }

  async #restart(): Promise<void> {
    await this.#shipper.kill();
    await Bun.sleep(this.#random.between(0, 200));
    this.#shipper = this.#start();
  }

  async #crashAtPoint(): Promise<void> {
    await this.#shipper.kill();
    this.#shipper = this.#start(this.#random.pick(CRASH_POINTS), this.#random.between(1, 10));
    // A point that is not passed in time does no harm.
    await Promise.race([this.#shipper.exit, Bun.sleep(2_000)]);
    await this.#restart();
  }

  async #terminate(): Promise<void> {
    this.#shipper.signal("SIGTERM");
    requireExit(await this.#shipper.waitForExit(30_000), 0);
    this.#shipper = this.#start();
  }

  async #freezeShipper(): Promise<void> {
    this.#shipper.signal("SIGSTOP");
    await Bun.sleep(this.#random.between(100, 4_000));
    this.#shipper.signal("SIGCONT");
  }

  async #lateRequests(): Promise<void> {
    const proxy = this.#random.pick(this.#proxies);
    proxy.setFault({ stall: ["request"] });
    await Bun.sleep(this.#random.between(20, 300));
    proxy.strand();
    if (this.#random.next() < 0.5) await this.#restart();
    proxy.heal();
    await Bun.sleep(this.#random.between(0, 2_000));
    proxy.deliverLate();
  }

  #rotate(): void {
    const path = this.#dir.file(this.#random.pick(this.#writers).file);
    if (!existsSync(path)) return;
    const count = this.#rotatedCounts.get(path) ?? 0;
    rotate(path, count);
    this.#rotatedCounts.set(path, count + 1);
  }

  /** At most one at a time: with two of three away nothing is acknowledged. */
  async #hurtBroker(how: "kill" | "stop" | "pause"): Promise<void> {
    if (this.#hurt >= 0) return;
    this.#hurt = this.#random.between(0, BROKERS - 1);
    await this.#own.cluster.brokers[this.#hurt]![how]();
  }

  async #healBroker(): Promise<void> {
    if (this.#hurt < 0) return;
    const broker = this.#own.cluster.brokers[this.#hurt]!;
    if (broker.pid === null) await this.#own.cluster.startBroker(this.#hurt);
    else broker.resume();
    this.#hurt = -1;
    // The next one to be hurt may be the only other one with the newest records.
    await waitUntil("all replicas are in sync", () => this.#isInSync(), {
      timeoutMs: HEAL_TIMEOUT_MS,
      pollMs: 100,
    });
  }

  async #isInSync(): Promise<boolean> {
    const partitions = await this.#own.kafka.describeTopic(this.#topic);
    return partitions.every(({ isr }) => isr.length === BROKERS);
  }

  async #moveLeader(): Promise<void> {
    if (this.#hurt >= 0) return;
    const first = this.#random.between(0, BROKERS - 1);
    const replicas = [0, 1, 2].map((i) => (first + i) % BROKERS + 1);
    // A broker that came back a moment ago may not be taken for a leader yet.
    await this.#own.kafka.reassign(this.#topic, this.#random.between(0, this.#partitions - 1), replicas)
      .catch(
        (error: Error) => this.#run.log(`No leader was moved: ${error.message}`),
      );
  }

  async #addPartition(): Promise<void> {
    if (this.#hurt >= 0 || this.#partitions >= 12) return;
    await this.#own.kafka.addPartitions(this.#topic, ++this.#partitions);
  }

  async #heal(): Promise<void> {
    for (const proxy of this.#proxies) proxy.heal();
    await this.#healBroker();
  }

  #requireNoOwnEnd(): void {
    require(this.#shipper.isRunning, `It ended by itself\n${this.#shipper.stderr.slice(-4_000)}`);
  }
}

async function run(run: FaultRun): Promise<string> {
  const own = await ownCluster({ brokers: BROKERS, heapMb: 384, advertisedPorts: await freePorts(BROKERS) });
  const done = new Map<string, number>();
  let epochCount = 0;
  try {
    const proxies = await Promise.all(
      own.cluster.brokers.map(({ ports, advertisedPort }) => startProxy(ports.PROXIED!, advertisedPort!)),
    );
    const endMs = performance.now() + run.durationMs;
    while (performance.now() < endMs) {
      await using dir = tempDir("mix");
      const partitions = run.random.between(1, 6);
      const assignment = Array.from(
        { length: partitions },
        (_, p) => [0, 1, 2].map((i) => (p + i) % BROKERS + 1),
      );
      const name = await own.kafka.createTopic({ assignment, configs: { "min.insync.replicas": "2" } });
      const epoch = new Epoch(run, own, proxies, dir, { name, partitions });
      await epoch.live();
      epochCount++;
      for (const [action, count] of epoch.done) done.set(action, (done.get(action) ?? 0) + count);
      run.log(
        `${epochCount} minute(s) of faults, ${run.counts.writtenCount} lines, exact (buffer ${epoch.buffers})`,
      );
    }
    for (const proxy of proxies) await proxy.close();
  } finally {
    await own.stop();
  }
  const list = [...done].sort(([a], [b]) => a < b ? -1 : 1).map(([action, count]) => `${action} ${count}`);
  return `${epochCount} topics, each hurt for ${EPOCH_MS / 1_000} s: ${list.join(", ")}`;
}

/** Random faults of every kind, one after the other and over each other. */
export const mix: FaultProgram = {
  name: "mix",
  title: "random faults to process, connections, brokers and files, for --minutes",
  run,
};
