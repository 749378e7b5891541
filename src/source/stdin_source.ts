import type { StdinSourceConfig } from "../config/config.ts";
import { errnoName, StartError } from "../errors.ts";
import type { Outlet } from "../event/chunk.ts";
import type { BufferPool } from "../event/pooled_buffer.ts";
import type { Stream } from "../event/stream.ts";
import type { Log } from "../telemetry/log.ts";
import type { SourceMetrics } from "../telemetry/metrics.ts";
import type { Source } from "./source.ts";
import { type ByteInput, openStdin } from "./stdin_input.ts";
import { StdinLane } from "./stdin_lane.ts";

/** After the stop, what the stream has read ahead comes at once; nothing for so long means that there is nothing. */
const READ_AHEAD_WAIT_MS = 50;

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
 * Reads stdin until its end. What a full outlet cannot take blocks the pipe, so that the writer waits and memory stays bounded: at most
 * `LANE_HELD_BYTES_MAX` and one read wait in front of each outlet. Several outlets are served apart, but the slowest one sets the pace
 * once its share is full: bytes of a pipe cannot be read twice.
 *
 * After the stop nothing more is read, and `run` resolves when the outlets have taken all that was: a line that was read in part is given as
 * it is. An outlet that is abandoned takes (and counts) it all at once.
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
    // Not `signal`: what was read exists nowhere else, so it is offered after the stop, too.
    const lanes = Promise.all(this.#lanes.map((lane) => lane.run(failed.signal)));
    lanes.catch(() => failed.abort()); // awaited below
    try {
      await this.#read(AbortSignal.any([signal, failed.signal]));
    } finally {
      for (const lane of this.#lanes) lane.end();
    }
    await lanes;
  }

  async #read(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    let input: ByteInput;
    let reader: ByteReader;
    try {
      input = (this.#options.open ?? openStdin)();
      reader = input.stream.getReader();
    } catch (error) {
      this.#options.metrics.errors.add(errnoName(error));
      throw new StartError(
        "stdin-unreadable",
        `Cannot read stdin of source "${this.name}": ${errnoName(error)}`,
        "connect a pipe or a file to stdin, for example: some-command | shipper",
      );
    }
    let cancelTimer: ReturnType<typeof setTimeout> | null = null;
    const cancel = () => void reader.cancel().catch(() => {}); // it is over either way
    const stop = () => {
      if (input.end()) cancelTimer = setTimeout(cancel, READ_AHEAD_WAIT_MS);
      else cancel();
      for (const lane of this.#lanes) lane.stopWaiting();
    };
    signal.addEventListener("abort", stop, { once: true });
    try {
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        if (value === undefined || value.length === 0) continue;
        await this.#give(value, signal);
      }
    } catch (error) {
      this.#options.metrics.errors.add(errnoName(error));
      this.#options.log.error(
        `Cannot read stdin any further (${errnoName(error)}): what was read is delivered, the rest is not`,
        { source: this.name },
      );
    } finally {
      if (cancelTimer !== null) clearTimeout(cancelTimer);
      signal.removeEventListener("abort", stop);
    }
  }

  /** Hands bytes to every lane, and waits until none of them is full. */
  async #give(bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    const receivedMs = this.#now();
    for (const lane of this.#lanes) lane.append(bytes, receivedMs);
    for (const lane of this.#lanes) {
      while (lane.isFull() && !signal.aborted) await lane.waitForTaken();
    }
  }
}
