import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { renderCheck } from "./check.ts";
import type { Environment } from "./environment.ts";
import type { Program, ProgramResult } from "./program.ts";
import { renderTable } from "./table.ts";

const RUNS_A_DAY_MAX = 1_000;

/** A program of a run, with what it found or why it found nothing. */
interface Entry {
  readonly program: Program;
  readonly result: ProgramResult | null;
  readonly failure: string | null;
}

/** The folder that keeps a run: result.json has every figure, README.md the tables. Written anew after each program. */
export class KeptRun {
  readonly dir: string;
  readonly #environment: Environment;
  readonly #entries: Entry[] = [];

  constructor(dir: string, environment: Environment) {
    this.dir = dir;
    this.#environment = environment;
  }

  /** Takes over what a program found, and returns it as text. */
  addResult(program: Program, result: ProgramResult): string {
    this.#add({ program, result, failure: null });
    return renderResult(result);
  }

  /** `failure` must not hold paths: it is kept. */
  addFailure(program: Program, failure: string): void {
    this.#add({ program, result: null, failure });
  }

  #add(entry: Entry): void {
    this.#entries.push(entry);
    mkdirSync(this.dir, { recursive: true });
    writeFileSync(join(this.dir, "README.md"), renderRun(this.#environment, this.#entries));
    const programs = this.#entries.map(({ program, result, failure }) => ({
      name: program.name,
      ...(result === null ? { failure } : result),
    }));
    writeFileSync(
      join(this.dir, "result.json"),
      `${JSON.stringify({ environment: this.#environment, programs }, null, 1)}\n`,
    );
  }
}

/** Makes the folder of a new run, `<root>/<date>-<n>`, and returns its path. */
export function newRunDir(root: string, date: string): string {
  mkdirSync(root, { recursive: true });
  for (let n = 1; n <= RUNS_A_DAY_MAX; n++) {
    const dir = join(root, `${date}-${n}`);
    try {
      mkdirSync(dir);
      return dir;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
  }
  throw new Error(`Cannot keep the run: there are ${RUNS_A_DAY_MAX} runs of ${date} already`);
}

function renderRun(environment: Environment, entries: readonly Entry[]): string {
  const facts = [
    `shipper: ${environment.shipper}, commit ${environment.commit}, bun ${environment.bun}`,
    `Apache Kafka ${environment.kafka}, one broker on the same machine`,
    `kcat ${environment.kcat} with librdkafka ${environment.librdkafka}`,
    `${environment.platform}, ${environment.cores} cores, ${environment.memoryGb} GB`,
  ];
  const head = `# Benchmarks of ${environment.date}\n\n${facts.map((fact) => `- ${fact}\n`).join("")}\n` +
    "How to repeat and read this: docs/benchmarks.md. Every figure of every run: result.json.\n";
  return head + entries.map(renderEntry).join("");
}

function renderEntry({ program, result, failure }: Entry): string {
  const body = result === null ? `Failed: ${failure}\n` : renderResult(result);
  return `\n## ${program.title}\n\n${program.about}\n\n${body}`;
}

function renderResult(result: ProgramResult): string {
  const parameters = Object.entries(result.parameters).map(([name, value]) => `${name} ${value}`).join(", ");
  const checks = result.checks.map((check) => `- ${renderCheck(check)}\n`).join("");
  return `${
    result.tables.map((table) => `${renderTable(table)}\n`).join("")
  }${checks}\nWith ${parameters}.\n`;
}
