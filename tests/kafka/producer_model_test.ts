import { expect, test } from "bun:test";
import fc from "fast-check";
import { ErrorCode } from "../../src/kafka/protocol/error_codes.ts";
import { MemoryBuffer } from "../../src/buffer/memory_buffer.ts";
import type { BatchStatus } from "../../src/event/delivery.ts";
import { KafkaSink } from "../../src/kafka/kafka_sink.ts";
import { SinkMetrics } from "../../src/telemetry/metrics.ts";
import { delivery } from "../support/events.ts";
import { FakeKafka, type Refusal, type RequestFault } from "../support/fake_kafka.ts";
import { KeptLog, plainSink } from "./producer_harness.ts";

/** What is done to the n-th Produce request, or to the n-th batch. */
interface Plan {
  readonly faults: readonly RequestFault[];
  readonly refusals: readonly (Refusal | undefined)[];
  readonly steps: readonly Step[];
  readonly batchMaxEvents: number;
  readonly acks: "all" | "one";
  readonly hasKeys: boolean;
  /** Events go to this many topics in turn, by runs of their own lengths; only the first one is there at first. */
  readonly topicCount: number;
}

type Step =
  | { readonly do: "send"; readonly count: number }
  | { readonly do: "move"; readonly partition: number; readonly to: number }
  | { readonly do: "cut"; readonly broker: number }
  | { readonly do: "wait"; readonly ms: number }
  | { readonly do: "make"; readonly topic: number };

const PARTITIONS = 3;

const fault: fc.Arbitrary<RequestFault> = fc.oneof(
  { weight: 4, arbitrary: fc.constant({}) },
  fc.record({
    kind: fc.constantFrom("cut-before", "cut-after", "silence", "silence-after", "garbage"),
  }),
  fc.record({ delayMs: fc.integer({ min: 1, max: 10 }) }),
  fc.record({ kind: fc.constant("cut-late" as const), delayMs: fc.integer({ min: 1, max: 20 }) }),
  fc.integer({ min: 0, max: PARTITIONS - 1 }).map((left) => ({
    leaveOut: (partition: number) => partition === left,
  })),
  fc.constant({ throttleMs: 5 }),
);

/** Answers that come before or after the batch was written. None of them makes shipper number a batch anew. */
const RETRIABLE = [
  ErrorCode.REQUEST_TIMED_OUT,
  ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
  ErrorCode.NOT_LEADER_OR_FOLLOWER,
  ErrorCode.KAFKA_STORAGE_ERROR,
  ErrorCode.UNKNOWN_SERVER_ERROR,
  ErrorCode.CORRUPT_MESSAGE,
];

const refusal: fc.Arbitrary<Refusal | undefined> = fc.oneof(
  { weight: 4, arbitrary: fc.constant(undefined) },
  fc.record({ errorCode: fc.constantFrom(...RETRIABLE), isAppended: fc.boolean() }),
);

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant("send" as const), count: fc.integer({ min: 1, max: 40 }) }),
  },
  fc.record({
    do: fc.constant("move" as const),
    partition: fc.integer({ min: 0, max: PARTITIONS - 1 }),
    to: fc.integer({ min: 1, max: 2 }),
  }),
  fc.record({ do: fc.constant("cut" as const), broker: fc.integer({ min: 0, max: 1 }) }),
  fc.record({ do: fc.constant("wait" as const), ms: fc.integer({ min: 0, max: 8 }) }),
);

const plan: fc.Arbitrary<Plan> = fc.record({
  faults: fc.array(fault, { maxLength: 12 }),
  refusals: fc.array(refusal, { maxLength: 12 }),
  steps: fc.array(step, { minLength: 1, maxLength: 15 }),
  batchMaxEvents: fc.integer({ min: 1, max: 12 }),
  acks: fc.constantFrom("all", "all", "one"),
  hasKeys: fc.boolean(),
  topicCount: fc.constant(1),
});

/** The same with a topic template: topics that are made late or never. */
const templatePlan: fc.Arbitrary<Plan> = fc.record({
  faults: fc.array(fault, { maxLength: 6 }),
  refusals: fc.array(refusal, { maxLength: 6 }),
  steps: fc.array(
    fc.oneof({ weight: 4, arbitrary: step }, {
      weight: 1,
      arbitrary: fc.record({ do: fc.constant("make" as const), topic: fc.integer({ min: 1, max: 3 }) }),
    }),
    { minLength: 1, maxLength: 15 },
  ),
  batchMaxEvents: fc.integer({ min: 1, max: 12 }),
  acks: fc.constant("all" as const),
  hasKeys: fc.boolean(),
  topicCount: fc.integer({ min: 2, max: 4 }),
});

const topicName = (index: number) => index === 0 ? "logs" : `topic-${index}`;

/** A sink between a buffer and brokers that do as planned. */
async function execute(chosen: Plan, killAfterMs: number | null): Promise<Run> {
  const kafka = await FakeKafka.start(2, { logs: PARTITIONS });
  const { faults, refusals, batchMaxEvents, acks, hasKeys } = chosen;
  let requestCount = 0;
  let batchCount = 0;
  kafka.fault = () => faults[requestCount++];
  kafka.refuse = () => refusals[batchCount++];
  const metrics = new SinkMetrics();
  const log = new KeptLog();
  const timing = { batchTimeoutMs: 1, socketTimeoutMs: 30, retryIntervalMs: 1, retryMaxIntervalMs: 4 };
  const config = { ...plainSink, ...timing, bootstrapServers: kafka.bootstrapServers, batchMaxEvents, acks };
  const clock = { now: Date.now, random: Math.random };
  const { topicCount } = chosen;
  const fixedTopic = topicCount === 1 ? "logs" : null;
  const sink = new KafkaSink({
    config,
    hostname: "h",
    fixedTopic,
    metrics,
    log,
    intents: null,
    transactionPositions: null,
    deadLetters: null,
    ...clock,
  });
  const buffer = new MemoryBuffer({ maxEvents: 10_000, maxSizeBytes: 1 << 20, metrics });
  const kill = new AbortController();
  const killTimer = killAfterMs === null ? null : setTimeout(() => kill.abort(), killAfterMs);
  const running = sink.run(buffer, kill.signal);
  const run: Run = { kafka, metrics, log, sent: [], statuses: [] };
  let next = 0;
  for (const each of chosen.steps) {
    if (each.do === "wait") await Bun.sleep(each.ms);
    else if (each.do === "cut") kafka.brokers[each.broker]!.cutAll();
    else if (each.do === "move") kafka.moveLeader(each.to, "logs", each.partition);
    else if (each.do === "make") kafka.addTopic(topicName(each.topic), PARTITIONS);
    else {
      const values = Array.from({ length: each.count }, () => String(next++));
      const statuses: BatchStatus[] = [];
      run.sent.push(values);
      run.statuses.push(statuses);
      // A few keys only, so that each has many events whose order can be checked.
      const options = {
        ...(hasKeys ? { keys: values.map((value) => `k${Number(value) % 7}`) } : {}),
        ...(topicCount === 1 ? {} : {
          topics: Array.from({ length: topicCount }, (_, i) => topicName(i)),
          topicIndexes: values.map((value) => (Number(value) * 7 >> 3) % topicCount),
        }),
      };
      buffer.write(delivery(values, options, (status) => statuses.push(status)).delivery);
    }
  }
  buffer.end();
  if (killAfterMs === null) {
    for (let i = 1; i < topicCount; i++) kafka.addTopic(topicName(i), PARTITIONS);
  }
  await running;
  if (killTimer !== null) clearTimeout(killTimer);
  return run;
}

interface Run {
  readonly kafka: FakeKafka;
  readonly metrics: SinkMetrics;
  readonly log: KeptLog;
  /** The events of each delivery, and what it was settled as. */
  readonly sent: string[][];
  readonly statuses: BatchStatus[][];
}

/** In the order in which they were written first. */
function firsts(values: readonly string[]): number[] {
  return [...new Set(values)].map(Number);
}

function expectOrdered(kafka: FakeKafka): void {
  for (const log of [...kafka.topics.values()].flat()) {
    const order = firsts(log.values);
    expect(order).toEqual([...order].sort((a, b) => a - b));
  }
}

const everything = (kafka: FakeKafka) => [...kafka.topics.keys()].flatMap((topic) => kafka.values(topic));

test("whatever brokers do: every event arrives, in order in its partition, and settles once", async () => {
  await fc.assert(
    fc.asyncProperty(fc.oneof(plan, templatePlan), async (chosen) => {
      const { kafka, metrics, log, sent, statuses } = await execute(chosen, null);
      await using _ = kafka;
      expect(statuses).toEqual(sent.map(() => ["delivered"]));
      const written = everything(kafka);
      expect(firsts(written).sort((a, b) => a - b)).toEqual(sent.flat().map(Number));
      expectOrdered(kafka);
      if (chosen.acks === "all") expect(written).toHaveLength(sent.flat().length);
      expect(kafka.violations).toEqual([]);
      expect([metrics.deliveredEventsCount, metrics.inFlightEvents]).toEqual([sent.flat().length, 0]);
      expect(log.texts("error")).toEqual([]);
    }),
    { numRuns: Number(process.env.SHIPPER_MODEL_RUNS ?? 40), endOnFailure: true },
  );
}, 600_000);

test("killed at any moment: every event settles once, and what counts as delivered is there", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(plan, templatePlan),
      fc.integer({ min: 0, max: 150 }),
      async (chosen, killAfterMs) => {
        const { kafka, log, sent, statuses } = await execute(chosen, killAfterMs);
        await using _ = kafka;
        const written = new Set(everything(kafka));
        for (const [i, own] of statuses.entries()) {
          expect(own).toHaveLength(1);
          if (own[0] === "delivered") expect(sent[i]!.every((value) => written.has(value))).toBe(true);
        }
        expectOrdered(kafka);
        expect(kafka.violations).toEqual([]);
        expect(log.texts("error")).toEqual([]);
      },
    ),
    { numRuns: Number(process.env.SHIPPER_MODEL_RUNS ?? 40), endOnFailure: true },
  );
}, 600_000);
