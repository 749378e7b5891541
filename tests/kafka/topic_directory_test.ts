import { afterEach, describe, expect, test } from "bun:test";
import { ApiKey } from "../../src/kafka/protocol/api_keys.ts";
import { ErrorCode } from "../../src/kafka/protocol/error_codes.ts";
import { TopicDirectory, type TopicDirectoryOptions } from "../../src/kafka/topic_directory.ts";
import { FakeKafka } from "../support/fake_kafka.ts";
import { KeptLog } from "./producer_harness.ts";
import { newCluster, until } from "./support.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(
  topics: Record<string, number>,
  autocreate: TopicDirectoryOptions["autocreate"] = null,
  isAwaited = () => true,
) {
  const kafka = await FakeKafka.start(1, topics);
  const cluster = newCluster(kafka.bootstrapServers);
  const known: string[] = [];
  const problems: string[] = [];
  const missing: string[] = [];
  const log = new KeptLog();
  const directory = new TopicDirectory({
    cluster,
    retryIntervalMs: 5,
    retryMaxIntervalMs: 10,
    autocreate,
    log,
    random: () => 0,
    onKnown: (topic, count) => known.push(`${topic} ${count}`),
    onMissing: (topic) => missing.push(topic) > 0 && isAwaited(),
    onProblem: (code, message) => problems.push(`${code}: ${message}`),
  });
  cleanups.push(() => kafka[Symbol.asyncDispose](), () => cluster.close(), () => directory.close());
  return { kafka, directory, known, problems, missing, log };
}

describe("TopicDirectory", () => {
  test("asks once for a topic that is there, and stops", async () => {
    const { kafka, directory, known } = await start({ a: 3 });
    directory.want("a");
    directory.want("a");
    await until(() => known.length > 0, "it is known");
    await Bun.sleep(150);
    expect(known).toEqual(["a 3"]);
    expect(kafka.countOf(ApiKey.Metadata)).toBe(1);
  });

  test("goes on asking for one that is missing, says so, and finds it when it is made", async () => {
    const { kafka, directory, known, problems } = await start({});
    directory.want("late");
    await until(() => problems.length >= 2, "it is missed");
    expect(problems[0]).toBe(
      'topic-unknown: Cannot send to topic "late": the cluster does not know it; its events wait',
    );
    kafka.addTopic("late", 2);
    await until(() => known.length > 0, "it is found");
    expect(known).toEqual(["late 2"]);
  });

  test("one that nothing waits for any more is asked for, and no problem", async () => {
    const { kafka, directory, known, problems, missing } = await start({}, null, () => false);
    directory.want("late");
    await until(() => missing.length >= 2, "it is missed");
    expect(problems).toEqual([]);
    kafka.addTopic("late", 1);
    await until(() => known.length > 0, "it is found");
  });

  test("a topic of which one partition has no leader is known, and asked for until all have one", async () => {
    const { kafka, directory, known, problems } = await start({ a: 2 });
    kafka.moveLeader(-1, "a", 1);
    directory.want("a");
    await until(() => known.length >= 2, "it is asked for again");
    expect(problems[0]).toContain("leader-unknown");
    kafka.moveLeader(1, "a", 1);
    const count = known.length;
    await until(() => known.length > count, "all have leaders");
    const asked = kafka.countOf(ApiKey.Metadata);
    await Bun.sleep(150);
    expect(kafka.countOf(ApiKey.Metadata)).toBe(asked);
  });

  test("other errors of a topic are told by their names, with what can be done", async () => {
    const { kafka, directory, problems } = await start({});
    kafka.topicErrors.set("secret", ErrorCode.TOPIC_AUTHORIZATION_FAILED);
    directory.want("secret");
    await until(() => problems.length > 0, "it is told");
    expect(problems[0]).toBe(
      'TOPIC_AUTHORIZATION_FAILED: Cannot send to topic "secret": user "ANONYMOUS" (no login) lacks WRITE and DESCRIBE on topic "secret" ' +
        "(TOPIC_AUTHORIZATION_FAILED); its events wait",
    );
  });

  test("a broker that is away is told, and waited for", async () => {
    const { kafka, directory, known, problems } = await start({ a: 1 });
    await kafka.brokers[0]!.stop();
    directory.want("a");
    await until(() => problems.length > 0, "it is told");
    expect(problems[0]).toContain("ECONNREFUSED");
    await kafka.brokers[0]!.listen();
    await until(() => known.length > 0, "it is found");
  });

  test("makes missing topics when that is asked for, and says why one cannot be made", async () => {
    const { kafka, directory, known, problems, log } = await start({}, {
      partitions: 4,
      replicationFactor: 1,
    });
    kafka.createTopicError = ErrorCode.INVALID_REPLICATION_FACTOR;
    directory.want("new");
    await until(() => problems.length > 0, "it cannot be made");
    expect(problems[0]).toContain('Cannot create topic "new": INVALID_REPLICATION_FACTOR');
    kafka.createTopicError = 0;
    await until(() => known.length > 0, "it is made");
    expect(known).toEqual(["new 4"]);
    expect(log.texts("info")).toEqual(['Created topic "new"']);
  });

  test("after close nothing is asked and nothing is told", async () => {
    const { kafka, directory, problems } = await start({});
    directory.want("never");
    await until(() => problems.length > 0, "it is missed");
    directory.close();
    const before = [kafka.countOf(ApiKey.Metadata), problems.length];
    directory.want("other");
    await Bun.sleep(150);
    expect([kafka.countOf(ApiKey.Metadata), problems.length]).toEqual(before);
  });
});
