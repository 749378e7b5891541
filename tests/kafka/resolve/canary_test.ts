import { afterEach, expect, test } from "bun:test";
import { ApiKey } from "../../../src/kafka/protocol/api_keys.ts";
import { ErrorCode } from "../../../src/kafka/protocol/error_codes.ts";
import { Canary, CANARY_PARTITIONS_MAX, type CanaryReport } from "../../../src/kafka/resolve/canary.ts";
import { FakeKafka } from "../../support/fake_kafka.ts";
import { waitUntil } from "../../support/wait_until.ts";
import { cleanUp, onCleanUp } from "../fake_cluster.ts";
import { newCluster, silentLog } from "../support.ts";
import { bytesOf, doubtful, TIME_MS } from "./batches.ts";

const HOUR_MS = 3_600_000;
afterEach(cleanUp);

interface Clock {
  nowMs: number;
}

async function start(brokerCount: number, partitionCount: number, clock: Clock = { nowMs: TIME_MS }) {
  const kafka = await FakeKafka.start(brokerCount, { logs: partitionCount });
  onCleanUp(() => kafka[Symbol.asyncDispose]());
  const cluster = newCluster(kafka.bootstrapServers);
  onCleanUp(() => cluster.close());
  await cluster.refresh(["logs"], "leaders");
  const reports: CanaryReport[] = [];
  const canary = new Canary({
    cluster,
    producerIdHigh: 0,
    producerIdLow: 7_001,
    partitions: () =>
      Array.from({ length: partitionCount }, (_, partition) => ({ topic: "logs", partition })),
    onReport: (report) => reports.push(report),
    now: () => clock.nowMs,
    random: () => 0,
    log: silentLog,
  });
  onCleanUp(() => canary.close());
  const [batch] = doubtful(0, [2]);
  const write = (partition: number) => kafka.log("logs", partition).append(bytesOf(batch!));
  return { kafka, canary, write, reports };
}

const clean: CanaryReport = {
  unprotected: [],
  checkedCount: 0,
  notPermittedTopics: [],
  unknownCount: 0,
  skippedCount: 0,
};

test("one request a broker; our producer there, gone, and soon to be forgotten", async () => {
  const clock = { nowMs: TIME_MS + 12 * HOUR_MS };
  const { kafka, canary, write } = await start(2, 4, clock);
  for (const partition of [0, 1, 2]) write(partition);
  const absent = {
    topic: "logs",
    partition: 3,
    reason: "absent",
    lastTimestampMs: -1,
    expirationMs: 24 * HOUR_MS,
  };
  expect(await canary.check()).toEqual({ ...clean, checkedCount: 4, unprotected: [absent] as never });
  expect(kafka.countOf(ApiKey.DescribeProducers)).toBe(2);
  clock.nowMs++;
  const stale = (partition: number) => ({ ...absent, partition, reason: "stale", lastTimestampMs: TIME_MS });
  const { unprotected } = await canary.check();
  expect(unprotected.toSorted((a, b) => a.partition - b.partition)).toEqual(
    [stale(0), stale(1), stale(2), absent] as never,
  );
});

test("the broker's own time to forget counts; where it is not told, a day", async () => {
  const clock = { nowMs: TIME_MS + HOUR_MS };
  const { kafka, canary, write } = await start(1, 1, clock);
  write(0);
  kafka.inspection.producerIdExpirationMs = HOUR_MS;
  expect(await canary.check()).toMatchObject({ unprotected: [{ reason: "stale", expirationMs: HOUR_MS }] });
  kafka.inspection.producerIdExpirationMs = null;
  expect(await canary.check()).toEqual({ ...clean, checkedCount: 1 });
  clock.nowMs = TIME_MS + 12 * HOUR_MS + 1;
  expect(await canary.check()).toMatchObject({
    unprotected: [{ reason: "stale", expirationMs: 24 * HOUR_MS }],
  });
});

test("no READ right is told once", async () => {
  const { kafka, canary } = await start(1, 2);
  kafka.inspection.canRead = false;
  expect(await canary.check()).toEqual({ ...clean, unknownCount: 2, notPermittedTopics: ["logs"] });
  expect(await canary.check()).toEqual({ ...clean, unknownCount: 2 });
});

test("what can't be known is not reported as unprotected", async () => {
  const { kafka, canary, write } = await start(2, 2);
  write(0);
  kafka.inspection.refuse = ({ partition }) => partition === 1 ? ErrorCode.NOT_LEADER_OR_FOLLOWER : 0;
  expect(await canary.check()).toEqual({ ...clean, checkedCount: 1, unknownCount: 1 });
  await kafka.brokers[0]!.stop();
  expect(await canary.check()).toEqual({ ...clean, unknownCount: 2 });
});

test("a broker without DescribeProducers, a partition without leader", async () => {
  const { kafka, canary } = await start(1, 2);
  kafka.brokers[0]!.without(ApiKey.DescribeProducers).cutAll();
  expect(await canary.check()).toEqual({ ...clean, unknownCount: 2 });
  const leaderless = await start(1, 1);
  leaderless.kafka.log().leader = -1;
  const cluster = newCluster(leaderless.kafka.bootstrapServers);
  onCleanUp(() => cluster.close());
  await cluster.refresh(["logs"], "leaders");
  expect(cluster.leaderOf("logs", 0)).toBe(-1);
  const options = { cluster, producerIdHigh: 0, producerIdLow: 1, onReport: () => {}, now: Date.now };
  const partitions = () => [{ topic: "logs", partition: 0 }, { topic: "never asked for", partition: 0 }];
  const other = new Canary({ ...options, partitions, random: Math.random, log: silentLog });
  expect(await other.check()).toEqual({ ...clean, unknownCount: 2 });
});

test("more partitions than one request takes are left for the next time", async () => {
  const { canary } = await start(1, CANARY_PARTITIONS_MAX + 3);
  const report = await canary.check();
  expect(report).toMatchObject({ checkedCount: CANARY_PARTITIONS_MAX, skippedCount: 3 });
  expect(new Set(report.unprotected.map(({ partition }) => partition)).size).toBe(CANARY_PARTITIONS_MAX);
});

test("checkSoon reports within seconds, once for many calls; nothing comes after close", async () => {
  const { canary, reports, write } = await start(1, 1);
  write(0);
  // More calls do not put it off.
  const startMs = performance.now();
  for (let i = 0; i < 9 && reports.length === 0; i++) {
    canary.checkSoon();
    await Bun.sleep(200);
  }
  await waitUntil("a report", () => reports.length > 0);
  expect(performance.now() - startMs).toBeLessThan(10_000);
  canary.checkSoon();
  expect(reports).toEqual([{ ...clean, checkedCount: 1 }]);
  canary.close();
  await Bun.sleep(2_300);
  expect(reports).toHaveLength(1);
}, 60_000);
