// scripts/build: compiles main.ts and the Worker beside it into one executable; with --test one that the tests can let die and fail.
import { existsSync, mkdirSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { bunExecutable, TARGETS } from "./lib/bun_executable.ts";
import { projectDir } from "./lib/project.ts";
import { runCommand } from "./lib/run_command.ts";

/** main.ts first; Workers are loaded by their path at run time, so the bundler has to be told of them. */
const ENTRY_POINTS = ["./main.ts", "./src/kafka/compression_worker.ts", "./src/storage/sync_worker.ts"];

const FLAGS = [
  "--compile",
  "--minify",
  "--sourcemap",
  "--bytecode",
  "--format=esm",
  // What a command needs alone (main.ts) lies in chunks of its own, which the others do not load: 8 ms of a start.
  "--splitting",
  // Otherwise the binary obeys a .env, and runs the preload of a bunfig.toml, in the folder that it is started in.
  "--no-compile-autoload-dotenv",
  "--no-compile-autoload-bunfig",
];

const { target, isTest, outfile } = readArguments();
const startMs = performance.now();
const partDir = join(projectDir, "dist", `.part-${process.pid}`);
mkdirSync(partDir, { recursive: true });
try {
  await build(join(partDir, "shipper"));
  // Renamed into its place: a shipper that runs from there keeps its own file.
  renameSync(join(partDir, "shipper"), outfile);
} catch (error) {
  console.error(`Error: Cannot build shipper: ${(error as Error).message}`);
  process.exitCode = 1;
} finally {
  rmSync(partDir, { recursive: true, force: true });
}
if (process.exitCode === undefined) await report();

interface BuildArguments {
  /** Null: this machine. */
  readonly target: string | null;
  /** With src/telemetry/crash_point.ts and test_knobs.ts switched on. */
  readonly isTest: boolean;
  readonly outfile: string;
}

function readArguments(): BuildArguments {
  const { values } = parseArgs({ options: { target: { type: "string" }, test: { type: "boolean" } } });
  const target = values.target ?? null;
  const isTest = values.test ?? false;
  if (target !== null && !Object.hasOwn(TARGETS, target)) {
    console.error(`Error: Unknown target "${target}": one of ${Object.keys(TARGETS).join(", ")}`);
    process.exit(2);
  }
  if (target !== null && isTest) {
    console.error("Error: A test build is for this machine: leave --target or --test out");
    process.exit(2);
  }
  const name = isTest ? "shipper-test" : target === null ? "shipper" : `shipper-${target}`;
  return { target, isTest, outfile: join(projectDir, "dist", name) };
}

async function build(path: string): Promise<void> {
  const args = [
    "build",
    ...FLAGS,
    ...(target === null
      ? []
      : [`--target=bun-${target}`, `--compile-executable-path=${await bunExecutable(target)}`]),
    "--define",
    `process.env.SHIPPER_COMMIT=${JSON.stringify(await commit())}`,
    // Empty but for the tests: minification leaves out what only runs under it.
    "--define",
    `process.env.SHIPPER_TEST_BUILD=${JSON.stringify(isTest ? "1" : "")}`,
    ...ENTRY_POINTS.filter((entry) => existsSync(join(projectDir, entry))),
    "--outfile",
    path,
  ];
  await runCommand(process.execPath, args, { cwd: projectDir });
}

/** Short name of the commit that is checked out, "+" for changes on top; "" outside of git. */
async function commit(): Promise<string> {
  try {
    const { stdout } = await runCommand("git", ["describe", "--always", "--exclude=*", "--dirty=+"], {
      cwd: projectDir,
    });
    return stdout.trim();
  } catch {
    return ""; // an archive of the sources, or no git
  }
}

async function report(): Promise<void> {
  const sizeMb = (statSync(outfile).size / 1e6).toFixed(1);
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  const version = target === null
    ? (await runCommand(outfile, ["--version"])).stdout.trim()
    : `shipper for ${target}`;
  console.log(`Built ${outfile.slice(projectDir.length + 1)} (${version}, ${sizeMb} MB) in ${seconds} s`);
}
