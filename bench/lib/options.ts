import { parseArgs } from "node:util";
import type { CompressionCodec } from "../../src/config/config.ts";

/** What the command line asks for. Null: the program's own default, which is what the kept figures were made with. */
export interface BenchOptions {
  /** Programs to run; empty: all of them. */
  readonly names: readonly string[];
  readonly lines: number | null;
  readonly rounds: number | null;
  readonly seconds: number | null;
  /** Size of what waits in a disk buffer, in GB of 1,000,000,000 bytes. */
  readonly gigabytes: number | null;
  readonly codecs: readonly CompressionCodec[] | null;
  /** Folder for the results. Null: a new one under bench/runs. */
  readonly out: string | null;
  /** Measure rsyslog beside shipper where the program can. */
  readonly rsyslog: boolean;
  readonly help: boolean;
}

const CODECS: readonly CompressionCodec[] = ["none", "gzip", "snappy", "lz4", "zstd"];

/** Reads the words after the program's name. Throws an error that says what is wrong with them. */
export function parseOptions(argv: readonly string[]): BenchOptions {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      "lines": { type: "string" },
      "rounds": { type: "string" },
      "seconds": { type: "string" },
      "gigabytes": { type: "string" },
      "codecs": { type: "string" },
      "out": { type: "string" },
      "rsyslog": { type: "boolean", default: false },
      "help": { type: "boolean", short: "h", default: false },
    },
  });
  return {
    names: positionals,
    lines: wholeNumber("--lines", values.lines, 100_000_000),
    rounds: wholeNumber("--rounds", values.rounds, 1_000),
    seconds: wholeNumber("--seconds", values.seconds, 86_400),
    gigabytes: wholeNumber("--gigabytes", values.gigabytes, 1_000),
    codecs: values.codecs === undefined ? null : values.codecs.split(",").map(codec),
    out: values.out ?? null,
    rsyslog: values.rsyslog,
    help: values.help,
  };
}

function wholeNumber(name: string, text: string | undefined, max: number): number | null {
  if (text === undefined) return null;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > max) {
    throw new Error(`${name} is a whole number from 1 to ${max}, not "${text}"`);
  }
  return value;
}

function codec(text: string): CompressionCodec {
  const found = CODECS.find((each) => each === text);
  if (found === undefined) {
    throw new Error(`--codecs is a comma list of ${CODECS.join(", ")}; "${text}" is none`);
  }
  return found;
}
