import { afterEach, describe, expect, test } from "bun:test";
import { ApiKey } from "../../../src/kafka/protocol/api_keys.ts";
import { ErrorCode } from "../../../src/kafka/protocol/error_codes.ts";
import { type ResolveOptions, resolvePartition } from "../../../src/kafka/resolve/resolver.ts";
import type { DoubtfulBatch, Verdict } from "../../../src/kafka/resolve/verdict.ts";
import { cleanUp } from "../fake_cluster.ts";
import { doubtful, TIME_MS } from "./batches.ts";
import { others, type Setup, start, two, write } from "./setup.ts";

const HOUR_MS = 3_600_000;
afterEach(cleanUp);

function resolved(
  { cluster, log }: Setup,
  batches: readonly DoubtfulBatch[],
  overrides: Partial<ResolveOptions> = {},
): Promise<Verdict> {
  return resolvePartition({
    cluster,
    topic: "logs",
    partition: 0,
    batches,
    dedupWindowMs: 24 * HOUR_MS,
    scanBytesMax: 1 << 20,
    hasClockJumped: false,
    now: () => TIME_MS + HOUR_MS,
    random: () => 0.5,
    log,
    signal: AbortSignal.timeout(10_000),
    recheckMs: 30,
    ...overrides,
  });
}

const listedWritten = (writtenCount: number, provenOffset: number) => ({
  kind: "written",
  writtenCount,
  by: "listed",
  isReplicated: true,
  provenOffset,
  leaderEpoch: 0,
  isRestUnwritten: true,
});

describe("one look", () => {
  test("listed: none of the second, all", async () => {
    const setup = await start();
    write(setup, ...others, two[0]!);
    expect(await resolved(setup, two)).toEqual(listedWritten(1, 8) as Verdict);
    expect(await resolved(setup, [two[1]!])).toEqual({ kind: "unwritten", by: "listed", logEndOffset: 8 });
    write(setup, two[1]!);
    expect(await resolved(setup, two)).toEqual(listedWritten(2, 12) as Verdict);
    expect(setup.kafka.inspection.countOf(ApiKey.Fetch)).toBe(0);
  });

  test("the leader has it, replicas do not yet", async () => {
    const setup = await start();
    write(setup, ...two);
    setup.kafka.log().replicatedOffset = 3;
    expect(await resolved(setup, two)).toMatchObject({
      writtenCount: 2,
      isReplicated: false,
      provenOffset: 7,
    });
  });

  test("forgotten: found in the log, not found, compacted away", async () => {
    const setup = await start();
    const log = setup.kafka.log();
    write(setup, ...others, ...two);
    log.forgetProducers();
    setup.kafka.inspection.fetchBytesMax = 70;
    expect(await resolved(setup, two)).toMatchObject({ writtenCount: 2, by: "scanned", provenOffset: 12 });
    expect(await resolved(setup, doubtful(500, [2]))).toEqual({
      kind: "unwritten",
      by: "scanned",
      logEndOffset: 12,
    });
    log.stored.splice(1, 1);
    expect(await resolved(setup, doubtful(500, [2]))).toMatchObject({ kind: "undecidable" });
    expect(await resolved(setup, doubtful(500, [2], { hintOffset: 8 }))).toMatchObject({ kind: "unwritten" });
  });

  test("forgotten, and retention took the place where it would be", async () => {
    const setup = await start();
    write(setup, ...two, ...others);
    setup.kafka.log().deleteBefore(7);
    setup.kafka.log().forgetProducers();
    expect(await resolved(setup, two)).toMatchObject({
      kind: "undecidable",
      reason: expect.stringContaining("begins at offset 7"),
    });
    expect(await resolved(setup, two.map((batch) => ({ ...batch, hintOffset: 7 })))).toMatchObject({
      kind: "unwritten",
    });
  });

  test("the limit of the scan", async () => {
    const setup = await start();
    write(setup, ...others, ...doubtful(5, [5], { producerIdLow: 8 }));
    expect(await resolved(setup, two, { scanBytesMax: 100 })).toMatchObject({
      kind: "undecidable",
      reason: expect.stringContaining("resolve_scan_max_bytes"),
    });
  });

  test("no READ right: by the clock", async () => {
    const setup = await start();
    setup.kafka.inspection.canRead = false;
    write(setup, ...two);
    expect(await resolved(setup, two)).toMatchObject({ kind: "resend" });
    expect(await resolved(setup, two, { hasClockJumped: true })).toMatchObject({ kind: "undecidable" });
    expect(await resolved(setup, two, { now: () => TIME_MS + 12 * HOUR_MS })).toMatchObject({
      kind: "undecidable",
    });
    expect(setup.kafka.inspection.countOf(ApiKey.Fetch)).toBe(0);
  });

  test("a broker without DescribeProducers: by scan", async () => {
    const setup = await start(1, (broker) => broker.without(ApiKey.DescribeProducers));
    write(setup, ...others, two[0]!);
    expect(await resolved(setup, two)).toMatchObject({ kind: "written", writtenCount: 1, by: "scanned" });
    expect(await resolved(setup, [two[1]!])).toMatchObject({ kind: "unwritten", by: "scanned" });
    setup.kafka.inspection.canRead = false;
    expect(await resolved(setup, two)).toMatchObject({ kind: "resend" });
  });

  test("a broker that does not tell the end of its log", async () => {
    const setup = await start(1, (broker) => broker.without(ApiKey.OffsetForLeaderEpoch));
    write(setup, ...others);
    expect(await resolved(setup, two)).toMatchObject({ kind: "undecidable" });
    write(setup, ...two);
    expect(await resolved(setup, two)).toMatchObject({ by: "listed", isReplicated: false, provenOffset: -1 });
  });

  test("brokers only may ask for the end of the log (before Kafka 2.3)", async () => {
    const setup = await start();
    write(setup, ...two);
    setup.kafka.inspection.refuse = ({ apiKey }) =>
      apiKey === ApiKey.OffsetForLeaderEpoch ? ErrorCode.CLUSTER_AUTHORIZATION_FAILED : 0;
    expect(await resolved(setup, two)).toMatchObject({ kind: "written", provenOffset: -1 });
  });
});

describe("new numbers need two looks", () => {
  const replace = (reason: string) => ({ kind: "replace", reason, isDataLossAtBroker: false, listed: null });
  const known = doubtful(100, [3], {
    clusterId: "fake",
    topicId: Buffer.alloc(16, "logs").toString("base64url"),
  });

  test("another cluster, another topic", async () => {
    const setup = await start();
    expect(await resolved(setup, known)).toMatchObject({ kind: "unwritten" });
    setup.kafka.makeAgain("logs", 1);
    expect(await resolved(setup, known)).toEqual(replace("other-topic") as Verdict);
    setup.kafka.clusterId = "other";
    const { asked } = setup.kafka.inspection;
    const askedCount = asked.length;
    expect(await resolved(setup, known)).toEqual(replace("other-cluster") as Verdict);
    expect(asked).toHaveLength(askedCount);
  });

  test("another topic, which has the batch: it was sent before anybody here had heard of it", async () => {
    const setup = await start();
    setup.kafka.makeAgain("logs", 1);
    write(setup, ...known);
    await setup.cluster.refresh(["logs"], "test");
    expect(await resolved(setup, known)).toMatchObject({
      kind: "written",
      writtenCount: known.length,
      topicId: setup.cluster.topic("logs")?.topicId,
    });
    expect(setup.cluster.topic("logs")?.topicId).not.toBe(known[0]!.topicId);
  });

  test("another topic without the partition", async () => {
    const setup = await start();
    setup.kafka.addTopic("logs", 2);
    await setup.cluster.refresh(["logs"], "test");
    setup.kafka.makeAgain("logs", 1);
    expect(await resolved(setup, known, { partition: 1 })).toEqual(replace("other-topic") as Verdict);
  });

  test("acknowledged data was lost, as the leader says after the pause too", async () => {
    const setup = await start();
    write(setup, ...doubtful(90, [4]));
    const metadataCount = setup.kafka.countOf(ApiKey.Metadata);
    const startMs = performance.now();
    expect(await resolved(setup, two)).toEqual({
      kind: "replace",
      reason: "broker-lost-acked",
      isDataLossAtBroker: true,
      listed: { epoch: 0, lastSequence: 93, lastTimestampMs: TIME_MS },
    });
    expect(performance.now() - startMs).toBeGreaterThanOrEqual(29);
    expect(setup.kafka.inspection.countOf(ApiKey.DescribeProducers)).toBe(2);
    // By the client, by the leader, after the pause by the client, by the leader.
    expect(setup.kafka.countOf(ApiKey.Metadata) - metadataCount).toBeGreaterThanOrEqual(4);
  });

  test("a late request shows itself within the pause", async () => {
    const setup = await start();
    const lost = doubtful(90, [10]);
    write(setup, ...doubtful(80, [10]));
    const verdict = resolved(setup, two, { recheckMs: 200 });
    await Bun.sleep(100);
    expect(setup.kafka.inspection.countOf(ApiKey.DescribeProducers)).toBe(1);
    write(setup, ...lost, two[0]!);
    expect(await verdict).toMatchObject({ kind: "written", writtenCount: 1 });
  });

  test("the journal is behind the broker", async () => {
    const setup = await start();
    write(setup, ...two, ...doubtful(107, [1]));
    expect(await resolved(setup, two)).toMatchObject({
      kind: "journal-behind",
      writtenCount: 2,
      by: "scanned",
    });
    expect(setup.kafka.inspection.countOf(ApiKey.DescribeProducers)).toBe(1);
    const never = doubtful(100, [3], { baseTimestampMs: TIME_MS + 1 });
    expect(await resolved(setup, never)).toMatchObject({
      kind: "journal-behind",
      writtenCount: 0,
      isRestUnwritten: true,
    });
    expect(setup.kafka.inspection.countOf(ApiKey.DescribeProducers)).toBe(3);
  });
});

describe("leaders that move and brokers that fail", () => {
  const errors = [
    "NOT_LEADER_OR_FOLLOWER",
    "UNKNOWN_TOPIC_OR_PARTITION",
    "LEADER_NOT_AVAILABLE",
    "FENCED_LEADER_EPOCH",
    "UNKNOWN_LEADER_EPOCH",
    "KAFKA_STORAGE_ERROR",
    "OFFSET_NOT_AVAILABLE",
    "OFFSET_OUT_OF_RANGE",
    "UNKNOWN_SERVER_ERROR",
  ] as const;
  const apis = ["DescribeProducers", "OffsetForLeaderEpoch", "ListOffsets", "Fetch"] as const;

  for (const name of errors) {
    test(`${name}, once from each question`, async () => {
      const setup = await start();
      write(setup, ...others);
      const failed = new Set<number>();
      setup.kafka.inspection.refuse = ({ apiKey }) => {
        if (failed.has(apiKey)) return 0;
        failed.add(apiKey);
        return ErrorCode[name];
      };
      expect(await resolved(setup, two)).toMatchObject({ kind: "unwritten", by: "scanned" });
      expect([...failed].sort()).toEqual(apis.map((api) => ApiKey[api]).sort());
    });
  }

  test("every question that can carry the leader's epoch does", async () => {
    const setup = await start();
    write(setup, ...others);
    setup.kafka.moveLeader(1);
    setup.kafka.moveLeader(1);
    expect(await resolved(setup, two)).toMatchObject({ kind: "unwritten" });
    const epochs = new Map(setup.kafka.inspection.asked.map((each) => [each.apiKey, each.leaderEpoch]));
    expect([...epochs]).toEqual([
      [ApiKey.DescribeProducers, -1],
      [ApiKey.OffsetForLeaderEpoch, 2],
      [ApiKey.ListOffsets, 2],
      [ApiKey.Fetch, 2],
    ]);
  });

  test("a broker that knows that it does not lead is asked nothing else", async () => {
    const setup = await start(2);
    write(setup, ...two);
    await setup.cluster.refresh(["logs"], "test");
    setup.kafka.moveLeader(2);
    expect(await resolved(setup, two)).toMatchObject({ kind: "written", writtenCount: 2 });
    expect(setup.kafka.inspection.asked.filter(({ nodeId }) => nodeId === 1)).toEqual([]);
  });

  test("the leader moves between two questions; a stale one's word does not count", async () => {
    const setup = await start(2);
    const { kafka } = setup;
    write(setup, ...two);
    kafka.inspection.refuse = ({ apiKey, nodeId }) => {
      if (apiKey === ApiKey.OffsetForLeaderEpoch && nodeId === 1) {
        kafka.log().truncate(3);
        kafka.moveLeader(2);
      }
      return 0;
    };
    expect(await resolved(setup, two)).toEqual({ ...listedWritten(1, 3), leaderEpoch: 1 } as Verdict);
  });

  test("the same leader is elected again between the listing and the end of its log", async () => {
    const setup = await start();
    const { kafka } = setup;
    write(setup, ...two);
    let movedCount = 0;
    kafka.inspection.refuse = ({ apiKey }) => {
      if (apiKey === ApiKey.OffsetForLeaderEpoch && movedCount++ === 0) kafka.moveLeader(1);
      return 0;
    };
    expect(await resolved(setup, two)).toEqual({ ...listedWritten(2, 7), leaderEpoch: 1 } as Verdict);
    expect(kafka.inspection.countOf(ApiKey.DescribeProducers)).toBe(2);
  });

  test("no leader for a while, then one; an operator hears of it once", async () => {
    const setup = await start();
    const { kafka, log } = setup;
    kafka.log().leader = -1;
    const verdict = resolved(setup, two);
    await Bun.sleep(1_500);
    kafka.moveLeader(1);
    expect(await verdict).toMatchObject({ kind: "unwritten" });
    const warnings = log.lines.filter((line) => line.level === "warn").map((line) => line.message);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toStartWith(
      `Cannot find out yet whether 2 sent batches of partition 0 of topic "logs" were written: `,
    );
  });

  test("the connection is cut, the answer is nonsense, there is no answer", async () => {
    const setup = await start();
    write(setup, ...two);
    const [broker] = setup.kafka.brokers;
    const answer = broker!.handlers.get(ApiKey.DescribeProducers)!;
    const faults = ["cut", { body: Buffer.alloc(7, 0xee) }, "silence"] as const;
    let count = 0;
    broker!.on(ApiKey.DescribeProducers, (request) => faults[count++] ?? answer(request));
    expect(await resolved(setup, two)).toEqual(listedWritten(2, 7) as Verdict);
    expect(count).toBe(4);
  });

  test("an answer about another partition is none", async () => {
    const setup = await start();
    setup.kafka.addTopic("logs", 2);
    const [broker] = setup.kafka.brokers;
    const answer = broker!.handlers.get(ApiKey.ListOffsets)!;
    let count = 0;
    broker!.on(ApiKey.ListOffsets, (request) => {
      const given = answer(request);
      if (count++ === 0 && typeof given === "object" && "body" in given) {
        given.body[given.body.length - 26] = 1;
      }
      return given;
    });
    expect(await resolved(setup, two)).toMatchObject({ kind: "unwritten" });
    expect(count).toBeGreaterThan(2);
  });
});

describe("the end", () => {
  test("abort ends every wait", async () => {
    const setup = await start();
    write(setup, ...doubtful(90, [1]));
    const waits = [
      ["for the second look", () => {}],
      ["for a leader", () => void (setup.kafka.log().leader = -1)],
    ] as const;
    for (const [what, prepare] of waits) {
      prepare();
      const abort = new AbortController();
      const verdict = resolved(setup, two, { signal: abort.signal, recheckMs: 60_000 });
      await Bun.sleep(60);
      const startMs = performance.now();
      abort.abort();
      expect(await verdict.catch((error: Error) => error), what).toMatchObject({ code: "aborted" });
      expect(performance.now() - startMs).toBeLessThan(10_000);
    }
    const before = resolved(setup, two, { signal: AbortSignal.abort() });
    expect(await before.catch((error: Error) => error)).toMatchObject({ code: "aborted" });
  });

  test("a cluster that was closed here, and a list that is none, are errors", async () => {
    const setup = await start();
    setup.cluster.close();
    expect(await resolved(setup, two).catch((error: Error) => error)).toMatchObject({ code: "closed" });
    expect(await resolved(setup, []).catch((error: Error) => error)).toBeInstanceOf(RangeError);
  });
});
