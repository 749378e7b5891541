import type { CompressionCodec } from "../src/config/config.ts";
import type { Bench } from "./lib/bench.ts";
import type { Check } from "./lib/check.ts";
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
const PARTITIONS = 3;
const SPEED_MIN = 1.1;
const TOPIC_BYTES_MAX = 1.05;
const PEAK_RSS_MAX_BYTES = 128e6;
/** Bounds for CPU against kcat; the other codecs have none. */
const CPU_MAX: Partial<Record<CompressionCodec, number>> = { none: 0.6, lz4: 0.7, zstd: 0.8 };

export const throughput: Program = {
  name: "throughput",
  title: "Throughput against kcat, three partitions",
  about:
    "`shipper --once` and `kcat -P -l` ship the same complete file with acks=all into a new topic. Wall time, CPU and memory are those of the whole process.",
  run,
};

async function run(bench: Bench): Promise<ProgramResult> {
  const input = bench.input(bench.options.lines ?? LINES);
  const rounds = bench.options.rounds ?? ROUNDS;
  const codecs = bench.options.codecs ?? ["none", "lz4", "zstd"];
  const comparisons: Comparison[] = [];
  for (const codec of codecs) {
    comparisons.push(await compareWithKcat(bench, { input, partitions: PARTITIONS, codec }, rounds));
  }
  return {
    parameters: { lines: input.lines, inputBytes: input.sizeBytes, partitions: PARTITIONS, rounds },
    tables: [
      comparisonTable(
        `Medians of ${rounds} rounds; ratios shipper/kcat are medians of the rounds' own (least to most)`,
        comparisons,
      ),
    ],
    checks: comparisons.flatMap(checksOf),
    runs: comparisons.flatMap(comparisonRuns),
  };
}

function checksOf(comparison: Comparison): Check[] {
  const cpuMax = CPU_MAX[comparison.job.codec];
  return comparisonChecks(comparison, {
    speedMin: SPEED_MIN,
    topicBytesMax: TOPIC_BYTES_MAX,
    peakRssMaxBytes: PEAK_RSS_MAX_BYTES,
    ...(cpuMax === undefined ? {} : { cpuMax }),
  });
}
