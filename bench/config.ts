import { join } from "node:path";
import { projectDir } from "../scripts/lib/project.ts";
import { shipperBinary } from "../tests/support/shipper.ts";
import type { Bench } from "./lib/bench.ts";
import { atMost } from "./lib/check.ts";
import type { Program, ProgramResult } from "./lib/program.ts";
import { median } from "./lib/statistics.ts";

const ROUNDS = 50;
const MEDIAN_MAX_MS = 30;

export const config: Program = {
  name: "config",
  title: "Loading and checking a configuration",
  about:
    "From just before `shipper validate --config config.example.toml` is started until it has ended, and the same of `shipper --version`, in turn. The difference is what loading and checking take; the whole is what is checked.",
  run,
};

async function run(bench: Bench): Promise<ProgramResult> {
  const rounds = bench.options.rounds ?? ROUNDS;
  const runs: { validateMs: number; versionMs: number }[] = [];
  for (let round = 0; round <= rounds; round++) {
    const versionMs = await measure(["--version"]);
    const validateMs = await measure(["validate", "--config", join(projectDir, "config.example.toml")]);
    // The first one reads the binary from the disk.
    if (round > 0) runs.push({ validateMs, versionMs });
  }
  const validate = runs.map((each) => each.validateMs);
  const version = runs.map((each) => each.versionMs);
  const differences = runs.map((each) => each.validateMs - each.versionMs);
  const row = (what: string, figures: readonly number[]) => [
    what,
    ...[median(figures), Math.min(...figures), Math.max(...figures)].map((ms) => ms.toFixed(1)),
  ];
  bench.progress(`${rounds} rounds: ${median(validate).toFixed(1)} ms`);
  return {
    parameters: { rounds },
    tables: [{
      title: "Milliseconds",
      columns: ["", "median", "least", "most"],
      rows: [
        row("shipper validate", validate),
        row("shipper --version", version),
        row("difference", differences),
      ],
    }],
    checks: [atMost("validate, median", median(validate), MEDIAN_MAX_MS, "ms")],
    runs,
  };
}

async function measure(args: readonly string[]): Promise<number> {
  const startMs = performance.now();
  const child = Bun.spawn([shipperBinary(), ...args], { stdin: "ignore", stdout: "ignore", stderr: "pipe" });
  const exitCode = await child.exited;
  const elapsedMs = performance.now() - startMs;
  if (exitCode !== 0) {
    throw new Error(`shipper ${args[0]} ended with ${exitCode}: ${await new Response(child.stderr).text()}`);
  }
  return elapsedMs;
}
