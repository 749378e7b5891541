import path from "node:path";
import type { KafkaSinkConfig, SinkConfig } from "./config/config.ts";
import { DeadLetterFile } from "./dead_letter/dead_letter_file.ts";
import type { DeadLetters } from "./event/dead_letters.ts";
import { pause } from "./pause.ts";
import type { Log } from "./telemetry/log.ts";
import type { Metrics } from "./telemetry/metrics.ts";

/** A file system that does not answer does not hold the end of the process for longer. */
const CLOSE_MAX_MS = 2_000;

/** The files that sinks keep dead letters in: one writer for each path, so that sinks can share a file. */
export class DeadLetterFiles {
  readonly #files = new Map<string, DeadLetterFile>();
  /** Absolute paths: no source may read them. */
  readonly paths: readonly string[];

  constructor(sinks: readonly SinkConfig[], metrics: Metrics, log: Log) {
    const byPath = new Map<string, KafkaSinkConfig[]>();
    for (const sink of sinks) {
      if (sink.type !== "kafka" || sink.deadLetter?.kind !== "file") continue;
      const name = path.resolve(sink.deadLetter.path);
      byPath.set(name, [...byPath.get(name) ?? [], sink]);
    }
    for (const [name, users] of byPath) {
      const onProblem = (message: string, hint: string) => {
        for (const user of users) metrics.sink(user.name).lastError = message;
        log.warn(message, { hint });
      };
      // Of several limits the lowest holds.
      const limits = users.map(({ deadLetter }) =>
        deadLetter?.kind === "file" ? deadLetter.sizeBytesMax : Infinity
      );
      const sizeBytesMax = Math.min(...limits);
      this.#files.set(name, new DeadLetterFile({ path: name, sizeBytesMax, onProblem }));
    }
    this.paths = [...byPath.keys()];
  }

  /** Null where the sink keeps none in a file. */
  of({ deadLetter }: KafkaSinkConfig): DeadLetters | null {
    return deadLetter?.kind !== "file" ? null : this.#files.get(path.resolve(deadLetter.path))!;
  }

  /** Patterns for a source that must not read them: what it ships could come back for ever. */
  get excludes(): string[] {
    return this.paths.map((each) => each.replace(/[\\*?[\]{}()!+@|]/gu, "\\$&"));
  }

  /** What is not safe by now stays with its source. */
  async close(): Promise<void> {
    const stop = new AbortController();
    const closed = Promise.all([...this.#files.values()].map((file) => file.close()));
    await Promise.race([closed, pause(CLOSE_MAX_MS, stop.signal)]);
    stop.abort();
  }
}
