import {
  type ChangePlan,
  isNoChange,
  isSameUnit,
  planChange,
  type SourceKinds,
  type SourceUnit,
  unitsOf,
} from "./change_plan.ts";
import type { Config, SinkConfig, SourceConfig } from "./config/config.ts";
import { StartError } from "./errors.ts";
import { pause } from "./pause.ts";
import type { PipelineParts } from "./pipeline_parts.ts";
import { countOf } from "./telemetry/format.ts";

/** How often it is looked whether a sink has delivered what it has. */
const IDLE_POLL_MS = 10;

/** What has become of a new configuration. */
export type ChangeOutcome =
  /** Sources and sinks are the same. */
  | { readonly kind: "unchanged" }
  /** It has taken over, but for the sinks in `failed`. */
  | { readonly kind: "changed"; readonly plan: ChangePlan; readonly failed: readonly FailedSink[] }
  /** Everything goes on as before: `message` says why. */
  | { readonly kind: "refused"; readonly message: string; readonly hint: string }
  /** The run is ending. */
  | { readonly kind: "ending" };

/** A sink whose new form could not be started. */
export interface FailedSink {
  readonly sink: string;
  readonly message: string;
  readonly hint: string | null;
  /** It goes on as it was before; otherwise it is new, and not there. */
  readonly isAsBefore: boolean;
}

/**
 * Puts a configuration in the place of the one that is at work, without losing or repeating a line:
 *
 *     readers of what changes stop -> those of sinks that stay go on -> sinks that change or go deliver what they have, and end ->
 *     new sinks start with the positions that these left -> readers start
 *
 * The bytes of a pipe cannot be read again. Its reader stays and goes on with other sinks; a sink that has lines of it in memory alone has to deliver
 * all of them first, or nothing is changed.
 */
export class PipelineChange {
  readonly #parts: PipelineParts;
  readonly #next: Config;
  /** Sources of readers that were ended, by their keys: who comes after them leaves nothing out. */
  readonly #readBefore = new Map<string, SourceConfig>();

  constructor(parts: PipelineParts, next: Config) {
    this.#parts = parts;
    this.#next = next;
  }

  /** Never rejects but on a bug; what can never go on is told to `PipelineParts.fail`. */
  async apply(): Promise<ChangeOutcome> {
    const parts = this.#parts;
    const before = parts.config;
    const plan = planChange(before, this.#next, parts.kinds);
    if (isNoChange(plan)) {
      parts.config = this.#next;
      return { kind: "unchanged" };
    }
    if (parts.stopReading.signal.aborted) return { kind: "ending" };
    const pipeRefusal = this.#checkPipes(before);
    if (pipeRefusal !== null) return pipeRefusal;
    const held = await this.#waitForHeldFiles(plan, before);
    if (held !== null) return held;
    const ending = [...plan.sinks.restarted, ...plan.sinks.removed].filter((name) =>
      parts.branches.has(name)
    );
    await this.#stopReaders(plan);
    if (ending.length > 0) await this.#startReaders(this.#next, new Set(plan.sinks.kept));
    const refusal = await this.#waitForPipes(ending, before);
    if (refusal !== null) {
      await this.#startReaders(before, new Set(parts.branches.keys()));
      this.#goOnWithPipes(plan);
      return refusal;
    }
    const isReplaced = (name: string) => plan.sinks.restarted.includes(name);
    await Promise.all(ending.map((name) => parts.endBranch(name, isReplaced(name))));
    const failed = await this.#startSinks(plan, before);
    await this.#startReaders(parts.config, new Set(parts.branches.keys()));
    this.#goOnWithPipes(plan);
    return { kind: "changed", plan, failed };
  }

  /** What was read of a pipe, and not taken yet, has nowhere to go when its source leaves; and one that comes later may have lost what was in front. */
  #checkPipes(before: Config): ChangeOutcome | null {
    const pipes = ({ sources }: Config) => sources.filter((each) => this.#parts.kinds.isPipe(each));
    const missingIn = (all: readonly SourceConfig[], each: SourceConfig) =>
      !all.some(({ name }) => name === each.name);
    const gone = pipes(before).find((each) => missingIn(pipes(this.#next), each));
    const come = pipes(this.#next).find((each) => missingIn(pipes(before), each));
    const source = gone ?? come;
    if (source === undefined) return null;
    return {
      kind: "refused",
      message: gone === undefined
        ? `source "${source.name}" reads stdin, which cannot begin while shipper runs`
        : `source "${source.name}" reads stdin and would not be read any more: what is in the pipe would be lost`,
      hint: gone === undefined
        ? "restart shipper"
        : `keep [sources.${source.name}] with a sink, or restart shipper`,
    };
  }

  /** Waits until no reader that is about to stop is the last one that has something of a deleted file; a refusal when that takes too long. */
  async #waitForHeldFiles({ keptUnits }: ChangePlan, before: Config): Promise<ChangeOutcome | null> {
    const { sources, stopReading } = this.#parts;
    const deadlineMs = performance.now() + before.shutdownTimeoutMs;
    for (const [key, { source }] of sources) {
      if (keptUnits.has(key)) continue;
      for (;;) {
        const held = await source.holdsAlone?.() ?? null;
        if (held === null) break;
        if (stopReading.signal.aborted) return { kind: "ending" };
        if (performance.now() >= deadlineMs) {
          return {
            kind: "refused",
            message:
              `"${held}" was deleted or moved away, and what is not delivered of it is not copied to data_dir: it would be lost`,
            hint: "reload again when it is delivered; rescue_max_size says how much is copied",
          };
        }
        await pause(IDLE_POLL_MS, stopReading.signal);
      }
    }
    return null;
  }

  /** Stops what reads for sinks that change, and what changes itself. */
  async #stopReaders({ keptUnits, sinks: { restarted } }: ChangePlan): Promise<void> {
    const stopping: Promise<void>[] = [];
    for (const [key, { unit, source }] of [...this.#parts.sources]) {
      if (keptUnits.has(key)) continue;
      if (unit.isPipe) source.pause!(new Set(restarted));
      else stopping.push(this.#endReader(key));
    }
    await Promise.all(stopping);
  }

  /** Has the readers of files be those that these sinks of a configuration need, all of which are at work. */
  async #startReaders(config: Config, sinks: ReadonlySet<string>): Promise<void> {
    const parts = this.#parts;
    const wanted = new Map<string, SourceUnit>();
    for (const unit of unitsFor(config, sinks, parts.kinds)) if (!unit.isPipe) wanted.set(unit.key, unit);
    for (const [key, { unit }] of [...parts.sources]) {
      if (unit.isPipe) continue;
      const next = wanted.get(key);
      if (next === undefined || !isSameUnit(unit, next)) await this.#endReader(key);
    }
    for (const [key, unit] of wanted) {
      if (parts.sources.has(key)) continue;
      parts.startSource(parts.addSource(unit, this.#readBefore.get(key) ?? null));
    }
  }

  async #endReader(key: string): Promise<void> {
    this.#readBefore.set(key, this.#parts.sources.get(key)!.unit.source);
    await this.#parts.endSource(key);
  }

  /** Readers of pipes that were paused go on with the sinks that are at work. Whatever happens, it has to come to this. */
  #goOnWithPipes({ keptUnits }: ChangePlan): void {
    const parts = this.#parts;
    const units = unitsFor(parts.config, new Set(parts.branches.keys()), parts.kinds);
    for (const [key, running] of parts.sources) {
      if (!running.unit.isPipe || keptUnits.has(key)) continue;
      const unit = units.find((each) => each.key === key);
      if (unit === undefined) {
        parts.fail(new Error(`No sink takes what source "${running.unit.source.name}" reads from the pipe`));
      }
      parts.exchange(running, unit ?? { ...running.unit, sinks: [] });
    }
  }

  /**
   * Waits until sinks that are about to end have delivered what they have of a pipe and nowhere else. A refusal, or "ending", when that does not come to an
   * end in time.
   */
  async #waitForPipes(ending: readonly string[], before: Config): Promise<ChangeOutcome | null> {
    const parts = this.#parts;
    const pipes = before.sources.filter((source) => parts.kinds.isPipe(source));
    const readers = ending.map((name) => parts.branches.get(name)!).filter(({ branch: { config } }) =>
      pipes.some(({ name }) => before.sinks.find((sink) => sink.name === config.name)!.inputs.includes(name))
    );
    const deadlineMs = performance.now() + before.shutdownTimeoutMs;
    for (const running of readers) {
      const { branch, name } = running;
      const isOnDisk = branch.buffer === branch.diskBuffer;
      if (isOnDisk && !running.isBufferFailing) continue;
      const isDone = () => !isOnDisk && running.isIdle && this.#isDrained(name);
      while (!isDone()) {
        if (parts.stopReading.signal.aborted) return { kind: "ending" };
        if (performance.now() >= deadlineMs || isOnDisk) {
          const what = isOnDisk
            ? "its disk buffer cannot be written"
            : `${countOf(running.eventCount, "event is", "events are")} in its memory alone`;
          return {
            kind: "refused",
            message: `sink "${name}" reads stdin, and would lose lines of it now: ${what}`,
            hint: isOnDisk
              ? "make room on the disk of data_dir, then reload again"
              : "reload again when the sink delivers, or restart shipper, which gives these events up",
          };
        }
        await pause(IDLE_POLL_MS, parts.kill.signal);
      }
    }
    return null;
  }

  /** A sink that goes is given the complete lines that were read for it. */
  #isDrained(sink: string): boolean {
    if (this.#next.sinks.some(({ name }) => name === sink)) return true;
    return [...this.#parts.sources.values()].every(({ source }) => source.isDrained?.(sink) ?? true);
  }

  /** Those that cannot be opened go on as they were, or, where they are new, are left out. */
  async #startSinks({ sinks: { added, restarted } }: ChangePlan, before: Config): Promise<FailedSink[]> {
    const parts = this.#parts;
    const { sources } = this.#next;
    const failed: FailedSink[] = [];
    const sinks: SinkConfig[] = [];
    // What is made again of batches, and what copies are kept for, goes by it from now on.
    parts.config = this.#next;
    for (const sink of this.#next.sinks) {
      const old = restarted.includes(sink.name) ? before.sinks.find(({ name }) => name === sink.name)! : null;
      if (old === null && !added.includes(sink.name)) {
        sinks.push(sink);
        continue;
      }
      const problem = await this.#open(sink, sources);
      if (problem === null) {
        sinks.push(sink);
        continue;
      }
      failed.push({
        sink: sink.name,
        message: problem.message,
        hint: problem.hint,
        isAsBefore: old !== null,
      });
      if (old === null) continue;
      sinks.push(old);
      const again = await this.#open(old, sources);
      if (again !== null) parts.fail(new StartError(again.code, again.message, again.hint, 1));
    }
    parts.config = { ...this.#next, sinks };
    return failed;
  }

  /** Null when the sink is at work. */
  async #open(sink: SinkConfig, sources: readonly SourceConfig[]): Promise<StartError | null> {
    try {
      await this.#parts.openBranch(sink, sources);
      return null;
    } catch (error) {
      if (error instanceof StartError) return error;
      throw error;
    }
  }
}

/** The readers that these sinks of a configuration need. */
function unitsFor(config: Config, sinks: ReadonlySet<string>, kinds: SourceKinds): SourceUnit[] {
  return unitsOf({ ...config, sinks: config.sinks.filter(({ name }) => sinks.has(name)) }, kinds);
}
