import { aborted } from "./aborted.ts";
import type { Branch } from "./branch.ts";
import type { BranchMaker } from "./branch_maker.ts";
import type { SourceUnit } from "./change_plan.ts";
import type { PositionStore } from "./checkpoint/position_store.ts";
import type { FileSourceConfig, SourceConfig, StdinSourceConfig } from "./config/config.ts";
import type { PipelineOptions } from "./pipeline_options.ts";
import { createExecSource } from "./source/exec_source.ts";
import type { FileOps } from "./source/file_ops.ts";
import { createFileSource } from "./source/file_source.ts";
import type { RescueStore } from "./source/rescue_store.ts";
import type { PipeSource, Source } from "./source/source.ts";
import { createStdinFileSource } from "./source/stdin_file_source.ts";
import { createStdinSource } from "./source/stdin_source.ts";

export interface SourceMakerOptions {
  readonly options: PipelineOptions;
  readonly branchMaker: BranchMaker;
  readonly fileOps: FileOps;
  readonly rescue: RescueStore | null;
  /** What a wrapped command wrote was all taken. */
  readonly onCommandRead: () => void;
  readonly shutdownTimeoutMs: () => number;
}

/** Makes the readers of sources. */
export class SourceMaker {
  readonly #options: SourceMakerOptions;

  constructor(options: SourceMakerOptions) {
    this.#options = options;
  }

  /** `branches`: those of the unit's sinks. `before`: the configuration of the reader whose place it takes, or null. */
  source(unit: SourceUnit, branches: readonly Branch[], before: SourceConfig | null): RunnableSource {
    if (unit.isLate) {
      return new LateSource(unit.source.name, branches[0]!, () => this.#reader(unit, branches, before));
    }
    if (unit.source.type === "stdin" && unit.isPipe) return this.#pipe(unit.source, branches);
    return this.#reader(unit, branches, before);
  }

  #pipe(config: StdinSourceConfig, branches: readonly Branch[]): RunnableSource {
    const { options, branchMaker, onCommandRead, shutdownTimeoutMs } = this.#options;
    const { metrics, log, pool, wrapped = null, hostname, now } = options;
    const outlets = branchMaker.lanes(config, branches);
    const common = { config, outlets, metrics: metrics.source(config.name), log, pool };
    if (wrapped === null) return createStdinSource(common);
    return createExecSource({
      ...common,
      ...wrapped,
      hostname,
      now,
      shutdownTimeoutMs: shutdownTimeoutMs(),
      onEnd: onCommandRead,
    });
  }

  #reader({ source: config }: SourceUnit, branches: readonly Branch[], before: SourceConfig | null): Source {
    const { options, branchMaker, fileOps: ops } = this.#options;
    const { metrics, log, pool, stdinFile: file = null } = options;
    const checkpoint = branches[0]!.positions;
    const common = {
      outlets: branchMaker.lanes(config, branches),
      checkpoint,
      metrics: metrics.source(config.name),
      log,
      pool,
      gaps: (sink: string) => metrics.sink(sink).gaps,
      ops,
    };
    if (config.type === "stdin") return createStdinFileSource({ ...common, config, file: file! });
    return createFileSource({
      ...common,
      config,
      once: options.once,
      dataDir: options.config.dataDir,
      before: before as FileSourceConfig | null,
      rescue: this.#rescueFor(checkpoint),
    });
  }

  /** What a sink has in Kafka is not what the copies are kept for. */
  #rescueFor(checkpoint: PositionStore): RescueStore | null {
    return checkpoint === this.#options.options.positions ? this.#options.rescue : null;
  }
}

/** A source that may be one that goes on with other sinks. */
export type RunnableSource = Source & Partial<PipeSource>;

/** Waits for the positions of its sink, which are in Kafka. */
class LateSource implements Source {
  readonly name: string;
  readonly #branch: Branch;
  readonly #make: () => Source;
  #source: Source | null = null;

  constructor(name: string, branch: Branch, make: () => Source) {
    this.name = name;
    this.#branch = branch;
    this.#make = make;
  }

  async run(signal: AbortSignal): Promise<void> {
    const isStarted = await Promise.race([this.#branch.started, aborted(signal)]);
    if (isStarted !== true || signal.aborted) return;
    this.#source = this.#make();
    await this.#source.run(signal);
  }

  leave(): void {
    this.#source?.leave?.();
  }

  async holdsAlone(): Promise<string | null> {
    return await this.#source?.holdsAlone?.() ?? null;
  }
}
