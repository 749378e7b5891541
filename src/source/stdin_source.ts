import type { StdinSourceConfig } from "../config/config.ts";
import { errnoName, StartError } from "../errors.ts";
import type { Outlet } from "../event/chunk.ts";
import type { BufferPool } from "../event/pooled_buffer.ts";
import type { Stream } from "../event/stream.ts";
import type { Log } from "../telemetry/log.ts";
import type { SourceMetrics } from "../telemetry/metrics.ts";
import type { Source } from "./source.ts";
import { StdinLane } from "./stdin_lane.ts";

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
  readonly open?: () => ReadableStream<Uint8Array>;
}

/**
 * Reads stdin until its end. What a full outlet cannot take blocks the pipe, so that the writer waits and memory stays bounded: at most
 * `LANE_HELD_BYTES_MAX` and one read wait in front of each outlet. Several outlets are served apart, but the slowest one sets the pace
 * once its share is full: bytes of a pipe cannot be read twice.
 *
 * `run` rejects with `StartError` when stdin is something that cannot be read, such as a folder. Closed stdin is an empty one.
 */
export function createStdinSource(options: StdinSourceOptions): Source {
  return new StdinSource(options);
}

/** The part of a stream's reader that is used, without the differences between runtimes. */
interface ByteReader {
  read(): Promise<{ done: boolean; value?: Uint8Array | undefined }>;
  cancel(): Promise<void>;
}

class StdinSource implements Source {
  readonly name: string;
  readonly #options: StdinSourceOptions;
  readonly #lanes: readonly StdinLane[];
  readonly #now: () => number;

  constructor(options: StdinSourceOptions) {
    this.name = options.config.name;
    this.#options = options;
    this.#now = options.now ?? Date.now;
    const stream: Stream = {
      id: `stdin:${options.hostname ?? "localhost"}:${this.#now()}:${crypto.randomUUID()}`,
      source: this.name,
      sourceType: "stdin",
      path: "",
    };
    this.#lanes = options.outlets.map((outlet) => new StdinLane(outlet, stream, options.pool));
  }

  async run(signal: AbortSignal): Promise<void> {
    const failed = new AbortController();
    const either = AbortSignal.any([signal, failed.signal]);
    const lanes = Promise.all(this.#lanes.map((lane) => lane.run(either)));
    lanes.catch(() => failed.abort()); // awaited below
    try {
      await this.#read(either);
    } finally {
      for (const lane of this.#lanes) lane.end();
    }
    await lanes;
  }

  async #read(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    let reader: ByteReader;
    try {
      reader = (this.#options.open?.() ?? Bun.stdin.stream() as ReadableStream<Uint8Array>).getReader();
    } catch (error) {
      this.#options.metrics.errors.add(errnoName(error));
      throw new StartError(
        "stdin-unreadable",
        `Cannot read stdin of source "${this.name}": ${errnoName(error)}`,
        "connect a pipe or a file to stdin, for example: some-command | shipper",
      );
    }
    const cancel = () => void reader.cancel().catch(() => {}); // it is over either way
    signal.addEventListener("abort", cancel, { once: true });
    try {
      while (!signal.aborted) {
        const { value, done } = await reader.read();
        if (done) return;
        if (value === undefined || value.length === 0) continue;
        const receivedMs = this.#now();
        for (const lane of this.#lanes) lane.append(value, receivedMs);
        for (const lane of this.#lanes) {
          while (lane.isFull() && !signal.aborted) await lane.waitForTaken();
        }
      }
    } catch (error) {
      this.#options.metrics.errors.add(errnoName(error));
      this.#options.log.error(
        `Cannot read stdin any further (${errnoName(error)}): what was read is delivered, the rest is not`,
        { source: this.name },
      );
    } finally {
      signal.removeEventListener("abort", cancel);
    }
  }
}
