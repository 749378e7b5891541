import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { dirname, join, relative } from "node:path";
import { kafkaVersion } from "../../../scripts/lib/kafka_files.ts";
import { projectDir } from "../../../scripts/lib/project.ts";
import { runCommand } from "../../../scripts/lib/run_command.ts";
import { shipperBinary } from "../../support/shipper.ts";
import type { Counts, FaultProgram } from "./program.ts";

const RUNS_A_DAY_MAX = 1_000;

export interface FaultResult {
  readonly program: FaultProgram;
  readonly state: "passed" | "failed" | "skipped";
  readonly seconds: number;
  readonly counts: Counts | null;
  readonly note: string;
}

/** The file that keeps a run of the long fault tests; written anew after each of them. */
export class KeptFaultRun {
  readonly #absolutePath: string;
  readonly #head: string;
  readonly #rows: string[] = [];

  private constructor(path: string, head: string) {
    this.#absolutePath = path;
    this.#head = head;
  }

  static async open(
    options: { readonly seed: number; readonly isQuick: boolean; readonly path: string | undefined },
  ): Promise<KeptFaultRun> {
    const date = new Date().toISOString().slice(0, 10);
    const version = (await runCommand(shipperBinary(), ["--version"])).stdout.trim();
    const how = options.isQuick ? ", --quick" : "";
    const head =
      `# Long fault tests of ${date}\n\n- ${version}, bun ${Bun.version}, Apache Kafka ${kafkaVersion()}
- ${process.platform} ${process.arch}, ${cpus().length} cores
- seed ${options.seed}${how}\n
Counted by a reader that is not shipper's: lines written, lost, twice, and out of order by file and partition.\n
| test | result | seconds | lines | lost | twice | out of order | |\n|---|---|---|---|---|---|---|---|\n`;
    return new KeptFaultRun(options.path ?? newPath(date), head);
  }

  /** From the project's folder. */
  get path(): string {
    return relative(projectDir, this.#absolutePath);
  }

  add({ program, state, seconds, counts, note }: FaultResult): void {
    const figures = counts === null
      ? ["", "", "", ""]
      : [counts.writtenCount, counts.lostCount, counts.duplicatedCount, counts.outOfOrderCount];
    const cells = [program.name, state, seconds.toFixed(0), ...figures, note.replaceAll("|", "/")];
    this.#rows.push(`| ${cells.join(" | ")} |\n`);
    mkdirSync(dirname(this.#absolutePath), { recursive: true });
    writeFileSync(this.#absolutePath, this.#head + this.#rows.join(""));
  }
}

function newPath(date: string): string {
  for (let n = 1; n <= RUNS_A_DAY_MAX; n++) {
    const path = join(projectDir, "tests", "fault", "runs", `${date}-${n}.md`);
    if (!existsSync(path)) return path;
  }
  throw new Error(`Cannot keep the run: there are ${RUNS_A_DAY_MAX} runs of ${date} already`);
}
