import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePorts } from "../scripts/lib/ports.ts";
import { waitUntil } from "../tests/support/wait_until.ts";
import type { Bench } from "./lib/bench.ts";
import { atMost } from "./lib/check.ts";
import { LoopDisk } from "./lib/loop_disk.ts";
import { readSeries, scrapePage } from "./lib/metrics_page.ts";
import { writePacedLines } from "./lib/paced_lines.ts";
import { writeBytes } from "./lib/proc.ts";
import type { Program, ProgramResult } from "./lib/program.ts";
import { type RunningTailer, startTailing } from "./lib/running_shipper.ts";

const SECONDS = 600;
const LINES_PER_SECOND = 20;
/** Written and not counted: what a start costs is over then. */
const WARM_UP_LINES = 100;
const ARRIVE_TIMEOUT_MS = 30_000;
const MACHINE_BYTES_A_BATCH_MAX = 6_000;
const PROCESS_BYTES_A_SECOND_MAX = 10_000;
const DURABILITIES = ["machine", "process"] as const;

export const wear: Program = {
  name: "wear",
  title: "Flash wear at 20 lines/s",
  about:
    "Two shippers tail the same file, one for each durability, into topics of one partition, each with data_dir on a filesystem of its own (ext4 on a loop device, 5 s commit interval). Device: sectors written to it, the filesystem's own among them. Made dirty: write_bytes of /proc/PID/io, which counts whole folios of the page cache, however little of one was written.",
  run,
};

interface Side {
  readonly durability: typeof DURABILITIES[number];
  readonly topic: string;
  readonly apiAddress: string;
  readonly dir: string;
  readonly disk: LoopDisk;
  readonly shipper: RunningTailer;
}

interface Counts {
  readonly deviceBytes: number;
  readonly dirtiedBytes: number;
  readonly batches: number;
}

async function run(bench: Bench): Promise<ProgramResult> {
  if (!LoopDisk.isPossible) throw new Error("A filesystem on a loop device is needed, and that needs root");
  const seconds = bench.options.seconds ?? SECONDS;
  const logs = bench.runDir();
  const file = join(logs, "app.log");
  writeFileSync(file, "");
  const sides: Side[] = [];
  try {
    for (const durability of DURABILITIES) sides.push(await startSide(bench, durability, file));
    await writePacedLines(file, LINES_PER_SECOND, { first: 0, count: WARM_UP_LINES });
    await waitForLines(bench, sides, WARM_UP_LINES);
    const before = await Promise.all(sides.map(countsOf));
    bench.progress(`Writing ${LINES_PER_SECOND} lines/s for ${seconds} s`);
    const startMs = performance.now();
    const count = seconds * LINES_PER_SECOND;
    await writePacedLines(file, LINES_PER_SECOND, { first: WARM_UP_LINES, count });
    const measuredSeconds = (performance.now() - startMs) / 1_000;
    await waitForLines(bench, sides, WARM_UP_LINES + count);
    const after = await Promise.all(sides.map(countsOf));
    const spent = sides.map(({ durability }, i) => ({
      durability,
      seconds: measuredSeconds,
      deviceBytes: after[i]!.deviceBytes - before[i]!.deviceBytes,
      dirtiedBytes: after[i]!.dirtiedBytes - before[i]!.dirtiedBytes,
      batches: after[i]!.batches - before[i]!.batches,
    }));
    return resultOf(spent, seconds);
  } finally {
    for (const side of sides) await stopSide(bench, side);
    bench.removeRunDir(logs);
  }
}

interface Spent extends Counts {
  readonly durability: Side["durability"];
  readonly seconds: number;
}

function resultOf(spent: readonly Spent[], seconds: number): ProgramResult {
  const of = (durability: Side["durability"]) => spent.find((each) => each.durability === durability)!;
  const machine = of("machine");
  const process = of("process");
  return {
    parameters: { linesPerSecond: LINES_PER_SECOND, seconds },
    tables: [{
      title: `Bytes written in ${seconds} s`,
      columns: [
        "",
        "batches",
        "device KB",
        "device KB/batch",
        "device KB/s",
        "made dirty KB",
        "made dirty KB/batch",
      ],
      rows: spent.map((each) => [
        each.durability,
        String(each.batches),
        (each.deviceBytes / 1e3).toFixed(0),
        (each.deviceBytes / each.batches / 1e3).toFixed(2),
        (each.deviceBytes / each.seconds / 1e3).toFixed(2),
        (each.dirtiedBytes / 1e3).toFixed(0),
        (each.dirtiedBytes / each.batches / 1e3).toFixed(2),
      ]),
    }],
    checks: [
      atMost(
        "machine: device",
        machine.deviceBytes / machine.batches,
        MACHINE_BYTES_A_BATCH_MAX,
        "bytes a batch",
      ),
      atMost(
        "process: device",
        process.deviceBytes / process.seconds,
        PROCESS_BYTES_A_SECOND_MAX,
        "bytes a second",
      ),
    ],
    runs: spent.map((each) => ({ ...each })),
  };
}

async function startSide(bench: Bench, durability: Side["durability"], file: string): Promise<Side> {
  const kafka = await bench.kafka();
  const topic = await kafka.createTopic(1);
  const dir = bench.runDir();
  const disk = await LoopDisk.mount(dir);
  const apiAddress = `127.0.0.1:${(await freePorts(1))[0]}`;
  const { bootstrap } = kafka;
  const shipper = startTailing(dir, {
    bootstrap,
    topic,
    apiAddress,
    include: [file],
    guarantee: durability,
    dataDir: join(disk.path, "data"),
  });
  return { durability, topic, apiAddress, dir, disk, shipper };
}

async function stopSide(bench: Bench, { topic, dir, disk, shipper }: Side): Promise<void> {
  await shipper.stop();
  disk.remove();
  bench.removeRunDir(dir);
  await (await bench.kafka()).deleteTopics([topic]);
}

async function waitForLines(bench: Bench, sides: readonly Side[], count: number): Promise<void> {
  const kafka = await bench.kafka();
  for (const { topic, shipper } of sides) {
    const isThere = async () => {
      shipper.requireRunning();
      return await kafka.countRecords(topic) >= count;
    };
    await waitUntil("every line arrives", isThere, { timeoutMs: ARRIVE_TIMEOUT_MS, pollMs: 100 });
  }
}

async function countsOf({ disk, shipper, apiAddress }: Side): Promise<Counts> {
  const page = await scrapePage(apiAddress);
  const batches = page === null ? null : readSeries(page, "shipper_sink_sent_batches_total");
  const dirtiedBytes = writeBytes(shipper.pid);
  if (batches === null || dirtiedBytes === null) {
    throw new Error("Cannot read the figures of a shipper that runs");
  }
  return { deviceBytes: await disk.writtenBytes(), dirtiedBytes, batches };
}
