import { test } from "bun:test";
import fc from "fast-check";
import type { LogKind } from "../../src/storage/segment_format.ts";
import type { Durability } from "../../src/storage/log_options.ts";
import { SegmentedLog } from "../../src/storage/segmented_log.ts";
import { type Fault, SimulatedFiles, SteppedWriter } from "./simulated_files.ts";
import { EventWriter, logOptions, readEvents } from "./support.ts";

/*
 * Random appends, commits, failures, kills and power cuts against a reference of three numbers: what was appended, what has to be there after
 * a kill, and what after a power cut.
 */

/** More by hand: SHIPPER_MODEL_RUNS=20000. */
const RUNS = Number(process.env.SHIPPER_MODEL_RUNS ?? 200);

type Action =
  | { readonly kind: "append"; readonly count: number; readonly sizeBytes: number }
  | { readonly kind: "commit"; readonly sync: boolean }
  | { readonly kind: "step"; readonly count: number }
  | { readonly kind: "fault"; readonly fault: Fault; readonly inCalls: number }
  | { readonly kind: "crash"; readonly isPower: boolean; readonly inCalls: number }
  | { readonly kind: "close" };

interface Case {
  readonly kind: LogKind;
  readonly durability: Durability;
  readonly seed: number;
  readonly sectorBytes: number;
  readonly actions: readonly Action[];
}

const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      kind: fc.constant("append" as const),
      count: fc.integer({ min: 1, max: 8 }),
      sizeBytes: fc.oneof(
        { weight: 8, arbitrary: fc.integer({ min: 8, max: 400 }) },
        { weight: 3, arbitrary: fc.integer({ min: 3_000, max: 60_000 }) },
      ),
    }),
  },
  { weight: 10, arbitrary: fc.record({ kind: fc.constant("commit" as const), sync: fc.boolean() }) },
  {
    weight: 10,
    arbitrary: fc.record({ kind: fc.constant("step" as const), count: fc.integer({ min: 1, max: 6 }) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("fault" as const),
      fault: fc.constantFrom<Fault>("ENOSPC", "EIO", "EINTR", "short"),
      inCalls: fc.nat(12),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("crash" as const), isPower: fc.boolean(), inCalls: fc.nat(20) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("close" as const) }) },
);

class Model {
  readonly #case: Case;
  readonly #files: SimulatedFiles;
  #writer!: SteppedWriter;
  #log!: SegmentedLog;
  #events = new EventWriter();
  /** Events that a power cut, and those that a kill must leave. */
  #onDevice = 0;
  #written = 0;
  /** Something failed in a buffer that does not sync: a power cut may leave a hole then. */
  #mayHaveHole = false;
  #problems: string[] = [];

  constructor(it: Case) {
    this.#case = it;
    this.#files = new SimulatedFiles(it.seed, it.sectorBytes);
  }

  async run(): Promise<void> {
    await this.#open();
    for (const step of this.#case.actions) await this.#act(step);
    await this.#close();
  }

  async #act(step: Action): Promise<void> {
    switch (step.kind) {
      case "append":
        this.#events.append(this.#log, step.count, step.sizeBytes);
        return;
      case "commit":
        return this.#commit(step.sync);
      case "step":
        for (let i = 0; i < step.count; i++) await this.#step();
        return;
      case "fault":
        this.#files.faults.set(this.#files.calls + step.inCalls, step.fault);
        if (this.#case.durability === "process" && this.#case.kind === "buffer") this.#mayHaveHole = true;
        return;
      case "crash":
        return await this.#crash(step.isPower, step.inCalls);
      case "close":
        await this.#close();
        return await this.#open();
    }
  }

  #commit(sync: boolean): void {
    const log = this.#log;
    const count = this.#events.next;
    const isSynced = this.#case.durability === "machine" && (sync || this.#case.kind === "buffer");
    log.commit(sync).then(() => {
      // A commit of a log that crashed since says nothing.
      if (log !== this.#log) return;
      this.#written = Math.max(this.#written, count);
      if (isSynced) this.#onDevice = Math.max(this.#onDevice, count);
    }, (error) => {
      if (log === this.#log) throw error;
    });
  }

  async #step(): Promise<void> {
    this.#writer.step();
    await new Promise((resolve) => setImmediate(resolve));
  }

  async #crash(isPower: boolean, inCalls: number): Promise<void> {
    // In the midst of what is under way, at a call of its own.
    this.#files.faults.set(this.#files.calls + inCalls, "crash");
    for (let i = 0; i < 5; i++) await this.#step();
    const abandoned = this.#log;
    if (isPower) this.#files.powerCut();
    else this.#files.kill();
    this.#writer.close();
    await this.#open(isPower);
    void abandoned.close(0).catch(() => {});
  }

  /** Reads what is there, compares, and goes on from it. */
  async #open(isPower = false): Promise<void> {
    const { kind, durability } = this.#case;
    if (isPower && kind === "buffer" && durability === "process" && this.#mayHaveHole) {
      return this.#startOver();
    }
    const { found, first, next } = readEvents(this.#files, kind);
    const least = isPower ? this.#onDevice : this.#written;
    if (next < least || next > this.#events.next) {
      throw new Error(`${next} events were found of ${this.#events.next}, of which ${least} were committed`);
    }
    if (kind === "buffer" && first !== 0) throw new Error(`The first event is ${first}`);
    this.#events = new EventWriter(next);
    this.#files.faults.clear();
    this.#writer = new SteppedWriter(this.#files);
    let log: SegmentedLog | null = null;
    const opening = SegmentedLog.open(
      logOptions(this.#files, this.#events, {
        kind,
        durability,
        segmentBytes: 524_288,
        writer: this.#writer,
        onProblem: (cause) => this.#problems.push(cause ?? "works again"),
      }),
      found,
    ).then((opened) => log = opened);
    await this.#writer.until(() => log !== null);
    this.#log = await opening;
    this.#written = next;
    this.#onDevice = next;
  }

  /** The files of this case say no more. */
  async #startOver(): Promise<void> {
    for (const name of this.#files.list()) this.#files.delete(name);
    this.#events = new EventWriter();
    this.#written = this.#onDevice = 0;
    this.#mayHaveHole = false;
    await this.#open();
  }

  async #close(): Promise<void> {
    const count = this.#events.next;
    const log = this.#log;
    this.#files.faults.clear();
    let isClean: boolean | null = null;
    void log.close(10_000).then((result) => isClean = result);
    await this.#writer.until(() => isClean !== null);
    if (!this.#mayHaveHole) this.#files.powerCut();
    const { found, next } = readEvents(this.#files, this.#case.kind);
    if (!isClean || !found.isCleanStop || next !== count) {
      throw new Error(`A clean stop left ${next} of ${count} events (${isClean}, ${JSON.stringify(found)})`);
    }
    this.#written = this.#onDevice = count;
  }
}

test(
  "What was committed is there after kills, power cuts and errors, and nothing that was not appended",
  async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          kind: fc.constantFrom<LogKind>("journal", "buffer"),
          durability: fc.constantFrom<Durability>("machine", "process"),
          seed: fc.nat(),
          sectorBytes: fc.constantFrom(512, 4096),
          actions: fc.array(action, { minLength: 10, maxLength: 120, size: "max" }),
        }),
        async (it) => await new Model(it).run(),
      ),
      { numRuns: RUNS },
    );
  },
  30_000 + 20 * RUNS,
);
