import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { projectDir } from "./project.ts";
import { parseJunit, type TestCase } from "./test_case.ts";

/** For tests that name no time of their own. bun's 5 s are too few for a random test on a machine that does other work. */
const TEST_TIMEOUT_MS = 120_000;

const TAIL_LINES = 60;

/** Children of this module that are running, to be killed when the run is interrupted. */
export const runningChildren = new Set<ChildProcess>();

/**
 * Runs test files in one `bun test`, tells `progress` of every file that ends, and shows the output of files with failures. A file that
 * ran no test, and a run that breaks off, are failures too.
 */
export async function runTestFiles(
  files: readonly string[],
  env: Readonly<Record<string, string>>,
  progress: (line: string) => void,
): Promise<TestCase[]> {
  if (files.length === 0) return [];
  const dir = mkdtempSync(join(tmpdir(), "shipper-junit-"));
  const report = join(dir, "report.xml");
  const child = spawn(
    process.execPath,
    [
      "test",
      `--timeout=${TEST_TIMEOUT_MS}`,
      "--reporter=junit",
      `--reporter-outfile=${report}`,
      ...files.map((file) => `./${file}`),
    ],
    { cwd: projectDir, env: { ...process.env, ...env, NO_COLOR: "1" }, stdio: ["ignore", "ignore", "pipe"] },
  );
  runningChildren.add(child);
  const output = new FileSections(progress);
  createInterface({ input: child.stderr }).on("line", (line) => output.take(line));
  const ended = await new Promise<string>((resolve) => {
    child.on("error", (error) => resolve(`could not be started: ${error.message}`));
    child.on("close", (code, signal) => resolve(code === 0 ? "" : `ended with ${code ?? signal}`));
  });
  runningChildren.delete(child);
  output.flush();
  const cases = existsSync(report) ? parseJunit(readFileSync(report, "utf8")) : [];
  rmSync(dir, { recursive: true, force: true });
  return [...cases, ...missingFiles(files, cases), ...breakOff(ended, cases, output.tail())];
}

/** Runs each file by itself, on as many lanes at once as there are environments: whoever is done takes the next file. */
export async function runTestLanes(
  files: readonly string[],
  lanes: readonly Readonly<Record<string, string>>[],
  progress: (line: string) => void,
): Promise<TestCase[]> {
  const left = [...files];
  const cases: TestCase[] = [];
  await Promise.all(lanes.map(async (env) => {
    for (let file = left.shift(); file !== undefined; file = left.shift()) {
      cases.push(...await runTestFiles([file], env, progress));
    }
  }));
  return cases;
}

function missingFiles(files: readonly string[], cases: readonly TestCase[]): TestCase[] {
  const ran = new Set(cases.map((testCase) => testCase.file));
  return files.filter((file) => !ran.has(file)).map((file) => failure(file, "the file", "It ran no test"));
}

/** `bun test` fails as well for errors outside of tests. */
function breakOff(ended: string, cases: readonly TestCase[], tail: string): TestCase[] {
  if (ended === "" || cases.some((testCase) => testCase.status === "failed")) return [];
  return [failure("bun test", "the run", `"bun test" ${ended}, and no test had failed:\n${tail}`)];
}

function failure(file: string, name: string, message: string): TestCase {
  return { file, name, seconds: 0, status: "failed", message };
}

/** Splits the output of `bun test` at the names of the files. */
class FileSections {
  readonly #progress: (line: string) => void;
  #file = "";
  #lines: string[] = [];
  #all: string[] = [];

  constructor(progress: (line: string) => void) {
    this.#progress = progress;
  }

  take(line: string): void {
    this.#all.push(line);
    if (this.#all.length > TAIL_LINES) this.#all.shift();
    const header = /^(\S+_test\.tsx?):$/.exec(line);
    if (header !== null) {
      this.flush();
      this.#file = header[1]!;
    } else if (/^(\d+ tests? failed:| *\d+ pass)$/.test(line)) {
      this.flush(); // the summary of the whole run
    } else {
      this.#lines.push(line);
    }
  }

  tail(): string {
    return this.#all.join("\n");
  }

  flush(): void {
    const lines = this.#lines;
    this.#lines = [];
    if (this.#file === "") return;
    const count = (mark: string) => lines.filter((line) => line.startsWith(mark)).length;
    const failed = count("(fail)");
    if (failed > 0 || lines.some((line) => line.startsWith("error:"))) this.#progress(lines.join("\n"));
    this.#progress(`${this.#file}: ${count("(pass)")} passed${failed > 0 ? `, ${failed} FAILED` : ""}`);
    this.#file = "";
  }
}
