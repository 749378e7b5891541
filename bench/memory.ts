import type { CompressionCodec } from "../src/config/config.ts";
import type { Bench, Input } from "./lib/bench.ts";
import { atMost, type Check } from "./lib/check.ts";
import type { Program, ProgramResult } from "./lib/program.ts";
import { describeRun, ship, type ShipRun } from "./lib/ship.ts";
import { median } from "./lib/statistics.ts";
import { formatMegabytes, type Table } from "./lib/table.ts";

const LINES = 1_000_000;
/** The long run is so many times the short one. */
const LONGER = 10;
const ROUNDS = 3;
const PARTITIONS = 3;
const PEAK_MAX_BYTES = 128e6;
const GROWTH_MAX = 1.05;

export const memory: Program = {
  name: "memory",
  title: "Peak memory, and whether it grows with the input",
  about:
    "`shipper --once` ships a file and one that is ten times as long (the same lines over and over). Peak RSS is the kernel's high-water mark of the whole process.",
  run,
};

interface Pair {
  readonly codec: CompressionCodec;
  readonly short: readonly ShipRun[];
  readonly long: readonly ShipRun[];
}

async function run(bench: Bench): Promise<ProgramResult> {
  const short = bench.input(bench.options.lines ?? LINES);
  // The long file, and its topic in the worst case.
  bench.requireDisk(short.sizeBytes * LONGER * 2.2);
  const long = bench.input(short.lines * LONGER);
  const rounds = bench.options.rounds ?? ROUNDS;
  const pairs: Pair[] = [];
  for (const codec of bench.options.codecs ?? (["none", "lz4", "zstd"] as const)) {
    pairs.push(await measureCodec(bench, codec, short, long, rounds));
  }
  bench.forgetInput(long);
  return {
    parameters: { shortLines: short.lines, longLines: long.lines, partitions: PARTITIONS, rounds },
    tables: [resultTable(pairs)],
    checks: pairs.flatMap(checksOf),
    runs: pairs.flatMap((pair) => [...pair.short, ...pair.long].map((each) => ({ ...each }))),
  };
}

async function measureCodec(
  bench: Bench,
  codec: CompressionCodec,
  short: Input,
  long: Input,
  rounds: number,
): Promise<Pair> {
  const runs = { short: [] as ShipRun[], long: [] as ShipRun[] };
  for (let round = 0; round < rounds; round++) {
    for (const [length, input] of [["short", short], ["long", long]] as const) {
      const run = await ship(bench, "shipper", { input, partitions: PARTITIONS, codec });
      bench.progress(`round ${round + 1} of ${rounds}: ${describeRun(run)}`);
      runs[length].push(run);
    }
  }
  return { codec, ...runs };
}

const peaks = (runs: readonly ShipRun[]) => runs.map((run) => run.peakRssBytes);

function growth(pair: Pair): number {
  return median(peaks(pair.long)) / median(peaks(pair.short));
}

function resultTable(pairs: readonly Pair[]): Table {
  const spread = (values: readonly number[]) =>
    `${formatMegabytes(median(values))} (${formatMegabytes(Math.min(...values))} to ${
      formatMegabytes(Math.max(...values))
    })`;
  return {
    title: "Peak RSS in MB: median of the rounds (least to most)",
    columns: ["codec", "short file", "long file", "long/short"],
    rows: pairs.map((pair) => [
      pair.codec,
      spread(peaks(pair.short)),
      spread(peaks(pair.long)),
      growth(pair).toFixed(3),
    ]),
  };
}

function checksOf(pair: Pair): Check[] {
  const most = Math.max(...peaks(pair.short), ...peaks(pair.long));
  return [
    atMost(`${pair.codec}: peak RSS, highest run`, most / 1e6, PEAK_MAX_BYTES / 1e6, "MB"),
    atMost(`${pair.codec}: peak RSS, long against short`, growth(pair), GROWTH_MAX),
  ];
}
