// scripts/fault: runs the long fault tests that are named, or all of them but the mix, and keeps what was found.
import { parseArgs } from "node:util";
import type { Cluster } from "../../../scripts/lib/kafka_cluster.ts";
import { startSharedCluster, TestKafka } from "../../support/kafka.ts";
import { brokerPrograms } from "./broker_programs.ts";
import { bufferPrograms } from "./buffer_programs.ts";
import { configPrograms } from "./config_programs.ts";
import { diskPrograms } from "./disk_programs.ts";
import { KeptFaultRun } from "./kept_run.ts";
import { letterPrograms } from "./letter_programs.ts";
import { mix } from "./mix.ts";
import { processPrograms } from "./process_programs.ts";
import { type FaultProgram, FaultRun } from "./program.ts";
import { topicPrograms } from "./topic_programs.ts";

const PROGRAMS: readonly FaultProgram[] = [
  ...processPrograms,
  ...brokerPrograms,
  ...topicPrograms,
  ...diskPrograms,
  ...bufferPrograms,
  ...letterPrograms,
  ...configPrograms,
  mix,
];
const MINUTES_DEFAULT = 30;

const USAGE = `Usage: scripts/fault [NAME...] [OPTIONS]

${PROGRAMS.map(({ name, title }) => `  ${name.padEnd(22)} ${title}`).join("\n")}

Without a name: all of them but "mix".
  --minutes N   mix: how long (default ${MINUTES_DEFAULT}); without a name it runs the mix alone
  --seed S      draws the same random numbers again
  --quick       shorter waits where minutes are waited
  --keep FILE   where the results go instead of tests/fault/runs/DATE-N.md`;

const options = readOptions();
if (options.help) {
  console.log(USAGE);
  process.exit(0);
}
const seed = options.seed === undefined ? Date.now() % 2 ** 32 : Number(options.seed);
const minutes = Number(options.minutes ?? MINUTES_DEFAULT);
if (!Number.isInteger(seed) || seed < 0) usageError("--seed is a whole number");
if (!(minutes > 0)) usageError("--minutes is a number above 0");
const programs = choose(options.names, options.minutes !== undefined);

let starting: Promise<Cluster> | null = null;
const getShared = async () => new TestKafka(await (starting ??= startSharedCluster(console.error)));
const stopShared = async () => await (await starting)?.stop();
for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
  process.on(signal, () => void stopShared().finally(() => process.exit(code)));
}

console.log(
  `Seed ${seed} (again: scripts/fault ${programs.map(({ name }) => name).join(" ")} --seed ${seed})`,
);
const kept = await KeptFaultRun.open({ seed, isQuick: options.quick, path: options.keep });
let failedCount = 0;
for (const program of programs) await runOne(program);
await stopShared();
console.log(`Kept in ${kept.path}`);
console.log(`${programs.length - failedCount} passed or skipped, ${failedCount} failed`);
process.exit(failedCount === 0 ? 0 : 1);

async function runOne(program: FaultProgram): Promise<void> {
  const reason = program.needs?.() ?? null;
  if (reason !== null) {
    console.log(`${program.name}: skipped, ${reason}`);
    return kept.add({ program, state: "skipped", seconds: 0, counts: null, note: reason });
  }
  console.log(`${program.name}: ${program.title}`);
  const startMs = performance.now();
  const run = new FaultRun({
    name: program.name,
    seed,
    isQuick: options.quick,
    durationMs: minutes * 60_000,
    log: (message) => console.error(`  ${((performance.now() - startMs) / 1_000).toFixed(0)} s  ${message}`),
    shared: getShared,
  });
  let state: "passed" | "failed" = "passed";
  let note: string;
  try {
    note = await program.run(run);
  } catch (error) {
    state = "failed";
    failedCount++;
    note = "see the output of the run";
    console.error(error);
  }
  const seconds = (performance.now() - startMs) / 1_000;
  console.log(`${program.name}: ${state} in ${seconds.toFixed(0)} s, ${JSON.stringify(run.counts)} ${note}`);
  kept.add({ program, state, seconds, counts: run.counts, note });
}

function readOptions() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        minutes: { type: "string" },
        seed: { type: "string" },
        quick: { type: "boolean", default: false },
        keep: { type: "string" },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    return { ...values, names: positionals };
  } catch (error) {
    usageError((error as Error).message);
  }
}

function choose(names: readonly string[], isMix: boolean): readonly FaultProgram[] {
  for (const name of names) {
    if (!PROGRAMS.some((program) => program.name === name)) usageError(`There is no fault test "${name}"`);
  }
  if (names.length > 0) return PROGRAMS.filter((program) => names.includes(program.name));
  return isMix ? [mix] : PROGRAMS.filter((program) => program !== mix);
}

function usageError(message: string): never {
  console.error(`Error: ${message}\n\n${USAGE}`);
  process.exit(2);
}
