import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { ownCluster, type TestKafka } from "../../support/kafka.ts";
import { OracleWriter } from "../../support/oracle.ts";
import { filesToKafka, SteadyLoad } from "../../support/scenario.ts";
import { runShipper, type Shipper, startShipper } from "../../support/shipper.ts";
import { type TempDir, tempDir } from "../../support/temp_dir.ts";
import { waitUntil } from "../../support/wait_until.ts";
import { LoopDisk, mustRun } from "./loop_disk.ts";
import {
  type FaultProgram,
  type FaultRun,
  isLinux,
  isRoot,
  needsCommand,
  require,
  requireExit,
  stopInOrder,
} from "./program.ts";

const FAST = `retry.interval_ms = 50\nretry.max_interval_ms = 500\nbatch.max_bytes = 30000`;
const EXIT_CONFIG = 78;
/** A disk that is full for now: the unit tries again. */
const EXIT_NO_ROOM = 1;
const DAY_MS = 86_400_000;

/** Runs under strace with system calls that fail, some of them killed in the middle, and one that ends. */
export async function underFailingCalls(
  run: FaultRun,
  injections: readonly string[],
  sink: string = FAST,
): Promise<number> {
  const kafka = await run.shared();
  await using dir = tempDir("strace");
  const topic = await kafka.createTopic({ partitions: 3 });
  const writers = ["a.log", "b.log"].map((file) => new OracleWriter("strace", file));
  for (const writer of writers) writer.append(dir.file(writer.file), 2_000);
  const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink });
  using load = new SteadyLoad(dir, writers, 2_000);
  let failedCount = 0;
  for (const [index, injection] of injections.entries()) {
    const traced = injection.slice(0, injection.indexOf(":"));
    const log = dir.file(`calls-${index}`);
    const wrapper = ["strace", "-f", "-qq", "-o", log, "-e", `trace=${traced}`, "-e", `inject=${injection}`];
    await using shipper = startShipper({ config, wrapper });
    await Bun.sleep(run.random.between(1_000, 4_000));
    if (!shipper.isRunning) {
      // A disk that fails at the start keeps it from starting.
      const exit = await shipper.exit;
      requireExit(exit, exit.stderr.includes("ENOSPC") ? EXIT_NO_ROOM : EXIT_CONFIG);
      require(/error\[(journal|buffer)-un/.test(exit.stderr), `It ended by itself\n${exit.stderr}`);
    }
    // strace dies, and what it traces goes on: only the program's own pid will do.
    const pid = /^(\d+)/.exec(await Bun.file(log).text())?.[1];
    if (shipper.isRunning) await killTraced(shipper, pid === undefined ? null : Number(pid));
    failedCount += (await Bun.file(log).text()).split("(INJECTED)").length - 1;
  }
  load.stop();
  requireExit(await runShipper({ config, args: ["--once"], timeoutMs: 60_000 }), 0);
  await run.check(kafka, topic, writers);
  return failedCount;
}

/** Kills the program that strace runs (its thread group), then strace. */
export async function killTraced(shipper: Shipper, threadId: number | null): Promise<void> {
  if (threadId !== null) {
    const status = await Bun.file(`/proc/${threadId}/status`).text().catch(() => "");
    const pid = Number(/^Tgid:\s+(\d+)/m.exec(status)?.[1] ?? 0);
    if (pid > 0) process.kill(pid, "SIGKILL");
  }
  await shipper.waitForExit(10_000);
}

async function syncErrors(run: FaultRun): Promise<string> {
  const failedCount = await underFailingCalls(
    run,
    [2, 3, 5, 9, 14].flatMap((nth) => [
      `fdatasync:error=EIO:when=${nth}`,
      `fdatasync:error=EIO:when=${nth}+${run.random.between(3, 9)}`,
      `fdatasync:error=ENOSPC:when=${nth}..${nth + 3}`,
    ]),
  );
  require(failedCount >= 15, `Only ${failedCount} calls failed`);
  return `${failedCount} times fdatasync failed, with kill -9 after each run`;
}

async function writeErrors(run: FaultRun): Promise<string> {
  const injections = ["EINTR", "EAGAIN", "ENOSPC", "EIO"].flatMap((error) => [
    `pwrite64:error=${error}:when=${run.random.between(5, 20)}`,
    `pwrite64:error=${error}:when=${run.random.between(5, 20)}+${run.random.between(3, 9)}`,
  ]);
  const failedCount = await underFailingCalls(run, injections);
  require(failedCount >= 8, `Only ${failedCount} calls failed`);
  return `${failedCount} writes failed with EINTR, EAGAIN, ENOSPC and EIO`;
}

/** The machine's power goes at a random moment: of data_dir only what was synced is there. */
async function powerCut(run: FaultRun): Promise<string> {
  const kafka = await run.shared();
  const cuts = run.isQuick ? 20 : 100;
  let duplicatedCount = 0;
  for (const durability of ["machine", "process"] as const) {
    await using disk = new LoopDisk();
    await using dir = tempDir("power");
    const topic = await kafka.createTopic({ partitions: 3 });
    const writers = ["a.log", "b.log"].map((file) => new OracleWriter("power", file));
    for (const writer of writers) writer.append(dir.file(writer.file), 500);
    const config = filesToKafka(dir, {
      bootstrap: kafka.bootstrap,
      topic,
      sink: `${FAST}\ndurability = "${durability}"`,
    }).replace(/^data_dir = .*$/m, `data_dir = ${JSON.stringify(join(disk.mountPath, "data"))}`);
    using load = new SteadyLoad(dir, writers, 3_000);
    const rounds = durability === "machine" ? cuts : cuts / 5;
    for (let round = 1; round <= rounds; round++) {
      await using shipper = startShipper({ config });
      await Bun.sleep(run.random.between(20, 900));
      // Frozen, so that it sends nothing between the copy and its end.
      shipper.signal("SIGSTOP");
      disk.keepImage();
      await shipper.kill();
      disk.bringBack();
      if (round % 20 === 0) run.log(`${round} power cuts with durability "${durability}"`);
    }
    load.stop();
    requireExit(await runShipper({ config, args: ["--once"], timeoutMs: 60_000 }), 0);
    const allowance = durability === "machine" ? {} : { duplicatedMax: Infinity, outOfOrderMax: Infinity };
    const report = await run.check(kafka, topic, writers, allowance);
    if (durability === "process") duplicatedCount = report.duplicatedCount;
  }
  return `${cuts} cuts exact with durability "machine"; ${
    cuts / 5
  } with "process": none lost, ${duplicatedCount} twice`;
}

/** A wall clock that a test sets, by LD_PRELOAD. */
class WallClock {
  readonly env: Readonly<Record<string, string>>;
  readonly #path: string;

  constructor(dir: TempDir) {
    this.#path = dir.file("clock");
    const library = dir.file("clock_shim.so");
    mustRun("gcc", "-shared", "-fPIC", "-O2", "-o", library, join(import.meta.dir, "clock_shim.c"), "-ldl");
    writeFileSync(this.#path, Buffer.alloc(8));
    this.env = { LD_PRELOAD: library, SHIPPER_CLOCK_FILE: this.#path };
  }

  /** Milliseconds that it is ahead of the machine's. */
  set(offsetMs: number): void {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(offsetMs) * 1_000_000n);
    writeFileSync(this.#path, bytes, { flag: "r+" });
  }
}

async function clock(run: FaultRun): Promise<string> {
  const kafka = await run.shared();
  await using dir = tempDir("clock");
  const wall = new WallClock(dir);
  // By default brokers refuse what is dated more than an hour ahead.
  const configs = { "message.timestamp.after.max.ms": String(2n ** 63n - 1n) };
  const topic = await kafka.createTopic({ partitions: 3, configs });
  const writers = ["a.log", "b.log"].map((file) => new OracleWriter("clock", file));
  const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: FAST });
  using load = new SteadyLoad(dir, writers, 2_000);
  const to1970 = -Date.now() + 60_000;
  const offsets = [0, to1970, 0, 30 * DAY_MS, -30 * DAY_MS, -5_000, 1_000, DAY_MS, 0, to1970, -1, 0];
  let shipper = startShipper({ config, env: wall.env });
  try {
    for (const [index, offsetMs] of offsets.entries()) {
      wall.set(offsetMs);
      const count = await kafka.countRecords(topic);
      await run.waitForCount(kafka, topic, count + 500, shipper);
      if (index % 3 !== 2) continue;
      await shipper.kill();
      shipper = startShipper({ config, env: wall.env });
    }
    const before = await cpuSeconds(shipper);
    await Bun.sleep(3_000);
    const busy = (await cpuSeconds(shipper) - before) / 3;
    await run.waitForCount(kafka, topic, load.stop(), shipper);
    await stopInOrder(shipper);
    require(busy < 0.7, `It took ${(busy * 100).toFixed(0)} % of a CPU for 2000 lines/s`);
  } finally {
    await shipper.kill();
  }
  await run.check(kafka, topic, writers);
  return `${offsets.length} times set, by up to 30 days and to 1970, with kill -9`;
}

/** Seconds of CPU time that it has used. */
async function cpuSeconds(shipper: Shipper): Promise<number> {
  const fields = (await Bun.file(`/proc/${shipper.pid}/stat`).text()).replace(/^.*\) /, "").split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Batches stamped two days ago by a wrong clock: the broker forgets their producer at once. */
async function oldTimestamps(run: FaultRun): Promise<string> {
  const own = await ownCluster({ settings: { "producer.id.expiration.check.interval.ms": "500" } });
  try {
    const { kafka } = own;
    for (const crashAt of ["after_ack:3", "after_intent_fsync:3"] as const) {
      await oldOnce(run, kafka, crashAt);
    }
  } finally {
    await own.stop();
  }
  return "batches of two days ago, written or not, found by a scan";
}

async function oldOnce(
  run: FaultRun,
  kafka: TestKafka,
  crashAt: "after_ack:3" | "after_intent_fsync:3",
): Promise<void> {
  await using dir = tempDir("old");
  const wall = new WallClock(dir);
  wall.set(-2 * DAY_MS);
  const topic = await kafka.createTopic();
  const writer = new OracleWriter("old", "a.log");
  writer.append(dir.file(writer.file), 2_000);
  const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: FAST });
  requireExit(await runShipper({ config, crashAt, env: wall.env }), "SIGKILL");
  await waitUntil(
    "the producer is forgotten",
    async () => (await kafka.describeProducers(topic, 0)).length === 0,
  );
  writer.append(dir.file(writer.file), 2_000);
  const exit = requireExit(await runShipper({ config, args: ["--once"] }), 0);
  require(!exit.stderr.includes("Cannot tell whether"), "The records are there to be found");
  await run.check(kafka, topic, [writer]);
}

export const needsStrace = () => isLinux ? needsCommand("strace") : "needs Linux";
const needsGcc = () => isLinux ? needsCommand("gcc") : "needs Linux";

/** What happens to the disk and the clock. */
export const diskPrograms: readonly FaultProgram[] = [
  {
    name: "sync-errors",
    title: "fdatasync of the journal fails (strace)",
    needs: needsStrace,
    run: syncErrors,
  },
  {
    name: "write-errors",
    title: "writes are interrupted or fail (strace)",
    needs: needsStrace,
    run: writeErrors,
  },
  {
    name: "power-cut",
    title: "100 power cuts: data_dir as it was on the disk (loop images)",
    needs: () => isRoot && isLinux ? needsCommand("mkfs.ext4") : "needs root",
    run: powerCut,
  },
  {
    name: "clock",
    title: "the wall clock jumps by days, and to 1970 (LD_PRELOAD)",
    needs: needsGcc,
    run: clock,
  },
  {
    name: "old-timestamps",
    title: "batches stamped two days ago (LD_PRELOAD)",
    needs: needsGcc,
    run: oldTimestamps,
  },
];
