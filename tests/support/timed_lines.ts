import { appendFileSync } from "node:fs";
import { OracleWriter } from "./oracle.ts";

/** Writes its lines as the field `message` of JSON objects, with times of their own, a second apart. */
export class TimedWriter extends OracleWriter {
  readonly #startMs: number;
  #written = 0;

  /** The first line is of `startMs`. */
  constructor(run: string, file: string, startMs: number) {
    super(run, file);
    this.#startMs = startMs;
  }

  /** When line `seq` is of. */
  timeMs(seq: number): number {
    return this.#startMs + seq * 1_000;
  }

  override append(path: string, count: number): void {
    let text = "";
    for (let i = 0; i < count; i++) {
      const timestamp = new Date(this.timeMs(this.#written++)).toISOString();
      text += JSON.stringify({ timestamp, message: this.line().slice(0, -1) }) + "\n";
    }
    appendFileSync(path, text);
  }
}

/** The number of an oracle's line. */
export function seqOf(value: Buffer | null): number {
  return Number(String(value).split(" ")[2]);
}
