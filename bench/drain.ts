import { freePorts } from "../scripts/lib/ports.ts";
import { waitUntil } from "../tests/support/wait_until.ts";
import type { Bench, Input } from "./lib/bench.ts";
import type { BenchKafka } from "./lib/bench_kafka.ts";
import { atLeast } from "./lib/check.ts";
import { readSeries, scrapePage } from "./lib/metrics_page.ts";
import { cpuSeconds, residentBytes } from "./lib/proc.ts";
import type { Program, ProgramResult } from "./lib/program.ts";
import { type RunningTailer, startTailing } from "./lib/running_shipper.ts";
import { median, pairedRatio } from "./lib/statistics.ts";
import { formatMegabytes, formatRate, formatRatio, type Table } from "./lib/table.ts";

/** 1.06 GB. */
const LINES = 6_000_000;
const ROUNDS = 5;
const PARTITIONS = 3;
/** The buffer's limit, against the size of the input. */
const ROOM_FACTOR = 1.5;
const ROOM_BYTES = 256e6;
/** How long the file that is shipped directly waits for the broker. */
const WAIT_MS = 3_000;
const FILL_TIMEOUT_MS = 120_000;
const DRAIN_TIMEOUT_MS = 300_000;
const POLL_MS = 20;
const SPEED_MIN = 0.8;
const SIDES = ["direct", "buffered"] as const;

export const drain: Program = {
  name: "drain",
  title: "Draining a disk buffer against shipping the file directly",
  about:
    "The broker is stopped, shipper is started on a complete file, and the broker is started again: with the disk buffer when all of the file is in it, without one (the file is the buffer) after some seconds. From the first records in the topic to the last, exactly once, no compression. Both sides meet a broker that has just been started. Fill: from before shipper is started until it has read the last line, the broker being away.",
  run,
};

type Side = typeof SIDES[number];

interface DrainRun {
  readonly side: Side;
  /** Of the whole process until it had read the last line. Null where nothing is filled. */
  readonly fill: { readonly seconds: number; readonly cpuSeconds: number } | null;
  readonly linesPerSecond: number;
  /** Of shipper, from when the broker is back. */
  readonly cpuSeconds: number;
  readonly peakRssBytes: number;
}

async function run(bench: Bench): Promise<ProgramResult> {
  const rounds = bench.options.rounds ?? ROUNDS;
  const input = bench.input(bench.options.lines ?? LINES);
  // The buffer, and the topic.
  bench.requireDisk(input.sizeBytes * 2.5);
  const runs: DrainRun[] = [];
  for (let round = 1; round <= rounds; round++) {
    for (let i = 0; i < SIDES.length; i++) {
      const run = await measure(bench, input, SIDES[(round + i) % SIDES.length]!);
      bench.progress(`round ${round} of ${rounds}: ${describe(run, input)}`);
      runs.push(run);
    }
  }
  bench.forgetInput(input);
  const of = (side: Side, figure: (run: DrainRun) => number) =>
    runs.filter((each) => each.side === side).map(figure);
  const speed = pairedRatio(
    of("buffered", (run) => run.linesPerSecond),
    of("direct", (run) => run.linesPerSecond),
  );
  const cpu = pairedRatio(of("buffered", (run) => run.cpuSeconds), of("direct", (run) => run.cpuSeconds));
  return {
    parameters: {
      lines: input.lines,
      inputBytes: input.sizeBytes,
      partitions: PARTITIONS,
      codec: "none",
      rounds,
    },
    tables: [
      {
        title: `Medians of ${rounds} rounds; ratios are medians of the rounds' own (least to most)`,
        columns: ["", "lines/s", "CPU s", "peak RSS MB", "lines/s ratio", "CPU ratio"],
        rows: SIDES.map((side) => [
          side,
          formatRate(median(of(side, (run) => run.linesPerSecond))),
          median(of(side, (run) => run.cpuSeconds)).toFixed(2),
          formatMegabytes(median(of(side, (run) => run.peakRssBytes))),
          ...(side === "direct" ? ["", ""] : [formatRatio(speed), formatRatio(cpu)]),
        ]),
      },
      fillTable(
        input,
        of("buffered", (run) => run.fill!.seconds),
        of("buffered", (run) => run.fill!.cpuSeconds),
      ),
    ],
    checks: [atLeast("lines/s, draining against direct", speed.median, SPEED_MIN)],
    runs: runs.map((each) => ({ ...each })),
  };
}

function fillTable(input: Input, seconds: readonly number[], cpu: readonly number[]): Table {
  return {
    title: "Filling the buffer while the broker is away, medians",
    columns: ["", "seconds", "lines/s", "MB/s", "CPU s", "CPU s/GB"],
    rows: [[
      "fill",
      median(seconds).toFixed(2),
      formatRate(input.lines / median(seconds)),
      (input.sizeBytes / 1e6 / median(seconds)).toFixed(0),
      median(cpu).toFixed(2),
      (median(cpu) / (input.sizeBytes / 1e9)).toFixed(2),
    ]],
  };
}

function describe(run: DrainRun, input: Input): string {
  const fill = run.fill === null
    ? ""
    : `filled in ${run.fill.seconds.toFixed(2)} s (${
      (input.sizeBytes / 1e6 / run.fill.seconds).toFixed(0)
    } MB/s), `;
  return `${run.side}: ${fill}${formatRate(run.linesPerSecond)} lines/s, CPU ${
    run.cpuSeconds.toFixed(2)
  } s, RSS ${formatMegabytes(run.peakRssBytes)} MB`;
}

async function measure(bench: Bench, input: Input, side: Side): Promise<DrainRun> {
  const kafka = await bench.kafka();
  const topic = await kafka.createTopic(PARTITIONS);
  const dir = bench.runDir();
  const apiAddress = `127.0.0.1:${(await freePorts(1))[0]}`;
  const buffer = side === "direct"
    ? {}
    : { diskBufferBytes: Math.ceil(input.sizeBytes * ROOM_FACTOR + ROOM_BYTES) };
  const setup = { bootstrap: kafka.bootstrap, topic, include: [input.path], apiAddress, ...buffer };
  let shipper: RunningTailer | null = null;
  try {
    const fill = await kafka.whileAway(async () => {
      const startMs = performance.now();
      shipper = startTailing(dir, setup);
      if (side === "buffered") await waitForFill(shipper, apiAddress, input.lines);
      const spent = { seconds: (performance.now() - startMs) / 1_000, cpuSeconds: cpuSeconds(shipper.pid) };
      await Bun.sleep(WAIT_MS);
      return side === "buffered" ? spent : null;
    });
    return { side, fill, ...await measureDrain(kafka, shipper!, topic, input.lines) };
  } finally {
    await (shipper as RunningTailer | null)?.kill();
    bench.removeRunDir(dir);
    await kafka.deleteTopics([topic]);
  }
}

async function waitForFill(shipper: RunningTailer, apiAddress: string, lines: number): Promise<void> {
  await waitUntil("all lines are in the buffer", async () => {
    shipper.requireRunning();
    const page = await scrapePage(apiAddress);
    return page !== null && readSeries(page, "shipper_sink_events_in_total") === lines;
  }, { timeoutMs: FILL_TIMEOUT_MS, pollMs: POLL_MS });
}

/** From the first records that are seen to the last. Throws when there are more than `lines`. */
async function measureDrain(
  kafka: BenchKafka,
  shipper: RunningTailer,
  topic: string,
  lines: number,
): Promise<Pick<DrainRun, "linesPerSecond" | "cpuSeconds" | "peakRssBytes">> {
  const cpuBefore = cpuSeconds(shipper.pid);
  let first: { readonly count: number; readonly atMs: number } | null = null;
  let count = 0;
  await waitUntil("every line is in the topic", async () => {
    shipper.requireRunning();
    count = await kafka.countRecords(topic);
    if (count > 0) first ??= { count, atMs: performance.now() };
    return count >= lines;
  }, { timeoutMs: DRAIN_TIMEOUT_MS, pollMs: POLL_MS });
  const seconds = (performance.now() - first!.atMs) / 1_000;
  if (count !== lines || first!.count === lines) {
    throw new Error(
      `${count} records in the topic for ${lines} lines, ${first!.count} of them when it was first seen`,
    );
  }
  return {
    linesPerSecond: (lines - first!.count) / seconds,
    cpuSeconds: cpuSeconds(shipper.pid) - cpuBefore,
    peakRssBytes: residentBytes(shipper.pid)!.peak,
  };
}
