import type { Branch } from "./branch.ts";
import type { SinkMetrics } from "./telemetry/metrics.ts";

const ABORTED = AbortSignal.abort();

/** How often it is looked whether all that is left are batches of earlier runs. */
const RECOVERY_POLL_MS = 50;

/** A branch at work, from the start of its sink until that has ended. */
export class RunningBranch {
  readonly branch: Branch;
  readonly #metrics: SinkMetrics;
  readonly #kill = new AbortController();
  #done: Promise<unknown> = Promise.resolve();
  #killSignal: AbortSignal = this.#kill.signal;

  constructor(branch: Branch, metrics: SinkMetrics) {
    this.branch = branch;
    this.#metrics = metrics;
  }

  get name(): string {
    return this.branch.config.name;
  }

  /** Nothing is in it that it has to get rid of. */
  get isIdle(): boolean {
    return this.#metrics.bufferedEvents + this.#metrics.inFlightEvents === 0 && !this.branch.isRecovering();
  }

  /** What is written to its disk buffer may not be stored. */
  get isBufferFailing(): boolean {
    return this.#metrics.bufferFailure !== null;
  }

  /** Events that it has. */
  get eventCount(): number {
    return this.#metrics.bufferedEvents + this.#metrics.inFlightEvents;
  }

  /** To be called once. Resolves when the sink has ended; rejects when it can never go on, or on a bug. */
  start(kill: AbortSignal): Promise<unknown> {
    const { sink, buffer, gapMarkers } = this.branch;
    this.#killSignal = AbortSignal.any([kill, this.#kill.signal]);
    this.#done = Promise.all([sink.run(buffer, this.#killSignal), gapMarkers?.run(this.#killSignal)]);
    return this.#done;
  }

  /** As `start` gives it. */
  get ended(): Promise<unknown> {
    return this.#done;
  }

  /** Nothing comes any more: has the sink deliver all that it has, and end. Resolves before that. */
  async finish(): Promise<void> {
    const { buffer, gapMarkers, letters } = this.branch;
    // What waits for its dead letter waits for a sink that is still there.
    await letters.finish(this.#killSignal);
    await gapMarkers?.finish(this.#killSignal);
    buffer.end();
  }

  /**
   * Ends it while others go on, within `timeoutMs`; what is not delivered by then is given up. Nobody may offer anything to it any more. Never rejects:
   * see `start`.
   *
   * `isReplaced`: another one takes its place. Then what is in the buffer, or was left open by an earlier run, is for that one: in a disk buffer it
   * stays, from memory it is given back, and only what is on its way is waited for. Otherwise all of it is delivered, but for a disk buffer's.
   */
  async stop(timeoutMs: number, isReplaced: boolean): Promise<void> {
    const { buffer, diskBuffer, gapMarkers, letters } = this.branch;
    const timer = setTimeout(() => this.#kill.abort(), timeoutMs);
    const isForNext = buffer === diskBuffer || isReplaced;
    const watch = setInterval(() => this.#endIfOnlyRecovering(isForNext), RECOVERY_POLL_MS);
    await letters.finish(this.#killSignal);
    if (buffer === diskBuffer) {
      // The buffer takes what is still to be told.
      await gapMarkers?.finish(ABORTED);
      buffer.abandon();
    } else if (isReplaced && gapMarkers === null) buffer.abandon();
    else await this.finish();
    await this.#done.catch(() => {}); // told by `start`
    clearTimeout(timer);
    clearInterval(watch);
  }

  /** What an earlier run left open can take its time: whoever comes asks again. `isForNext`: what is in the buffer is for who comes, too. */
  #endIfOnlyRecovering(isForNext: boolean): void {
    const left = isForNext ? this.#metrics.inFlightEvents : this.eventCount;
    if (left === 0 && this.branch.isRecovering()) this.#kill.abort();
  }
}
