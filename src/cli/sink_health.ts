import { CHECK_CUT_SHORT } from "../kafka/cluster_health.ts";
import { pause } from "../pause.ts";
import type { Pipeline } from "../pipeline.ts";
import type { Log } from "../telemetry/log.ts";
import type { Failure, Metrics } from "../telemetry/metrics.ts";

/** The health check has to be done by then; `--require-healthy` promises an answer within 15 s. */
export const HEALTH_CHECK_MAX_MS = 12_000;

/** While a sink has failed its check and delivered nothing, it is checked again this often: /ready has to learn that it works. */
export const HEALTH_AGAIN_MS = 5_000;

/** Until the first answer nobody knows whether a sink can deliver. */
const NOT_CHECKED: Failure = {
  code: "not-checked",
  message: "Whether it can deliver is being checked for the first time",
  hint: null,
};

export interface SinkHealthOptions {
  readonly pipeline: Pipeline;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly requireHealthy: boolean;
  /** The run ends. */
  readonly signal: AbortSignal;
  /** Default: `HEALTH_AGAIN_MS`. */
  readonly againMs?: number;
}

/** Asks the sinks whether they can deliver, notes it for /ready, and logs what is new of it. */
export class SinkHealth {
  readonly #options: SinkHealthOptions;
  readonly #checked = new Set<string>();
  /** Counts changes of sinks. */
  #generation = 0;
  #isAskingAgain = false;

  constructor(options: SinkHealthOptions) {
    this.#options = options;
  }

  /** True when all of them can. */
  async check(): Promise<boolean> {
    const { pipeline, metrics, signal, log, requireHealthy } = this.#options;
    const asked = pipeline.config.sinks.filter((each) => each.healthcheck);
    const generation = this.#generation;
    this.#noteUnchecked();
    const failures = await pipeline.checkHealth(
      AbortSignal.any([AbortSignal.timeout(HEALTH_CHECK_MAX_MS), signal]),
    );
    const end = requireHealthy ? "ending, as --require-healthy asks" : "trying again for as long as it takes";
    // A check that the end of the run cut short says nothing.
    if (signal.aborted) return true;
    // Sinks have changed meanwhile: nobody knows whom the answer is about.
    if (generation !== this.#generation) return false;
    for (const { name } of asked) {
      const sink = metrics.sink(name);
      const failure = failures.find((each) => each.sink === name)?.failure ?? null;
      const isFirst = !this.#checked.has(name);
      this.#checked.add(name);
      if (failure === CHECK_CUT_SHORT) continue;
      const before = sink.healthFailure === NOT_CHECKED ? null : sink.healthFailure;
      // Between two attempts to connect nobody answers: what was found before says more.
      if (failure?.code === "timeout" && before !== null) continue;
      sink.healthFailure = failure;
      if (failure === null && (before !== null || isFirst)) log.info(`Health check of sink "${name}" passed`);
      if (failure === null || failure.message === before?.message) continue;
      const hint = failure.hint === null ? {} : { hint: failure.hint };
      log.error(`Health check of sink "${name}" failed: ${failure.message}; ${end}`, {
        code: failure.code,
        ...hint,
      });
    }
    return failures.length === 0;
  }

  /** In the background: until every sink has passed, or has proved by delivering that it works. */
  watch(): void {
    if (this.#isAskingAgain) return;
    this.#isAskingAgain = true;
    this.#askUntilHealthy().catch((error: unknown) =>
      this.#options.log.error(`Cannot check the sinks' health: ${error}`)
    ).finally(() => {
      this.#isAskingAgain = false;
      if (this.#hasUnchecked() && !this.#options.signal.aborted) this.watch();
    });
  }

  /** These sinks are other ones than before. */
  changed(names: readonly string[]): void {
    this.#generation++;
    for (const name of names) this.#checked.delete(name);
    this.#noteUnchecked();
    this.watch();
  }

  #noteUnchecked(): void {
    const { pipeline, metrics } = this.#options;
    for (const { name, healthcheck } of pipeline.config.sinks) {
      if (healthcheck && !this.#checked.has(name)) metrics.sink(name).healthFailure = NOT_CHECKED;
    }
  }

  async #askUntilHealthy(): Promise<void> {
    const { metrics, signal, againMs } = this.#options;
    const isUnproved = () =>
      [...metrics.sinks.values()].some((sink) => sink.healthFailure !== null && sink.lastAckMs === 0) ||
      this.#hasUnchecked();
    for (let isHealthy = await this.check(); !isHealthy && !signal.aborted && isUnproved();) {
      await pause(againMs ?? HEALTH_AGAIN_MS, signal, false);
      if (!signal.aborted) isHealthy = await this.check();
    }
  }

  #hasUnchecked(): boolean {
    return this.#options.pipeline.config.sinks.some(({ name, healthcheck }) =>
      healthcheck && !this.#checked.has(name)
    );
  }
}
