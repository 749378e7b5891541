import type { Config } from "../config/config.ts";
import type { LoadResult } from "../config/load.ts";
import { StartError } from "../errors.ts";
import type { Pipeline } from "../pipeline.ts";
import type { ChangeOutcome } from "../pipeline_change.ts";
import type { Log } from "../telemetry/log.ts";
import type { Failure, Metrics, ReloadResult } from "../telemetry/metrics.ts";
import { ConfigWatch } from "./config_watch.ts";
import { FileMarks } from "./file_marks.ts";
import { fixedOptionFailure, type StartFacts } from "./fixed_options.ts";
import { loadConfigFiles, type LoadFilesContext } from "./load_config_files.ts";
import { describeChange, tellFailedSinks, tellInvalid, tellRefused, tellWarnings } from "./reload_report.ts";
import type { RunApi } from "./run_api.ts";

export interface ReloaderOptions {
  readonly configPaths: readonly string[];
  readonly context: LoadFilesContext;
  /** What was read at the start. */
  readonly marks: FileMarks;
  readonly facts: StartFacts;
  /** `--watch-config`. */
  readonly isWatchWanted: boolean;
  readonly pipeline: Pipeline;
  readonly api: RunApi;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly now: () => number;
  /** The configuration is at work. */
  readonly onTaken: (config: Config, outcome: ChangeOutcome) => void;
  /** For tests. */
  readonly watchTiming?: { readonly pollMs: number; readonly settleMs: number };
}

/** The result of one reload. */
interface Ended {
  readonly result: ReloadResult;
  readonly failure: Failure | null;
}

/**
 * Reads the configuration again when it is asked to, and has it take the place of the one at work: whole, or not at all. One reload after the other; what is
 * asked for meanwhile is one more, with the files as they are then.
 */
export class Reloader {
  readonly #options: ReloaderOptions;
  readonly #watch: ConfigWatch;
  #isWanted = false;
  #isOver = false;
  #running: Promise<void> | null = null;

  constructor(options: ReloaderOptions) {
    this.#options = options;
    this.#watch = new ConfigWatch({
      onChange: () => {
        options.log.info("The configuration's files have changed");
        this.request();
      },
      log: options.log,
      ...options.watchTiming,
    });
    this.#setWatch(options.marks);
  }

  /** Reads the configuration again, now or when the reload that is under way has ended. */
  request(): void {
    if (this.#isOver) {
      return this.#options.log.info("The configuration is not read again: shipper is stopping");
    }
    this.#isWanted = true;
    this.#running ??= this.#run().finally(() => this.#running = null);
  }

  /** The run ends: nothing more is read, and what is under way is left to the pipeline. */
  close(): void {
    this.#isOver = true;
    this.#isWanted = false;
    this.#watch.stop();
  }

  async #run(): Promise<void> {
    while (this.#isWanted) {
      this.#isWanted = false;
      const marks = new FileMarks();
      try {
        const ended = await this.#reload(marks);
        if (ended !== null) this.#options.metrics.reloads.ended({ ...ended, atMs: this.#options.now() });
      } catch (error) {
        // Told by the run, which it ends, where it has to do with the pipeline.
        this.#options.log.error(`Cannot read the configuration again: ${error}`);
      }
      this.#setWatch(marks);
    }
  }

  /** Null: the run ends. */
  async #reload(marks: FileMarks): Promise<Ended | null> {
    const { configPaths, context, log } = this.#options;
    const loaded = await loadConfigFiles(configPaths, { ...context, onRead: (path) => marks.note(path) });
    if (this.#isOver) return null;
    if (loaded.config === null) {
      return { result: "invalid", failure: tellInvalid(loaded.diagnostics, configPaths, log) };
    }
    tellWarnings(loaded.diagnostics, log);
    return await this.#take(loaded.config, loaded);
  }

  async #take(config: Config, { checked }: LoadResult): Promise<Ended | null> {
    const { pipeline, api, facts, log, onTaken } = this.#options;
    const before = pipeline.config;
    const fixed = fixedOptionFailure(before, config, checked!, facts);
    if (fixed !== null) return this.#refuse(fixed);
    const changed = changedOptions(before, config);
    const listening = await api.prepare(config.api).catch((error: unknown) => {
      if (error instanceof StartError) return error;
      throw error;
    });
    if (listening instanceof StartError) return this.#refuse(listening);
    const outcome = await pipeline.change(config);
    if (outcome.kind === "ending" || outcome.kind === "refused") {
      await listening.cancel();
      if (outcome.kind === "ending") return null;
      return this.#refuse({ code: "needs-restart", message: outcome.message, hint: outcome.hint });
    }
    await listening.commit();
    onTaken(pipeline.config, outcome);
    if (outcome.kind === "unchanged" && changed.length === 0) {
      log.info("Read the configuration again: nothing has changed");
      return { result: "unchanged", failure: null };
    }
    const failure = outcome.kind === "changed" ? tellFailedSinks(outcome.failed, log) : null;
    log.info(describeChange(outcome.kind === "changed" ? outcome.plan : null, changed));
    return { result: failure === null ? "taken" : "partly", failure };
  }

  #refuse({ code, message, hint }: Failure): Ended {
    const failure = { code, message, hint };
    tellRefused(failure, this.#options.log);
    return { result: "refused", failure };
  }

  #setWatch(marks: FileMarks): void {
    const { isWatchWanted, pipeline } = this.#options;
    if (this.#isOver || !(isWatchWanted || pipeline.config.watchConfig)) this.#watch.stop();
    else this.#watch.watch(marks);
  }
}

/** Options outside of sources and sinks that differ, by their names. */
function changedOptions(from: Config, to: Config): string[] {
  const changed: string[] = [];
  if (from.api?.address !== to.api?.address) changed.push("api.address");
  if (from.api !== null && to.api !== null && from.api.connectionsMax !== to.api.connectionsMax) {
    changed.push("api.max_connections");
  }
  if (from.log.level !== to.log.level) changed.push("log.level");
  if (from.log.format !== to.log.format) changed.push("log.format");
  if (from.shutdownTimeoutMs !== to.shutdownTimeoutMs) changed.push("shutdown_timeout_secs");
  if (from.watchConfig !== to.watchConfig) changed.push("watch_config");
  return changed;
}
