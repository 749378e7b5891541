import { renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { OracleChecker, type OracleReport, OracleWriter } from "../tests/support/oracle.ts";
import { SteadyLoad } from "../tests/support/scenario.ts";
import { type TempDir, tempDir } from "../tests/support/temp_dir.ts";
import type { Bench } from "./lib/bench.ts";
import type { BenchKafka } from "./lib/bench_kafka.ts";
import { atMost } from "./lib/check.ts";
import type { Program, ProgramResult } from "./lib/program.ts";
import { type RsyslogQueue, rsyslogVersion, startRsyslog } from "./lib/rsyslog.ts";
import { type RunningTailer, startTailing } from "./lib/running_shipper.ts";

/** How long the broker is away. */
const SECONDS = 60;
const LINES_PER_SECOND = 500;
const PARTITIONS = 3;
/** Lines are written so long before the outage, and after it. */
const AROUND_MS = 5_000;
/** Of the outage: the file is renamed and a new one begun, the old one is deleted, the shipper is killed. */
const RENAME_AT = 0.25;
const DELETE_AT = 0.4;
const KILL_AT = 0.6;
/** From the kill to the start. */
const DOWN_MS = 1_000;
const DISK_BUFFER_BYTES = 1e9;
/** The topic is complete when it did not grow for so long; what retries slowly gets its chance. */
const QUIET_MS = 20_000;
const SETTLE_TIMEOUT_MS = 300_000;
const SCAN_TIMEOUT_MS = 120_000;

export const outage: Program = {
  name: "outage",
  title: "An outage of the broker with kill -9 in the middle of it",
  about:
    "500 lines/s are written to a file. The broker is stopped; meanwhile the file is rotated by renaming, the old one is deleted some seconds later, the shipper is killed with SIGKILL and started again a second later; then the broker comes back. Every line has a number and a checksum: what is in the topic is compared with what was written. shipper has a disk buffer; rsyslog (imfile, omkafka) has a disk-assisted queue, or a queue on disk alone.",
  run,
};

type Side = "shipper" | Exclude<RsyslogQueue, "none">;

const LABELS: Readonly<Record<Side, string>> = {
  shipper: "shipper, disk buffer",
  disk_assisted: "rsyslog, disk-assisted queue",
  disk: "rsyslog, disk queue",
};

interface OutageRun extends Omit<OracleReport, "examples"> {
  readonly side: Side;
  readonly round: number;
  readonly writtenCount: number;
}

async function run(bench: Bench): Promise<ProgramResult> {
  const seconds = bench.options.seconds ?? SECONDS;
  const rounds = bench.options.rounds ?? 1;
  const sides: Side[] = bench.options.rsyslog ? ["shipper", "disk_assisted", "disk"] : ["shipper"];
  const runs: OutageRun[] = [];
  for (let round = 1; round <= rounds; round++) {
    for (const side of sides) {
      bench.progress(`round ${round} of ${rounds}: ${LABELS[side]}, an outage of ${seconds} s`);
      const run = { ...await measure(bench, side, seconds), side, round };
      bench.progress(
        `  ${run.writtenCount} written, ${run.lostCount} lost, ${run.duplicatedCount} twice, ${run.outOfOrderCount} out of order`,
      );
      runs.push(run);
    }
  }
  const ours = runs.filter(({ side }) => side === "shipper");
  const most = (figure: (run: OutageRun) => number) => Math.max(...ours.map(figure));
  return {
    parameters: {
      linesPerSecond: LINES_PER_SECOND,
      seconds,
      partitions: PARTITIONS,
      rounds,
      ...(bench.options.rsyslog ? { rsyslog: await rsyslogVersion() } : {}),
    },
    tables: [{
      title: "Lines",
      columns: ["", "round", "written", "in the topic", "lost", "twice", "out of order", "damaged"],
      rows: runs.map((each) => [
        LABELS[each.side],
        ...[
          each.round,
          each.writtenCount,
          each.receivedCount,
          each.lostCount,
          each.duplicatedCount,
          each.outOfOrderCount,
          each.damagedCount + each.foreignCount,
        ].map(String),
      ]),
    }],
    checks: [
      atMost("shipper: lost", most((run) => run.lostCount), 0, "lines"),
      atMost("shipper: twice", most((run) => run.duplicatedCount), 0, "lines"),
      atMost("shipper: out of order", most((run) => run.outOfOrderCount), 0, "lines"),
      atMost("shipper: damaged", most((run) => run.damagedCount + run.foreignCount), 0, "lines"),
    ],
    runs: runs.map((each) => ({ ...each })),
  };
}

async function measure(
  bench: Bench,
  side: Side,
  seconds: number,
): Promise<Omit<OutageRun, "side" | "round">> {
  const kafka = await bench.kafka();
  const topic = await kafka.createTopic(PARTITIONS);
  const dir = bench.runDir();
  await using logs = tempDir("outage");
  const writer = new OracleWriter("outage", "app.log");
  const start = () =>
    startSide(side, { dir, bootstrap: kafka.bootstrap, topic, file: logs.file(writer.file) });
  writeFileSync(logs.file(writer.file), "");
  let shipper = await start();
  try {
    const load = new SteadyLoad(logs, [writer], LINES_PER_SECOND);
    try {
      await Bun.sleep(AROUND_MS);
      shipper.requireRunning();
      shipper = await kafka.whileAway(() => suffer(shipper, start, logs, writer.file, seconds * 1_000));
      await Bun.sleep(AROUND_MS);
    } finally {
      load.stop();
    }
    await waitForAll(kafka, topic, writer.count, shipper);
    const checker = new OracleChecker(writer.run, [writer]);
    await kafka.scanTopic(topic, (partition, line) => checker.take(partition, line), SCAN_TIMEOUT_MS);
    const { examples, ...report } = checker.report();
    for (const example of examples.slice(0, 3)) bench.progress(`  ${example}`);
    return { writtenCount: writer.count, ...report };
  } finally {
    await shipper.stop();
    bench.removeRunDir(dir);
    await kafka.deleteTopics([topic]);
  }
}

function startSide(
  side: Side,
  { dir, ...setup }: { dir: string; bootstrap: string; topic: string; file: string },
): Promise<RunningTailer> {
  if (side !== "shipper") return startRsyslog(dir, { ...setup, queue: side });
  const { file, ...rest } = setup;
  const include = [file, `${file}.1`];
  return Promise.resolve(startTailing(dir, { ...rest, include, diskBufferBytes: DISK_BUFFER_BYTES }));
}

/** What happens while the broker is away. Returns the shipper that runs at its end. */
async function suffer(
  first: RunningTailer,
  start: () => Promise<RunningTailer>,
  logs: TempDir,
  file: string,
  lengthMs: number,
): Promise<RunningTailer> {
  const startMs = performance.now();
  const until = (share: number) => Bun.sleep(Math.max(0, startMs + share * lengthMs - performance.now()));
  await until(RENAME_AT);
  renameSync(logs.file(file), join(logs.path, `${file}.1`));
  await until(DELETE_AT);
  rmSync(logs.file(`${file}.1`));
  await until(KILL_AT);
  first.requireRunning();
  await first.kill();
  await Bun.sleep(DOWN_MS);
  const second = await start();
  await until(1);
  second.requireRunning();
  return second;
}

/** Waits until nothing more comes. That lines are missing then is for the oracle to say. */
async function waitForAll(
  kafka: BenchKafka,
  topic: string,
  lines: number,
  shipper: RunningTailer,
): Promise<void> {
  const endMs = performance.now() + SETTLE_TIMEOUT_MS;
  let count = -1;
  for (let sinceMs = performance.now(); performance.now() < endMs;) {
    shipper.requireRunning();
    const now = await kafka.countRecords(topic);
    if (now !== count) sinceMs = performance.now();
    count = now;
    if (performance.now() - sinceMs > QUIET_MS) return;
    await Bun.sleep(500);
  }
  throw new Error(`After ${SETTLE_TIMEOUT_MS} ms the topic still grows: ${count} records for ${lines} lines`);
}
