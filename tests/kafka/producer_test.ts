import { describe, expect, test } from "bun:test";
import { ApiKey } from "../../src/kafka/protocol/api_keys.ts";
import { ErrorCode } from "../../src/kafka/protocol/error_codes.ts";
import { FakeKafka } from "../support/fake_kafka.ts";
import { ProducerHarness } from "./producer_harness.ts";
import { until } from "./support.ts";

const lines = (count: number, prefix = "line ") => Array.from({ length: count }, (_, i) => `${prefix}${i}`);

describe("order and numbers", () => {
  test("one batch in flight a partition, however slow the answers are", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 3 });
    kafka.fault = () => ({ delayMs: 8 });
    await using harness = new ProducerHarness(kafka, { config: { batchMaxEvents: 7 } });
    const values = lines(300);
    await harness.send(values);
    await harness.producer.flush();
    expect(kafka.violations).toEqual([]);
    expect(kafka.values().sort()).toEqual([...values].sort());
    expect(harness.statuses).toEqual(["delivered"]);
    for (const log of kafka.topics.get("logs")!) {
      const order = log.values.map((value) => values.indexOf(value));
      expect(order).toEqual([...order].sort((a, b) => a - b));
      expect(log.batches.map((batch) => batch.baseSequence)).toEqual(
        log.batches.reduce<number[]>((at, _, i) => {
          at.push(i === 0 ? 0 : at[i - 1]! + log.batches[i - 1]!.recordCount);
          return at;
        }, []),
      );
    }
  });

  test("all partitions of a broker that are ready go into one request", async () => {
    await using kafka = await FakeKafka.start(2, { logs: 6 });
    await using harness = new ProducerHarness(kafka, { config: { batchMaxEvents: 10 } });
    await harness.send(lines(60));
    await harness.producer.flush();
    expect(kafka.requests).toHaveLength(2);
    for (const request of kafka.requests) expect(request.partitions).toHaveLength(3);
  });

  for (const kind of ["cut-after", "cut-before"] as const) {
    test(`a retry sends the very same bytes and numbers (${kind})`, async () => {
      await using kafka = await FakeKafka.start(1, { logs: 1 });
      kafka.fault = ([attempt]) => attempt!.index < 3 ? { kind } : {};
      await using harness = new ProducerHarness(kafka);
      await harness.send(lines(5));
      await harness.producer.flush();
      expect(kafka.attempts).toHaveLength(4);
      for (const attempt of kafka.attempts) expect(attempt.bytes).toEqual(kafka.attempts[0]!.bytes);
      expect(kafka.values()).toEqual(lines(5));
      expect(kafka.violations).toEqual([]);
      expect(harness.metrics.retries.total()).toBeGreaterThanOrEqual(3);
    });
  }
});

describe("leaders", () => {
  test("NOT_LEADER refreshes the metadata and goes to the new leader at once", async () => {
    await using kafka = await FakeKafka.start(2, { logs: 1 });
    const slow = { retryIntervalMs: 60_000, retryMaxIntervalMs: 60_000 };
    await using harness = new ProducerHarness(kafka, { config: slow });
    await harness.send(["a"]);
    await harness.producer.flush();
    kafka.moveLeader(2);
    await harness.send(["b"]);
    await harness.producer.flush();
    expect(kafka.values()).toEqual(["a", "b"]);
    expect(kafka.attempts.map((attempt) => attempt.nodeId)).toEqual([1, 1, 2]);
    expect(kafka.attempts[2]!.bytes).toEqual(kafka.attempts[1]!.bytes);
  });

  test("a partition without a leader waits, and others go on", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 2 });
    kafka.log("logs", 1).leader = -1;
    await using harness = new ProducerHarness(kafka, { config: { batchMaxEvents: 1 } });
    await harness.send(lines(6), { keys: ["a", "b", "c", "d", "e", "f"] });
    const isHere = (key: string) => kafka.log("logs", 0).records.some((record) => record.key === key);
    await until(
      () => kafka.log("logs", 0).records.length > 0 && harness.statuses.length === 0,
      "partition 0 goes on",
    );
    expect(["a", "b", "c", "d", "e", "f"].every(isHere)).toBe(false);
    kafka.moveLeader(1, "logs", 1);
    await harness.producer.flush();
    expect(kafka.values()).toHaveLength(6);
    expect(harness.log.texts("warn").join()).toContain("it has no leader");
  });

  test("partitions that are added while it runs are used", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    await using harness = new ProducerHarness(kafka, {
      config: { batchMaxEvents: 2, metadataRefreshMs: 20 },
    });
    await harness.send(lines(4));
    kafka.addTopic("logs", 3);
    await until(() => harness.cluster.topic("logs")?.partitions.length === 3, "the partitions are known");
    await harness.send(lines(12, "more "));
    await harness.producer.flush();
    for (let id = 0; id < 3; id++) expect(kafka.log("logs", id).records.length).toBeGreaterThan(0);
    expect(kafka.values()).toHaveLength(16);
  });
});

describe("connections", () => {
  test("a request that is not answered in time goes out again", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    kafka.fault = ([attempt]) => attempt!.index === 0 ? { kind: "silence-after" } : {};
    await using harness = new ProducerHarness(kafka, { config: { socketTimeoutMs: 50 } });
    await harness.send(lines(3));
    await harness.producer.flush();
    // On a busy machine the second answer may come too late as well.
    expect(kafka.attempts.length).toBeGreaterThanOrEqual(2);
    expect(kafka.values()).toEqual(lines(3));
    expect(harness.metrics.retries.values.get("timeout")).toBe(kafka.attempts.length - 1);
  });

  test("a partition that the answer leaves out goes out again; the others are done", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 2 });
    kafka.fault = (attempts) => ({
      leaveOut: (partition) =>
        partition === 1 && attempts.some((each) => each.partition === 1 && each.index === 0),
    });
    await using harness = new ProducerHarness(kafka, { config: { batchMaxEvents: 2 } });
    await harness.send(lines(4));
    await harness.producer.flush();
    expect(kafka.attempts.map((attempt) => attempt.partition)).toEqual([0, 1, 1]);
    expect(kafka.values()).toHaveLength(4);
    expect(harness.log.texts("warn").join()).toContain("left a partition out of its answer");
  });

  test("an answer that cannot be read costs nothing but a repeat", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    kafka.fault = ([attempt]) => attempt!.index < 2 ? { kind: "garbage" } : {};
    await using harness = new ProducerHarness(kafka);
    await harness.send(lines(3));
    await harness.producer.flush();
    expect(kafka.attempts).toHaveLength(3);
    expect(kafka.values()).toEqual(lines(3));
  });

  test("holds back as long as the broker asks", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    kafka.fault = ([attempt]) => attempt!.index === 0 ? { throttleMs: 120 } : {};
    await using harness = new ProducerHarness(kafka, { config: { batchMaxEvents: 1 } });
    await harness.send(["a", "b"]);
    await harness.producer.flush();
    const [first, second] = kafka.attempts;
    expect(second!.atMs - first!.atMs).toBeGreaterThanOrEqual(110);
  });

  test("at most max_in_flight requests wait for answers of a broker", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 20 });
    let openMax = 0;
    let open = 0;
    kafka.fault = () => {
      openMax = Math.max(openMax, ++open);
      setTimeout(() => open--, 25);
      return { delayMs: 26 };
    };
    await using harness = new ProducerHarness(kafka, { config: { maxInFlight: 2, batchTimeoutMs: 0 } });
    for (let i = 0; i < 30; i++) {
      await harness.send([`${i}`], { keys: [`key ${i}`] });
      await Bun.sleep(3);
    }
    await harness.producer.flush();
    expect(openMax).toBe(2);
    expect(kafka.values()).toHaveLength(30);
    // What waits for a place goes together.
    expect(kafka.requests.length).toBeLessThan(30);
  });

  test("a broker that is away is found again when it comes back", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    await using harness = new ProducerHarness(kafka);
    await harness.send(["a"]);
    await harness.producer.flush();
    await kafka.brokers[0]!.stop();
    await harness.send(["b"]);
    await until(() => harness.metrics.retries.total() >= 3, "it tried in vain");
    await kafka.brokers[0]!.listen();
    await harness.producer.flush();
    expect(kafka.values()).toEqual(["a", "b"]);
  });
});

describe("acks", () => {
  test("one: no numbers, and the leader's answer counts", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    await using harness = new ProducerHarness(kafka, { config: { acks: "one" } });
    await harness.send(lines(3));
    await harness.producer.flush();
    expect(kafka.requests[0]!.acks).toBe(1);
    const { producerId, producerEpoch, baseSequence } = kafka.log().batches[0]!;
    expect([producerId, producerEpoch, baseSequence]).toEqual([-1n, -1, -1]);
    expect(kafka.countOf(ApiKey.InitProducerId)).toBe(0);
    expect(harness.metrics.sentUnconfirmedEventsCount).toBe(0);
  });

  test("none: written to the socket is all there is, and it is counted as that", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    await using harness = new ProducerHarness(kafka, { config: { acks: "none", batchMaxEvents: 4 } });
    await harness.send(lines(20));
    await harness.producer.flush();
    await until(() => kafka.values().length === 20, "all has arrived");
    expect(kafka.requests.every((request) => request.acks === 0)).toBe(true);
    expect(kafka.values()).toEqual(lines(20));
    expect(harness.metrics.sentUnconfirmedEventsCount).toBe(20);
    expect(harness.statuses).toEqual(["delivered"]);
  });
});

describe("limits and timing", () => {
  test("a batch lingers until batch.timeout_ms, or until it is full", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    await using harness = new ProducerHarness(kafka, { config: { batchTimeoutMs: 150, batchMaxEvents: 3 } });
    await harness.send(["a"]);
    const startMs = performance.now();
    await Bun.sleep(20);
    await harness.send(["b"]);
    await until(() => kafka.values().length === 2, "the batch was sent");
    expect(performance.now() - startMs).toBeGreaterThanOrEqual(140);
    await harness.send(["c", "d", "e"]);
    await until(() => kafka.values().length === 5, "the full batch was sent");
    expect(kafka.log().batches.map((batch) => batch.recordCount)).toEqual([2, 3]);
  });

  test("records in memory are bounded while nothing is answered", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 100 });
    await using harness = new ProducerHarness(kafka);
    await harness.send(["first"]);
    await harness.producer.flush();
    kafka.fault = () => ({ kind: "silence" });
    const value = Buffer.alloc(1_000, "x");
    let taken = 0;
    for (let round = 0; round < 200; round++) {
      const keys = Array.from({ length: 1_000 }, (_, i) => `k${round}-${i}`);
      const next = harness.producer.append(harness.delivery(Array(1_000).fill(value), { keys }), 0);
      taken += next;
      if (next < 1_000) break;
      await Bun.sleep(0);
    }
    expect(taken).toBeGreaterThan(5_000);
    expect(taken).toBeLessThan(40_000);
  });

  test("waits for a topic that nobody knows, and goes on when it is made", async () => {
    await using kafka = await FakeKafka.start(1);
    await using harness = new ProducerHarness(kafka);
    const sent = harness.send(lines(3));
    await until(
      () => harness.log.texts("warn").some((text) => text.includes("does not know it")),
      "it is told",
    );
    expect(harness.settledCount).toBe(0);
    kafka.addTopic("logs", 1);
    await sent;
    await harness.producer.flush();
    expect(kafka.values()).toEqual(lines(3));
  });

  test("events of other topics pass those of a topic that nobody knows", async () => {
    await using kafka = await FakeKafka.start(1, { known: 1 });
    await using harness = new ProducerHarness(kafka, { hasTopicTemplate: true });
    const topics = ["unknown", "known"];
    await harness.send(lines(6), { topics, topicIndexes: [0, 1, 0, 1, 1, 0] });
    await until(() => kafka.values("known").length === 3, "the known topic has its events");
    expect(harness.producer.isIdle).toBe(false);
    kafka.addTopic("unknown", 1);
    await harness.producer.flush();
    expect(kafka.values("unknown")).toEqual(["line 0", "line 2", "line 5"]);
    expect(harness.statuses).toEqual(["delivered"]);
  });

  test("makes a topic when that is asked for", async () => {
    await using kafka = await FakeKafka.start(1);
    await using harness = new ProducerHarness(kafka, { config: { topicsAutocreate: true } });
    await harness.send(lines(3));
    await harness.producer.flush();
    expect(kafka.topics.get("logs")).toHaveLength(2);
    expect(kafka.values().sort()).toEqual(lines(3));
    expect(harness.log.texts("info")).toContain('Created topic "logs"');
  });

  test("tries again for a producer id, and says why there is none", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    kafka.producerIdError = ErrorCode.CLUSTER_AUTHORIZATION_FAILED;
    await using harness = new ProducerHarness(kafka);
    await harness.send(["a"]);
    await until(() => kafka.countOf(ApiKey.InitProducerId) >= 3, "it asks again");
    expect(harness.metrics.lastError).toContain("CLUSTER_AUTHORIZATION_FAILED");
    kafka.producerIdError = 0;
    await harness.producer.flush();
    expect(kafka.values()).toEqual(["a"]);
  });
});

describe("the end", () => {
  test("what is in flight, waiting and parked at a kill is settled once, as errored", async () => {
    await using kafka = await FakeKafka.start(1, { known: 1 });
    await using harness = new ProducerHarness(kafka, {
      hasTopicTemplate: true,
      config: { batchMaxEvents: 2 },
    });
    await harness.send(["first"], { topics: ["known"] });
    await harness.producer.flush();
    kafka.refuse = () => ({ errorCode: ErrorCode.NOT_ENOUGH_REPLICAS });
    const topics = ["unknown", "known"];
    await harness.send(lines(4), { topics, topicIndexes: [0, 1, 0, 1] });
    const late = harness.delivery(lines(20, "late "), { topics: ["known"] });
    const next = harness.producer.append(late, 0);
    expect(next).toBeLessThan(20);
    await until(() => kafka.attempts.length > 3, "something is in flight");
    harness.producer.close();
    late.take(late.untakenCount);
    late.settle(20 - next, "errored");
    expect(harness.statuses).toEqual(["delivered", "errored", "errored"]);
    await Bun.sleep(20);
    expect(harness.statuses).toHaveLength(3);
    await harness.producer.waitForRoom();
    await harness.producer.flush();
  });
});
