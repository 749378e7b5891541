import { BARE_RECORD, type Branch, type LaneShape, type LaneSource, recordShapeOf } from "./branch.ts";
import { DrainingBuffer } from "./buffer/draining_buffer.ts";
import type { EventBuffer } from "./buffer/event_buffer.ts";
import { MemoryBuffer } from "./buffer/memory_buffer.ts";
import { SinkPositions } from "./checkpoint/sink_positions.ts";
import type { KafkaSinkConfig, SinkConfig, SourceConfig } from "./config/config.ts";
import type { DeadLetterFiles } from "./dead_letter_files.ts";
import { GAP_MARKER_SOURCE } from "./event/stream.ts";
import { GapMarkers, MARKER_BYTES_MAX, markersTopic, startNotingGaps } from "./gap_markers.ts";
import type { SinkJournal } from "./journal/sink_journal.ts";
import { KafkaSink } from "./kafka/kafka_sink.ts";
import { Lane } from "./lane.ts";
import { LettersOfLanes } from "./lane_letters.ts";
import type { PipelineOptions } from "./pipeline_options.ts";
import type { Rebuilder } from "./rebuilder.ts";
import { createShaper } from "./shape/shaper.ts";
import { Template } from "./shape/template.ts";
import { createConsoleSink } from "./sink/console_sink.ts";
import { DryRunSink } from "./sink/dry_run_sink.ts";
import { GarbagePacer } from "./telemetry/garbage_pacer.ts";
import { SourceMetrics } from "./telemetry/metrics.ts";

type BranchCore = Omit<Branch, "gapMarkers">;

/** Makes sinks with what is in front of them: the lanes from sources to their buffers, and the buffers. */
export class BranchMaker {
  readonly #options: PipelineOptions;
  readonly #rebuilder: Rebuilder;
  readonly #deadLetters: DeadLetterFiles;
  readonly #garbagePacer: GarbagePacer;

  constructor(options: PipelineOptions, rebuilder: Rebuilder, deadLetters: DeadLetterFiles) {
    this.#options = options;
    this.#rebuilder = rebuilder;
    this.#deadLetters = deadLetters;
    this.#garbagePacer = new GarbagePacer({ onIdle: () => options.pool.trim() });
  }

  /** Its disk buffer is open, where it has one. `sources`: all that the configuration has. */
  branch(config: SinkConfig, sources: readonly SourceConfig[]): Branch {
    const { metrics, dryRun, diskBuffers, now } = this.#options;
    const sinkMetrics = metrics.sink(config.name);
    const buffer = this.#buffer(config);
    const diskBuffer = diskBuffers.get(config.name) ?? null;
    const common = { config, buffer, diskBuffer, letters: new LettersOfLanes() };
    let core: BranchCore;
    if (dryRun) {
      core = { ...common, ...this.#plain(), sink: new DryRunSink({ config, metrics: sinkMetrics, now }) };
    } else if (config.type === "console") {
      // It may have been a sink of another type before.
      this.#options.journal?.readAgain(config.name);
      const { log } = this.#options;
      core = { ...common, ...this.#plain(), sink: createConsoleSink({ config, metrics: sinkMetrics, log }) };
    } else core = { ...common, ...this.#kafka(config, sources) };
    if (diskBuffer !== null) {
      diskBuffer.hasIntents = core.hasIntents;
      // What an earlier run left waits from now on.
      if (diskBuffer.eventCount > 0) sinkMetrics.waitingSinceMs = now();
    }
    // For a file it is enough that the buffer on disk has its lines.
    const isOnDisk = config.buffer.type === "disk" && diskBuffer !== null;
    if (isOnDisk) core = { ...core, hasIntents: () => false };
    return { ...core, gapMarkers: this.#gapMarkers(core) };
  }

  /** The ways from one source to these sinks. */
  lanes(config: SourceConfig, branches: readonly Branch[]): Lane[] {
    const from: LaneSource = { ...config, metrics: this.#options.metrics.source(config.name) };
    return branches.map((branch) =>
      this.#lane(from, branch, {
        ...recordShapeOf(branch.config),
        whenFull: branch.config.buffer.whenFull,
        isAlone: false,
      })
    );
  }

  /** What a branch has whose sink writes no intents and has no positions of its own. */
  #plain(): Pick<
    BranchCore,
    "intents" | "deadLetters" | "hasIntents" | "isRecovering" | "positions" | "started"
  > {
    const { positions } = this.#options;
    return {
      intents: null,
      deadLetters: null,
      hasIntents: () => false,
      isRecovering: () => false,
      positions,
      started: null,
    };
  }

  #kafka(
    config: KafkaSinkConfig,
    sources: readonly SourceConfig[],
  ): Omit<BranchCore, "config" | "buffer" | "diskBuffer" | "letters"> {
    const { metrics, log, hostname, now, random, positions } = this.#options;
    const intents = this.#intents(config, sources);
    const own = config.delivery === "transactional" ? new SinkPositions(config.name, { now }) : null;
    const deadLetters = this.#deadLetters.open(config);
    const sink = new KafkaSink({
      config,
      hostname,
      fixedTopic: new Template(config.topic).constant,
      metrics: metrics.sink(config.name),
      log,
      now,
      random,
      intents,
      deadLetters,
      transactionPositions: own,
    });
    return {
      sink,
      intents,
      deadLetters,
      hasIntents: () => sink.hasIntents,
      isRecovering: () => sink.isRecovering,
      positions: own?.store ?? positions,
      started: own === null ? null : sink.started,
    };
  }

  /** They take a way of their own to the sink's buffer, as the lines of a source do. */
  #gapMarkers(branch: BranchCore): GapMarkers | null {
    const { hostname, log, now, metrics } = this.#options;
    const { config, isRecovering } = branch;
    const topic = markersTopic(config);
    const sinkMetrics = metrics.sink(config.name);
    if (topic === null) {
      sinkMetrics.gaps = null;
      return null;
    }
    startNotingGaps([config], metrics, now);
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
  #intents(config: KafkaSinkConfig, sources: readonly SourceConfig[]): SinkJournal | null {
    const { journal, log } = this.#options;
    const { name, delivery, deliveryReason, durability } = config;
    const own = sources.filter((source) => config.inputs.includes(source.name));
    const hasPipe = own.some((source) => source.type === "stdin") &&
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

  #lane(source: LaneSource, branch: BranchCore, options: LaneShape): Lane {
    const { hostname, metrics, log, now, pool } = this.#options;
    const { name, maxLineBytes, decoding, metrics: sourceMetrics } = source;
    const { config, buffer, hasIntents, positions, sink, letters } = branch;
    const { whenFull, isAlone, ...record } = options;
    const sinkMetrics = metrics.sink(config.name);
    return new Lane({
      source: name,
      sink: config.name,
      maxLineBytes,
      whenFull,
      isAlone,
      letters: letters.of(sink, { source: name, sink: config.name, metrics: sinkMetrics, now }),
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
}
