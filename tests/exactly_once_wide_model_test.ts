import { afterAll, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import { existsSync } from "node:fs";
import { readLetterFile } from "../src/dead_letter/letter_reader.ts";
import type { StoredLetter } from "../src/event/dead_letters.ts";
import { ErrorCode } from "../src/kafka/protocol/error_codes.ts";
import { armTestKnobs } from "../src/telemetry/test_knobs.ts";
import { ExactShipper } from "./exact_shipper.ts";
import { isBad, NumberedFile } from "./numbered_file.ts";
import { FakeKafka, type Refusal, type RequestFault } from "./support/fake_kafka.ts";
import type { FakePartitionLog } from "./support/fake_partition.ts";
import { type TempDir, tempDir } from "./support/temp_dir.ts";
import { type Setting, USUAL, wideConfig } from "./wide_model_config.ts";

// What `exactly_once_model_test.ts` does, with more that changes: two sinks, one of them with topics by template, topics that are made again or get
// more partitions, brokers that are restarted, requests that arrive late, a file that is cut back, records that are refused, producer ids at the end of
// their epochs, a journal without room, on a disk that is full for a while, and a configuration that is another one after each start.

beforeAll(() => armTestKnobs({ SHIPPER_TEST_RECHECK_MS: "20" }));
afterAll(() => armTestKnobs({}));

const TOPICS = ["logs", "t-0", "t-1"];
const PARTITIONS_MAX = 3;

type Step =
  | { readonly do: "write"; readonly count: number }
  | { readonly do: "wait"; readonly ms: number }
  | { readonly do: "move"; readonly topic: number; readonly to: number }
  | { readonly do: "cut" | "restart"; readonly broker: number }
  | { readonly do: "again"; readonly topic: number; readonly more: number }
  | { readonly do: "grow"; readonly topic: number }
  | { readonly do: "full disk"; readonly ms: number }
  | { readonly do: "back"; readonly count: number }
  | { readonly do: "rotate" }
  | { readonly do: "stop" | "kill"; readonly next: Setting; readonly isForgotten: boolean };

interface Plan {
  readonly steps: readonly Step[];
  readonly faults: readonly RequestFault[];
  readonly refusals: readonly (Refusal | undefined)[];
  readonly hasKeys: boolean;
  readonly firstEpoch: number;
  readonly liveBytesMax: number;
  readonly whenFull: "block" | "drop_newest";
  /** Without the right to READ the broker's own memory has to do. */
  readonly canRead: boolean;
  /** Whether a new leader does not have what was written without an answer, for one such batch after the other. */
  readonly truncations: readonly boolean[];
  readonly isCutBack: boolean;
  /** What no broker takes is kept in a file. */
  readonly hasLetters: boolean;
}

/** Mostly true. */
const isExact = fc.constantFrom(...Array.from({ length: 11 }, (_, i) => i < 10));
const write = fc.record({ do: fc.constant("write" as const), count: fc.integer({ min: 1, max: 30 }) });
const topic = fc.nat(TOPICS.length - 1);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: write },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.integer({ min: 0, max: 40 }) }),
  },
  fc.record({ do: fc.constant("move" as const), topic, to: fc.integer({ min: 1, max: 2 }) }),
  fc.record({ do: fc.constantFrom("cut" as const, "restart" as const), broker: fc.nat(1) }),
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("again" as const), topic, more: fc.integer({ min: -2, max: 1 }) }),
  },
  fc.record({ do: fc.constant("grow" as const), topic }),
  fc.record({ do: fc.constant("full disk" as const), ms: fc.integer({ min: 1, max: 80 }) }),
  fc.record({ do: fc.constant("back" as const), count: fc.integer({ min: 1, max: 10 }) }),
  fc.constant({ do: "rotate" as const }),
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom("stop" as const, "kill" as const, "kill" as const),
      next: fc.record({
        batchMaxEvents: fc.integer({ min: 1, max: 12 }),
        hasTemplated: fc.constantFrom(true, true, true, true, false),
        isPlainExact: isExact,
        isTemplatedExact: isExact,
      }),
      isForgotten: fc.boolean(),
    }),
  },
);

const fault: fc.Arbitrary<RequestFault> = fc.oneof(
  { weight: 3, arbitrary: fc.constant({}) },
  fc.record({ kind: fc.constantFrom("cut-before", "cut-after", "silence", "silence-after", "garbage") }),
  fc.record({ delayMs: fc.integer({ min: 1, max: 15 }) }),
  // Before new numbers are given.
  fc.record({ kind: fc.constant("cut-late" as const), delayMs: fc.integer({ min: 1, max: 10 }) }),
);

const refusal: fc.Arbitrary<Refusal | undefined> = fc.oneof(
  { weight: 3, arbitrary: fc.constant(undefined) },
  fc.record({
    errorCode: fc.constantFrom(
      ErrorCode.REQUEST_TIMED_OUT,
      ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
      ErrorCode.NOT_LEADER_OR_FOLLOWER,
    ),
    isAppended: fc.boolean(),
  }),
  fc.constant({ errorCode: ErrorCode.MESSAGE_TOO_LARGE }),
  fc.constant({ errorCode: ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER }),
);

const plan: fc.Arbitrary<Plan> = fc.record({
  steps: fc.array(step, { minLength: 1, maxLength: 24 }),
  faults: fc.array(fault, { maxLength: 16 }),
  refusals: fc.array(refusal, { maxLength: 16 }),
  hasKeys: fc.boolean(),
  firstEpoch: fc.constantFrom(0, 0, 0x7ffe),
  liveBytesMax: fc.constantFrom(1_000_000, 150),
  whenFull: fc.constantFrom("block", "block", "drop_newest"),
  canRead: fc.constantFrom(true, true, true, false),
  truncations: fc.array(fc.boolean(), { maxLength: 6 }),
  isCutBack: fc.constantFrom(false, false, false, true),
  hasLetters: fc.boolean(),
});

/** Everything that a plan changes. */
class World {
  readonly #plan: Plan;
  readonly #kafka: FakeKafka;
  readonly #shipper: ExactShipper;
  readonly #file: NumberedFile;
  readonly #dir: TempDir;
  /** Logs of topics that were deleted. */
  readonly #deleted = new Map<string, FakePartitionLog[][]>(TOPICS.map((name) => [name, []]));
  #setting = USUAL;
  #truncationCount = 0;
  #wasPlainExact = true;
  #wasTemplatedExact = true;
  #hasGrown = false;
  #hasShrunk = false;

  constructor(chosen: Plan, dir: TempDir, kafka: FakeKafka, shipper: ExactShipper) {
    this.#plan = chosen;
    this.#dir = dir;
    this.#kafka = kafka;
    this.#shipper = shipper;
    this.#file = new NumberedFile(dir);
    let requestCount = 0;
    let batchCount = 0;
    kafka.firstEpoch = chosen.firstEpoch;
    kafka.inspection.canRead = chosen.canRead;
    kafka.fault = (attempts) => {
      const next = chosen.faults[requestCount++];
      for (const { topic: name, partition } of attempts) {
        const log = kafka.topics.get(name)?.[partition];
        if (log === undefined) continue;
        // All replicas have it with the next answer at the latest.
        log.replicatedOffset = null;
        if (next?.kind === "cut-after" || next?.kind === "silence-after") this.#leaveUnreplicated(log);
      }
      return next;
    };
    kafka.refuse = ({ header, values }) => {
      const bad = values.flatMap((value, index) => isBad(value) ? [{ index, message: "bad" }] : []);
      if (bad.length > 0 && chosen.canRead) return { errorCode: ErrorCode.INVALID_RECORD, recordErrors: bad };
      const next = chosen.refusals[batchCount++];
      // Nobody could tell what became of such a batch.
      if (!chosen.canRead && next?.isAppended === undefined) return undefined;
      return next?.errorCode === ErrorCode.MESSAGE_TOO_LARGE && header.recordCount === 1 ? undefined : next;
    };
  }

  /** What is appended now is on the leader alone for a while: then its replicas have it, or one of them leads that does not. */
  #leaveUnreplicated(log: FakePartitionLog): void {
    const endOffset = log.logEndOffset;
    log.replicatedOffset = endOffset;
    const isCut = this.#plan.truncations[this.#truncationCount++] === true;
    setTimeout(() => {
      if (log.replicatedOffset !== endOffset) return;
      log.replicatedOffset = null;
      if (!isCut) return;
      log.truncate(endOffset);
      log.leader = log.leader === 1 ? 2 : 1;
      log.leaderEpoch++;
    }, 20);
  }

  async start(): Promise<void> {
    this.#file.write(1);
    await this.#start(USUAL);
    // A file that was rotated away before it was ever seen, and that stored, is nobody's.
    await untilLong(() => this.#shipper.knowsFiles("app") > 0, () => "the file is known");
  }

  async step(step: Step): Promise<void> {
    switch (step.do) {
      case "write":
        return this.#file.write(step.count);
      case "wait":
        return await Bun.sleep(step.ms);
      case "move":
        return this.#kafka.moveLeader(step.to, TOPICS[step.topic]!, 0);
      case "cut":
        return this.#kafka.brokers[step.broker]!.cutAll();
      case "again":
        return this.#makeAgain(TOPICS[step.topic]!, step.more);
      case "grow":
        return this.#grow(TOPICS[step.topic]!);
      case "restart":
        // Of two batches in doubt the first would be refused, and without READ nobody could tell why.
        return this.#plan.canRead ? this.#kafka.restart(step.broker + 1) : undefined;
      case "full disk":
        this.#shipper.isDiskFull = true;
        setTimeout(() => this.#shipper.isDiskFull = false, step.ms);
        return;
      case "back":
        if (!this.#plan.isCutBack) return;
        this.#file.back(step.count);
        return await Bun.sleep(30);
      case "rotate":
        // What a sink has not read of a file that is let go while it is not configured, it never reads.
        if (!this.#setting.hasTemplated) return;
        this.#file.rotate();
        return await Bun.sleep(30);
      case "stop":
        await this.#shipper.stop(200);
        return await this.#again(step);
      case "kill":
        await this.#shipper.kill();
        return await this.#again(step);
    }
  }

  /** All is there, and nothing twice or out of order. */
  async end(): Promise<void> {
    if (!this.#setting.hasTemplated) {
      await this.#shipper.stop();
      await this.#start({ ...this.#setting, hasTemplated: true });
    }
    const { log } = this.#shipper;
    await untilLong(
      () => this.#shipper.failure !== null || this.#missing().length === 0,
      () => `not there: ${this.#missing()}; ${JSON.stringify(log.lines.slice(-6))}`,
    );
    await Bun.sleep(40);
    const differences = this.#shipper.differences();
    await this.#shipper.stop(1_000);
    expect([this.#shipper.failure, ...differences, ...this.#kafka.violations]).toEqual([null]);
    expect(log.texts("error").filter((text) => text.includes("has lost records"))).toEqual([]);
    const values = new Map<string, string>();
    for (const { id, value } of this.#letters()) {
      expect(values.get(id) ?? String(value)).toBe(String(value));
      values.set(id, String(value));
    }
    // Lines of the regions that span the difference may be there twice, and those that were delivered at least once.
    if (this.#file.cut.size > 0) return;
    for (const name of TOPICS) {
      if (!(name === "logs" ? this.#wasPlainExact : this.#wasTemplatedExact)) continue;
      for (const logs of this.#logsOf(name)) this.#check(name, logs);
    }
  }

  #check(name: string, logs: readonly FakePartitionLog[]): void {
    const values = logs.flatMap((log) => log.values);
    const twice = values.filter((value, i) => values.indexOf(value) !== i);
    expect({ name, twice }).toEqual({ name, twice: [] });
    if (this.#hasShrunk || (this.#hasGrown && this.#plan.hasKeys)) return;
    for (const log of logs) {
      const numbers = log.values.map(Number);
      expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
    }
  }

  #logsOf(name: string): (readonly FakePartitionLog[])[] {
    return [...this.#deleted.get(name)!, this.#kafka.topics.get(name)!];
  }

  #missing(): string[] {
    return TOPICS.flatMap((name) => {
      if (name !== "logs" && this.#plan.whenFull === "drop_newest") return [];
      const there = new Set(this.#logsOf(name).flatMap((logs) => logs.flatMap((log) => log.values)));
      const missing = this.#file.expected(name).filter((value) => !there.has(value));
      if (this.#plan.hasLetters && this.#plan.canRead) {
        const kept = new Set(
          this.#letters().filter(({ topic }) => topic === name).map(({ value }) => String(value)),
        );
        missing.push(...this.#file.refused(name).filter((value) => !kept.has(value)));
      }
      return missing.map((value) => `${name}: ${value}`);
    });
  }

  /** Lines that a kill has cut are none. */
  #letters(): StoredLetter[] {
    const path = this.#dir.file("letters.jsonl");
    if (!existsSync(path)) return [];
    return [...readLetterFile(path)].flatMap((found) => "letter" in found ? [found.letter] : []);
  }

  async #start(setting: Setting): Promise<void> {
    this.#setting = setting;
    this.#wasPlainExact &&= setting.isPlainExact;
    this.#wasTemplatedExact &&= setting.isTemplatedExact;
    await this.#shipper.start(wideConfig(this.#dir, this.#kafka, this.#plan, setting));
  }

  async #again({ next, isForgotten }: Extract<Step, { do: "stop" | "kill" }>): Promise<void> {
    if (isForgotten && this.#plan.canRead) {
      await Bun.sleep(20); // what was on its way has arrived
      for (const name of TOPICS) for (const log of this.#kafka.topics.get(name)!) log.forgetProducers();
    }
    await this.#start(next);
  }

  #makeAgain(name: string, more: number): void {
    if (!this.#plan.canRead) return;
    const logs = this.#kafka.topics.get(name)!;
    const count = Math.min(PARTITIONS_MAX, Math.max(1, logs.length + more));
    this.#hasShrunk ||= count < logs.length;
    this.#hasGrown ||= count > logs.length;
    this.#deleted.get(name)!.push(logs);
    this.#kafka.makeAgain(name, count);
  }

  #grow(name: string): void {
    this.#kafka.addTopic(name, Math.min(PARTITIONS_MAX, this.#kafka.topics.get(name)!.length + 1));
    this.#hasGrown = true;
  }
}

async function execute(chosen: Plan): Promise<void> {
  await using dir = tempDir("exact");
  await using kafka = await FakeKafka.start(2, { logs: 2, "t-0": 2, "t-1": 1 });
  await using shipper = new ExactShipper(dir, { segmentBytes: 8_192, liveBytesMax: chosen.liveBytesMax });
  const world = new World(chosen, dir, kafka, shipper);
  await world.start();
  for (const each of chosen.steps) await world.step(each);
  await world.end();
}

async function untilLong(condition: () => boolean, what: () => string): Promise<void> {
  const deadlineMs = Date.now() + 10_000;
  while (!condition()) {
    if (Date.now() > deadlineMs) throw new Error(`Waited in vain: ${what()}`);
    await Bun.sleep(3);
  }
}

test(
  "two sinks, topics and configurations that change, records that are refused: every line once, in order by partition",
  async () => {
    await fc.assert(fc.asyncProperty(plan, execute), {
      numRuns: Number(process.env.SHIPPER_MODEL_RUNS ?? 30),
      ...(process.env.SHIPPER_MODEL_SEED === undefined
        ? {}
        : { seed: Number(process.env.SHIPPER_MODEL_SEED), path: process.env.SHIPPER_MODEL_PATH ?? "" }),
    });
  },
  600_000,
);
