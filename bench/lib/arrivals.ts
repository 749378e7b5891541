import { watchChild } from "./children.ts";

/** A consumer of one topic (kcat, unbuffered) that notes when each numbered line arrived. */
export class Arrivals {
  /** Clock of `performance.now()` at the arrival of line `n`; the first one, should it come twice. */
  readonly atMs = new Map<number, number>();
  /** The partition that line `n` came from. */
  readonly partitions = new Map<number, number>();
  readonly #child;

  constructor(bootstrap: string, topic: string) {
    const command = [
      "kcat",
      "-C",
      "-q",
      "-u",
      "-f",
      "%p %s\\n",
      "-b",
      bootstrap,
      "-t",
      topic,
      "-o",
      "beginning",
    ];
    this.#child = watchChild(Bun.spawn(command, { stdin: "ignore", stdout: "pipe", stderr: "ignore" }));
    this.#read(this.#child.stdout);
  }

  /** Ends the consumer. */
  async stop(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
  }

  async #read(stdout: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of stdout) {
      const nowMs = performance.now();
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop()!;
      for (const line of lines) {
        const number = lineNumber(line);
        if (number === null || this.atMs.has(number)) continue;
        this.atMs.set(number, nowMs);
        this.partitions.set(number, parseInt(line, 10));
      }
    }
  }
}

/** A line of an access log's length that carries a number. */
export function numberedLine(number: number): string {
  return `line=${number} `.padEnd(175, "x") + "\n";
}

/** The number of a line made by `numberedLine`, or null. */
export function lineNumber(line: string): number | null {
  const found = /line=(\d+) /.exec(line);
  return found === null ? null : Number(found[1]);
}
