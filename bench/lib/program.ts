import type { Bench } from "./bench.ts";
import type { Check } from "./check.ts";
import type { Table } from "./table.ts";

/** One benchmark: a file under bench/. */
export interface Program {
  /** The word on the command line. */
  readonly name: string;
  readonly title: string;
  /** What is measured and how, in a sentence or two, for the kept README. */
  readonly about: string;
  run(bench: Bench): Promise<ProgramResult>;
}

/** What a program found. All of it is kept, so nothing in it may name the machine or its folders. */
export interface ProgramResult {
  readonly parameters: Readonly<Record<string, string | number>>;
  readonly tables: readonly Table[];
  readonly checks: readonly Check[];
  /** Raw figures of every run, in the order in which they ran. */
  readonly runs: readonly Readonly<Record<string, unknown>>[];
}
