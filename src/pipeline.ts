import { aborted, unlessAborted } from "./aborted.ts";
import { BARE_RECORD, type Branch, type LaneShape, type LaneSource, recordShapeOf } from "./branch.ts";
import type { DiskBuffer } from "./buffer/disk_buffer.ts";
import { DrainingBuffer } from "./buffer/draining_buffer.ts";
import type { EventBuffer } from "./buffer/event_buffer.ts";
import { MemoryBuffer } from "./buffer/memory_buffer.ts";
import type { PositionStore } from "./checkpoint/position_store.ts";
import { SinkPositions } from "./checkpoint/sink_positions.ts";
import type {
  Config,
  KafkaSinkConfig,
  SinkConfig,
  SourceConfig,
  StdinSourceConfig,
} from "./config/config.ts";
import { GAP_MARKER_SOURCE } from "./event/stream.ts";
import { BufferPool } from "./event/pooled_buffer.ts";
import type { StreamAccount } from "./event/tally.ts";
import { DeadLetterFiles } from "./dead_letter_files.ts";
import { GapMarkers, MARKER_BYTES_MAX, markersTopic, startNotingGaps } from "./gap_markers.ts";
import type { Journal } from "./journal/journal.ts";
import type { IntentLog } from "./kafka/intent_log.ts";
import { KafkaSink } from "./kafka/kafka_sink.ts";
import { Lane } from "./lane.ts";
import { LettersOfLanes } from "./lane_letters.ts";
import { Rebuilder } from "./rebuilder.ts";
import { rescueStoreOf } from "./rescue_store_of.ts";
import { createShaper } from "./shape/shaper.ts";
import { Template } from "./shape/template.ts";
import { createConsoleSink } from "./sink/console_sink.ts";
import { DryRunSink } from "./sink/dry_run_sink.ts";
import type { HealthFailure, Sink } from "./sink/sink.ts";
import type { Command } from "./source/command.ts";
import { createExecSource } from "./source/exec_source.ts";
import { ExtentReader } from "./source/extent_reader.ts";
import { faultyFileOps } from "./source/faulty_file_ops.ts";
import { type FileOps, systemFileOps } from "./source/file_ops.ts";
import { createFileSource } from "./source/file_source.ts";
import type { RescueStore } from "./source/rescue_store.ts";
import type { Source } from "./source/source.ts";
import type { StdinFile } from "./source/stdin_file.ts";
import { createStdinFileSource } from "./source/stdin_file_source.ts";
import { createStdinSource } from "./source/stdin_source.ts";
import { GarbagePacer } from "./telemetry/garbage_pacer.ts";
import type { Log } from "./telemetry/log.ts";
import { type Metrics, SourceMetrics } from "./telemetry/metrics.ts";
import { fileFaults } from "./telemetry/test_knobs.ts";

export interface PipelineOptions {
  readonly config: Config;
  readonly positions: PositionStore;
  /** Null where nothing can be read again after a crash, or nothing is sent. */
  readonly journal: Journal | null;
  /** By sink; `openDiskBuffers`. Closed by the caller, after the run. */
  readonly diskBuffers: ReadonlyMap<string, DiskBuffer>;
  readonly pool: BufferPool;
  readonly hostname: string;
  readonly metrics: Metrics;
  readonly log: Log;
  /** Read what is there, then end. */
  readonly once: boolean;
  /** Print what would be sent instead of sending it. */
  readonly dryRun: boolean;
  /** Takes the place of stdin; its end is the end of the run. */
  readonly wrapped?: WrappedCommand | null;
  /** The file on stdin whose position is kept; null or not there: stdin is read as a pipe. */
  readonly stdinFile?: StdinFile | null;
  readonly now: () => number;
  readonly random: () => number;
}

/** What `shipper exec` starts. */
export interface WrappedCommand {
  readonly command: Command;
  /** Its output goes to this process's stdout and stderr, too. */
  readonly tee: boolean;
}
/** A journal that cannot be written keeps copies of deleted files for the next run. */
const RESCUE_CLOSE_MAX_MS = 2_000;

/**
 * Joins the stages, in the order of the path:
 *
 *     source -> lane (decode -> shape -> buffer) -> sink (batch -> kafka)
 *        ^                                              |
 *        +------------- checkpoint <------ ack ---------+
 *
 * With a disk buffer the position follows from what is in the buffer, and the acknowledgement moves the buffer's own.
 *
 * N sources by M sinks: a lane for each pair that `inputs` names, a buffer for each sink. A sink that stores its positions in Kafka reads files
 * by a source of its own, which starts when they are known: no other sink waits for that.
 */
export class Pipeline {
  readonly #options: PipelineOptions;
  readonly #branches: Branch[];
  readonly #sources: Source[];
  /** Sources that wait for the positions of a sink. */
  readonly #lateSources: (() => Promise<Source | null>)[];
  readonly #garbagePacer = new GarbagePacer();
  readonly #fileOps: FileOps;
  readonly #rescue: RescueStore | null;
  readonly #extents: ExtentReader;
  readonly #rebuilder: Rebuilder;
  readonly #deadLetters: DeadLetterFiles;
  readonly #letters = new LettersOfLanes();
  readonly #stopReading = new AbortController();
  readonly #kill = new AbortController();

  constructor(options: PipelineOptions) {
    this.#options = options;
    const { positions, log, pool } = options;
    const faults = fileFaults();
    this.#fileOps = faults === null ? systemFileOps : faultyFileOps(systemFileOps, faults);
    this.#rescue = rescueStoreOf(options);
    this.#extents = new ExtentReader({
      ops: this.#fileOps,
      records: (source, id) => positions.record(source, id),
      copyPath: (source, id) => this.#rescue?.copyOf(source, id)?.dataPath ?? null,
      readHeld: async (source, id, ...where) => await this.#rescue?.readHeld(source, id, ...where) ?? null,
      log,
    });
    this.#rebuilder = new Rebuilder({ ...options, extents: this.#extents });
    this.#deadLetters = new DeadLetterFiles(options.config.sinks, options.metrics, log);
    this.#branches = options.config.sinks.map((config) => this.#branch(config));
    this.#sources = options.config.sources.flatMap((config) => this.#source(config, pool) ?? []);
    this.#lateSources = options.config.sources.flatMap((config) => this.#sourcesOfLateSinks(config, pool));
    const { accounts } = options.metrics;
    options.metrics.accounts = () => this.#accounts(accounts);
  }

  /** The health checks that failed. Sinks are asked at the same time; one that does not answer before `signal` aborts has failed. */
  async checkHealth(signal: AbortSignal): Promise<{ sink: string; failure: HealthFailure }[]> {
    const asked = this.#branches.filter(({ config }) => config.healthcheck);
    const failures = await Promise.all(
      asked.map(({ sink }) => unlessAborted(sink.checkHealth(signal), signal)),
    );
    return failures.flatMap((failure, i) =>
      failure === null ? [] : [{ sink: asked[i]!.config.name, failure }]
    );
  }

  /** Runs until all sources have ended and everything is settled, or `kill` was called. Rejects only on a bug. */
  async run(): Promise<void> {
    const sinks = this.#branches.map(({ sink, buffer }) => sink.run(buffer, this.#kill.signal));
    const { signal } = this.#stopReading;
    const sources = Promise.all([
      ...this.#sources.map((source) => source.run(signal)),
      ...this.#lateSources.map(async (make) => await (await make())?.run(signal)),
    ]);
    const markers = this.#branches.map(({ gapMarkers }) => gapMarkers?.run(this.#kill.signal));
    const fed = sources.then(() =>
      Promise.all(this.#branches.map(async ({ buffer, gapMarkers }) => {
        // What waits for its dead letter waits for a sink that is still there.
        await this.#letters.finish(this.#kill.signal);
        await gapMarkers?.finish(this.#kill.signal);
        buffer.end();
      }))
    );
    // A sink that ends by a bug must not leave the sources waiting for room for ever.
    const all = Promise.all([fed, ...sinks, ...markers]);
    await all.catch((error: unknown) => {
      this.#stopReading.abort();
      this.#kill.abort();
      throw error;
    }).finally(async () => {
      this.#extents.close();
      await this.#deadLetters.close();
      await this.#rescue?.close(RESCUE_CLOSE_MAX_MS);
    });
  }

  /** Sources stop; what they gave is still delivered. */
  stopReading(): void {
    this.#stopReading.abort();
  }

  /** Gives up what is not delivered: its positions do not move. */
  kill(): void {
    this.#stopReading.abort();
    this.#kill.abort();
  }

  /** What others know, and the positions of every sink that has its own. */
  *#accounts(others: () => Iterable<StreamAccount>): Iterable<StreamAccount> {
    yield* others();
    for (const { positions } of this.#branches) {
      if (positions !== this.#options.positions) yield* positions.accounts();
    }
  }

  #branch(config: SinkConfig): Branch {
    const { metrics, log, hostname, dryRun, now, random } = this.#options;
    const sinkMetrics = metrics.sink(config.name);
    const buffer = this.#buffer(config);
    let sink: Sink;
    let hasIntents = () => false;
    let { positions } = this.#options;
    let started: Promise<boolean> | null = null;
    if (dryRun) sink = new DryRunSink({ config, metrics: sinkMetrics, now });
    else if (config.type === "console") {
      // It may have been a sink of another type before.
      this.#options.journal?.readAgain(config.name);
      sink = createConsoleSink({ config, metrics: sinkMetrics, log });
    } else {
      const fixedTopic = new Template(config.topic).constant;
      const intents = this.#intents(config);
      const own = config.delivery === "transactional" ? new SinkPositions(config.name, { now }) : null;
      const kafka = new KafkaSink({
        config,
        hostname,
        fixedTopic,
        metrics: sinkMetrics,
        log,
        now,
        random,
        intents,
        deadLetters: this.#deadLetters.of(config),
        transactionPositions: own,
      });
      hasIntents = () => kafka.hasIntents;
      if (own !== null) {
        positions = own.store;
        started = kafka.started;
      }
      sink = kafka;
    }
    const diskBuffer = this.#options.diskBuffers.get(config.name);
    if (diskBuffer !== undefined) {
      diskBuffer.hasIntents = hasIntents;
      // What an earlier run left waits from now on.
      if (diskBuffer.eventCount > 0) sinkMetrics.waitingSinceMs = now();
    }
    // For a file it is enough that the buffer on disk has its lines.
    const isOnDisk = config.buffer.type === "disk" && diskBuffer !== undefined;
    const isTold = isOnDisk ? () => false : hasIntents;
    const branch = { config, sink, buffer, hasIntents: isTold, positions, started };
    return { ...branch, gapMarkers: this.#gapMarkers(branch) };
  }

  /** They take a way of their own to the sink's buffer, as the lines of a source do. */
  #gapMarkers(branch: Omit<Branch, "gapMarkers">): GapMarkers | null {
    const { hostname, log, now, metrics } = this.#options;
    const { config } = branch;
    const topic = markersTopic(config);
    if (topic === null) return null;
    startNotingGaps([config], metrics, now);
    const sinkMetrics = metrics.sink(config.name);
    const gaps = sinkMetrics.gaps!;
    const source: LaneSource = {
      name: GAP_MARKER_SOURCE,
      maxLineBytes: MARKER_BYTES_MAX,
      decoding: { codec: "text" },
      metrics: new SourceMetrics(),
    };
    const shape = {
      encoding: { ...config.encoding, codec: "raw" as const, onlyFields: null, exceptFields: null },
      ...BARE_RECORD,
      topic,
    };
    const outlet = this.#lane(source, branch, { ...shape, whenFull: "block", isAlone: true });
    const isRecovering = () => branch.sink instanceof KafkaSink && branch.sink.isRecovering;
    return new GapMarkers({ gaps, outlet, isRecovering, hostname, metrics: sinkMetrics, log, now });
  }

  #buffer(config: SinkConfig): EventBuffer {
    const { diskBuffers, metrics } = this.#options;
    const disk = diskBuffers.get(config.name);
    if (disk !== undefined && config.buffer.type === "disk") return disk;
    const memory = new MemoryBuffer({ ...config.buffer, metrics: metrics.sink(config.name) });
    return disk === undefined ? memory : new DrainingBuffer(disk, memory);
  }

  /** Null: at least once, or in transactions. */
  #intents(config: KafkaSinkConfig): IntentLog | null {
    const { journal, log } = this.#options;
    const { name, delivery, deliveryReason, durability } = config;
    const sources = this.#options.config.sources.filter((source) => config.inputs.includes(source.name));
    const hasPipe = sources.some((source) => source.type === "stdin") &&
      (this.#options.stdinFile ?? null) === null;
    if (hasPipe && config.buffer.type === "memory") {
      const what = (this.#options.wrapped ?? null) === null ? "stdin" : "a command's output";
      log.info(
        `Sink "${name}" reads ${what} with the buffer in memory: lines that are not acknowledged are lost with the process`,
      );
    }
    if (delivery === "exactly_once" && journal !== null) {
      const isSynced = durability === "machine";
      return journal.intentsOf(name, (live) => this.#rebuilder.rebuild(config, live), isSynced);
    }
    journal?.readAgain(name);
    if (delivery === "transactional") {
      log.info(
        `Sink "${name}" delivers in transactions, as transactional id "${config.transactionalId}": readers have to set ` +
          "isolation.level=read_committed, others see lines of aborted transactions too",
      );
    }
    if (deliveryReason !== null) log.info(`Sink "${name}" delivers at least once, because ${deliveryReason}`);
    return null;
  }

  #lane(source: LaneSource, branch: Omit<Branch, "gapMarkers">, options: LaneShape): Lane {
    const { hostname, metrics, log, now, pool } = this.#options;
    const { name, maxLineBytes, decoding, metrics: sourceMetrics } = source;
    const { config, buffer, hasIntents, positions, sink } = branch;
    const { whenFull, isAlone, ...record } = options;
    const sinkMetrics = metrics.sink(config.name);
    return new Lane({
      source: name,
      sink: config.name,
      maxLineBytes,
      whenFull,
      isAlone,
      letters: this.#letters.of(sink, { source: name, sink: config.name, metrics: sinkMetrics, now }),
      shaper: createShaper({ ...record, decoding, hostname, pool, metrics: sourceMetrics }),
      buffer,
      checkpoint: positions,
      hasIntents,
      sourceMetrics,
      sinkMetrics,
      garbagePacer: this.#garbagePacer,
      log,
      now,
    });
  }

  #source(config: SourceConfig, pool: BufferPool): Source | null {
    const { positions, metrics, log } = this.#options;
    const branches = this.#readersOf(config);
    if (this.#isPipe(config)) {
      // A source that no sink reads is not opened; the configuration check has warned about it.
      if (branches.length === 0) return null;
      const outlets = this.#lanes(config, branches);
      const common = { config, outlets, metrics: metrics.source(config.name), log, pool };
      const { wrapped = null, config: { shutdownTimeoutMs }, hostname, now } = this.#options;
      if (wrapped === null) return createStdinSource(common);
      const onEnd = () => this.stopReading();
      return createExecSource({ ...common, ...wrapped, hostname, now, shutdownTimeoutMs, onEnd });
    }
    const prompt = branches.filter(({ started }) => started === null);
    return prompt.length === 0 ? null : this.#fileSource(config, prompt, positions, pool);
  }

  #sourcesOfLateSinks(config: SourceConfig, pool: BufferPool): (() => Promise<Source | null>)[] {
    if (this.#isPipe(config)) return [];
    return this.#readersOf(config).filter(({ started }) => started !== null).map((branch) => async () => {
      const isStarted = await Promise.race([branch.started, aborted(this.#stopReading.signal)]);
      return isStarted === true ? this.#fileSource(config, [branch], branch.positions, pool) : null;
    });
  }

  /** Its bytes cannot be read again: all sinks share one source. */
  #isPipe(config: SourceConfig): config is StdinSourceConfig {
    return config.type === "stdin" && (this.#options.stdinFile ?? null) === null;
  }

  #readersOf({ name }: SourceConfig): Branch[] {
    return this.#branches.filter((branch) => branch.config.inputs.includes(name));
  }

  #lanes(config: SourceConfig, branches: readonly Branch[]): Lane[] {
    const { metrics } = this.#options;
    const from: LaneSource = { ...config, metrics: metrics.source(config.name) };
    return branches.map((branch) =>
      this.#lane(from, branch, {
        ...recordShapeOf(branch.config),
        whenFull: branch.config.buffer.whenFull,
        isAlone: false,
      })
    );
  }

  #fileSource(
    config: SourceConfig,
    branches: readonly Branch[],
    checkpoint: PositionStore,
    pool: BufferPool,
  ): Source {
    const { metrics, log, once, stdinFile: file = null } = this.#options;
    const outlets = this.#lanes(config, branches);
    if (config.type === "stdin") {
      const gaps = (sink: string) => metrics.sink(sink).gaps;
      const common = { config, outlets, checkpoint, metrics: metrics.source(config.name), log, pool };
      return createStdinFileSource({ ...common, file: file!, gaps, ops: this.#fileOps });
    }
    return createFileSource({
      config: { ...config, exclude: [...config.exclude, ...this.#deadLetters.excludes] },
      outlets,
      checkpoint,
      metrics: metrics.source(config.name),
      log,
      once,
      dataDir: this.#options.config.dataDir,
      pool,
      gaps: (sink) => metrics.sink(sink).gaps,
      // What a sink has in Kafka is not what the copies are kept for.
      rescue: checkpoint === this.#options.positions ? this.#rescue : null,
      ops: this.#fileOps,
    });
  }
}
