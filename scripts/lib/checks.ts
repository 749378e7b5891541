import { join } from "node:path";
import { projectDir } from "./project.ts";
import { runCommand } from "./run_command.ts";
import type { TestCase } from "./test_case.ts";

const bin = (name: string) => join(projectDir, "node_modules", ".bin", name);

/** What is checked without running a test. Each counts as one. */
const CHECKS: readonly { name: string; command: readonly string[]; hint: string }[] = [
  {
    name: "format",
    command: [bin("deno"), "fmt", "--check"],
    hint: '"./node_modules/.bin/deno fmt" mends it',
  },
  { name: "lint", command: [bin("deno"), "lint"], hint: "" },
  { name: "types", command: [bin("tsc"), "-p", "."], hint: "" },
  { name: "layers", command: [process.execPath, "scripts/layers.ts"], hint: "" },
];

/** Runs every check, side by side. */
export async function runChecks(progress: (line: string) => void): Promise<TestCase[]> {
  return await Promise.all(CHECKS.map(({ name, command, hint }) => runCheck(name, command, hint, progress)));
}

/** Runs a command as one test: passed when it ends with 0. */
export async function runCheck(
  name: string,
  command: readonly string[],
  hint: string,
  progress: (line: string) => void,
): Promise<TestCase> {
  const startMs = performance.now();
  let message = "";
  try {
    await runCommand(command[0]!, command.slice(1), { cwd: projectDir, env: { NO_COLOR: "1" } });
  } catch (error) {
    message = [(error as Error).message, hint].filter(Boolean).join("\n");
  }
  const seconds = (performance.now() - startMs) / 1000;
  progress(message === "" ? `${name}: ok (${seconds.toFixed(1)} s)` : `${name}: FAILED\n${message}`);
  return { file: "checks", name, seconds, status: message === "" ? "passed" : "failed", message };
}
