import type { StdinSourceConfig } from "../config/config.ts";
import { errnoName, StartError } from "../errors.ts";
import type { Outlet } from "../event/chunk.ts";
import type { BufferPool } from "../event/pooled_buffer.ts";
import type { Stream } from "../event/stream.ts";
import type { Log } from "../telemetry/log.ts";
import type { SourceMetrics } from "../telemetry/metrics.ts";
import { type ByteInput, openStdin } from "./byte_input.ts";
import { ByteIntake, type OpenedInput, openInput } from "./byte_intake.ts";
import type { PipeSource } from "./source.ts";

export interface StdinSourceOptions {
  readonly config: StdinSourceConfig;
  /** At least one. */
  readonly outlets: readonly Outlet[];
  readonly metrics: SourceMetrics;
  readonly log: Log;
  readonly pool: BufferPool;
  /** Makes the stream's id readable; the id is unique without it. */
  readonly hostname?: string;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
  /** By default this process's stdin. */
  readonly open?: () => ByteInput;
}

/**
 * Reads stdin until its end; see `ByteIntake`. After the stop nothing more is read, and `run` resolves when the outlets have taken all that
 * was.
 *
 * `run` rejects with `StartError` when stdin is something that cannot be read, such as a folder. Closed stdin is an empty one.
 */
export function createStdinSource(options: StdinSourceOptions): PipeSource {
  return new StdinSource(options);
}

/** The stream of a pipe that one run reads: nothing is stored of it, so its id is of this run alone. */
export function pipeStream(
  source: string,
  hostname: string,
  nowMs: number,
  pipe?: "stdout" | "stderr",
): Stream {
  const id = `stdin:${hostname}:${nowMs}:${crypto.randomUUID()}`;
  const stream: Stream = { id, source, sourceType: "stdin", path: "" };
  return pipe === undefined ? stream : { ...stream, pipe };
}

class StdinSource implements PipeSource {
  readonly name: string;
  readonly #options: StdinSourceOptions;
  readonly #intake: ByteIntake;

  constructor(options: StdinSourceOptions) {
    const { config: { name }, hostname = "localhost", now = Date.now } = options;
    this.name = name;
    this.#options = options;
    this.#intake = new ByteIntake({
      ...options,
      stream: pipeStream(name, hostname, now()),
      label: "stdin",
      now,
    });
  }

  run(signal: AbortSignal): Promise<void> {
    return this.#intake.run(() => this.#open(), signal);
  }

  pause(heldSinks: ReadonlySet<string>): void {
    this.#intake.pause(heldSinks);
  }

  isDrained(sink: string): boolean {
    return this.#intake.isDrained(sink);
  }

  exchange(outlets: readonly Outlet[]): void {
    this.#intake.exchange(outlets);
  }

  #open(): OpenedInput {
    try {
      return openInput((this.#options.open ?? openStdin)());
    } catch (error) {
      this.#options.metrics.errors.add(errnoName(error));
      throw new StartError(
        "stdin-unreadable",
        `Cannot read stdin of source "${this.name}": ${errnoName(error)}`,
        "connect a pipe or a file to stdin, for example: some-command | shipper",
      );
    }
  }
}
