// scripts/bench: runs the benchmarks that are named, or all of them, and keeps what they find.
import { join } from "node:path";
import { projectDir } from "../scripts/lib/project.ts";
import { buffer } from "./buffer.ts";
import { bufferedMemory } from "./buffered_memory.ts";
import { bufferedStart } from "./buffered_start.ts";
import { config } from "./config.ts";
import { drain } from "./drain.ts";
import { exactly } from "./exactly.ts";
import { idle } from "./idle.ts";
import { journal } from "./journal.ts";
import { json } from "./json.ts";
import { lag } from "./lag.ts";
import { latency } from "./latency.ts";
import { Bench } from "./lib/bench.ts";
import { readEnvironment } from "./lib/environment.ts";
import { KeptRun, newRunDir } from "./lib/kept_run.ts";
import { type BenchOptions, parseOptions } from "./lib/options.ts";
import type { Program } from "./lib/program.ts";
import { memory } from "./memory.ts";
import { onePartition } from "./one_partition.ts";
import { outage } from "./outage.ts";
import { recovery } from "./recovery.ts";
import { routing } from "./routing.ts";
import { start } from "./start.ts";
import { throughput } from "./throughput.ts";
import { wear } from "./wear.ts";

const PROGRAMS: readonly Program[] = [
  throughput,
  onePartition,
  memory,
  json,
  idle,
  latency,
  start,
  config,
  lag,
  exactly,
  routing,
  recovery,
  journal,
  wear,
  buffer,
  drain,
  bufferedMemory,
  bufferedStart,
  outage,
];

const USAGE = `Usage: scripts/bench [NAME...] [OPTIONS]

${PROGRAMS.map(({ name, title }) => `  ${name.padEnd(15)} ${title}`).join("\n")}

Without a name: all of them. Without options: as the kept figures under bench/runs were made.
  --lines N       lines of the input
  --rounds N      runs of each side
  --seconds N     length of idle, latency, wear and outage, and of buffered-memory's steady part
  --gigabytes N   what waits in the disk buffer of buffered-memory and buffered-start
  --codecs LIST   for example lz4,zstd
  --rsyslog       latency, outage: rsyslog beside shipper (its packages are unpacked aside, not installed)
  --out DIR       folder for the results instead of bench/runs/DATE-N
SHIPPER_BIN names another shipper than dist/shipper, SHIPPER_BASE_BIN one that routing compares it with.`;

const options = readOptions();
if (options.help) {
  console.log(USAGE);
  process.exit(0);
}
const programs = choosePrograms(options.names);
const environment = await readEnvironment();
const kept = new KeptRun(
  options.out ?? newRunDir(join(projectDir, "bench", "runs"), environment.date),
  environment,
);
const bench = new Bench(options, (message) => console.error(`  ${message}`));
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => bench.close().finally(() => process.exit(1)));
}
let failures = 0;
for (const program of programs) {
  console.log(`\n${program.title}`);
  try {
    console.log(`\n${kept.addResult(program, await program.run(bench))}`);
  } catch (error) {
    failures++;
    console.error(`Error: ${program.name} failed: ${(error as Error).message}`);
    kept.addFailure(program, "it did not come to its end; the error is printed where it was run");
  }
}
await bench.close();
console.log(`Kept in ${kept.dir}`);
process.exit(failures === 0 ? 0 : 1);

function readOptions(): BenchOptions {
  try {
    return parseOptions(process.argv.slice(2));
  } catch (error) {
    usageError((error as Error).message);
  }
}

function choosePrograms(names: readonly string[]): readonly Program[] {
  for (const name of names) {
    if (!PROGRAMS.some((program) => program.name === name)) usageError(`There is no benchmark "${name}"`);
  }
  return names.length === 0 ? PROGRAMS : PROGRAMS.filter((program) => names.includes(program.name));
}

function usageError(message: string): never {
  console.error(`Error: ${message}\n\n${USAGE}`);
  process.exit(2);
}
