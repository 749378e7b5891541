import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import {
  API,
  diskBuffer,
  figureOf,
  fillDisk,
  StdinFeed,
  StdinLives,
  toldLosses,
} from "../../support/disk_buffer.ts";
import { ownCluster } from "../../support/kafka.ts";
import { OracleWriter } from "../../support/oracle.ts";
import { filesToKafka, SteadyLoad } from "../../support/scenario.ts";
import { runShipper, type Shipper, startShipper } from "../../support/shipper.ts";
import { tempDir } from "../../support/temp_dir.ts";
import { waitUntil } from "../../support/wait_until.ts";
import { killTraced, needsStrace, underFailingCalls } from "./disk_programs.ts";
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

/** With data_dir somewhere else. */
function withDataDir(config: string, path: string): string {
  return config.replace(/^data_dir = .*$/m, `data_dir = ${JSON.stringify(path)}`);
}

/** All brokers away for minutes, until the buffers of a file and of a pipe are full and their sources wait. */
async function outage(run: FaultRun): Promise<string> {
  const awayMs = run.isQuick ? 60_000 : 600_000;
  const own = await ownCluster({ brokers: 3, heapMb: 384 });
  const { kafka, cluster } = own;
  try {
    await using dir = tempDir("outage");
    await using stdinDir = tempDir("outage-stdin");
    const assignment = [[1, 2, 3], [2, 3, 1], [3, 1, 2]];
    const configs = { "min.insync.replicas": "2" };
    const topic = await kafka.createTopic({ assignment, configs });
    const stdinTopic = await kafka.createTopic({ assignment, configs });
    const sink = `${FAST}\n${diskBuffer("8MiB")}`;
    const writers = ["a.log", "b.log"].map((file) => new OracleWriter("outage", file));
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, top: API, sink });
    const stdinOptions = { bootstrap: kafka.bootstrap, topic: stdinTopic, top: API, sink };
    const lives = new StdinLives(stdinDir, "outage", stdinOptions);
    using load = new SteadyLoad(dir, writers, 4_000);
    const lines = lives.next();
    await using piped = startShipper({ config: lives.config, stdin: "pipe" });
    const feed = new StdinFeed(piped, lines, () => 200, 50);
    let shipper = startShipper({ config });
    try {
      await run.waitForCount(kafka, topic, 2_000, shipper);
      await run.waitForCount(kafka, stdinTopic, 2_000, piped);
      await Promise.all(cluster.brokers.map((broker) => broker.stop()));
      run.log(`all brokers are away for ${awayMs / 1_000} s`);
      for (let part = 0; part < 4; part++) {
        await Bun.sleep(awayMs / 4);
        require(piped.isRunning && shipper.isRunning, "It ended by itself");
        if (part === 3) break;
        await shipper.kill();
        shipper = startShipper({ config });
      }
      const readCount = await figureOf(piped, "shipper_sink_events_in_total");
      await Bun.sleep(1_000);
      require(readCount === await figureOf(piped, "shipper_sink_events_in_total"), "The pipe is still read");
      const usedBytes = await figureOf(shipper, "shipper_buffer_bytes");
      require(usedBytes <= 8 << 20, `The buffer takes up ${usedBytes} bytes`);
      await cluster.launch(cluster.brokers);
      const count = load.stop();
      const fed = feed.stop();
      await run.waitForCount(kafka, topic, count, shipper);
      await fed;
      await run.waitForCount(kafka, stdinTopic, lines.count, piped);
      await stopInOrder(shipper);
      piped.endStdin();
      requireExit(await piped.waitForExit(60_000), 0);
    } finally {
      await shipper.kill();
    }
    await run.check(kafka, topic, writers);
    require(await lives.check(kafka) === 0, "Lines of stdin are missing");
    return `away for ${awayMs / 1_000} s with 8 MiB of buffer, kill -9 three times meanwhile`;
  } finally {
    await own.stop();
  }
}

async function diskErrors(run: FaultRun): Promise<string> {
  const { random } = run;
  const rounds = run.isQuick ? 1 : 3;
  const injections: string[] = [];
  for (let round = 0; round < rounds; round++) {
    for (const error of ["ENOSPC", "EIO", "EDQUOT", "EROFS", "EINTR", "EFBIG"]) {
      injections.push(`pwrite64:error=${error}:when=${random.between(3, 30)}..${random.between(31, 60)}`);
    }
    injections.push(`fdatasync:error=EIO:when=${random.between(2, 9)}+${random.between(2, 9)}`);
    injections.push(`fdatasync:error=ENOSPC:when=${random.between(2, 9)}..${random.between(10, 30)}`);
  }
  const sink = `${FAST}\n${diskBuffer()}`;
  const failedCount = await underFailingCalls(run, injections, sink);
  require(failedCount >= injections.length, `Only ${failedCount} calls failed`);
  return `${failedCount} calls failed in ${injections.length} runs, with kill -9 after each`;
}

const TMPFS_MB = 16;

/** The disk gets full and free again under the journal and the buffer, with kill -9 when it is full. */
async function fullDisk(run: FaultRun): Promise<string> {
  const kafka = await run.shared();
  const rounds = run.isQuick ? 5 : 25;
  const dropped: string[] = [];
  for (const whenFull of ["block", "drop_newest", "drop_oldest"]) {
    await using dir = tempDir("full-disk");
    const data = dir.file("data");
    mkdirSync(data);
    mustRun("mount", "-t", "tmpfs", "-o", `size=${TMPFS_MB}m`, "tmpfs", data);
    try {
      const topic = await kafka.createTopic({ partitions: 3 });
      const writers = ["a.log", "b.log"].map((file) => new OracleWriter("full-disk", file));
      const sink = `${FAST}\n${diskBuffer("1GiB", whenFull)}`;
      const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, top: API, sink });
      using load = new SteadyLoad(dir, writers, 4_000);
      let shipper = startShipper({ config });
      try {
        for (let round = 0; round < rounds; round++) {
          await Bun.sleep(run.random.between(200, 1_500));
          fillDisk(`${data}/filler`, run.random.between(0, 65_536));
          await Bun.sleep(run.random.between(200, 1_500));
          // What was dropped is only counted by a run that ends in order.
          if (whenFull === "block" && round % 3 === 0) {
            await shipper.kill();
            rmSync(`${data}/filler`);
            shipper = startShipper({ config });
          } else rmSync(`${data}/filler`);
        }
        const count = load.stop();
        if (whenFull === "block") await run.waitForCount(kafka, topic, count, shipper);
        else {
          const isLeft = () => isEmptied(shipper, count);
          await waitUntil("nothing is left", isLeft, { timeoutMs: 120_000, pollMs: 200 });
        }
        const told = toldLosses(await stopInOrder(shipper));
        dropped.push(`${whenFull} ${told.droppedCount}`);
        const report = await run.check(kafka, topic, writers, { lostMax: told.droppedCount });
        require(
          report.lostCount === told.droppedCount,
          `${report.lostCount} are missing, ${told.droppedCount} were told`,
        );
      } finally {
        await shipper.kill();
      }
    } finally {
      Bun.spawnSync(["umount", "-l", data]);
    }
  }
  return `${rounds} times full; dropped and counted: ${dropped.join(", ")}`;
}

/** Everything that was written is read, and delivered or dropped. By a run that has read all of it. */
async function isEmptied(shipper: Shipper, count: number): Promise<boolean> {
  if (await figureOf(shipper, "shipper_sink_events_in_total") < count) return false;
  const buffered = await figureOf(shipper, "shipper_buffer_events");
  return buffered + await figureOf(shipper, "shipper_sink_in_flight_events") === 0;
}

/** A limit on the size of files stops the journal, the buffer, or neither. */
async function fileSize(run: FaultRun): Promise<string> {
  const kafka = await run.shared();
  await using dir = tempDir("file-size");
  const topic = await kafka.createTopic({ partitions: 3 });
  const sink = `${FAST}\n${diskBuffer("8MiB")}`;
  const lives = new StdinLives(dir, "file-size", { bootstrap: kafka.bootstrap, topic, top: API, sink });
  const limited = (kib: number) => ["bash", "-c", `ulimit -f ${kib}; exec "$@"`, "bash"];
  const told: string[] = [];
  // A segment of this buffer has 1 MiB; one of the journal begins with 256 KiB.
  for (const kib of [100, 300, 700, 1_024, 4_096]) {
    await using shipper = startShipper({ config: lives.config, stdin: "pipe", wrapper: limited(kib) });
    const feed = new StdinFeed(shipper, lives.next(), () => 200, 20);
    await Bun.sleep(run.isQuick ? 3_000 : 15_000);
    if (shipper.isRunning) {
      told.push(`${kib} KiB ${shipper.stderr.includes("EFBIG") ? "waits" : "works"}`);
      await shipper.kill();
    } else {
      const exit = requireExit(await shipper.exit, EXIT_CONFIG);
      require(/error\[(journal|buffer)-un/.test(exit.stderr), exit.stderr);
      told.push(`${kib} KiB is refused`);
    }
    await feed.stop();
  }
  requireExit(
    await runShipper({ config: lives.config, stdin: lives.next().lines(5_000), timeoutMs: 60_000 }),
    0,
  );
  const missingCount = await lives.check(kafka);
  return `${
    told.join(", ")
  }; ${missingCount} lines that were in no buffer yet at a kill -9 are missing at ends`;
}

/** data_dir is read-only: at the start by a mount; while shipper runs, when a mount with open files stays as it is, by calls that fail with EROFS. */
async function readOnly(run: FaultRun): Promise<string> {
  const kafka = await run.shared();
  await using dir = tempDir("read-only");
  const data = dir.file("data");
  mkdirSync(data);
  const topic = await kafka.createTopic({ partitions: 3 });
  const writers = ["a.log", "b.log"].map((file) => new OracleWriter("read-only", file));
  const sink = `${FAST}\n${diskBuffer()}`;
  const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink });
  for (const writer of writers) writer.append(dir.file(writer.file), 2_000);
  requireExit(await runShipper({ config, crashAt: "after_buffer_commit:2" }), "SIGKILL");
  mustRun("mount", "--bind", data, data);
  try {
    mustRun("mount", "-o", "remount,ro,bind", data);
    const exit = requireExit(await runShipper({ config, args: ["--once"] }), EXIT_CONFIG);
    require(/error\[.*\n?.*(EROFS|read-only)/i.test(exit.stderr), exit.stderr);
    mustRun("mount", "-o", "remount,rw,bind", data);
  } finally {
    Bun.spawnSync(["umount", "-l", data]);
  }
  using load = new SteadyLoad(dir, writers, 2_000);
  const calls = "pwrite64,fdatasync,rename,ftruncate,unlink";
  for (let round = 0; round < (run.isQuick ? 3 : 10); round++) {
    const log = dir.file(`calls-${round}`);
    // The pauses between tries grow to seconds.
    const from = run.random.between(20, 60);
    const when = `${from}..${from + run.random.between(4, 14)}`;
    const inject = ["-e", `trace=${calls}`, "-e", `inject=${calls}:error=EROFS:when=${when}`];
    const wrapper = ["strace", "-f", "-qq", "-o", log, ...inject];
    await using shipper = startShipper({ config, wrapper });
    try {
      await shipper.waitForLog(/EROFS/, 30_000);
      await shipper.waitForLog(/can be written again/, 60_000);
      const before = await kafka.countRecords(topic);
      await run.waitForCount(kafka, topic, before + 1_000, shipper);
    } finally {
      // strace dies, and what it traces goes on: only the program's own pid will do.
      await killTraced(shipper, Number(/^(\d+)/.exec(await Bun.file(log).text())?.[1]));
    }
  }
  load.stop();
  requireExit(await runShipper({ config, args: ["--once"], timeoutMs: 60_000 }), 0);
  await run.check(kafka, topic, writers);
  return "refused at the start; waits while it runs, and goes on";
}

/** The power goes: of journal and buffer only what was synced is there, each as far as its own syncs reach. */
async function powerCuts(run: FaultRun): Promise<string> {
  const kafka = await run.shared();
  const cuts = run.isQuick ? 20 : 100;
  let duplicatedCount = 0;
  for (const durability of ["machine", "process"] as const) {
    const rounds = durability === "machine" ? cuts : cuts / 5;
    await using disk = new LoopDisk();
    await using dir = tempDir("power-buffer");
    const topic = await kafka.createTopic({ partitions: 3 });
    const writers = ["a.log", "b.log"].map((file) => new OracleWriter("power-buffer", file));
    for (const writer of writers) writer.append(dir.file(writer.file), 500);
    const sink = `${FAST}\n${diskBuffer("4MiB")}\ndurability = "${durability}"`;
    const config = withDataDir(
      filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink }),
      join(disk.mountPath, "data"),
    );
    using load = new SteadyLoad(dir, writers, 3_000);
    for (let round = 1; round <= rounds; round++) {
      await using shipper = startShipper({ config });
      await Bun.sleep(run.random.between(20, 900));
      await cutPower(shipper, disk);
      if (round % 20 === 0) run.log(`${round} power cuts with durability "${durability}", files`);
    }
    load.stop();
    requireExit(await runShipper({ config, args: ["--once"], timeoutMs: 60_000 }), 0);
    const allowance = durability === "machine" ? {} : { duplicatedMax: Infinity, outOfOrderMax: Infinity };
    const report = await run.check(kafka, topic, writers, allowance);
    if (durability === "process") duplicatedCount = report.duplicatedCount;
  }
  const missingCount = await powerCutsOfStdin(run, cuts);
  return `${cuts} cuts each exact with files and with stdin (${missingCount} lines were in no buffer yet); ${
    cuts / 5
  } with durability "process": none lost, ${duplicatedCount} twice`;
}

async function powerCutsOfStdin(run: FaultRun, cuts: number): Promise<number> {
  const kafka = await run.shared();
  await using disk = new LoopDisk();
  await using dir = tempDir("power-stdin");
  const topic = await kafka.createTopic({ partitions: 3 });
  const sink = `${FAST}\n${diskBuffer("4MiB")}`;
  const lives = new StdinLives(dir, "power-stdin", { bootstrap: kafka.bootstrap, topic, sink });
  const config = withDataDir(lives.config, join(disk.mountPath, "data"));
  for (let round = 1; round <= cuts; round++) {
    await using shipper = startShipper({ config, stdin: "pipe" });
    const feed = new StdinFeed(shipper, lives.next(), () => run.random.between(1, 200), 20);
    await Bun.sleep(run.random.between(20, 900));
    await cutPower(shipper, disk);
    await feed.stop();
    if (round % 20 === 0) run.log(`${round} power cuts, stdin`);
  }
  requireExit(await runShipper({ config, stdin: lives.next().lines(1_000), timeoutMs: 60_000 }), 0);
  return await lives.check(kafka);
}

async function cutPower(shipper: Shipper, disk: LoopDisk): Promise<void> {
  // Frozen, so that it sends nothing between the copy and its end.
  shipper.signal("SIGSTOP");
  disk.keepImage();
  await shipper.kill();
  disk.bringBack();
}

const needsRoot = () => isRoot && isLinux ? null : "needs root";

/** What happens with the buffer on disk. */
export const bufferPrograms: readonly FaultProgram[] = [
  { name: "buffer-outage", title: "all brokers away for ten minutes, buffers on disk full", run: outage },
  {
    name: "buffer-disk-errors",
    title: "writes and syncs of journal and disk buffer fail (strace)",
    needs: needsStrace,
    run: diskErrors,
  },
  {
    name: "buffer-full-disk",
    title: "the disk full under a disk buffer, again and again",
    needs: needsRoot,
    run: fullDisk,
  },
  {
    name: "buffer-file-size",
    title: "a limit on the size of files, with a disk buffer (ulimit -f)",
    needs: () => isLinux ? needsCommand("bash") : "needs Linux",
    run: fileSize,
  },
  {
    name: "buffer-read-only",
    title: "data_dir read-only at the start (mount) and while it runs (strace)",
    needs: () => needsRoot() ?? needsStrace(),
    run: readOnly,
  },
  {
    name: "buffer-power-cut",
    title: "100 power cuts with a disk buffer, files and stdin (loop images)",
    needs: () => needsRoot() ?? needsCommand("mkfs.ext4"),
    run: powerCuts,
  },
];
