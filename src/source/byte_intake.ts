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
const NEWLINE = 10;
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
  #lanes: readonly StdinLane[];
  /** Lanes whose `run` has not ended. */
  readonly #running = new Set<Promise<void>>();
  readonly #failed = new AbortController();
  /** Reading stands still until it resolves; null: it goes on. */
  #gate: PromiseWithResolvers<void> | null = null;
  /** What was read last does not end with a newline. */
  #isInsideLine = false;
  #hasBegun = false;
  #hasEnded = false;
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
    this.#hasBegun = true;
    for (const lane of this.#lanes) this.#start(lane);
    try {
      if (!signal.aborted) await this.#read(open(), AbortSignal.any([signal, this.#failed.signal]));
    } finally {
      this.#hasEnded = true;
      for (const lane of this.#lanes) lane.end();
    }
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  /** Nothing is read until `exchange`, but for what is on its way; these sinks get nothing either. */
  pause(heldSinks: ReadonlySet<string>): void {
    this.#gate ??= Promise.withResolvers();
    for (const lane of this.#lanes) if (heldSinks.has(lane.outlet.sink)) lane.hold();
  }

  /** Whether the sink was given all complete lines that were read for it. */
  isDrained(sink: string): boolean {
    return this.#lanes.every((lane) => lane.outlet.sink !== sink || lane.isDrained);
  }

  /**
   * Goes on with these outlets: one for a sink that had another one gets what is left for it, with the line that is not complete. A sink that is new
   * gets the lines that begin from now on. What is left for a sink that has no outlet any more is dropped.
   */
  exchange(outlets: readonly Outlet[]): void {
    const { stream, pool } = this.#options;
    const lanes: StdinLane[] = [];
    for (const outlet of outlets) {
      const known = this.#lanes.find((lane) => lane.outlet.sink === outlet.sink);
      known?.setOutlet(outlet);
      if (known !== undefined) lanes.push(known);
      else if (!this.#hasEnded) {
        const start = { offset: this.#readBytes, isInsideLine: this.#isInsideLine };
        const lane = new StdinLane(outlet, stream, pool, start);
        if (this.#hasBegun) this.#start(lane);
        lanes.push(lane);
      }
    }
    for (const lane of this.#lanes) if (!lanes.includes(lane)) lane.leave();
    this.#lanes = lanes;
    this.#gate?.resolve();
    this.#gate = null;
  }

  /** Not with the signal that stops the reading: what was read exists nowhere else, so it is offered after the stop, too. */
  #start(lane: StdinLane): void {
    const running: Promise<void> = lane.run(this.#failed.signal).then(() =>
      void this.#running.delete(running)
    );
    running.catch(() => this.#failed.abort()); // it stays in the set, and is awaited there
    this.#running.add(running);
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
    while (this.#gate !== null) await this.#gate.promise;
    const receivedMs = now();
    this.#isInsideLine = bytes.at(-1) !== NEWLINE;
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
