import { acquireDataDir } from "../checkpoint/data_dir_lock.ts";
import { PositionStore } from "../checkpoint/position_store.ts";
import type { Config } from "../config/config.ts";
import { renderDiagnostics } from "../config/diagnostic_render.ts";
import { EXIT_CONFIG, StartError } from "../errors.ts";
import type { ApiServer } from "../http/api.ts";
import { Journal } from "../journal/journal.ts";
import { readJournal } from "../journal/journal_reader.ts";
import type { DiskBuffer } from "../buffer/disk_buffer.ts";
import { openDiskBuffers } from "../disk_buffers.ts";
import { BufferPool } from "../event/pooled_buffer.ts";
import { startNotingGaps } from "../gap_markers.ts";
import { pause } from "../pause.ts";
import { Pipeline, type WrappedCommand } from "../pipeline.ts";
import { AuditWatch } from "../telemetry/audit_watch.ts";
import type { StreamAccount } from "../event/tally.ts";
import { createLogger, type Logger } from "../telemetry/logger.ts";
import { Metrics } from "../telemetry/metrics.ts";
import type { CommandEnd } from "../source/command.ts";
import type { StderrWriter } from "../telemetry/stderr_writer.ts";
import type { RunArgs } from "./args.ts";
import { renderStartError } from "./command_context.ts";
import { originOf } from "./data_dir_origin.ts";
import { needsDataDir } from "./data_dir_use.ts";
import { describeExit, exitReport } from "./exit_report.ts";
import { faultyStorage } from "./faulty_storage.ts";
import { loadConfigFiles, type LoadFilesContext } from "./load_config_files.ts";
import { startProgress } from "./progress.ts";
import { startRunApi } from "./run_api.ts";
import { checkStdinSource } from "./stdin_source_check.ts";
import { stdinFileOf } from "./stdin_file_of.ts";

/** The health check has to be done by then; `--require-healthy` promises an answer within 15 s. */
export const HEALTH_CHECK_MAX_MS = 12_000;

/** While a sink has failed its check and delivered nothing, it is checked again this often: /ready has to learn that it works. */
export const HEALTH_AGAIN_MS = 5_000;

/** A disk that refuses to take the last of the journal is not waited for longer. */
const JOURNAL_CLOSE_MAX_MS = 2_000;
/** The same for the last events of a disk buffer. */
const BUFFER_CLOSE_MAX_MS = 5_000;

/** What the process gives to a run. */
export interface RunProcess extends LoadFilesContext {
  readonly version: string;
  readonly stderr: StderrWriter;
  /** Width of the terminal behind stderr, if there is one. */
  readonly terminalColumns: () => number | undefined;
  readonly now: () => number;
  readonly random: () => number;
  /** Calls back on SIGTERM and SIGINT. */
  readonly onSignal: (callback: (signal: "SIGTERM" | "SIGINT") => void) => void;
  /** Ends the process at once. */
  readonly exit: (code: number) => never;
  /** Default: `HEALTH_AGAIN_MS`. */
  readonly healthAgainMs?: number;
}

/**
 * `shipper run`: loads, checks, ships, and returns the exit code of options.md: 0, 1 or 78; a second signal ends at once with 130 or 143. A
 * wrapped command is started when shipping starts, and its end is the end of the run.
 */
export async function run(
  args: RunArgs,
  process: RunProcess,
  wrapped: WrappedCommand | null = null,
): Promise<number> {
  const { stderr } = process;
  const { config, diagnostics } = await loadConfigFiles(args.configPaths, process);
  if (diagnostics.length > 0) stderr.write(renderDiagnostics(diagnostics, { color: stderr.isTerminal }));
  if (config === null) return EXIT_CONFIG;
  const log = createLogger({
    level: args.logLevel ?? config.log.level,
    format: config.log.format === "auto" ? (stderr.isTerminal ? "pretty" : "json") : config.log.format,
    write: (text) => stderr.write(text),
    now: process.now,
    color: stderr.isTerminal,
    takeLostLines: () => stderr.takeLostLines(),
  });
  try {
    if (wrapped !== null) checkStdinSource(config);
    return await new Run(args, config, process, log, wrapped).run();
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    stderr.write(renderStartError(error));
    return error.exitCode;
  } finally {
    log.close();
  }
}

class Run {
  readonly #args: RunArgs;
  readonly #config: Config;
  readonly #process: RunProcess;
  readonly #log: Logger;
  readonly #wrapped: WrappedCommand | null;
  readonly #metrics: Metrics;
  readonly #end = new AbortController();
  #signalCount = 0;
  readonly #checkedSinks = new Set<string>();
  #isWaitingForHealth = false;
  #isUnstored = false;
  #isEnding = false;
  #pipeline: Pipeline | null = null;
  #stdinFile: ReturnType<typeof stdinFileOf> = null;
  /** While the journal was opened. */
  #earlySignal: "SIGTERM" | "SIGINT" | null = null;

  constructor(
    args: RunArgs,
    config: Config,
    process: RunProcess,
    log: Logger,
    wrapped: WrappedCommand | null,
  ) {
    this.#wrapped = wrapped;
    this.#args = args;
    this.#config = config;
    this.#process = process;
    this.#log = log;
    this.#metrics = new Metrics(process.now());
  }

  async run(): Promise<number> {
    this.#process.onSignal((signal) => this.#onSignal(signal));
    if (this.#args.dryRun) return await this.#ship(new PositionStore());
    if (this.#wrapped === null) this.#stdinFile = stdinFileOf(this.#config.sources, this.#log);
    const isNeeded = needsDataDir(this.#config, this.#stdinFile !== null, this.#log);
    if (!isNeeded) return await this.#ship(new PositionStore());
    const lock = acquireDataDir(this.#config.dataDir);
    try {
      return await this.#ship(await this.#openJournal());
    } finally {
      lock.release();
    }
  }

  /** The journal, or, where at-least-once sinks alone could do without, the positions that are stored and cannot be stored any more. */
  async #openJournal(): Promise<Journal | PositionStore> {
    const { dataDir, sinks } = this.#config;
    const exact = sinks.filter((sink) => sink.type === "kafka" && sink.delivery === "exactly_once");
    const isLax = exact.length > 0 &&
      exact.every((sink) => sink.type === "kafka" && sink.durability === "process");
    const mustStop = exact.some((sink) => sink.type === "kafka" && sink.onClonedState === "stop");
    const opening = Journal.open({
      dataDir,
      durability: isLax ? "process" : "machine",
      onClonedState: mustStop ? "stop" : "adopt",
      keepsSpare: sinks.some((sink) => sink.buffer.type === "disk"),
      ...originOf(dataDir),
      log: this.#log,
      now: this.#process.now,
      ...faultyStorage(),
    });
    const isNeeded = exact.length > 0 || sinks.some((sink) => sink.buffer.type === "disk");
    return await opening.catch((error: unknown) => {
      if (isNeeded || !(error instanceof StartError) || error.code !== "journal-unwritable") {
        throw error;
      }
      this.#isUnstored = true;
      this.#log.warn(
        `${error.message}; shipping all the same, the next run sends again what this one sends`,
        {
          hint: error.hint,
        },
      );
      const { positions, live } = readJournal(dataDir);
      // Nobody finds out what became of what an earlier run was sending: it is read again.
      for (const { intent, regions } of live.values()) {
        intent.segments.forEach(({ runs }, i) => regions[i]?.uncover(runs));
      }
      return positions;
    });
  }

  async #ship(state: Journal | PositionStore): Promise<number> {
    const journal = state instanceof Journal ? state : null;
    const positions = state instanceof Journal ? state.positions : state;
    this.#metrics.journal = journal;
    const { now, random, hostname, version } = this.#process;
    const pool = new BufferPool();
    startNotingGaps(this.#config.sinks, this.#metrics, now);
    const diskBuffers = await this.#openDiskBuffers(journal, pool);
    this.#metrics.accounts = () => accountsOf(positions, diskBuffers);
    const pipeline = new Pipeline({
      config: this.#config,
      positions,
      journal,
      diskBuffers,
      pool,
      hostname,
      metrics: this.#metrics,
      log: this.#log,
      once: this.#args.once || this.#args.dryRun,
      dryRun: this.#args.dryRun,
      wrapped: this.#wrapped,
      stdinFile: this.#stdinFile,
      now,
      random,
    });
    this.#pipeline = pipeline;
    if (this.#earlySignal !== null) this.#stop(pipeline, this.#earlySignal);
    const api = await this.#startApi();
    try {
      this.#log.info(`Started shipper ${version}`, {
        sources: this.#names("sources"),
        sinks: this.#names("sinks"),
      });
      const isHealthy = await this.#checkHealth(pipeline);
      if (!isHealthy && this.#args.requireHealthy) return EXIT_CONFIG;
      return await this.#runPipeline(pipeline, journal, diskBuffers);
    } finally {
      await closeAll(diskBuffers);
      // Where the pipeline has run it is closed already.
      await journal?.close(JOURNAL_CLOSE_MAX_MS);
      await api?.stop();
    }
  }

  async #openDiskBuffers(
    journal: Journal | null,
    pool: BufferPool,
  ): Promise<ReadonlyMap<string, DiskBuffer>> {
    if (journal === null || this.#args.dryRun) return new Map();
    const faulty = faultyStorage();
    return await openDiskBuffers({
      config: this.#config,
      journal,
      pool,
      metrics: this.#metrics,
      log: this.#log,
      ops: "ops" in faulty ? faulty.ops : null,
    });
  }

  #startApi(): Promise<ApiServer | null> {
    return startRunApi({
      config: this.#config,
      metrics: this.#metrics,
      log: this.#log,
      now: this.#process.now,
      version: this.#process.version,
      isStopping: () => this.#isEnding || this.#signalCount > 0,
    });
  }

  /** Under `--require-healthy` nothing is read before the answer is there; otherwise shipping starts meanwhile. */
  async #checkHealth(pipeline: Pipeline): Promise<boolean> {
    const checked = this.#askHealth(pipeline);
    if (this.#args.requireHealthy) {
      this.#isWaitingForHealth = true;
      return await checked.finally(() => this.#isWaitingForHealth = false);
    }
    checked.then((isHealthy) => isHealthy ? undefined : this.#askAgain(pipeline)).catch((error: unknown) =>
      this.#log.error(`Cannot check the sinks' health: ${error}`)
    );
    return true;
  }

  /** Until every sink has passed, or has proved by delivering that it works. */
  async #askAgain(pipeline: Pipeline): Promise<void> {
    const { signal } = this.#end;
    const isUnproved = () =>
      [...this.#metrics.sinks.values()].some((sink) => sink.healthFailure !== null && sink.lastAckMs === 0);
    for (let isHealthy = false; !isHealthy && !signal.aborted && isUnproved();) {
      await pause(this.#process.healthAgainMs ?? HEALTH_AGAIN_MS, signal, false);
      if (!signal.aborted) isHealthy = await this.#askHealth(pipeline);
    }
  }

  /** Notes for /ready what the checks say, and logs what is new of it. */
  async #askHealth(pipeline: Pipeline): Promise<boolean> {
    const limits = [AbortSignal.timeout(HEALTH_CHECK_MAX_MS), this.#end.signal];
    const failures = await pipeline.checkHealth(AbortSignal.any(limits));
    const end = this.#args.requireHealthy
      ? "ending, as --require-healthy asks"
      : "trying again for as long as it takes";
    // A check that the end of the run cut short says nothing.
    if (this.#end.signal.aborted) return true;
    for (const { name } of this.#config.sinks.filter((each) => each.healthcheck)) {
      const sink = this.#metrics.sink(name);
      const failure = failures.find((each) => each.sink === name)?.failure ?? null;
      const isFirst = !this.#checkedSinks.has(name);
      this.#checkedSinks.add(name);
      const before = sink.healthFailure;
      sink.healthFailure = failure;
      if (failure === null && (before !== null || isFirst)) {
        this.#log.info(`Health check of sink "${name}" passed`);
      }
      if (failure === null || failure.message === before?.message) continue;
      const hint = failure.hint === null ? {} : { hint: failure.hint };
      this.#log.error(`Health check of sink "${name}" failed: ${failure.message}; ${end}`, {
        code: failure.code,
        ...hint,
      });
    }
    return failures.length === 0;
  }

  async #runPipeline(
    pipeline: Pipeline,
    journal: Journal | null,
    diskBuffers: ReadonlyMap<string, DiskBuffer>,
  ): Promise<number> {
    const progress = startProgress({
      isWanted: this.#args.once && this.#process.stderr.isTerminal,
      metrics: this.#metrics,
      setLine: (text) => this.#process.stderr.setStatusLine(text),
      columns: this.#process.terminalColumns,
    });
    const audit = new AuditWatch(this.#metrics, this.#log);
    audit.start();
    let failure: string | null = null;
    void this.#wrapped?.command.ended.then((end) => this.#commandEnded(pipeline, end));
    try {
      await pipeline.run();
    } catch (error) {
      this.#end.abort(); // a check that is still on its way is of no use any more
      if (error instanceof StartError) throw error;
      failure = error instanceof Error ? error.message : String(error);
      this.#log.error(`Stopped: ${failure}`);
    } finally {
      progress.stop();
      audit.stop();
    }
    this.#end.abort();
    await closeAll(diskBuffers);
    const isStored = await journal?.close(JOURNAL_CLOSE_MAX_MS) ?? !this.#isUnstored;
    const report = exitReport(this.#metrics, this.#config, {
      isOnce: this.#args.once,
      hasFailed: failure !== null,
      isStored,
      isStdinStored: this.#stdinFile !== null,
    });
    describeExit(report, this.#log);
    return report.exitCode;
  }

  #onSignal(signal: "SIGTERM" | "SIGINT"): void {
    if (++this.#signalCount > 1) this.#process.exit(signal === "SIGINT" ? 130 : 143);
    if (this.#pipeline === null) this.#earlySignal = signal;
    else this.#stop(this.#pipeline, signal);
  }

  #stop(pipeline: Pipeline, signal: "SIGTERM" | "SIGINT"): void {
    const { shutdownTimeoutMs } = this.#config;
    this.#log.info(
      `Stopping on ${signal}: what was read is delivered within ${
        shutdownTimeoutMs / 1000
      } s; a second signal ends at once`,
    );
    pipeline.stopReading();
    this.#limitStopping(pipeline);
    // Nothing was read: there is nothing to be delivered, and no reason to wait for the answer.
    if (this.#isWaitingForHealth) this.#end.abort();
  }

  /** What it wrote is read to its end, which the source sees to. */
  #commandEnded(pipeline: Pipeline, { exitCode, signal }: CommandEnd): void {
    const how = signal === null ? `with exit code ${exitCode}` : `by signal ${signal}`;
    this.#isEnding = true;
    this.#log.info(
      `The command ended ${how}: what it wrote is delivered within ${
        this.#config.shutdownTimeoutMs / 1000
      } s`,
    );
    this.#limitStopping(pipeline);
  }

  #limitStopping(pipeline: Pipeline): void {
    const { shutdownTimeoutMs } = this.#config;
    const timer = setTimeout(() => {
      this.#log.warn(
        `Not everything could be delivered within ${shutdownTimeoutMs / 1000} s; stopping without it`,
      );
      pipeline.kill();
    }, shutdownTimeoutMs);
    timer.unref();
  }

  #names(what: "sources" | "sinks"): string {
    return this.#config[what].map((each) => each.name).join(", ");
  }
}

/** Of all streams, and of what earlier runs left in disk buffers. */
function* accountsOf(
  positions: PositionStore,
  diskBuffers: ReadonlyMap<string, DiskBuffer>,
): Iterable<StreamAccount> {
  yield* positions.accounts();
  for (const buffer of diskBuffers.values()) yield* buffer.accounts();
}

/** What could not be stored is told by who put it in. */
async function closeAll(diskBuffers: ReadonlyMap<string, DiskBuffer>): Promise<void> {
  await Promise.all([...diskBuffers.values()].map((buffer) => buffer.close(BUFFER_CLOSE_MAX_MS)));
}
