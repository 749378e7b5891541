import type { CompressionCodec } from "../src/config/config.ts";
import type { Bench } from "./lib/bench.ts";
import { atMost, type Check } from "./lib/check.ts";
import { type Guarantee, guaranteeLabel } from "./lib/guarantee.ts";
import type { Program, ProgramResult } from "./lib/program.ts";
import { describeRun, ship, type ShipJob, type ShipRun } from "./lib/ship.ts";
import { median, type PairedRatio, pairedRatio } from "./lib/statistics.ts";
import { formatMegabytes, formatRate, formatRatio, type Table } from "./lib/table.ts";

const LINES = 1_000_000;
const ROUNDS = 7;
const PARTITIONS = 3;
const GUARANTEES = ["at_least_once", "process", "machine"] as const;
/** CPU and wall time of exactly once against at least once, lz4 without keys; the others have no bound. */
const RATIO_MAX = 1.1;
const RSS_MAX_BYTES = 128e6;

export const exactly: Program = {
  name: "exactly",
  title: "Exactly once against at least once",
  about:
    "`shipper --once` into three partitions, with a journal that survives a power cut (machine) or a crash (process), and without one. Keyed: every line is a key of its own, so that its batches hold lines from everywhere.",
  run,
};

/** What is shipped by all sides in turn. */
type Load = Pick<ShipJob, "codec" | "keyField"> & { readonly label: string };

interface Result {
  readonly load: Load;
  readonly runs: Readonly<Record<Guarantee, readonly ShipRun[]>>;
}

async function run(bench: Bench): Promise<ProgramResult> {
  const rounds = bench.options.rounds ?? ROUNDS;
  const input = bench.input(bench.options.lines ?? LINES);
  const results: Result[] = [];
  for (const load of (bench.options.codecs ?? (["lz4", "none"] as const)).flatMap(loadsOf)) {
    const { label: _, ...how } = load;
    results.push({ load, runs: await measure(bench, { input, partitions: PARTITIONS, ...how }, rounds) });
  }
  return {
    parameters: { lines: input.lines, inputBytes: input.sizeBytes, partitions: PARTITIONS, rounds },
    tables: [resultTable(results, rounds)],
    checks: results.flatMap(checksOf),
    runs: results.flatMap(({ runs }) =>
      runs.machine.flatMap((_, i) => GUARANTEES.map((each) => ({ round: i + 1, ...runs[each][i]! })))
    ),
  };
}

function loadsOf(codec: CompressionCodec): Load[] {
  const load = { codec, label: codec };
  return codec === "lz4" ? [load, { codec, label: `${codec}, keyed`, keyField: "message" }] : [load];
}

/** All sides in turn, after one round that does not count; who is first changes with every round. */
async function measure(bench: Bench, job: ShipJob, rounds: number): Promise<Result["runs"]> {
  const runs = { at_least_once: [] as ShipRun[], process: [] as ShipRun[], machine: [] as ShipRun[] };
  for (let round = 0; round <= rounds; round++) {
    for (let i = 0; i < GUARANTEES.length; i++) {
      const guarantee = GUARANTEES[(round + i) % GUARANTEES.length]!;
      const run = await ship(bench, "shipper", { ...job, guarantee });
      bench.progress(`${round === 0 ? "warm-up" : `round ${round} of ${rounds}`}: ${describeRun(run)}`);
      if (round > 0) runs[guarantee].push(run);
    }
  }
  return runs;
}

function ratioOf({ runs }: Result, guarantee: Guarantee, figure: (run: ShipRun) => number): PairedRatio {
  return pairedRatio(runs[guarantee].map(figure), runs.at_least_once.map(figure));
}

function resultTable(results: readonly Result[], rounds: number): Table {
  return {
    title:
      `Medians of ${rounds} rounds; ratios to at least once are medians of the rounds' own (least to most)`,
    columns: ["", "lines/s", "CPU s", "peak RSS MB", "CPU ratio", "wall ratio"],
    rows: results.flatMap((result) =>
      GUARANTEES.map((guarantee) => {
        const middle = (figure: (run: ShipRun) => number) => median(result.runs[guarantee].map(figure));
        return [
          `${result.load.label}, ${guaranteeLabel(guarantee)}`,
          formatRate(middle((run) => run.linesPerSecond)),
          middle((run) => run.cpuSeconds).toFixed(2),
          formatMegabytes(middle((run) => run.peakRssBytes)),
          ...(guarantee === "at_least_once" ? ["", ""] : [
            formatRatio(ratioOf(result, guarantee, (run) => run.cpuSeconds)),
            formatRatio(ratioOf(result, guarantee, (run) => run.wallSeconds)),
          ]),
        ];
      })
    ),
  };
}

function checksOf(result: Result): Check[] {
  const { load, runs } = result;
  const peak = Math.max(...[...runs.machine, ...runs.process].map((run) => run.peakRssBytes));
  const rss = atMost(`${load.label}: peak RSS, highest run`, peak / 1e6, RSS_MAX_BYTES / 1e6, "MB");
  if (load.codec !== "lz4" || load.keyField !== undefined) return [rss];
  const ratio = (what: string, figure: (run: ShipRun) => number) =>
    atMost(
      `${load.label}: ${what} against at least once`,
      ratioOf(result, "machine", figure).median,
      RATIO_MAX,
    );
  return [ratio("CPU", (run) => run.cpuSeconds), ratio("wall time", (run) => run.wallSeconds), rss];
}
