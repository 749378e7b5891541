import type { Bench, Input } from "./lib/bench.ts";
import { atMost, type Check } from "./lib/check.ts";
import { LoopDisk } from "./lib/loop_disk.ts";
import type { Program, ProgramResult } from "./lib/program.ts";
import { describeRun, ship, type ShipRun } from "./lib/ship.ts";
import { median } from "./lib/statistics.ts";
import { formatMegabytes, type Table } from "./lib/table.ts";

const LINES = 10_000_000;
const ROUNDS = 3;
const KEYLESS_MAX = 0.01;
const KEYED_MAX = 0.015;

export const journal: Program = {
  name: "journal",
  title: "Bytes written to the disk per byte shipped",
  about:
    "`shipper --once` at full speed, lz4, with data_dir on a filesystem of its own (ext4 on a loop device): sectors written to that device, the filesystem's own and the zeros of new segments among them, against bytes of the input. Keyed: every line is a key, fifty partitions.",
  run,
};

interface Load {
  readonly label: string;
  readonly guarantee: "machine" | "process";
  readonly partitions: number;
  readonly keyField?: string;
  readonly ratioMax: number;
}

const KEYLESS = { partitions: 3, ratioMax: KEYLESS_MAX };
const KEYED = { partitions: 50, keyField: "message", ratioMax: KEYED_MAX };
const LOADS: readonly Load[] = [
  { label: "no keys, machine", guarantee: "machine", ...KEYLESS },
  { label: "no keys, process", guarantee: "process", ...KEYLESS },
  { label: "keyed, machine", guarantee: "machine", ...KEYED },
  { label: "keyed, process", guarantee: "process", ...KEYED },
];

interface JournalRun extends ShipRun {
  readonly label: string;
  readonly deviceBytes: number;
}

async function run(bench: Bench): Promise<ProgramResult> {
  if (!LoopDisk.isPossible) throw new Error("A filesystem on a loop device is needed, and that needs root");
  const rounds = bench.options.rounds ?? ROUNDS;
  const input = bench.input(bench.options.lines ?? LINES);
  const runs: JournalRun[] = [];
  for (let round = 1; round <= rounds; round++) {
    for (const load of LOADS) {
      const run = await measure(bench, input, load);
      runs.push(run);
      bench.progress(
        `round ${round} of ${rounds}: ${describeRun(run)}, ${
          formatMegabytes(run.deviceBytes)
        } MB to the device`,
      );
    }
  }
  bench.forgetInput(input);
  return {
    parameters: { lines: input.lines, inputBytes: input.sizeBytes, codec: "lz4", rounds },
    tables: [resultTable(input, runs, rounds)],
    checks: LOADS.map((load) => checkOf(input, runs, load)),
    runs: runs.map((each) => ({ ...each })),
  };
}

async function measure(bench: Bench, input: Input, load: Load): Promise<JournalRun> {
  const { label, ratioMax: _, ...how } = load;
  const dir = bench.runDir();
  const disk = await LoopDisk.mount(dir);
  try {
    const before = await disk.writtenBytes();
    const run = await ship(bench, "shipper", { input, codec: "lz4", dataDir: disk.path, ...how });
    return { label, ...run, deviceBytes: await disk.writtenBytes() - before };
  } finally {
    disk.remove();
    bench.removeRunDir(dir);
  }
}

const deviceBytesOf = (runs: readonly JournalRun[], { label }: Load) =>
  runs.filter((each) => each.label === label).map((each) => each.deviceBytes);

function resultTable(input: Input, runs: readonly JournalRun[], rounds: number): Table {
  return {
    title: `Median of ${rounds} rounds; the ratio also as (least to most)`,
    columns: ["", "partitions", "MB to the device", "per byte shipped"],
    rows: LOADS.map((load) => {
      const bytes = deviceBytesOf(runs, load);
      const ratio = (value: number) => (value / input.sizeBytes).toFixed(4);
      return [
        load.label,
        String(load.partitions),
        formatMegabytes(median(bytes)),
        `${ratio(median(bytes))} (${ratio(Math.min(...bytes))} to ${ratio(Math.max(...bytes))})`,
      ];
    }),
  };
}

function checkOf(input: Input, runs: readonly JournalRun[], load: Load): Check {
  return atMost(
    `${load.label}: bytes to the device per byte shipped`,
    median(deviceBytesOf(runs, load)) / input.sizeBytes,
    load.ratioMax,
  );
}
