import path from "node:path";
import type { Config, KafkaSinkConfig, SinkConfig } from "./config/config.ts";
import { DeadLetterFile } from "./dead_letter/dead_letter_file.ts";
import type { DeadLetter, DeadLetters } from "./event/dead_letters.ts";
import { pause } from "./pause.ts";
import type { Log } from "./telemetry/log.ts";
import type { Metrics } from "./telemetry/metrics.ts";

/** A file system that does not answer does not hold the end of the process for longer. */
const CLOSE_MAX_MS = 2_000;

/** Where one sink puts its dead letters. */
export interface SinkLetters extends DeadLetters {
  /** The sink has ended: nothing is called back any more, also where others go on with the file. */
  close(): void;
}

interface SharedFile {
  readonly file: DeadLetterFile;
  /** By sink: the size that it lets the file grow to. */
  readonly users: Map<string, number>;
}

/** The files that sinks keep dead letters in: one writer for each path, so that sinks can share a file. */
export class DeadLetterFiles {
  readonly #metrics: Metrics;
  readonly #log: Log;
  /** By absolute path. */
  readonly #files = new Map<string, SharedFile>();
  /** Files whose last sink has ended. */
  readonly #closing = new Set<Promise<void>>();

  constructor(metrics: Metrics, log: Log) {
    this.#metrics = metrics;
    this.#log = log;
  }

  /** Null where the sink keeps none in a file. Once for each sink that is at work. */
  open({ name: sink, deadLetter }: KafkaSinkConfig): SinkLetters | null {
    if (deadLetter?.kind !== "file") return null;
    const name = path.resolve(deadLetter.path);
    const shared = this.#files.get(name) ?? this.#newFile(name, deadLetter.sizeBytesMax);
    shared.users.set(sink, deadLetter.sizeBytesMax);
    this.#limit(shared);
    let isClosed = false;
    return {
      put: (letter: DeadLetter, onSafe: () => void) => shared.file.put(letter, () => isClosed || onSafe()),
      close: () => {
        if (isClosed) return;
        isClosed = true;
        this.#release(name, shared, sink);
      },
    };
  }

  /** What is not safe by now stays with its source. */
  async close(): Promise<void> {
    const stop = new AbortController();
    const open = [...this.#files.values()].map(({ file }) => file.close());
    await Promise.race([Promise.all([...open, ...this.#closing]), pause(CLOSE_MAX_MS, stop.signal)]);
    stop.abort();
  }

  #newFile(name: string, sizeBytesMax: number): SharedFile {
    const users = new Map<string, number>();
    const onProblem = (message: string, hint: string) => {
      for (const user of users.keys()) this.#metrics.sink(user).lastError = message;
      this.#log.warn(message, { hint });
    };
    const shared = { file: new DeadLetterFile({ path: name, sizeBytesMax, onProblem }), users };
    this.#files.set(name, shared);
    return shared;
  }

  /** Of several limits the lowest holds. */
  #limit({ file, users }: SharedFile): void {
    file.sizeBytesMax = Math.min(...users.values());
  }

  #release(name: string, shared: SharedFile, sink: string): void {
    shared.users.delete(sink);
    if (shared.users.size > 0) return this.#limit(shared);
    if (this.#files.get(name) === shared) this.#files.delete(name);
    const closing: Promise<void> = shared.file.close().finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }
}

/** The same configuration, with sources that do not read the files of dead letters: what they ship could come back for ever. */
export function withoutLetterFiles(config: Config): Config {
  const patterns = letterPaths(config.sinks).map((each) => each.replace(/[\\*?[\]{}()!+@|]/gu, "\\$&"));
  if (patterns.length === 0) return config;
  const sources = config.sources.map((source) =>
    source.type === "file" ? { ...source, exclude: [...source.exclude, ...patterns] } : source
  );
  return { ...config, sources };
}

/** Absolute, each once. */
function letterPaths(sinks: readonly SinkConfig[]): string[] {
  const paths = sinks.flatMap((sink) =>
    sink.type === "kafka" && sink.deadLetter?.kind === "file" ? [path.resolve(sink.deadLetter.path)] : []
  );
  return [...new Set(paths)].sort();
}
