import type { SourceUnit } from "./change_plan.ts";
import type { RunnableSource } from "./source_maker.ts";

/** A reader of a source at work. */
export class RunningSource {
  readonly source: RunnableSource;
  readonly #stop = new AbortController();
  #done: Promise<void> = Promise.resolve();
  /** A pipe's reader goes on with other sinks: those that it has now. */
  unit: SourceUnit;

  constructor(unit: SourceUnit, source: RunnableSource) {
    this.unit = unit;
    this.source = source;
  }

  /** To be called once. Resolves when it has ended; rejects on a bug, or when it cannot read at all (`StartError`). */
  start(stopReading: AbortSignal): Promise<void> {
    this.#done = this.source.run(AbortSignal.any([stopReading, this.#stop.signal]));
    return this.#done;
  }

  /** Ends it while others go on: what it has not offered yet is read by who takes its place. Never rejects: see `start`. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#done.catch(() => {}); // told by `start`
    this.source.leave?.();
  }
}
