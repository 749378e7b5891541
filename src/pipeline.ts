import { unlessAborted } from "./aborted.ts";
import { BranchMaker } from "./branch_maker.ts";
import { type SourceKinds, unitsOf } from "./change_plan.ts";
import type { Config, SinkConfig, SourceConfig } from "./config/config.ts";
import { DeadLetterFiles, withoutLetterFiles } from "./dead_letter_files.ts";
import type { StreamAccount } from "./event/tally.ts";
import { type ChangeOutcome, PipelineChange } from "./pipeline_change.ts";
import type { PipelineOptions } from "./pipeline_options.ts";
import { PipelineParts } from "./pipeline_parts.ts";
import { Rebuilder } from "./rebuilder.ts";
import { rescueStoreOf } from "./rescue_store_of.ts";
import type { HealthFailure } from "./sink/sink.ts";
import { ExtentReader } from "./source/extent_reader.ts";
import { faultyFileOps } from "./source/faulty_file_ops.ts";
import { systemFileOps } from "./source/file_ops.ts";
import type { RescueStore } from "./source/rescue_store.ts";
import { SourceMaker } from "./source_maker.ts";
import { fileFaults } from "./telemetry/test_knobs.ts";

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
 *
 * `change` puts another configuration in the place of the one at work: parts that it does not concern go on as they are.
 */
export class Pipeline {
  readonly #parts: PipelineParts;
  readonly #rescue: RescueStore | null;
  readonly #extents: ExtentReader;
  readonly #deadLetters: DeadLetterFiles;
  /** Ends when no change is under way any more. */
  #lastChange: Promise<unknown> = Promise.resolve();

  constructor(options: PipelineOptions) {
    const { positions, log, metrics } = options;
    const config = withoutLetterFiles(options.config);
    const faults = fileFaults();
    const fileOps = faults === null ? systemFileOps : faultyFileOps(systemFileOps, faults);
    this.#rescue = rescueStoreOf({ ...options, sinks: () => this.#parts?.config.sinks ?? config.sinks });
    this.#extents = new ExtentReader({
      ops: fileOps,
      records: (source, id) => positions.record(source, id),
      copyPath: (source, id) => this.#rescue?.copyOf(source, id)?.dataPath ?? null,
      readHeld: async (source, id, ...where) => await this.#rescue?.readHeld(source, id, ...where) ?? null,
      log,
    });
    const rebuilder = new Rebuilder({
      ...options,
      sources: () => this.#parts.config.sources,
      extents: this.#extents,
    });
    this.#deadLetters = new DeadLetterFiles(metrics, log);
    const branchMaker = new BranchMaker(options, rebuilder, this.#deadLetters);
    const sourceMaker = new SourceMaker({
      options,
      branchMaker,
      fileOps,
      rescue: this.#rescue,
      onCommandRead: () => this.stopReading(),
      shutdownTimeoutMs: () => this.#parts.config.shutdownTimeoutMs,
    });
    this.#parts = new PipelineParts({ options, config, branchMaker, sourceMaker, kinds: kindsFor(options) });
    for (const sink of config.sinks) this.#parts.addBranch(sink, config.sources);
    for (const unit of unitsOf(config, this.#parts.kinds)) this.#parts.addSource(unit, null);
    const { accounts } = metrics;
    metrics.accounts = () => this.#accounts(accounts);
  }

  /** The configuration that is at work. */
  get config(): Config {
    return this.#parts.config;
  }

  /** The health checks that failed. Sinks are asked at the same time; one that does not answer before `signal` aborts has failed. */
  async checkHealth(signal: AbortSignal): Promise<{ sink: string; failure: HealthFailure }[]> {
    const asked = [...this.#parts.branches.values()].map(({ branch }) => branch).filter(({ config }) =>
      config.healthcheck
    );
    const failures = await Promise.all(
      asked.map(({ sink }) => unlessAborted(sink.checkHealth(signal), signal)),
    );
    return failures.flatMap((failure, i) =>
      failure === null ? [] : [{ sink: asked[i]!.config.name, failure }]
    );
  }

  /** Runs until all sources have ended and everything is settled, or `kill` was called. Rejects only on a bug. */
  async run(): Promise<void> {
    const parts = this.#parts;
    try {
      await parts.whileOpen(async () => {
        for (const branch of parts.branches.values()) parts.startBranch(branch);
        for (const source of parts.sources.values()) parts.startSource(source);
      });
      await Promise.race([this.#end(), parts.failed]);
    } catch (error) {
      // A sink that ends by a bug must not leave the sources waiting for room for ever.
      this.kill();
      await this.#lastChange;
      throw error;
    } finally {
      this.#extents.close();
      await this.#deadLetters.close();
      await this.#rescue?.close(RESCUE_CLOSE_MAX_MS);
    }
  }

  /**
   * Puts a configuration in the place of the one at work; see `PipelineChange`. What of it concerns no source and no sink is taken over as well. One
   * after the other, while `run` runs.
   */
  change(next: Config): Promise<ChangeOutcome> {
    const parts = this.#parts;
    const change = this.#lastChange.then(async (): Promise<ChangeOutcome> => {
      if (parts.isOver) return { kind: "ending" };
      return await parts.whileOpen(() => new PipelineChange(parts, withoutLetterFiles(next)).apply());
    });
    this.#lastChange = change.catch((error: unknown) => parts.fail(error));
    return change;
  }

  /** Sources stop; what they gave is still delivered. */
  stopReading(): void {
    this.#parts.stopReading.abort();
  }

  /** Gives up what is not delivered: its positions do not move. */
  kill(): void {
    this.#parts.stopReading.abort();
    this.#parts.kill.abort();
  }

  async #end(): Promise<void> {
    const { allRead, branches } = this.#parts;
    await allRead;
    await Promise.all([...branches.values()].map(async (branch) => {
      await branch.finish();
      await branch.ended;
    }));
  }

  /** What others know, and the positions of every sink that has its own. */
  *#accounts(others: () => Iterable<StreamAccount>): Iterable<StreamAccount> {
    yield* others();
    yield* this.#parts.accounts();
  }
}

function kindsFor({ stdinFile = null, dryRun }: PipelineOptions): SourceKinds {
  return {
    isPipe: (source: SourceConfig) => source.type === "stdin" && stdinFile === null,
    isLate: (sink: SinkConfig) => !dryRun && sink.type === "kafka" && sink.delivery === "transactional",
  };
}
