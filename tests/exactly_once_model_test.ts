import { afterAll, beforeAll, expect, test } from "bun:test";
import { appendFileSync, cpSync, rmSync, writeFileSync } from "node:fs";
import fc from "fast-check";
import type { DiskBuffer } from "../src/buffer/disk_buffer.ts";
import type { SinkConfig } from "../src/config/config.ts";
import { openBufferOf, openDiskBuffers } from "../src/disk_buffers.ts";
import { BufferPool } from "../src/event/pooled_buffer.ts";
import { loadConfigFiles } from "../src/cli/load_config_files.ts";
import { Journal } from "../src/journal/journal.ts";
import { readJournal } from "../src/journal/journal_reader.ts";
import { ErrorCode } from "../src/kafka/protocol/error_codes.ts";
import { Pipeline } from "../src/pipeline.ts";
import { auditStored } from "../src/cli/stored_audit.ts";
import { auditRun } from "../src/telemetry/audit.ts";
import { Metrics } from "../src/telemetry/metrics.ts";
import { armTestKnobs } from "../src/telemetry/test_knobs.ts";
import { openJournal } from "./checkpoint/journaled_positions.ts";
import { KeptLog } from "./kafka/producer_harness.ts";
import { until } from "./kafka/support.ts";
import { FakeKafka, type Refusal, type RequestFault } from "./support/fake_kafka.ts";
import { rotate } from "./support/scenario.ts";
import { type TempDir, tempDir } from "./support/temp_dir.ts";

// Random lines, faults, refusals, rotations, forgetful brokers and kills of the whole path from a file to a broker of the tests' own, which
// remembers and forgets producers as a real one does. In the end every line is there once, in order by partition.

beforeAll(() => armTestKnobs({ SHIPPER_TEST_RECHECK_MS: "20" }));
afterAll(() => armTestKnobs({}));

const PARTITIONS = 2;

type Step =
  | { readonly do: "write"; readonly count: number }
  | { readonly do: "wait"; readonly ms: number }
  | { readonly do: "move"; readonly partition: number; readonly to: number }
  | { readonly do: "cut" | "restart"; readonly broker: number }
  | { readonly do: "rotate" }
  | { readonly do: "stop" }
  /** Another configuration takes over. What its sink has is given up after `withinMs`. */
  | {
    readonly do: "change";
    readonly batchMaxEvents: number;
    readonly isOnDisk: boolean;
    readonly withinMs: number;
    readonly isAwaited: boolean;
  }
  /** The broker forgets the producer meanwhile: within a run it has promised not to (dedup_window_secs). */
  | { readonly do: "kill"; readonly isForgotten: boolean };

interface Plan {
  readonly steps: readonly Step[];
  readonly faults: readonly RequestFault[];
  readonly refusals: readonly (Refusal | undefined)[];
  readonly batchMaxEvents: number;
  readonly hasKeys: boolean;
  readonly isOnDisk: boolean;
}

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant("write" as const), count: fc.integer({ min: 1, max: 30 }) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.integer({ min: 0, max: 25 }) }),
  },
  fc.record({
    do: fc.constant("move" as const),
    partition: fc.nat(PARTITIONS - 1),
    to: fc.integer({ min: 1, max: 2 }),
  }),
  fc.record({ do: fc.constantFrom("cut" as const, "restart" as const), broker: fc.nat(1) }),
  fc.constant({ do: "rotate" as const }),
  fc.constant({ do: "stop" as const }),
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("change" as const),
      batchMaxEvents: fc.integer({ min: 1, max: 12 }),
      isOnDisk: fc.boolean(),
      withinMs: fc.integer({ min: 0, max: 30 }),
      isAwaited: fc.boolean(),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("kill" as const), isForgotten: fc.boolean() }) },
);

const fault: fc.Arbitrary<RequestFault> = fc.oneof(
  { weight: 3, arbitrary: fc.constant({}) },
  fc.record({ kind: fc.constantFrom("cut-before", "cut-after", "silence", "silence-after", "garbage") }),
  fc.record({ delayMs: fc.integer({ min: 1, max: 15 }) }),
  // Before new numbers are given.
  fc.record({ kind: fc.constant("cut-late" as const), delayMs: fc.integer({ min: 1, max: 10 }) }),
  fc.nat(PARTITIONS - 1).map((left) => ({ leaveOut: (partition: number) => partition === left })),
);

const refusal: fc.Arbitrary<Refusal | undefined> = fc.oneof(
  { weight: 3, arbitrary: fc.constant(undefined) },
  fc.record({
    errorCode: fc.constantFrom(
      ErrorCode.REQUEST_TIMED_OUT,
      ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
      ErrorCode.NOT_LEADER_OR_FOLLOWER,
      ErrorCode.CORRUPT_MESSAGE,
      ErrorCode.TOPIC_AUTHORIZATION_FAILED,
    ),
    isAppended: fc.boolean(),
  }).map((each) => isDefinite(each.errorCode) ? { ...each, isAppended: false } : each),
  fc.constant({ errorCode: ErrorCode.MESSAGE_TOO_LARGE }),
  fc.constant({ errorCode: ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER }),
  fc.constant({ errorCode: ErrorCode.UNKNOWN_PRODUCER_ID }),
);

function isDefinite(errorCode: number): boolean {
  return errorCode === ErrorCode.CORRUPT_MESSAGE || errorCode === ErrorCode.TOPIC_AUTHORIZATION_FAILED;
}

const plan: fc.Arbitrary<Plan> = fc.record({
  steps: fc.array(step, { minLength: 1, maxLength: 14 }),
  faults: fc.array(fault, { maxLength: 10 }),
  refusals: fc.array(refusal, { maxLength: 10 }),
  batchMaxEvents: fc.integer({ min: 1, max: 12 }),
  hasKeys: fc.boolean(),
  isOnDisk: fc.boolean(),
});

/** A shipper that is started, killed, stopped and started again. */
class Shipper {
  readonly #dir: TempDir;
  readonly #kafka: FakeKafka;
  #plan: Plan;
  #withinMs = 10_000;
  #changes: Promise<unknown> = Promise.resolve();
  #runCount = 0;
  #journal: Journal | null = null;
  #pipeline: Pipeline | null = null;
  #diskBuffers: Map<string, DiskBuffer> = new Map();
  #running: Promise<void> = Promise.resolve();
  #audits: ReturnType<typeof setInterval> | undefined;
  metrics = new Metrics(0);
  /** What did not add up, as found. */
  readonly differences: string[] = [];
  readonly log = new KeptLog();

  constructor(dir: TempDir, kafka: FakeKafka, chosen: Plan) {
    this.#dir = dir;
    this.#kafka = kafka;
    this.#plan = chosen;
  }

  async start(): Promise<void> {
    const config = await this.#config();
    this.#journal = await openJournal(this.#dataDir());
    this.metrics = new Metrics(0);
    const pool = new BufferPool();
    const { metrics, log } = this;
    this.#diskBuffers = await openDiskBuffers({
      config,
      journal: this.#journal,
      pool,
      metrics,
      log,
      ops: null,
    });
    const journal = this.#journal;
    const openDiskBuffer = (sink: SinkConfig) =>
      openBufferOf({ config, journal, pool, metrics, log, ops: null }, sink);
    this.metrics.accounts = () => [
      ...journal.positions.accounts(),
      ...[...this.#diskBuffers.values()].flatMap((buffer) => [...buffer.accounts()]),
    ];
    this.#pipeline = new Pipeline({
      config,
      diskBuffers: this.#diskBuffers,
      openDiskBuffer,
      pool,
      positions: this.#journal.positions,
      journal: this.#journal,
      hostname: "h",
      metrics: this.metrics,
      log: this.log,
      once: false,
      dryRun: false,
      now: Date.now,
      random: Math.random,
    });
    this.#audits = setInterval(() => this.#auditRun(), 3);
    this.#running = this.#pipeline.run();
  }

  async change({ batchMaxEvents, isOnDisk, withinMs }: Step & { do: "change" }): Promise<void> {
    this.#plan = { ...this.#plan, batchMaxEvents, isOnDisk };
    this.#withinMs = withinMs;
    const pipeline = this.#pipeline!;
    const config = await this.#config();
    const change = pipeline.change(config).then((outcome) => {
      if (outcome.kind === "refused") this.differences.push(outcome.message);
    });
    this.#changes = Promise.all([this.#changes, change]);
    await change;
  }

  /** At every moment, and at the end of a run: every event is somewhere. */
  #auditRun(): void {
    const { addsUp, streams, sinks } = auditRun(this.metrics);
    if (!addsUp) this.differences.push(JSON.stringify({ sinks, streams }));
  }

  /** Over all runs: what the journal says of lines is what it says of batches. */
  #auditStored(): void {
    const { addsUp, streams } = auditStored(readJournal(this.#dataDir()), "");
    if (!addsUp) this.differences.push(JSON.stringify(streams));
  }

  /** As kill -9 does: what is on disk at this moment is what the next run finds. */
  async kill(): Promise<void> {
    this.#pipeline!.kill();
    const before = this.#dataDir();
    this.#runCount++;
    copyLive(before, this.#dataDir());
    this.#auditStored();
    await this.#running;
    await this.#changes;
    await this.#closeBuffers();
    this.#endAudits();
    await this.#journal!.close(1_000);
  }

  async #closeBuffers(): Promise<void> {
    await Promise.all([...this.#diskBuffers.values()].map((buffer) => buffer.close(1_000)));
  }

  async stop(): Promise<void> {
    this.#pipeline!.stopReading();
    const timer = setTimeout(() => this.#pipeline!.kill(), 200);
    await this.#running;
    clearTimeout(timer);
    await this.#closeBuffers();
    this.#endAudits();
    await this.#journal!.close(1_000);
    this.#auditStored();
  }

  #endAudits(): void {
    clearInterval(this.#audits);
    this.#auditRun();
  }

  knowsFile(): boolean {
    return readJournal(this.#dataDir()).positions.records("app").length > 0;
  }

  #dataDir(): string {
    return this.#dir.file(`data-${this.#runCount}`);
  }

  async #config() {
    const path = this.#dir.file("config.toml");
    const { batchMaxEvents, hasKeys, isOnDisk } = this.#plan;
    writeFileSync(
      path,
      `data_dir = ${JSON.stringify(this.#dataDir())}
shutdown_timeout_secs = ${this.#withinMs / 1_000}
[sources.app]
type = "file"
include = [${JSON.stringify(this.#dir.file("app.log"))}]
rotate_wait_secs = 0.05
glob_minimum_cooldown_ms = 20
decoding.codec = "json"
[sinks.events]
type = "kafka"
inputs = ["app"]
bootstrap_servers = ${JSON.stringify(this.#kafka.bootstrapServers)}
topic = "logs"
batch = { max_events = ${batchMaxEvents}, timeout_ms = 1 }
retry = { interval_ms = 1, max_interval_ms = 5 }
socket_timeout_ms = 100
${isOnDisk ? 'buffer = { type = "disk", max_size = "1MiB" }' : "buffer.max_events = 40"}
${hasKeys ? 'key_field = "k"' : ""}
`,
    );
    const context = { hostname: "h", isRoot: true, home: "/root", xdgStateHome: undefined, env: {} };
    const { config, diagnostics } = await loadConfigFiles([path], {
      ...context,
      stdin: async function* () {},
    });
    if (config === null) throw new Error(diagnostics.map((each) => each.message).join("\n"));
    return config;
  }
}

/** Copies a folder in which another thread may be removing a file just now. */
function copyLive(from: string, to: string): void {
  for (let tries = 1;; tries++) {
    try {
      return cpSync(from, to, { recursive: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT" || tries === 20) throw error;
      rmSync(to, { recursive: true, force: true });
    }
  }
}

async function forget(kafka: FakeKafka): Promise<void> {
  await Bun.sleep(20); // what was on its way has arrived
  for (let id = 0; id < PARTITIONS; id++) kafka.log("logs", id).forgetProducers();
}

async function execute(chosen: Plan): Promise<void> {
  await using dir = tempDir("exact");
  await using kafka = await FakeKafka.start(2, { logs: PARTITIONS });
  let requestCount = 0;
  let batchCount = 0;
  kafka.fault = () => chosen.faults[requestCount++];
  kafka.refuse = ({ header }) => {
    const next = chosen.refusals[batchCount++];
    return next?.errorCode === ErrorCode.MESSAGE_TOO_LARGE && header.recordCount === 1 ? undefined : next;
  };
  const shipper = new Shipper(dir, kafka, chosen);
  const file = dir.file("app.log");
  let written = 0;
  let rotatedCount = 0;
  const write = (count: number) => {
    let text = "";
    for (let i = 0; i < count; i++, written++) text += `{"message":"${written}","k":"k${written % 3}"}\n`;
    appendFileSync(file, text);
  };
  write(1);
  await shipper.start();
  // A file that was rotated away before it was ever seen, and that stored, is nobody's.
  await until(() => shipper.knowsFile(), "the file is known");
  for (const each of chosen.steps) {
    switch (each.do) {
      case "write":
        write(each.count);
        break;
      case "wait":
        await Bun.sleep(each.ms);
        break;
      case "move":
        kafka.moveLeader(each.to, "logs", each.partition);
        break;
      case "cut":
        kafka.brokers[each.broker]!.cutAll();
        break;
      case "restart":
        kafka.restart(each.broker + 1);
        break;
      case "rotate":
        rotate(file, rotatedCount++);
        write(1);
        break;
      case "stop":
        await shipper.stop();
        await shipper.start();
        break;
      case "change": {
        const change = shipper.change(each);
        if (each.isAwaited) await change;
        break;
      }
      case "kill":
        await shipper.kill();
        if (each.isForgotten) await forget(kafka);
        await shipper.start();
        break;
    }
  }
  const counted = () => new Set(kafka.values()).size;
  await until(() => counted() === written, `${written} lines are there`).catch((error: unknown) => {
    throw new Error(`${error}: ${counted()} are; ${JSON.stringify(shipper.log.lines.slice(-5))}`);
  });
  await Bun.sleep(30);
  await shipper.stop();
  expect([kafka.violations, shipper.differences]).toEqual([[], []]);
  expectAllOnce(kafka, written);
}

/** Every line is there once, in order by partition. */
function expectAllOnce(kafka: FakeKafka, written: number): void {
  const values = kafka.values();
  const twice = values.filter((value, i) => values.indexOf(value) !== i);
  expect({ twice, count: values.length }).toEqual({ twice: [], count: written });
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const numbers = kafka.log("logs", partition).values.map(Number);
    expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
  }
}

test(
  "whatever is killed, cut, refused, forgotten and rotated: every line once, in order by partition",
  async () => {
    await fc.assert(fc.asyncProperty(plan, execute), {
      numRuns: Number(process.env.SHIPPER_MODEL_RUNS ?? 40),
    });
  },
  600_000,
);
