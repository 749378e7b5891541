import { describe, expect, test } from "bun:test";
import { ApiKey } from "../../src/kafka/protocol/api_keys.ts";
import {
  LIMITS_PER_REQUEST_MAX,
  limitsOf,
  TOPIC_LIMITS_MAX,
  TopicLimitsStore,
  UNKNOWN_LIMITS,
} from "../../src/kafka/topic_limits.ts";
import { FakeKafka } from "../support/fake_kafka.ts";
import { KeptLog, plainSink } from "./producer_harness.ts";
import { newCluster, until } from "./support.ts";

const NO_LIMIT = "9223372036854775807";

describe("what brokers answer", () => {
  test("is taken with its units, and int64's largest value for no limit", () => {
    const values = new Map<string, string | null>([
      ["max.message.bytes", "1048588"],
      ["min.insync.replicas", "2"],
      ["message.timestamp.type", "CreateTime"],
      ["message.timestamp.before.max.ms", NO_LIMIT],
      ["message.timestamp.after.max.ms", "3600000"],
      ["compression.type", "producer"],
    ]);
    expect(limitsOf(values)).toEqual({
      maxMessageBytes: 1_048_588,
      minInsyncReplicas: 2,
      timestampType: "CreateTime",
      timestampBeforeMsMax: Infinity,
      timestampAfterMsMax: 3_600_000,
      compressionType: "producer",
    });
  });

  test("from before Kafka 3.6 has one limit of time for both directions; where both are, the newer one holds that is set", () => {
    const old = limitsOf(new Map([["message.timestamp.difference.max.ms", "5000"]]));
    expect([old.timestampBeforeMsMax, old.timestampAfterMsMax]).toEqual([5_000, 5_000]);
    const both = limitsOf(
      new Map([
        ["message.timestamp.difference.max.ms", "5000"],
        ["message.timestamp.before.max.ms", "7000"],
        ["message.timestamp.after.max.ms", NO_LIMIT],
      ]),
    );
    expect([both.timestampBeforeMsMax, both.timestampAfterMsMax]).toEqual([7_000, 5_000]);
  });

  test("and cannot be understood is not known", () => {
    const values = new Map<string, string | null>([
      ["max.message.bytes", "many"],
      ["min.insync.replicas", null],
      ["message.timestamp.type", "Sometime"],
      ["message.timestamp.before.max.ms", "-1"],
    ]);
    expect(limitsOf(values)).toEqual(UNKNOWN_LIMITS);
  });
});

/** A store at a fake cluster. */
async function setup(topics: Readonly<Record<string, number>>) {
  const kafka = await FakeKafka.start(1, topics);
  const cluster = newCluster(kafka.bootstrapServers);
  const log = new KeptLog();
  const abort = new AbortController();
  const changes: string[] = [];
  const store = new TopicLimitsStore({
    cluster,
    config: { ...plainSink, compression: "zstd" },
    log,
    signal: abort.signal,
    onChange: (topic, { maxMessageBytes }) => changes.push(`${topic} ${maxMessageBytes}`),
  });
  const close = async () => {
    abort.abort();
    cluster.close();
    await kafka[Symbol.asyncDispose]();
  };
  const askedCount = () => kafka.brokers[0]!.countOf(ApiKey.DescribeConfigs);
  return { kafka, cluster, log, abort, changes, store, askedCount, [Symbol.asyncDispose]: close };
}

describe("the store", () => {
  test("asks for many topics in few requests, and tells what is new", async () => {
    await using at = await setup({});
    at.kafka.maxMessageBytes = 700;
    const names = Array.from({ length: LIMITS_PER_REQUEST_MAX * 2 + 1 }, (_, i) => `t${i}`);
    for (const name of names) at.store.want(name);
    await until(() => at.changes.length === names.length, "all limits are told");
    expect(at.askedCount()).toBe(3);
    expect(at.store.of("t7").maxMessageBytes).toBe(700);
    expect(at.store.of("other")).toEqual(UNKNOWN_LIMITS);
    at.store.want("t1");
    await until(() => at.askedCount() === 4, "it is asked again");
    at.kafka.maxMessageBytes = 800;
    at.store.want("t1");
    await until(() => at.store.of("t1").maxMessageBytes === 800, "the new limit is known");
    expect(at.changes.slice(names.length)).toEqual(["t1 800"]);
  });

  test("keeps what it knows when the right is taken away, and says nothing of it", async () => {
    await using at = await setup({});
    at.store.want("logs");
    await until(() => at.askedCount() === 1, "it is asked");
    expect(at.store.of("logs")).toEqual(UNKNOWN_LIMITS);
    at.kafka.maxMessageBytes = 900;
    at.store.want("logs");
    await until(() => at.store.of("logs").maxMessageBytes === 900, "the right was given");
    at.kafka.maxMessageBytes = null;
    at.store.want("logs");
    await until(() => at.askedCount() === 3, "it is asked without the right");
    await Bun.sleep(20);
    expect(at.store.of("logs").maxMessageBytes).toBe(900);
    expect(at.log.lines).toEqual([]);
  });

  test("holds a limited number of topics", async () => {
    await using at = await setup({});
    at.kafka.maxMessageBytes = 700;
    for (let i = 0; i <= TOPIC_LIMITS_MAX; i++) at.store.want(`t${i}`);
    await until(() => at.changes.length > TOPIC_LIMITS_MAX, "all are told");
    expect(at.store.of("t0")).toEqual(UNKNOWN_LIMITS);
    expect(at.store.of(`t${TOPIC_LIMITS_MAX}`).maxMessageBytes).toBe(700);
  });

  test("warns once of brokers that compress anew", async () => {
    await using at = await setup({ logs: 2 });
    at.kafka.topicConfigs["compression.type"] = "gzip";
    at.store.want("logs");
    await until(() => at.log.lines.length === 1, "the warning");
    expect(at.log.lines[0]!.message).toBe(
      'Topic "logs" has compression.type = "gzip": its brokers compress every batch of this sink, which sends compression = "zstd"',
    );
    at.store.want("logs");
    await until(() => at.askedCount() === 2, "it is asked again");
    await Bun.sleep(20);
    expect(at.log.lines.length).toBe(1);
  });

  test("warns once while fewer replicas are in sync than the topic wants", async () => {
    const log = new KeptLog();
    const abort = new AbortController();
    await using at = await setup({});
    at.kafka.topicConfigs["min.insync.replicas"] = "2";
    const isr = [1];
    const partitions = [0, 1].map((id) => ({
      id,
      leader: 1,
      leaderEpoch: 0,
      replicas: [1, 2],
      isr,
      errorCode: 0,
    }));
    const topic = { name: "logs", topicId: null, errorCode: 0, partitions, operations: null };
    const cluster = Object.assign(Object.create(at.cluster), { topic: () => topic });
    cluster.ask = at.cluster.ask.bind(at.cluster);
    const store = new TopicLimitsStore({ cluster, config: plainSink, log, signal: abort.signal });
    const ask = async () => {
      const count = at.askedCount();
      store.want("logs");
      await until(() => at.askedCount() > count, "it is asked");
      await Bun.sleep(200);
    };
    for (let i = 0; i < 2; i++) await ask();
    expect(log.texts("warn")).toEqual([
      'Topic "logs" wants 2 replicas in sync (min.insync.replicas), and partition 0 has 1: its brokers take no records with acks = "all"; ' +
      "events wait",
    ]);
    isr.push(2);
    await ask();
    isr.pop();
    await ask();
    expect(log.texts("warn").length).toBe(2);
    // More than there are replicas is not waited for by brokers of today.
    partitions.forEach(({ replicas }) => replicas.pop());
    await ask();
    await ask();
    expect(log.texts("warn").length).toBe(2);
    abort.abort();
  });

  test("stops asking when it is told to", async () => {
    await using at = await setup({});
    at.kafka.brokers[0]!.on(ApiKey.DescribeConfigs, () => "silence");
    at.store.want("logs");
    await until(() => at.askedCount() === 1, "it is asked");
    at.abort.abort();
    at.store.want("logs");
    await Bun.sleep(20);
    expect(at.askedCount()).toBe(1);
    expect(at.log.lines).toEqual([]);
  });
});
