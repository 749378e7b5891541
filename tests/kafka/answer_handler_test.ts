import { describe, expect, test } from "bun:test";
import { Accumulator } from "../../src/batch/accumulator.ts";
import { AnswerHandler } from "../../src/kafka/answer_handler.ts";
import { ArenaPool } from "../../src/kafka/arena_pool.ts";
import { RequestError } from "../../src/kafka/errors.ts";
import { EPOCH_MAX, PartitionSender, type ProducerIdentity } from "../../src/kafka/partition_sender.ts";
import { ProduceBatch } from "../../src/kafka/produce_batch.ts";
import { outcomeOf } from "../../src/kafka/produce_outcome.ts";
import { ErrorCode } from "../../src/kafka/protocol/error_codes.ts";
import type { ProduceResult } from "../../src/kafka/protocol/produce.ts";
import { ANY_TIME } from "../../src/kafka/record_times.ts";
import { SinkMetrics } from "../../src/telemetry/metrics.ts";
import { delivery } from "../support/events.ts";
import { FakePartitionLog } from "../support/fake_partition.ts";
import { KeptLog, plainSink } from "./producer_harness.ts";

const identity: ProducerIdentity = { producerIdHigh: 0, producerIdLow: 42, epoch: 0 };
const BATCH_EVENTS = 4;

/** An accumulator with one partition and the handler of its answers; time stands still unless a test moves it. */
function setup() {
  const pool = new ArenaPool({ allocateArena: Buffer.allocUnsafeSlow, releaseArena: () => {} });
  const limits = { batchMaxBytes: 1_000_000, batchMaxEvents: BATCH_EVENTS };
  const metrics = new SinkMetrics();
  const log = new KeptLog();
  const clock = { nowMs: 10_000 };
  const asked: string[] = [];
  const spent: (ProducerIdentity | null)[] = [];
  const compressed: ProduceBatch[] = [];
  const accumulator = new Accumulator<ProduceBatch, PartitionSender>({
    newBatch: () => new ProduceBatch(pool, limits),
    newQueue: (topic, partition) => new PartitionSender(topic, partition),
    onSealed: () => {},
    isAvailable: () => true,
    partitioner: "murmur2_random",
    memoryMaxBytes: 1 << 20,
    canPark: false,
    onGivenUp: () => {},
  });
  const handler = new AnswerHandler({
    config: { ...plainSink, retryIntervalMs: 100, retryMaxIntervalMs: 1_000 },
    accumulator,
    pool,
    metrics,
    log,
    now: () => clock.nowMs,
    monotonic: () => clock.nowMs,
    random: () => 1,
    compress: (batch) => compressed.push(batch),
    learnLimit: () => {},
    wantMetadata: (topic) => asked.push(topic),
    renewIdentity: (used) => spent.push(used),
    problem: (message) => (metrics.lastError = message),
    exact: () => null,
    topicBytesMax: () => null,
    timeLimits: () => ANY_TIME,
    deadLetters: null,
    onSafe: () => {},
    onFatal: (message) => log.error(message),
  });
  accumulator.setPartitionCount("logs", 1, 0);
  const send = (values: string[]) => {
    const made = delivery(values);
    metrics.inFlightEvents += values.length;
    expect(accumulator.append(made.delivery, 0, 0)).toBe(values.length);
    const [queue] = [...accumulator.active];
    accumulator.seal(queue!);
    return { queue: queue!, statuses: made.statuses };
  };
  return { accumulator, handler, metrics, log, clock, asked, spent, compressed, send };
}

function answer(errorCode: number, rest: Partial<ProduceResult> = {}): ProduceResult {
  return {
    topic: "logs",
    partition: 0,
    errorCode,
    baseOffset: 0,
    logAppendTimeMs: -1,
    logStartOffset: -1,
    recordErrors: [],
    errorMessage: null,
    currentLeader: null,
    ...rest,
  };
}

describe("sequences", () => {
  test("advance with what was acknowledged, and wrap at 2^31 within a batch and between batches", () => {
    const { handler, send } = setup();
    const broker = new FakePartitionLog(0, 1);
    const sequences: number[] = [];
    for (const values of [["a", "b", "c"], ["d", "e", "f", "g"], ["h", "i", "j"], ["k"]]) {
      const { queue } = send(values);
      if (queue.identity === null) Object.assign(queue, { identity, nextSequence: 2 ** 31 - 7 });
      const batch = queue.sealed[0]!;
      batch.number(queue.nextNumbers(identity), 1_000);
      sequences.push(batch.numbers!.baseSequence);
      // The same bytes twice: the broker recognises them, also across the wrap.
      expect(broker.append(batch.wireBytes()).errorCode).toBe(0);
      expect(broker.append(batch.wireBytes()).errorCode).toBe(0);
      handler.answered(queue, batch, answer(0), 1);
    }
    expect(sequences).toEqual([2147483641, 2147483644, 0, 3]);
    expect(broker.values).toEqual([..."abcdefghijk"]);
  });

  test("a new identity starts at its own epoch and sequence 0", () => {
    const { handler, send } = setup();
    const { queue } = send(["a"]);
    const batch = queue.sealed[0]!;
    batch.number(queue.nextNumbers(identity), 1_000);
    handler.answered(queue, batch, answer(0), 1);
    expect(queue.nextNumbers(identity).baseSequence).toBe(1);
    const next = { ...identity, producerIdLow: 43, epoch: 3 };
    expect(queue.nextNumbers(next)).toEqual({
      producerIdHigh: 0,
      producerIdLow: 43,
      epoch: 3,
      baseSequence: 0,
    });
  });

  test("the last epoch is used, and after it another producer id is wanted", () => {
    const { handler, send, spent } = setup();
    const { queue } = send(["a"]);
    const batch = queue.sealed[0]!;
    batch.number(queue.nextNumbers(identity), 1_000);
    queue.epoch = EPOCH_MAX - 1;
    handler.answered(queue, batch, answer(ErrorCode.UNKNOWN_PRODUCER_ID), 1);
    expect([queue.epoch, batch.isNumbered, spent]).toEqual([EPOCH_MAX, false, []]);
    handler.answered(queue, batch, answer(ErrorCode.UNKNOWN_PRODUCER_ID), 1);
    expect([queue.epoch, spent]).toEqual([EPOCH_MAX, [identity]]);
  });
});

describe("acknowledgements", () => {
  test("count events, bytes, batches and the time from reading to here, and end an error", () => {
    const { handler, metrics, clock, send } = setup();
    const { queue, statuses } = send(["abc", "de"]);
    const batch = queue.sealed[0]!;
    batch.number(null, 0);
    const wireBytes = batch.wireBytes().length;
    metrics.lastError = "before";
    metrics.waitingSinceMs = 5;
    clock.nowMs = 1_250; // events of the tests were read at 1,000
    handler.answered(queue, batch, answer(0), 1);
    expect(statuses).toEqual(["delivered"]);
    expect(metrics).toMatchObject({
      deliveredEventsCount: 2,
      deliveredBytesCount: 5,
      sentBatchesCount: 1,
      sentBytesCount: wireBytes,
      inFlightEvents: 0,
      lastAckMs: 1_250,
      lastError: null,
      waitingSinceMs: 0,
    });
    expect(metrics.latencySeconds.sum).toBeCloseTo(0.5);
    expect(queue.isEmpty).toBe(true);
  });

  test("while others wait, the time of waiting starts anew", () => {
    const { handler, metrics, clock, send } = setup();
    const { queue } = send(["a"]);
    send(["b"]);
    metrics.waitingSinceMs = 5;
    clock.nowMs = 20_000;
    handler.answered(queue, queue.sealed[0]!, null, 1);
    expect(metrics.waitingSinceMs).toBe(20_000);
    expect(metrics.sentUnconfirmedEventsCount).toBe(1);
  });

  test("after failures it is said that delivery goes on", () => {
    const { handler, log, send } = setup();
    const { queue } = send(["a"]);
    const batch = queue.sealed[0]!;
    handler.failed(queue, batch, new RequestError("ECONNRESET", "Lost"), 1);
    handler.answered(queue, batch, answer(0), 1);
    expect(log.texts("info")).toEqual(['Delivery to partition 0 of topic "logs" goes on']);
    expect([queue.failureCount, queue.retryAtMs, queue.failedLeader]).toEqual([0, 0, -1]);
  });
});

describe("failures", () => {
  test("back off from the leader that failed, further each time, and ask for metadata", () => {
    const { handler, metrics, clock, asked, send } = setup();
    const { queue } = send(["a"]);
    const batch = queue.sealed[0]!;
    const waits: number[] = [];
    for (let i = 0; i < 6; i++) {
      handler.failed(queue, batch, new RequestError("timeout", "Too late"), 7);
      waits.push(queue.retryAtMs - clock.nowMs);
    }
    expect(waits).toEqual([100, 200, 400, 800, 1_000, 1_000]);
    expect(queue.failedLeader).toBe(7);
    expect(asked).toHaveLength(6);
    expect(metrics.retries.values.get("timeout")).toBe(6);
  });

  test("metadata is asked for only by errors that are about leaders", () => {
    const { handler, asked, send } = setup();
    const { queue } = send(["a"]);
    const batch = queue.sealed[0]!;
    handler.answered(queue, batch, answer(ErrorCode.NOT_ENOUGH_REPLICAS), 1);
    expect(asked).toEqual([]);
    handler.answered(queue, batch, answer(ErrorCode.NOT_LEADER_OR_FOLLOWER), 1);
    expect(asked).toEqual(["logs"]);
  });

  test("a split keeps the place in the queue, numbers nothing, and sends the halves through the compressor", () => {
    const { handler, compressed, send } = setup();
    const { queue } = send(["a", "b", "c"]);
    send(["d"]);
    const [batch, later] = queue.sealed;
    batch!.number(queue.nextNumbers(identity), 1_000);
    handler.answered(queue, batch!, answer(ErrorCode.RECORD_LIST_TOO_LARGE), 1);
    expect(queue.sealed.map((each) => each.count)).toEqual([1, 2, 1]);
    expect(queue.sealed[2]).toBe(later!);
    expect(compressed).toEqual(queue.sealed.slice(0, 2));
    expect(queue.sealed.every((each) => !each.isNumbered && !each.isReady)).toBe(true);
    expect(queue.nextSequence).toBe(0);
  });
});

test("outcomes: what is not known is retried, never given up", () => {
  const outcomes = new Map<string, string[]>();
  for (let code = -1; code <= 200; code++) {
    const outcome = outcomeOf(code);
    if (outcome === "retry") continue;
    const name = Object.entries(ErrorCode).find(([, each]) => each === code)?.[0] ?? String(code);
    outcomes.set(outcome, [...outcomes.get(outcome) ?? [], name]);
  }
  expect(Object.fromEntries(outcomes)).toEqual({
    "delivered": ["NONE", "DUPLICATE_SEQUENCE_NUMBER"],
    "split": ["MESSAGE_TOO_LARGE", "RECORD_LIST_TOO_LARGE"],
    "take-out": ["INVALID_RECORD"],
    "redate": ["INVALID_TIMESTAMP"],
    "renumber": [
      "OUT_OF_ORDER_SEQUENCE_NUMBER",
      "INVALID_PRODUCER_EPOCH",
      "INVALID_PRODUCER_ID_MAPPING",
      "UNKNOWN_PRODUCER_ID",
    ],
  });
});
