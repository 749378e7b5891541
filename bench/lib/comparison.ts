import type { Bench } from "./bench.ts";
import { atLeast, atMost, type Check } from "./check.ts";
import { median, type PairedRatio, pairedRatio } from "./statistics.ts";
import { type ShipJob, shipPairs, type ShipRun, type Tool } from "./ship.ts";
import { formatMegabytes, formatRate, formatRatio, type Table } from "./table.ts";

/** shipper against kcat on the same job. */
export interface Comparison {
  readonly job: ShipJob;
  readonly runs: Readonly<Record<Tool, readonly ShipRun[]>>;
  readonly speed: PairedRatio;
  readonly cpu: PairedRatio;
  readonly topicBytes: PairedRatio;
}

/** What a comparison has to reach; a figure that is not named is not judged. */
export interface ComparisonTargets {
  readonly speedMin: number;
  readonly cpuMax?: number;
  readonly topicBytesMax?: number;
  readonly peakRssMaxBytes?: number;
}

export async function compareWithKcat(bench: Bench, job: ShipJob, rounds: number): Promise<Comparison> {
  const runs = await shipPairs(bench, job, rounds);
  const ratio = (figure: (run: ShipRun) => number) =>
    pairedRatio(runs.shipper.map(figure), runs.kcat.map(figure));
  return {
    job,
    runs,
    speed: ratio((run) => run.linesPerSecond),
    cpu: ratio((run) => run.cpuSeconds),
    topicBytes: ratio((run) => run.topicBytes),
  };
}

const COLUMNS = [
  "",
  "lines/s",
  "CPU s",
  "broker CPU s",
  "peak RSS MB",
  "topic MB",
  "lines/s ratio",
  "CPU ratio",
  "topic ratio",
];

/** A line for each tool and comparison: medians, and beside shipper the ratios shipper/kcat. */
export function comparisonTable(title: string, comparisons: readonly Comparison[]): Table {
  const rows = comparisons.flatMap(({ job, runs, speed, cpu, topicBytes }) =>
    (["kcat", "shipper"] as const).map((tool) => {
      const middle = (figure: (run: ShipRun) => number) => median(runs[tool].map(figure));
      const ratios = tool === "kcat"
        ? ["", "", ""]
        : [formatRatio(speed), formatRatio(cpu), topicBytes.median.toFixed(3)];
      return [
        `${tool} ${job.codec}`,
        formatRate(middle((run) => run.linesPerSecond)),
        middle((run) => run.cpuSeconds).toFixed(2),
        middle((run) => run.brokerCpuSeconds).toFixed(2),
        formatMegabytes(middle((run) => run.peakRssBytes)),
        formatMegabytes(middle((run) => run.topicBytes)),
        ...ratios,
      ];
    })
  );
  return { title, columns: COLUMNS, rows };
}

export function comparisonChecks(comparison: Comparison, targets: ComparisonTargets): Check[] {
  const { codec } = comparison.job;
  const checks = [atLeast(`${codec}: lines/s against kcat`, comparison.speed.median, targets.speedMin)];
  if (targets.cpuMax !== undefined) {
    checks.push(atMost(`${codec}: CPU against kcat`, comparison.cpu.median, targets.cpuMax));
  }
  if (targets.topicBytesMax !== undefined) {
    checks.push(
      atMost(
        `${codec}: bytes in the topic against kcat`,
        comparison.topicBytes.median,
        targets.topicBytesMax,
      ),
    );
  }
  if (targets.peakRssMaxBytes !== undefined) {
    const peak = Math.max(...comparison.runs.shipper.map((run) => run.peakRssBytes));
    checks.push(atMost(`${codec}: peak RSS, highest run`, peak / 1e6, targets.peakRssMaxBytes / 1e6, "MB"));
  }
  return checks;
}

/** Raw figures of every run, in pairs. */
export function comparisonRuns(comparison: Comparison): Record<string, unknown>[] {
  return comparison.runs.shipper.flatMap((ours, i) =>
    [ours, comparison.runs.kcat[i]!].map((run) => ({ round: i + 1, ...run }))
  );
}
