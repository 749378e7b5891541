import type { Bench, Input } from "./lib/bench.ts";
import { atLeast, atMost, type Check } from "./lib/check.ts";
import type { Program, ProgramResult } from "./lib/program.ts";
import { describeRun, ship, type ShipRun } from "./lib/ship.ts";
import { median, pairedRatio } from "./lib/statistics.ts";
import { formatMegabytes, formatRate, formatRatio, type Table } from "./lib/table.ts";

const LINES = 3_000_000;
const ROUNDS = 5;
const PARTITIONS = 3;
/** All of the default input has room: shipper never waits for a full buffer. */
const DISK_BUFFER_BYTES = 4e9;
const SPEED_MIN = 0.6;
const RSS_MAX_BYTES = 128e6;
const DURABILITIES = ["machine", "process"] as const;
const BUFFERS = ["memory", "disk"] as const;

export const buffer: Program = {
  name: "buffer",
  title: "Disk buffer against memory buffer",
  about:
    "`shipper --once` reads the same lines from stdin into three partitions, exactly once, no compression, with its buffer in memory and on disk. With the disk buffer every line is written to the disk and read back before it is sent; with durability machine it is synced in between.",
  run,
};

type Durability = typeof DURABILITIES[number];
type Runs = Readonly<Record<typeof BUFFERS[number], readonly ShipRun[]>>;

async function run(bench: Bench): Promise<ProgramResult> {
  const rounds = bench.options.rounds ?? ROUNDS;
  const input = bench.input(bench.options.lines ?? LINES);
  // The buffer, and the topic.
  bench.requireDisk(input.sizeBytes * 2.5);
  const results: { readonly durability: Durability; readonly runs: Runs }[] = [];
  for (const durability of DURABILITIES) {
    results.push({ durability, runs: await measure(bench, input, durability, rounds) });
  }
  return {
    parameters: {
      lines: input.lines,
      inputBytes: input.sizeBytes,
      partitions: PARTITIONS,
      codec: "none",
      rounds,
    },
    tables: [resultTable(input, results, rounds)],
    checks: results.flatMap(({ durability, runs }) => checksOf(durability, runs)),
    runs: results.flatMap(({ runs }) =>
      runs.disk.flatMap((_, i) => BUFFERS.map((buffer) => ({ round: i + 1, ...runs[buffer][i]!, buffer })))
    ),
  };
}

/** Both buffers in turn, after one round that does not count; which is first changes with every round. */
async function measure(bench: Bench, input: Input, durability: Durability, rounds: number): Promise<Runs> {
  const runs = { memory: [] as ShipRun[], disk: [] as ShipRun[] };
  const job = {
    input,
    partitions: PARTITIONS,
    codec: "none",
    guarantee: durability,
    isOnStdin: true,
  } as const;
  for (let round = 0; round <= rounds; round++) {
    for (let i = 0; i < BUFFERS.length; i++) {
      const kind = BUFFERS[(round + i) % BUFFERS.length]!;
      const disk = kind === "disk" ? { diskBufferBytes: DISK_BUFFER_BYTES } : {};
      const run = await ship(bench, "shipper", { ...job, ...disk });
      bench.progress(`${round === 0 ? "warm-up" : `round ${round} of ${rounds}`}: ${describeRun(run)}`);
      if (round > 0) runs[kind].push(run);
    }
  }
  return runs;
}

const speedRatio = ({ memory, disk }: Runs) =>
  pairedRatio(disk.map((run) => run.linesPerSecond), memory.map((run) => run.linesPerSecond));

function resultTable(
  input: Input,
  results: readonly { readonly durability: Durability; readonly runs: Runs }[],
  rounds: number,
): Table {
  return {
    title:
      `Medians of ${rounds} rounds; ratios to the buffer in memory are medians of the rounds' own (least to most)`,
    columns: ["", "lines/s", "CPU s", "CPU s/GB", "peak RSS MB", "lines/s ratio", "CPU ratio"],
    rows: results.flatMap(({ durability, runs }) =>
      BUFFERS.map((kind) => {
        const middle = (figure: (run: ShipRun) => number) => median(runs[kind].map(figure));
        const cpu = middle((run) => run.cpuSeconds);
        const cpuRatio = () =>
          pairedRatio(runs.disk.map((run) => run.cpuSeconds), runs.memory.map((run) => run.cpuSeconds));
        return [
          `${durability}, ${kind}`,
          formatRate(middle((run) => run.linesPerSecond)),
          cpu.toFixed(2),
          (cpu / (input.sizeBytes / 1e9)).toFixed(2),
          formatMegabytes(middle((run) => run.peakRssBytes)),
          ...(kind === "memory" ? ["", ""] : [formatRatio(speedRatio(runs)), formatRatio(cpuRatio())]),
        ];
      })
    ),
  };
}

function checksOf(durability: Durability, runs: Runs): Check[] {
  const peak = Math.max(...runs.disk.map((run) => run.peakRssBytes));
  return [
    atLeast(`${durability}: lines/s, disk against memory`, speedRatio(runs).median, SPEED_MIN),
    atMost(
      `${durability}: peak RSS with the disk buffer, highest run`,
      peak / 1e6,
      RSS_MAX_BYTES / 1e6,
      "MB",
    ),
  ];
}
