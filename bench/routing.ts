import type { Bench } from "./lib/bench.ts";
import { atMost, type Check } from "./lib/check.ts";
import type { Program, ProgramResult } from "./lib/program.ts";
import { describeRun, ship, type ShipJob, type ShipRun } from "./lib/ship.ts";
import { median, type PairedRatio, pairedRatio } from "./lib/statistics.ts";
import { formatMegabytes, formatRate, formatRatio, type Table } from "./lib/table.ts";

const LINES = 1_000_000;
const ROUNDS = 5;
const PARTITIONS = 6;
/** CPU of the plain way against that of the shipper that SHIPPER_BASE_BIN names. */
const BASE_RATIO_MAX = 1.05;

export const routing: Program = {
  name: "routing",
  title: "Keys, headers, times and partitioners against none",
  about:
    "`shipper --once` into six partitions, exactly once, lz4. Plain: no keys, no headers, whole batches to one partition after the other. Keyed: every line is a key of its own. SHIPPER_BASE_BIN names another shipper to compare the plain way with.",
  run,
};

/** What is shipped by all in turn; the first one is what the others are compared with. */
type Way = Pick<ShipJob, "sinkLines" | "binary"> & { readonly label: string };

const KEY = 'key = "{{message}}"';
const WAYS: readonly Way[] = [
  { label: "plain" },
  { label: "headers, the same for all", sinkLines: ['headers = { env = "prod", file = "{{file}}" }'] },
  { label: "headers of each line", sinkLines: ['headers = { line = "{{message}}" }'] },
  { label: "times of events", sinkLines: ['timestamp_source = "event"'] },
  { label: "sticky, keyed", sinkLines: [KEY, 'partitioner = "sticky"'] },
  { label: "murmur2_random, key {{uuid}}", sinkLines: ['key = "{{uuid}}"'] },
  ...["round_robin", "least_bytes"].map((name) => ({ label: name, sinkLines: [`partitioner = "${name}"`] })),
  { label: "field", sinkLines: ['partition_field = "host"'] },
  ...["murmur2", "murmur2_random", "fnv1a", "fnv1a_reference", "consistent", "consistent_random"].map((
    name,
  ) => ({
    label: `${name}, keyed`,
    sinkLines: [KEY, `partitioner = "${name}"`],
  })),
];

async function run(bench: Bench): Promise<ProgramResult> {
  const rounds = bench.options.rounds ?? ROUNDS;
  const input = bench.input(bench.options.lines ?? LINES);
  const base = process.env["SHIPPER_BASE_BIN"];
  const ways = base === undefined ? WAYS : [...WAYS, { label: "plain, SHIPPER_BASE_BIN", binary: base }];
  const job: ShipJob = { input, partitions: PARTITIONS, codec: bench.options.codecs?.[0] ?? "lz4" };
  const runs = await measure(bench, job, ways, rounds);
  return {
    parameters: { lines: input.lines, inputBytes: input.sizeBytes, partitions: PARTITIONS, rounds },
    tables: [tableOf(runs, ways, rounds)],
    checks: base === undefined ? [] : [baseCheck(runs, ways)],
    runs: ways.flatMap((_, i) => runs[i]!.map((each, round) => ({ round: round + 1, ...each }))),
  };
}

/** All in turn, after one round that does not count; who is first changes with every round. Runs by way. */
async function measure(
  bench: Bench,
  job: ShipJob,
  ways: readonly Way[],
  rounds: number,
): Promise<readonly (readonly ShipRun[])[]> {
  const runs: ShipRun[][] = ways.map(() => []);
  for (let round = 0; round <= rounds; round++) {
    for (let i = 0; i < ways.length; i++) {
      const at = (round + i) % ways.length;
      const made = await ship(bench, "shipper", { ...job, ...ways[at]! });
      bench.progress(`${round === 0 ? "warm-up" : `round ${round} of ${rounds}`}: ${describeRun(made)}`);
      if (round > 0) runs[at]!.push(made);
    }
  }
  return runs;
}

type Runs = Awaited<ReturnType<typeof measure>>;

function ratioOf(runs: Runs, way: number, figure: (run: ShipRun) => number): PairedRatio {
  return pairedRatio(runs[way]!.map(figure), runs[0]!.map(figure));
}

function tableOf(runs: Runs, ways: readonly Way[], rounds: number): Table {
  return {
    title: `Medians of ${rounds} rounds; ratios to plain are medians of the rounds' own (least to most)`,
    columns: ["", "lines/s", "CPU s", "peak RSS MB", "CPU ratio", "wall ratio"],
    rows: ways.map(({ label }, i) => {
      const middle = (figure: (run: ShipRun) => number) => median(runs[i]!.map(figure));
      return [
        label,
        formatRate(middle((each) => each.linesPerSecond)),
        middle((each) => each.cpuSeconds).toFixed(2),
        formatMegabytes(middle((each) => each.peakRssBytes)),
        ...(i === 0 ? ["", ""] : [
          formatRatio(ratioOf(runs, i, (each) => each.cpuSeconds)),
          formatRatio(ratioOf(runs, i, (each) => each.wallSeconds)),
        ]),
      ];
    }),
  };
}

/** What nobody asks for costs nothing. */
function baseCheck(runs: Runs, ways: readonly Way[]): Check {
  const { median: ratio } = ratioOf(runs, ways.length - 1, (each) => each.cpuSeconds);
  return atMost("plain: CPU against SHIPPER_BASE_BIN", 1 / ratio, BASE_RATIO_MAX);
}
