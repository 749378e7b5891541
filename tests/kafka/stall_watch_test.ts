import { describe, expect, test } from "bun:test";
import type { Cluster } from "../../src/kafka/cluster.ts";
import { PartitionSender } from "../../src/kafka/partition_sender.ts";
import type { ProduceBatch } from "../../src/kafka/produce_batch.ts";
import { ErrorCode } from "../../src/kafka/protocol/error_codes.ts";
import { StallWatch } from "../../src/kafka/stall_watch.ts";
import { SinkMetrics } from "../../src/telemetry/metrics.ts";
import { FakeKafka } from "../support/fake_kafka.ts";
import { waitUntil } from "../support/wait_until.ts";
import { KeptLog, ProducerHarness } from "./producer_harness.ts";

/** A watch over one partition, by a clock that a test sets. */
function setup() {
  const clock = { nowMs: 0 };
  const connection = { throttledUntilMs: 0, closeCount: 0, close: () => void connection.closeCount++ };
  const abort = new AbortController();
  const queue = new PartitionSender("logs", 3);
  const metrics = new SinkMetrics();
  const log = new KeptLog();
  const asked: string[] = [];
  const rebuilt: number[] = [];
  const state = { isSendable: true };
  const watch = new StallWatch({
    cluster: { leaderOf: () => 7, openConnection: () => connection } as unknown as Cluster,
    metrics,
    log,
    stallMs: 1_000_000,
    monotonic: () => clock.nowMs,
    signal: abort.signal,
    queues: () => [queue],
    isSendable: () => state.isSendable,
    wantMetadata: (topic) => asked.push(topic),
    rebuild: (nodeId) => rebuilt.push(nodeId),
  });
  const batch = (): ProduceBatch => ({ hold: null, isInFlight: true, attemptCount: 2 }) as ProduceBatch;
  queue.sealed.push(batch());
  const steps = () => [...metrics.stalls.values].map(([step, count]) => `${step} ${count}`);
  const lookAt = (seconds: number) => {
    clock.nowMs = seconds * 1_000;
    watch.look();
  };
  lookAt(0);
  return { clock, connection, queue, log, asked, rebuilt, state, steps, lookAt, batch, abort };
}

describe("a partition that nobody answers for", () => {
  test("is taken up step by step, each told once with what was found", () => {
    const at = setup();
    at.lookAt(999);
    expect(at.steps()).toEqual([]);
    at.lookAt(1_001);
    expect([at.steps(), at.asked, at.connection.closeCount]).toEqual([["refresh 1"], ["logs"], 0]);
    at.lookAt(1_999);
    expect(at.steps()).toEqual(["refresh 1"]);
    at.lookAt(2_001);
    expect([at.steps(), at.connection.closeCount]).toEqual([["refresh 1", "reconnect 1"], 1]);
    for (const seconds of [3_001, 4_001, 5_001]) at.lookAt(seconds);
    expect([at.steps(), at.rebuilt]).toEqual([["refresh 1", "reconnect 1", "rebuild 3"], [7, 7, 7]]);
    expect(at.log.lines.map(({ level, message }) => [level, /: (.*)/u.exec(message)![1]])).toEqual([
      ["warn", "its leader is asked for again"],
      ["warn", "a new connection is made to its leader"],
      ["warn", "what is known of its leader is forgotten, and the cluster asked anew"],
    ]);
    expect(at.log.lines[0]!.message).toContain('Partition 3 of topic "logs" has been waiting for 1001 s');
    expect(at.log.lines[0]!.fields).toEqual({
      leader: 7,
      connected: true,
      in_flight: true,
      attempts: 2,
    });
    at.abort.abort();
  });

  test("is not stalled while something moves, is answered, waits for a quota, or for something here", () => {
    const at = setup();
    at.lookAt(900);
    at.queue.sealed[0] = at.batch();
    at.lookAt(1_800);
    at.queue.answeredMs = 1_800_000;
    at.lookAt(2_700);
    at.connection.throttledUntilMs = performance.now() + 60_000;
    at.lookAt(3_600);
    at.connection.throttledUntilMs = 0;
    at.lookAt(4_500);
    at.state.isSendable = false;
    at.lookAt(5_400);
    at.state.isSendable = true;
    at.lookAt(5_500);
    at.queue.sealed[0]!.hold = { reason: "", why: "", waitingCount: 1 };
    at.lookAt(9_000);
    at.queue.sealed[0]!.hold = null;
    at.queue.isInDoubt = true;
    at.lookAt(15_000);
    at.queue.isInDoubt = false;
    at.lookAt(15_500);
    at.queue.sealed.length = 0;
    at.lookAt(20_000);
    expect(at.steps()).toEqual([]);
    at.abort.abort();
  });

  test("that was answered in between begins with the first step again", () => {
    const at = setup();
    for (const seconds of [1_001, 2_001]) at.lookAt(seconds);
    at.queue.answeredMs = 2_500_000;
    for (const seconds of [3_400, 3_501]) at.lookAt(seconds);
    expect(at.steps()).toEqual(["refresh 2", "reconnect 1"]);
    at.abort.abort();
  });
});

test("a broker that swallows requests while its connection lives: taken up, exactly once", async () => {
  await using kafka = await FakeKafka.start(2, { logs: 2 });
  let isSwallowing = true;
  // It is written, and nobody hears of it.
  kafka.fault = () => isSwallowing ? { kind: "silence-after" } : undefined;
  await using harness = new ProducerHarness(kafka, { stallMs: 100, config: { socketTimeoutMs: 60_000 } });
  const values = Array.from({ length: 50 }, (_, i) => `line ${i}`);
  await harness.send(values, { keys: values });
  await waitUntil("all steps were taken", () => (harness.metrics.stalls.values.get("rebuild") ?? 0) > 1);
  isSwallowing = false;
  await harness.producer.flush();
  expect(kafka.values().sort()).toEqual([...values].sort());
  expect(kafka.violations).toEqual([]);
  expect(harness.audit()).toEqual({ in: 50, delivered: 50, dropped: 0, inFlight: 0 });
  expect([...harness.metrics.stalls.values.keys()].sort()).toEqual(["rebuild", "reconnect", "refresh"]);
});

test("a broker that refuses for now is no stall", async () => {
  await using kafka = await FakeKafka.start(1, { logs: 1 });
  kafka.refuse = () => ({ errorCode: ErrorCode.NOT_ENOUGH_REPLICAS });
  await using harness = new ProducerHarness(kafka, { stallMs: 1_000 });
  await harness.send(["a"]);
  await Bun.sleep(1_600);
  expect(kafka.attempts.length).toBeGreaterThan(5);
  kafka.refuse = () => undefined;
  await harness.producer.flush();
  expect(harness.metrics.stalls.total()).toBe(0);
  expect(harness.log.texts("warn").some((text) => text.includes("NOT_ENOUGH_REPLICAS"))).toBe(true);
});

test("a quota that is used up is counted, told and kept to, and is no stall", async () => {
  await using kafka = await FakeKafka.start(1, { logs: 1 });
  let throttleMs = 300;
  kafka.fault = () => ({ throttleMs });
  await using harness = new ProducerHarness(kafka, { stallMs: 100, config: { clientId: "edge" } });
  await harness.send(["a"]);
  await harness.producer.flush();
  throttleMs = 0;
  const startMs = performance.now();
  await harness.send(["b"]);
  await harness.producer.flush();
  expect(performance.now() - startMs).toBeGreaterThan(200);
  expect(harness.metrics.throttledMs).toBe(300);
  expect(harness.metrics.stalls.total()).toBe(0);
  const told = harness.log.lines.find(({ message }) => message.includes("asks this sink to wait for 300 ms"));
  expect(JSON.stringify(told!.fields)).toContain('this client is \\"edge\\"');
});
