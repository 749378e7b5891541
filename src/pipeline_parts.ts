import type { BranchMaker } from "./branch_maker.ts";
import type { SourceKinds, SourceUnit } from "./change_plan.ts";
import type { Config, SinkConfig, SourceConfig } from "./config/config.ts";
import { GAP_MARKER_SOURCE, type Stream } from "./event/stream.ts";
import type { StreamAccount } from "./event/tally.ts";
import { startNotingGaps } from "./gap_markers.ts";
import type { PipelineOptions } from "./pipeline_options.ts";
import { RetiredAccounts } from "./retired_accounts.ts";
import { RunningBranch } from "./running_branch.ts";
import { RunningSource } from "./running_source.ts";
import type { SourceMaker } from "./source_maker.ts";

/** The last events of a disk buffer are not waited for longer. */
const BUFFER_CLOSE_MAX_MS = 5_000;

export interface PartsOptions {
  readonly options: PipelineOptions;
  /** What it begins with. */
  readonly config: Config;
  readonly branchMaker: BranchMaker;
  readonly sourceMaker: SourceMaker;
  readonly kinds: SourceKinds;
}

/** The sinks and the readers of sources that are at work, and how one of them begins and ends while the others go on. */
export class PipelineParts {
  readonly branches = new Map<string, RunningBranch>();
  /** By the key of their unit. Also those that have come to their end. */
  readonly sources = new Map<string, RunningSource>();
  readonly retired = new RetiredAccounts();
  readonly stopReading = new AbortController();
  readonly kill = new AbortController();
  readonly kinds: SourceKinds;
  /** What all of them are made of. */
  config: Config;
  readonly #options: PipelineOptions;
  readonly #branchMaker: BranchMaker;
  readonly #sourceMaker: SourceMaker;
  /** Readers that have not ended, and changes under way. */
  #openCount = 0;
  #isOver = false;
  readonly #allRead = Promise.withResolvers<void>();
  readonly #failed = Promise.withResolvers<never>();

  constructor({ options, config, branchMaker, sourceMaker, kinds }: PartsOptions) {
    this.#options = options;
    this.#branchMaker = branchMaker;
    this.#sourceMaker = sourceMaker;
    this.kinds = kinds;
    this.config = config;
    this.#failed.promise.catch(() => {}); // whoever waits for it is told
  }

  /** Resolves when all sources have ended and no change is under way: no sink gets anything any more. */
  get allRead(): Promise<void> {
    return this.#allRead.promise;
  }

  /** All is read, or the run has failed: nothing can be changed any more. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Rejects when a part can never go on, or on a bug. */
  get failed(): Promise<never> {
    return this.#failed.promise;
  }

  fail(error: unknown): void {
    this.#isOver = true;
    this.#failed.reject(error);
  }

  /** While `work` goes on, the end of all sources is not the end of the run. */
  async whileOpen<T>(work: () => Promise<T>): Promise<T> {
    this.#openCount++;
    try {
      return await work();
    } finally {
      this.closed();
    }
  }

  opened(): void {
    this.#openCount++;
  }

  closed(): void {
    if (--this.#openCount > 0) return;
    this.#isOver = true;
    this.#allRead.resolve();
  }

  /** Its disk buffer is open. */
  addBranch(config: SinkConfig, sources: readonly SourceConfig[]): RunningBranch {
    const branch = this.#branchMaker.branch(config, sources);
    const running = new RunningBranch(branch, this.#options.metrics.sink(config.name));
    this.branches.set(config.name, running);
    return running;
  }

  startBranch(branch: RunningBranch): void {
    branch.start(this.kill.signal).catch((error: unknown) => this.fail(error));
  }

  /** Opens its disk buffer where it has one, and starts it. Throws `StartError`; nothing is left of it then. */
  async openBranch(config: SinkConfig, sources: readonly SourceConfig[]): Promise<void> {
    const { openDiskBuffer, diskBuffers, metrics, now } = this.#options;
    const again = sources.filter((source) => !this.kinds.isPipe(source)).map(({ name }) => name);
    // Opening it may find losses.
    startNotingGaps([config], metrics, now);
    metrics.sink(config.name).takeUp([GAP_MARKER_SOURCE, ...again]);
    const buffer = await openDiskBuffer?.(config) ?? null;
    if (buffer !== null) diskBuffers.set(config.name, buffer);
    this.startBranch(this.addBranch(config, sources));
  }

  /**
   * Ends a branch that nobody offers anything to: see `RunningBranch.stop`. Afterwards its positions and batches are as after a restart, and what it has
   * left is read again by who takes its place.
   */
  async endBranch(name: string, isReplaced: boolean): Promise<void> {
    const { diskBuffers, journal, positions, metrics } = this.#options;
    const running = this.branches.get(name)!;
    const { branch } = running;
    await running.stop(this.config.shutdownTimeoutMs, isReplaced);
    const buffer = diskBuffers.get(name);
    await buffer?.close(BUFFER_CLOSE_MAX_MS);
    // All of the rest in one turn, so that the account adds up at every moment.
    branch.intents?.close();
    branch.deadLetters?.close();
    this.branches.delete(name);
    diskBuffers.delete(name);
    if (buffer !== undefined) positions.buffers.close(buffer.ledger);
    const own = branch.positions === positions ? null : branch.positions;
    const buffered = [...buffer?.accounts() ?? []];
    const isRead = new Set(this.config.sources.map((source) => source.name));
    const isOver = ({ source }: Stream) => !isRead.has(source);
    let givenBack = positions.giveBack(name, isOver) + (own?.giveBack(name, isOver) ?? 0);
    for (const { tally } of buffered) givenBack += tally.giveBack();
    metrics.sink(name).startAnew(givenBack);
    this.retired.add([...own?.accounts() ?? [], ...buffered]);
    own?.close();
    if (journal !== null) journal.reopenSink(name);
    else positions.reopenSink(name);
  }

  addSource(unit: SourceUnit, before: SourceConfig | null): RunningSource {
    const source = new RunningSource(unit, this.#sourceMaker.source(unit, this.#branchesOf(unit), before));
    this.sources.set(unit.key, source);
    return source;
  }

  startSource(source: RunningSource): void {
    this.opened();
    source.start(this.stopReading.signal).catch((error: unknown) => this.fail(error)).finally(() =>
      this.closed()
    );
  }

  async endSource(key: string): Promise<void> {
    const source = this.sources.get(key);
    this.sources.delete(key);
    await source?.stop();
  }

  /** A pipe's reader goes on with the sinks of `unit`. */
  exchange(source: RunningSource, unit: SourceUnit): void {
    source.unit = unit;
    source.source.exchange!(this.#branchMaker.lanes(unit.source, this.#branchesOf(unit)));
  }

  *accounts(): Iterable<StreamAccount> {
    for (const { branch: { positions } } of this.branches.values()) {
      if (positions !== this.#options.positions) yield* positions.accounts();
    }
    yield* this.retired.accounts();
  }

  #branchesOf({ sinks }: SourceUnit) {
    return sinks.map((name) => this.branches.get(name)!.branch);
  }
}
