import {
  closeSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  statfsSync,
  statSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Flavour, writeAccessLog } from "./access_log.ts";
import { BenchKafka } from "./bench_kafka.ts";
import type { BenchOptions } from "./options.ts";

const COPY_BYTES = 1 << 20;
/** What is generated; longer inputs repeat it. */
const UNIQUE_LINES_MAX = 1_000_000;
/** Room that is left free on the disk. */
const DISK_RESERVE_BYTES = 2e9;

/** An input file. */
export interface Input {
  readonly path: string;
  readonly lines: number;
  readonly sizeBytes: number;
}

/** What the programs of a run share: options, a temporary folder, inputs and the broker, each made when first asked for. */
export class Bench {
  readonly options: BenchOptions;
  readonly progress: (message: string) => void;
  readonly #dir: string;
  readonly #inputs = new Map<string, Input>();
  #kafka: Promise<BenchKafka> | null = null;
  #runs = 0;

  constructor(options: BenchOptions, progress: (message: string) => void) {
    this.options = options;
    this.progress = progress;
    this.#dir = mkdtempSync(join(tmpdir(), "shipper-bench-"));
    process.on("exit", () => rmSync(this.#dir, { recursive: true, force: true }));
  }

  /** The one broker of this run. */
  kafka(): Promise<BenchKafka> {
    this.#kafka ??= BenchKafka.start(this.progress);
    return this.#kafka;
  }

  /** An access log of so many lines; kept until the end of the run, or until `forgetInput`. */
  input(lines: number, flavour: Flavour = "quoted"): Input {
    const key = `${flavour}-${lines}`;
    const known = this.#inputs.get(key);
    if (known !== undefined) return known;
    this.progress(`Writing ${lines} lines of an access log`);
    const path = join(this.#dir, `access-${key}.log`);
    const sizeBytes = lines <= UNIQUE_LINES_MAX
      ? writeAccessLog(path, lines, flavour)
      : this.#repeat(this.input(UNIQUE_LINES_MAX, flavour), lines / UNIQUE_LINES_MAX, path);
    const input = { path, lines, sizeBytes };
    this.#inputs.set(key, input);
    return input;
  }

  /** Removes an input that takes much room. */
  forgetInput(input: Input): void {
    rmSync(input.path, { force: true });
    for (const [key, known] of this.#inputs) if (known === input) this.#inputs.delete(key);
  }

  /** An empty folder for one run of a program; remove it with `removeRunDir`. */
  runDir(): string {
    const dir = join(this.#dir, `run-${this.#runs++}`);
    mkdirSync(dir, { mode: 0o700 });
    return dir;
  }

  removeRunDir(dir: string): void {
    rmSync(dir, { recursive: true, force: true });
  }

  /** Throws when the disk has no room for `neededBytes` more; `option` is the one that makes it less. */
  requireDisk(neededBytes: number, option: "--lines" | "--gigabytes" = "--lines"): void {
    const { bavail, bsize } = statfsSync(this.#dir);
    const freeBytes = bavail * bsize - DISK_RESERVE_BYTES;
    if (freeBytes >= neededBytes) return;
    const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`;
    throw new Error(
      `Cannot run with this much input: ${gigabytes(neededBytes)} are needed in "${tmpdir()}", ${
        gigabytes(Math.max(0, freeBytes))
      } are free; set TMPDIR to a folder with more room, or give ${option}`,
    );
  }

  /** Stops the broker and removes all files. */
  async close(): Promise<void> {
    if (this.#kafka !== null) await (await this.#kafka).stop();
    rmSync(this.#dir, { recursive: true, force: true });
  }

  #repeat(source: Input, times: number, path: string): number {
    if (!Number.isInteger(times)) throw new Error(`More than ${UNIQUE_LINES_MAX} lines are a multiple of it`);
    this.requireDisk(source.sizeBytes * times);
    copyFileSync(source.path, path);
    const from = openSync(source.path, "r");
    const to = openSync(path, "a");
    const buffer = Buffer.allocUnsafe(COPY_BYTES);
    for (let copy = 1; copy < times; copy++) {
      for (let at = 0; at < source.sizeBytes;) {
        const count = readSync(from, buffer, 0, COPY_BYTES, at);
        if (count === 0) throw new Error(`Cannot repeat "${source.path}": it became shorter`);
        for (let written = 0; written < count;) written += writeSync(to, buffer, written, count - written);
        at += count;
      }
    }
    closeSync(from);
    closeSync(to);
    return statSync(path).size;
  }
}
