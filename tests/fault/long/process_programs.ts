import { existsSync, writeFileSync } from "node:fs";
import { freePorts } from "../../../scripts/lib/ports.ts";
import { ownCluster } from "../../support/kafka.ts";
import { OracleWriter } from "../../support/oracle.ts";
import { type ProxyFault, startProxy } from "../../support/proxy.ts";
import { filesToKafka, rotate, SteadyLoad } from "../../support/scenario.ts";
import { runShipper, startShipper } from "../../support/shipper.ts";
import { tempDir } from "../../support/temp_dir.ts";
import { type FaultProgram, type FaultRun, isLinux, require, requireExit, stopInOrder } from "./program.ts";

const FAST = `connect_timeout_ms = 1000\nsocket_timeout_ms = 1000\nrequest_timeout_ms = 500
retry.interval_ms = 20\nretry.max_interval_ms = 500\nbatch.max_bytes = 30000`;

/** A run that is given so much less than a minute must have shipped its first line: recovery is not to be slow. */
const RECOVERY_MS_MAX = 10_000;

async function kill(run: FaultRun): Promise<string> {
  const kafka = await run.shared();
  const cycles = run.isQuick ? 60 : 300;
  await using dir = tempDir("kill-long");
  const topic = await kafka.createTopic({ partitions: 6 });
  const writers = ["a.log", "b.log", "c.log", "d.log"].map((file) => new OracleWriter("kill-long", file));
  for (const writer of writers) writer.append(dir.file(writer.file), 1_000);
  const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: FAST });
  requireExit(await runShipper({ config, args: ["--once"] }), 0);
  using load = new SteadyLoad(dir, writers, 4_000);
  const rotatedCounts = writers.map(() => 0);
  for (let cycle = 1; cycle <= cycles; cycle++) {
    await using shipper = startShipper({ config });
    await Bun.sleep(run.random.between(5, 800));
    await shipper.kill();
    const victim = run.random.between(0, writers.length - 1);
    const path = dir.file(writers[victim]!.file);
    if (cycle % 3 === 0 && existsSync(path)) rotate(path, rotatedCounts[victim]!++);
    if (cycle % 50 === 0) run.log(`${cycle} times killed, ${load.count} lines`);
  }
  load.stop();
  const startMs = performance.now();
  const before = await kafka.countRecords(topic);
  await using last = startShipper({ config });
  if (before < load.count) await run.waitForCount(kafka, topic, before + 1, last);
  const recoveryMs = performance.now() - startMs;
  await run.waitForCount(kafka, topic, load.count, last);
  await stopInOrder(last);
  await run.check(kafka, topic, writers);
  require(recoveryMs < RECOVERY_MS_MAX, `The last start took ${recoveryMs} ms to its first line`);
  return `${cycles} times kill -9; the last start shipped its first line after ${recoveryMs.toFixed(0)} ms`;
}

async function freeze(run: FaultRun): Promise<string> {
  const frozenMs = run.isQuick ? 75_000 : 300_000;
  // The producer is forgotten meanwhile, and what was on its way is older than half of the time for that.
  const own = await ownCluster({
    advertisedPorts: await freePorts(1),
    settings: { "producer.id.expiration.ms": "60000", "producer.id.expiration.check.interval.ms": "500" },
  });
  try {
    const { kafka } = own;
    await using dir = tempDir("freeze");
    await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
    const topic = await kafka.createTopic({ partitions: 3 });
    const writers = ["a.log", "b.log"].map((file) => new OracleWriter("freeze", file));
    const sink = `${FAST}\ndedup_window_secs = 60`;
    const config = filesToKafka(dir, { bootstrap: proxy.address, topic, sink });
    using load = new SteadyLoad(dir, writers, 500);
    await using shipper = startShipper({ config });
    await run.waitForCount(kafka, topic, 1_000, shipper);
    proxy.setFault({ swallow: ["response"] });
    await Bun.sleep(300);
    shipper.signal("SIGSTOP");
    run.log(`frozen for ${frozenMs / 1_000} s with batches whose answers are lost`);
    await Bun.sleep(frozenMs);
    proxy.cut();
    proxy.heal();
    shipper.signal("SIGCONT");
    await run.waitForCount(kafka, topic, load.stop(), shipper);
    const { stderr } = await stopInOrder(shipper);
    await run.check(kafka, topic, writers);
    require(!stderr.includes("Cannot tell whether"), "It could have found out what became of its batches");
    return `SIGSTOP for ${frozenMs / 1_000} s over an expiry of producers of 60 s`;
  } finally {
    await own.stop();
  }
}

async function memory(run: FaultRun): Promise<string> {
  const kafka = await run.shared();
  await using dir = tempDir("memory");
  const topic = await kafka.createTopic({ partitions: 3 });
  const writers = [new OracleWriter("memory", "a.log")];
  const lines = run.isQuick ? 200_000 : 1_000_000;
  for (let i = 0; i < lines / 50_000; i++) writers[0]!.append(dir.file("a.log"), 50_000);
  const lineBytes = 100 * 1_048_576;
  writeFileSync(dir.file("b.log"), Buffer.alloc(lineBytes + 1, "x").fill("\n", lineBytes));
  const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic });
  await using shipper = startShipper({ config });
  await run.waitForCount(kafka, topic, lines, shipper);
  await Bun.sleep(1_000);
  const peakMb = await shipper.peakRssBytes() / 1e6;
  await shipper.kill();
  requireExit(await runShipper({ config, args: ["--once"] }), 0);
  // What is left of the long line is none of the oracle's.
  const report = await run.check(kafka, topic, writers, { damagedMax: 1 });
  require(peakMb < 400, `It took ${peakMb.toFixed(0)} MB`);
  return `a line of 100 MiB among ${lines} others: peak ${
    peakMb.toFixed(0)
  } MB, ${report.damagedCount} cut line`;
}

async function descriptors(run: FaultRun): Promise<string> {
  const kafka = await run.shared();
  await using dir = tempDir("descriptors");
  const topic = await kafka.createTopic({ partitions: 3 });
  const writers = Array.from({ length: 500 }, (_, i) => new OracleWriter("descriptors", `${i}.log`));
  const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: FAST });
  const wrapper = ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh"];
  for (let round = 0; round < 3; round++) {
    for (const writer of writers) writer.append(dir.file(writer.file), 20);
    await using shipper = startShipper({ config, wrapper });
    // Two runs are killed somewhere in the middle.
    if (round < 2) {
      await run.waitForCount(kafka, topic, round * 10_000 + run.random.between(100, 5_000), shipper);
      await shipper.kill();
    } else {
      await run.waitForCount(kafka, topic, 30_000, shipper);
      await stopInOrder(shipper);
    }
  }
  await run.check(kafka, topic, writers);
  return "500 files under a limit of 64 open ones";
}

async function corrupt(run: FaultRun): Promise<string> {
  const kafka = await run.shared();
  await using dir = tempDir("corrupt");
  await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
  const topic = await kafka.createTopic({ partitions: 3 });
  const writers = ["a.log", "b.log"].map((file) => new OracleWriter("corrupt", file));
  const config = filesToKafka(dir, { bootstrap: proxy.address, topic, sink: FAST });
  using load = new SteadyLoad(dir, writers, 4_000);
  const rounds = run.isQuick ? 60 : 240;
  let shipper = startShipper({ config });
  try {
    await run.waitForCount(kafka, topic, 100, shipper);
    for (let round = 1; round <= rounds; round++) {
      // One in the header of a request may make another valid request of it: only its records have a checksum.
      const fault: ProxyFault = run.random.next() < 0.6
        ? { corrupt: { direction: "request", at: run.random.between(2_000, 25_000) } }
        : { corrupt: { direction: "response", at: run.random.between(0, 3) } };
      proxy.setFault(fault);
      await Bun.sleep(run.random.between(30, 200));
      if (round % 3 === 0) proxy.cut();
      require(shipper.isRunning, `It ended by itself\n${shipper.stderr.slice(-4_000)}`);
      if (round % 12 !== 0) continue;
      await shipper.kill();
      shipper = startShipper({ config });
    }
    proxy.heal();
    proxy.cut();
    await run.waitForCount(kafka, topic, load.stop(), shipper);
    await stopInOrder(shipper);
  } finally {
    await shipper.kill();
  }
  await run.check(kafka, topic, writers);
  return `${rounds} times one bit`;
}

/** What happens to the process and its connections. */
export const processPrograms: readonly FaultProgram[] = [
  {
    name: "kill",
    title: "kill -9 300 times at random moments while files are written and rotated",
    run: kill,
  },
  {
    name: "freeze",
    title: "SIGSTOP for 5 minutes with batches in doubt, and the producer forgotten meanwhile",
    run: freeze,
  },
  {
    name: "memory",
    title: "a backlog of a million lines and one line of 100 MiB",
    needs: () => isLinux ? null : "needs Linux",
    run: memory,
  },
  { name: "descriptors", title: "500 files under a limit of 64 open files, killed twice", run: descriptors },
  { name: "corrupt", title: "flipped bits in requests and answers, and kill -9", run: corrupt },
];
