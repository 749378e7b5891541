import { errnoName } from "../errors.ts";
import type { Outlet } from "../event/chunk.ts";
import type { BufferPool } from "../event/pooled_buffer.ts";
import type { Stream } from "../event/stream.ts";
import type { Log } from "../telemetry/log.ts";
import type { SourceMetrics } from "../telemetry/metrics.ts";
import type { ByteInput } from "./byte_input.ts";
import { StdinLane } from "./stdin_lane.ts";

/** After the stop, what the stream has read ahead comes at once; nothing for so long means that there is nothing. */
const READ_AHEAD_WAIT_MS = 50;
/** A tap that takes longer has held the reading. */
const TAP_HELD_MS = 20;

export interface ByteIntakeOptions {
  readonly stream: Stream;
  /** What is read, for messages: "stdin", "stdout of the command". */
  readonly label: string;
  /** At least one. */
  readonly outlets: readonly Outlet[];
  readonly metrics: SourceMetrics;
  readonly log: Log;
  readonly pool: BufferPool;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Gets all bytes first, and holds the reading while it is at work. Does not reject; ends early when the signal aborts. */
  readonly tap?: (bytes: Uint8Array, signal: AbortSignal) => Promise<void>;
}

/** A `ByteInput` whose stream is read: `end` is the same. */
export interface OpenedInput {
  readonly reader: ByteReader;
  end(): boolean;
  free?(bytes: Uint8Array): void;
}

/** The part of a stream's reader that is used, without the differences between runtimes. */
interface ByteReader {
  read(): Promise<{ done: boolean; value?: Uint8Array | undefined }>;
  cancel(): Promise<void>;
}

/** Starts to read. Throws the system's error where that is not possible. */
export function openInput(input: ByteInput): OpenedInput {
  return {
    reader: input.stream.getReader(),
    end: () => input.end(),
    free: (bytes) => input.free?.(bytes),
  };
}

/**
 * Reads a pipe to its end and gives its bytes to several outlets. What a full outlet cannot take blocks the pipe, so that the writer waits
 * and memory stays bounded: at most `LANE_HELD_BYTES_MAX` and one read wait in front of each outlet. Outlets are served apart, but the
 * slowest one sets the pace once its share is full: bytes of a pipe cannot be read twice.
 */
export class ByteIntake {
  readonly #options: ByteIntakeOptions;
  readonly #lanes: readonly StdinLane[];
  #isReading = false;
  #isHeld = false;
  #wasHeld = false;
  #readBytes = 0;

  constructor(options: ByteIntakeOptions) {
    this.#options = options;
    this.#lanes = options.outlets.map((outlet) => new StdinLane(outlet, options.stream, options.pool));
  }

  /** True until the input has ended. */
  get isReading(): boolean {
    return this.#isReading;
  }

  get readBytes(): number {
    return this.#readBytes;
  }

  /** Whether a full outlet, or the tap, has held the reading since this was last asked. */
  takeWasHeld(): boolean {
    const wasHeld = this.#isHeld || this.#wasHeld;
    this.#wasHeld = false;
    return wasHeld;
  }

  /**
   * Resolves when the input has ended, or `signal` has aborted, and the outlets have taken all that was read: a line that was read in part
   * is given as it is. An outlet that is abandoned takes (and counts) it all at once. Rejects with what `open` throws, and on a bug.
   */
  async run(open: () => OpenedInput, signal: AbortSignal): Promise<void> {
    const failed = new AbortController();
    // Not `signal`: what was read exists nowhere else, so it is offered after the stop, too.
    const lanes = Promise.all(this.#lanes.map((lane) => lane.run(failed.signal)));
    lanes.catch(() => failed.abort()); // awaited below
    try {
      if (!signal.aborted) await this.#read(open(), AbortSignal.any([signal, failed.signal]));
    } finally {
      for (const lane of this.#lanes) lane.end();
    }
    await lanes;
  }

  async #read(input: OpenedInput, signal: AbortSignal): Promise<void> {
    const { metrics, log, label, stream } = this.#options;
    const { reader } = input;
    let cancelTimer: ReturnType<typeof setTimeout> | null = null;
    const cancel = () => void reader.cancel().catch(() => {}); // it is over either way
    const stop = () => {
      if (input.end()) cancelTimer = setTimeout(cancel, READ_AHEAD_WAIT_MS);
      else cancel();
      for (const lane of this.#lanes) lane.stopWaiting();
    };
    signal.addEventListener("abort", stop, { once: true });
    this.#isReading = true;
    try {
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        if (value === undefined || value.length === 0) continue;
        await this.#give(value, signal);
        // Whoever taps may still hold it.
        if (this.#options.tap === undefined) input.free?.(value);
      }
    } catch (error) {
      metrics.errors.add(errnoName(error));
      log.error(
        `Cannot read ${label} any further (${errnoName(error)}): what was read is delivered, the rest is not`,
        { source: stream.source },
      );
    } finally {
      this.#isReading = false;
      if (cancelTimer !== null) clearTimeout(cancelTimer);
      signal.removeEventListener("abort", stop);
    }
  }

  /** Hands bytes to the tap and to every lane, and waits until none of them is full. */
  async #give(bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    const { tap, now } = this.#options;
    const receivedMs = now();
    this.#readBytes += bytes.length;
    for (const lane of this.#lanes) lane.append(bytes, receivedMs);
    this.#isHeld = true;
    if (tap !== undefined) {
      await tap(bytes, signal);
      if (now() - receivedMs >= TAP_HELD_MS) this.#wasHeld = true;
    }
    for (const lane of this.#lanes) {
      while (lane.isFull() && !signal.aborted) {
        this.#wasHeld = true;
        await lane.waitForTaken();
      }
    }
    this.#isHeld = false;
  }
}
