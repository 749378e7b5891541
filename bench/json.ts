import type { Flavour } from "./lib/access_log.ts";
import type { Bench } from "./lib/bench.ts";
import { atMost } from "./lib/check.ts";
import type { Program, ProgramResult } from "./lib/program.ts";
import { describeRun, ship, type ShipRun } from "./lib/ship.ts";
import { median, type PairedRatio, pairedRatio } from "./lib/statistics.ts";
import { formatMegabytes, formatRate, formatRatio } from "./lib/table.ts";

const LINES = 1_000_000;
const ROUNDS = 5;
const PARTITIONS = 3;
/** CPU of JSON against text. */
const CPU_MAX: Readonly<Record<Flavour, number>> = { quoted: 2.2, plain: 1.7 };
const LABELS: Readonly<Record<Flavour, string>> = { quoted: "lines with quotes", plain: "nothing to escape" };

export const json: Program = {
  name: "json",
  title: "JSON envelope against text",
  about:
    '`shipper --once` without compression, `encoding.codec = "json"` and "text" in turn: access-log lines, and the same lines with apostrophes instead of quotes, so that nothing is escaped.',
  run,
};

interface Result {
  readonly flavour: Flavour;
  readonly text: readonly ShipRun[];
  readonly json: readonly ShipRun[];
  readonly cpu: PairedRatio;
}

async function run(bench: Bench): Promise<ProgramResult> {
  const rounds = bench.options.rounds ?? ROUNDS;
  const lines = bench.options.lines ?? LINES;
  const results: Result[] = [];
  for (const flavour of ["quoted", "plain"] as const) {
    results.push(await measureFlavour(bench, flavour, lines, rounds));
  }
  return {
    parameters: { lines, partitions: PARTITIONS, codec: "none", rounds },
    tables: [{
      title: `Medians of ${rounds} rounds; the ratio is the median of the rounds' own (least to most)`,
      columns: ["", "CPU s", "lines/s", "peak RSS MB", "CPU json/text"],
      rows: results.flatMap((result) => [row(result, "text"), row(result, "json")]),
    }],
    checks: results.map(({ flavour, cpu }) =>
      atMost(`${LABELS[flavour]}: CPU of JSON against text`, cpu.median, CPU_MAX[flavour])
    ),
    runs: results.flatMap(({ flavour, text, json }) =>
      text.flatMap((run, i) => [run, json[i]!].map((each) => ({ round: i + 1, flavour, ...each })))
    ),
  };
}

async function measureFlavour(
  bench: Bench,
  flavour: Flavour,
  lines: number,
  rounds: number,
): Promise<Result> {
  const input = bench.input(lines, flavour);
  const runs = { text: [] as ShipRun[], json: [] as ShipRun[] };
  for (let round = 0; round <= rounds; round++) {
    for (const encoding of round % 2 === 0 ? ["text", "json"] as const : ["json", "text"] as const) {
      const run = await ship(bench, "shipper", { input, partitions: PARTITIONS, codec: "none", encoding });
      bench.progress(
        `${round === 0 ? "warm-up" : `round ${round} of ${rounds}`}, ${flavour}: ${describeRun(run)}`,
      );
      if (round > 0) runs[encoding].push(run);
    }
  }
  const cpu = (each: readonly ShipRun[]) => each.map((run) => run.cpuSeconds);
  return { flavour, ...runs, cpu: pairedRatio(cpu(runs.json), cpu(runs.text)) };
}

function row(result: Result, encoding: "text" | "json"): string[] {
  const middle = (figure: (run: ShipRun) => number) => median(result[encoding].map(figure));
  return [
    `${encoding}, ${LABELS[result.flavour]}`,
    middle((run) => run.cpuSeconds).toFixed(2),
    formatRate(middle((run) => run.linesPerSecond)),
    formatMegabytes(middle((run) => run.peakRssBytes)),
    encoding === "json" ? formatRatio(result.cpu) : "",
  ];
}
