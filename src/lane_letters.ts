import type { DeadLetters } from "./event/dead_letters.ts";
import type { LineBatch } from "./event/line_batch.ts";
import type { Tally } from "./event/tally.ts";
import type { Sink } from "./sink/sink.ts";
import type { SinkMetrics } from "./telemetry/metrics.ts";

/** Bytes of lines of one lane whose letters are not safe yet; passed by what one chunk holds at most. */
export const LANE_LETTERS_BYTES_MAX = 4 * 1_048_576;

export interface LaneLettersOptions {
  readonly deadLetters: DeadLetters;
  readonly source: string;
  readonly sink: string;
  readonly metrics: SinkMetrics;
  readonly now: () => number;
}

/** The letters of all lanes to one sink. */
export class LettersOfLanes {
  /** By source: a lane that takes the place of another one goes on with what that one has waiting. */
  readonly #all = new Map<string, LaneLetters>();

  /** Of a lane to this sink; null where it keeps none. */
  of(sink: Sink, options: Omit<LaneLettersOptions, "deadLetters">): LaneLetters | null {
    const deadLetters = sink.lineLetters ?? null;
    if (deadLetters === null) return null;
    let found = this.#all.get(options.source);
    if (found === undefined) {
      found = new LaneLetters({ ...options, deadLetters });
      this.#all.set(options.source, found);
    }
    return found;
  }

  /** `LaneLetters.finish` for all. */
  async finish(kill: AbortSignal): Promise<void> {
    await Promise.all([...this.#all.values()].map((each) => each.finish(kill)));
  }
}

/** Lines that became no events. */
export interface UnnamedLines {
  readonly reason: string;
  readonly error: string;
  /** Numbers in their region, ascending. */
  readonly numbers: readonly number[];
}

/**
 * The lines of a lane that became no events and are kept as dead letters: in flight until their letters are safe. The lane takes no more while many
 * are.
 */
export class LaneLetters {
  readonly #options: LaneLettersOptions;
  /** By account: a lane has several streams. */
  readonly #pending = new Map<Tally, number>();
  #pendingBytes = 0;
  #isEnded = false;
  #wake: (() => void)[] = [];

  constructor(options: LaneLettersOptions) {
    this.#options = options;
  }

  get hasRoom(): boolean {
    return this.#pendingBytes < LANE_LETTERS_BYTES_MAX;
  }

  /** Resolves when there is room, or `signal` aborts. */
  async waitForRoom(signal: AbortSignal): Promise<void> {
    while (!this.hasRoom && !signal.aborted) await this.#change(signal);
  }

  /** Has lines kept; `onSafe` is called for each one, with its number. Their bytes are copied. */
  put(
    lines: LineBatch,
    tally: Tally,
    { reason, error, numbers }: UnnamedLines,
    onSafe: (line: number) => void,
  ): void {
    const { deadLetters, sink, metrics, now } = this.#options;
    const { chunk, starts, ends } = lines;
    let index = 0;
    for (const number of numbers) {
      while ((lines.lineNumbers?.[index] ?? index) !== number) index++;
      const value = Buffer.from(chunk.data.subarray(starts[index]!, ends[index]!));
      this.#add(tally, 1, value.length);
      deadLetters.put({
        reason,
        error,
        stream: chunk.stream,
        offset: chunk.offset + starts[index]!,
        timeMs: now(),
        sink,
        topic: null,
        key: null,
        headers: [],
        value,
      }, () => {
        if (this.#isEnded) return;
        this.#add(tally, -1, -value.length);
        onSafe(number);
        for (const wake of this.#wake.splice(0)) wake();
      });
    }
    if (metrics.waitingSinceMs === 0) metrics.waitingSinceMs = now();
  }

  /** Resolves when all are safe, or when `kill` aborts: what is not safe by then stays with its source. Call it when nothing more comes. */
  async finish(kill: AbortSignal): Promise<void> {
    while (this.#pending.size > 0 && !kill.aborted) await this.#change(kill);
    this.#isEnded = true;
    const { metrics, source } = this.#options;
    for (const [tally, count] of [...this.#pending]) {
      this.#add(tally, -count, 0);
      tally.leftCount += count;
      metrics.undelivered.add(source, count);
    }
  }

  #add(tally: Tally, count: number, bytes: number): void {
    const { metrics } = this.#options;
    const pending = (this.#pending.get(tally) ?? 0) + count;
    if (pending === 0) this.#pending.delete(tally);
    else this.#pending.set(tally, pending);
    this.#pendingBytes += bytes;
    tally.inFlightCount += count;
    metrics.inFlightEvents += count;
    metrics.heldEvents += count;
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        signal.removeEventListener("abort", done);
        resolve();
      };
      this.#wake.push(done);
      signal.addEventListener("abort", done, { once: true });
    });
  }
}
