import type { Bench } from "./lib/bench.ts";
import { BufferedShipper, type Load, loadOf } from "./lib/buffered_shipper.ts";
import { atMost } from "./lib/check.ts";
import { resetPeak, residentBytes } from "./lib/proc.ts";
import type { Program, ProgramResult } from "./lib/program.ts";
import { median } from "./lib/statistics.ts";
import { formatMegabytes, type Table } from "./lib/table.ts";

/** `--gigabytes 10` is what the target speaks of. */
const GIGABYTES = 2;
const SMALL_BYTES = 10e6;
const ROUNDS = 3;
/** After the last line was put in, before memory is looked at. */
const SETTLE_MS = 3_000;
const STEADY_SECONDS = 10;
const SAMPLE_MS = 250;
/** What runs of the same size differ by, and no more. */
const GROWTH_MAX = 1.05;
const PEAK_MAX_BYTES = 128e6;

export const bufferedMemory: Program = {
  name: "buffered-memory",
  title: "Memory by what waits in a disk buffer",
  about:
    "shipper reads stdin into a disk buffer while the broker is away: 10 MB, a tenth of the large size, the large size. RSS is the kernel's: the high-water mark while the buffer is filled, the median of ten seconds in which nothing happens but tries to reach the broker, the same after a kill -9 and a new start on what is buffered, the high-water mark while it is drained to a broker that is back, the median of ten seconds after that. Every line must be in the topic once.",
  run,
};

interface MemoryRun {
  readonly label: string;
  readonly bufferedBytes: number;
  readonly lines: number;
  readonly fillPeakBytes: number;
  readonly steadyBytes: number;
  /** Of a process that has written nothing of it. */
  readonly startedBytes: number;
  readonly drainPeakBytes: number;
  /** When all of it has gone through. */
  readonly drainedBytes: number;
}

async function run(bench: Bench): Promise<ProgramResult> {
  const rounds = bench.options.rounds ?? ROUNDS;
  const seconds = bench.options.seconds ?? STEADY_SECONDS;
  const largeBytes = (bench.options.gigabytes ?? GIGABYTES) * 1e9;
  // The large one first: it throws when the disk has no room.
  const loads = [largeBytes, largeBytes / 10, SMALL_BYTES].map((bytes) => loadOf(bench, bytes)).reverse();
  const runs: MemoryRun[] = [];
  for (let round = 1; round <= rounds; round++) {
    for (const load of loads) {
      const run = await measure(bench, load, loads.at(-1)!, seconds);
      bench.progress(
        `round ${round} of ${rounds}: ${run.label}: filling ${
          formatMegabytes(run.fillPeakBytes)
        } MB, steady ${formatMegabytes(run.steadyBytes)} MB, started ${
          formatMegabytes(run.startedBytes)
        } MB, draining ${formatMegabytes(run.drainPeakBytes)} MB, drained ${
          formatMegabytes(run.drainedBytes)
        } MB`,
      );
      runs.push(run);
    }
  }
  const of = (load: Load, figure: (run: MemoryRun) => number) =>
    runs.filter((each) => each.lines === load.lines).map(figure);
  const peakOf = (run: MemoryRun) => Math.max(run.fillPeakBytes, run.drainPeakBytes);
  const growth = (figure: (run: MemoryRun) => number) =>
    median(of(loads.at(-1)!, figure)) / median(of(loads[0]!, figure));
  return {
    parameters: { bufferedBytes: loads.at(-1)!.sizeBytes, codec: "lz4", steadySeconds: seconds, rounds },
    tables: [resultTable(loads, of, rounds)],
    checks: [
      atMost("steady RSS, large against 10 MB", growth((run) => run.steadyBytes), GROWTH_MAX),
      atMost("steady RSS, started anew, large against 10 MB", growth((run) => run.startedBytes), GROWTH_MAX),
      atMost("peak RSS, large against 10 MB", growth(peakOf), GROWTH_MAX),
      atMost("peak RSS, highest run", Math.max(...runs.map(peakOf)) / 1e6, PEAK_MAX_BYTES / 1e6, "MB"),
    ],
    runs: runs.map((each) => ({ ...each })),
  };
}

function resultTable(
  loads: readonly Load[],
  of: (load: Load, figure: (run: MemoryRun) => number) => readonly number[],
  rounds: number,
): Table {
  const spread = (values: readonly number[]) =>
    `${formatMegabytes(median(values))} (${formatMegabytes(Math.min(...values))} to ${
      formatMegabytes(Math.max(...values))
    })`;
  return {
    title: `RSS in MB: median of ${rounds} rounds (least to most)`,
    columns: ["buffered", "peak, filling", "steady", "started anew", "peak, draining", "drained"],
    rows: loads.map((load) => [
      labelOf(load),
      spread(of(load, (run) => run.fillPeakBytes)),
      spread(of(load, (run) => run.steadyBytes)),
      spread(of(load, (run) => run.startedBytes)),
      spread(of(load, (run) => run.drainPeakBytes)),
      spread(of(load, (run) => run.drainedBytes)),
    ]),
  };
}

const labelOf = ({ sizeBytes }: Load) => `${(sizeBytes / 1e6).toFixed(0)} MB`;

async function measure(bench: Bench, load: Load, largest: Load, seconds: number): Promise<MemoryRun> {
  const kafka = await bench.kafka();
  // The limit is the same for all: only what is in it differs.
  const shipper = await BufferedShipper.start(bench, largest.sizeBytes);
  try {
    const buffered = await kafka.whileAway(async () => {
      await shipper.take(load);
      const fillPeakBytes = residentOf(shipper).peak;
      await Bun.sleep(SETTLE_MS);
      const steadyBytes = await steadyRss(shipper, seconds);
      await shipper.kill();
      shipper.startAgain();
      await Bun.sleep(SETTLE_MS);
      const startedBytes = await steadyRss(shipper, seconds);
      resetPeak(shipper.pid);
      return { fillPeakBytes, steadyBytes, startedBytes };
    });
    await shipper.waitUntilDelivered(load.lines);
    const drainPeakBytes = residentOf(shipper).peak;
    await Bun.sleep(SETTLE_MS);
    const drainedBytes = await steadyRss(shipper, seconds);
    return {
      label: labelOf(load),
      bufferedBytes: load.sizeBytes,
      lines: load.lines,
      ...buffered,
      drainPeakBytes,
      drainedBytes,
    };
  } finally {
    await shipper.remove();
  }
}

async function steadyRss(shipper: BufferedShipper, seconds: number): Promise<number> {
  const samples: number[] = [];
  for (const endMs = performance.now() + seconds * 1_000; performance.now() < endMs;) {
    samples.push(residentOf(shipper).now);
    await Bun.sleep(SAMPLE_MS);
  }
  return median(samples);
}

function residentOf(shipper: BufferedShipper): { readonly now: number; readonly peak: number } {
  shipper.requireRunning();
  return residentBytes(shipper.pid)!;
}
