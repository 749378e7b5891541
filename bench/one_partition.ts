import type { Bench } from "./lib/bench.ts";
import {
  compareWithKcat,
  type Comparison,
  comparisonChecks,
  comparisonRuns,
  comparisonTable,
} from "./lib/comparison.ts";
import type { Program, ProgramResult } from "./lib/program.ts";

const LINES = 1_000_000;
const ROUNDS = 5;
const SPEED_MIN = 0.9;

export const onePartition: Program = {
  name: "one-partition",
  title: "Throughput against kcat, one partition",
  about:
    "As `throughput`, into a topic with a single partition: shipper has one batch in flight there, kcat five.",
  run,
};

async function run(bench: Bench): Promise<ProgramResult> {
  const input = bench.input(bench.options.lines ?? LINES);
  const rounds = bench.options.rounds ?? ROUNDS;
  const comparisons: Comparison[] = [];
  for (const codec of bench.options.codecs ?? ["lz4" as const]) {
    comparisons.push(await compareWithKcat(bench, { input, partitions: 1, codec }, rounds));
  }
  return {
    parameters: { lines: input.lines, inputBytes: input.sizeBytes, partitions: 1, rounds },
    tables: [
      comparisonTable(
        `Medians of ${rounds} rounds; ratios shipper/kcat are medians of the rounds' own (least to most)`,
        comparisons,
      ),
    ],
    checks: comparisons.flatMap((each) => comparisonChecks(each, { speedMin: SPEED_MIN })),
    runs: comparisons.flatMap(comparisonRuns),
  };
}
