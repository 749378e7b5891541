import { acquireDataDir } from "../checkpoint/data_dir_lock.ts";
import { PositionStore } from "../checkpoint/position_store.ts";
import type { Config } from "../config/config.ts";
import { renderDiagnostics } from "../config/diagnostic_render.ts";
import { EXIT_CONFIG, StartError } from "../errors.ts";
import { Journal } from "../journal/journal.ts";
import { readJournal } from "../journal/journal_reader.ts";
import type { DiskBuffer } from "../buffer/disk_buffer.ts";
import { type DiskBuffersOptions, openBufferOf, openDiskBuffers } from "../disk_buffers.ts";
import { BufferPool } from "../event/pooled_buffer.ts";
import { startNotingGaps } from "../gap_markers.ts";
import { Pipeline } from "../pipeline.ts";
import type { WrappedCommand } from "../pipeline_options.ts";
import { AuditWatch } from "../telemetry/audit_watch.ts";
import type { StreamAccount } from "../event/tally.ts";
import { createLogger, type Logger } from "../telemetry/logger.ts";
import { Metrics } from "../telemetry/metrics.ts";
import type { CommandEnd } from "../source/command.ts";
import type { RunArgs } from "./args.ts";
import { renderStartError } from "./command_context.ts";
import { originOf } from "./data_dir_origin.ts";
import { needsDataDir } from "./data_dir_use.ts";
import { describeExit, exitReport } from "./exit_report.ts";
import { faultyStorage } from "./faulty_storage.ts";
import { FileMarks } from "./file_marks.ts";
import { exactSinks, isLaxConfig, needsJournal } from "./fixed_options.ts";
import { PendingHangUps } from "./hang_up.ts";
import { loadConfigFiles, readOnce } from "./load_config_files.ts";
import { logStyle } from "./log_style.ts";
import { startProgress } from "./progress.ts";
import type { Reloader } from "./reloader.ts";
import { RunApi } from "./run_api.ts";
import { EXIT_CODES, type RunProcess, type StopSignal } from "./run_process.ts";
import { SinkHealth } from "./sink_health.ts";
import { startReloader } from "./start_reloader.ts";
import { checkStdinSource } from "./stdin_source_check.ts";
import { stdinFileOf } from "./stdin_file_of.ts";

/** A disk that refuses to take the last of the journal is not waited for longer. */
const JOURNAL_CLOSE_MAX_MS = 2_000;
/** The same for the last events of a disk buffer. */
const BUFFER_CLOSE_MAX_MS = 5_000;

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
  const hangUps = new PendingHangUps(process);
  const marks = new FileMarks();
  const context = { ...process, stdin: readOnce(process.stdin) };
  const { config, diagnostics } = await loadConfigFiles(args.configPaths, {
    ...context,
    onRead: (path) => marks.note(path),
  });
  if (diagnostics.length > 0) stderr.write(renderDiagnostics(diagnostics, { color: stderr.isTerminal }));
  if (config === null) return EXIT_CONFIG;
  const log = createLogger({
    ...logStyle(config, args, stderr),
    write: (text) => stderr.write(text),
    now: process.now,
    color: stderr.isTerminal,
    takeLostLines: () => stderr.takeLostLines(),
  });
  try {
    if (wrapped !== null) checkStdinSource(config);
    return await new Run({ args, config, process: context, log, wrapped, marks, hangUps }).run();
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    stderr.write(renderStartError(error));
    return error.exitCode;
  } finally {
    log.close();
  }
}

interface RunParts {
  readonly args: RunArgs;
  readonly config: Config;
  readonly process: RunProcess;
  readonly log: Logger;
  readonly wrapped: WrappedCommand | null;
  /** Of what the configuration was read from. */
  readonly marks: FileMarks;
  readonly hangUps: PendingHangUps;
}

class Run {
  readonly #parts: RunParts;
  readonly #args: RunArgs;
  /** Of the start. */
  readonly #startConfig: Config;
  readonly #process: RunProcess;
  readonly #log: Logger;
  readonly #wrapped: WrappedCommand | null;
  readonly #metrics: Metrics;
  readonly #end = new AbortController();
  #signalCount = 0;
  #isWaitingForHealth = false;
  #isUnstored = false;
  #isEnding = false;
  #pipeline: Pipeline | null = null;
  #reloader: Reloader | null = null;
  #stdinFile: ReturnType<typeof stdinFileOf> = null;
  /** While the journal was opened. */
  #earlySignal: StopSignal | null = null;

  constructor(parts: RunParts) {
    this.#parts = parts;
    this.#wrapped = parts.wrapped;
    this.#args = parts.args;
    this.#startConfig = parts.config;
    this.#process = parts.process;
    this.#log = parts.log;
    this.#metrics = new Metrics(parts.process.now());
  }

  /** What is at work. */
  get #config(): Config {
    return this.#pipeline?.config ?? this.#startConfig;
  }

  async run(): Promise<number> {
    this.#process.onSignal((signal) => this.#onSignal(signal));
    this.#parts.hangUps.onStop = () => this.#onSignal("SIGHUP");
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
    const mustStop = exactSinks(this.#config).some((sink) => sink.onClonedState === "stop");
    const opening = Journal.open({
      dataDir,
      durability: isLaxConfig(this.#config) ? "process" : "machine",
      onClonedState: mustStop ? "stop" : "adopt",
      keepsSpare: sinks.some((sink) => sink.buffer.type === "disk"),
      ...originOf(dataDir),
      log: this.#log,
      now: this.#process.now,
      ...faultyStorage(),
    });
    const isNeeded = needsJournal(this.#config);
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
    const bufferOptions = this.#bufferOptions(journal, pool);
    const diskBuffers = bufferOptions === null ? new Map() : await openDiskBuffers(bufferOptions);
    this.#metrics.accounts = () => accountsOf(positions, diskBuffers);
    const pipeline = new Pipeline({
      config: this.#config,
      positions,
      journal,
      diskBuffers,
      openDiskBuffer: async (sink) => bufferOptions === null ? null : await openBufferOf(bufferOptions, sink),
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
    const api = this.#newApi(pipeline);
    await api.start(this.#config.api);
    const health = this.#newHealth(pipeline);
    try {
      this.#log.info(`Started shipper ${version}`, {
        sources: this.#names("sources"),
        sinks: this.#names("sinks"),
      });
      const isHealthy = await this.#checkHealth(health);
      if (!isHealthy && this.#args.requireHealthy) return EXIT_CONFIG;
      this.#startReloader(pipeline, api, health, journal !== null);
      return await this.#runPipeline(pipeline, journal, diskBuffers);
    } finally {
      this.#reloader?.close();
      await closeAll(diskBuffers);
      // Where the pipeline has run it is closed already.
      await journal?.close(JOURNAL_CLOSE_MAX_MS);
      await api.stop();
    }
  }

  /** Null where no event is kept on disk. */
  #bufferOptions(journal: Journal | null, pool: BufferPool): DiskBuffersOptions | null {
    if (journal === null || this.#args.dryRun) return null;
    const faulty = faultyStorage();
    return {
      config: this.#config,
      journal,
      pool,
      metrics: this.#metrics,
      log: this.#log,
      ops: "ops" in faulty ? faulty.ops : null,
    };
  }

  #newApi(pipeline: Pipeline): RunApi {
    return new RunApi({
      config: () => pipeline.config,
      metrics: this.#metrics,
      log: this.#log,
      now: this.#process.now,
      version: this.#process.version,
      isStopping: () => this.#isEnding || this.#signalCount > 0,
    });
  }

  #newHealth(pipeline: Pipeline): SinkHealth {
    const { healthAgainMs } = this.#process;
    return new SinkHealth({
      pipeline,
      metrics: this.#metrics,
      log: this.#log,
      requireHealthy: this.#args.requireHealthy,
      signal: this.#end.signal,
      ...(healthAgainMs === undefined ? {} : { againMs: healthAgainMs }),
    });
  }

  /** Under `--require-healthy` nothing is read before the answer is there; otherwise shipping starts meanwhile. */
  async #checkHealth(health: SinkHealth): Promise<boolean> {
    if (this.#args.dryRun) return true; // it reaches nobody
    if (!this.#args.requireHealthy) {
      health.watch();
      return true;
    }
    // One that came while the journal was opened: the answer is not waited for, as with one that comes later.
    if (this.#signalCount > 0) return true;
    this.#isWaitingForHealth = true;
    return await health.check().finally(() => this.#isWaitingForHealth = false);
  }

  #startReloader(pipeline: Pipeline, api: RunApi, health: SinkHealth, hasJournal: boolean): void {
    const { hangUps, marks } = this.#parts;
    this.#reloader = startReloader({
      args: this.#args,
      process: this.#process,
      isWrapping: this.#wrapped !== null,
      hangUps,
      marks,
      facts: {
        hasJournal,
        isUnstored: this.#isUnstored,
        isLax: isLaxConfig(this.#startConfig),
        hasStdinFile: this.#stdinFile !== null,
      },
      pipeline,
      api,
      health,
      metrics: this.#metrics,
      log: this.#log,
    });
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
      this.#reloader?.close();
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

  #onSignal(signal: StopSignal): void {
    if (++this.#signalCount > 1) this.#process.exit(EXIT_CODES[signal]);
    this.#reloader?.close();
    if (this.#pipeline === null) this.#earlySignal = signal;
    else this.#stop(this.#pipeline, signal);
  }

  #stop(pipeline: Pipeline, signal: StopSignal): void {
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
