import { describe, expect, test } from "bun:test";
import { checkApiVersions } from "../../src/check/api_versions_check.ts";
import { judgeClock } from "../../src/check/broker_clock_check.ts";
import type { ClusterView, NamedTopic } from "../../src/check/cluster_view.ts";
import { checkRights } from "../../src/check/rights_checks.ts";
import { checkTopics } from "../../src/check/topic_checks.ts";
import { checkLimits, type TopicSettings } from "../../src/check/topic_settings.ts";
import type { KafkaSinkConfig } from "../../src/config/config.ts";
import type { BrokerConnection } from "../../src/kafka/broker_connection.ts";
import { ApiKey } from "../../src/kafka/protocol/api_keys.ts";
import type { PartitionMetadata, TopicMetadata } from "../../src/kafka/protocol/metadata.ts";

const never = new AbortController().signal;
const READ = 1 << 3;
const WRITE = 1 << 4;
const DESCRIBE = 1 << 8;
const IDEMPOTENT_WRITE = 1 << 12;

const CONFIG = {
  name: "k",
  topic: "logs",
  acks: "all",
  delivery: "exactly_once",
  keyField: null,
  topicsAutocreate: false,
  batchMaxBytes: 1_000_000,
  maxMessageBytes: 1_048_576,
  sasl: null,
} as unknown as KafkaSinkConfig;

function partition(id: number, isr: number, replicas: number, leader = 1): PartitionMetadata {
  const list = (count: number) => Array.from({ length: count }, (_, i) => i + 1);
  return { id, leader, leaderEpoch: 0, replicas: list(replicas), isr: list(isr), errorCode: 0 };
}

function topic(partitions: readonly PartitionMetadata[], operations: number | null = null): TopicMetadata {
  return { name: "logs", topicId: null, errorCode: 0, partitions, operations };
}

interface Told {
  readonly config?: Partial<KafkaSinkConfig>;
  readonly topic?: TopicMetadata;
  readonly named?: readonly NamedTopic[];
  readonly clusterOperations?: number | null;
  readonly isNew?: boolean;
}

function view(told: Told): ClusterView {
  return {
    config: { ...CONFIG, ...told.config },
    cluster: null as never,
    brokers: [],
    topics: new Map([["logs", told.topic ?? topic([partition(0, 3, 3)])]]),
    named: told.named ?? [{ name: "logs", purpose: "lines" }],
    template: null,
    clusterOperations: told.clusterOperations ?? null,
    isNew: told.isNew ?? true,
  };
}

function settings(set: Partial<TopicSettings>): ReadonlyMap<string, TopicSettings> {
  return new Map([["logs", {
    maxMessageBytes: 1_048_588,
    minInsyncReplicas: 2,
    cleanupPolicy: "delete",
    ...set,
  }]]);
}

describe("replicas and leaders", () => {
  const replicas = async (partitions: readonly PartitionMetadata[], min: number | null, acks = "all") => {
    const set = settings({ minInsyncReplicas: min });
    const config = { acks } as Partial<KafkaSinkConfig>;
    const results = await checkTopics(view({ config, topic: topic(partitions) }), set, never);
    return results.find((each) => each.check === "topic.replicas")!;
  };

  test("enough", async () => {
    expect(await replicas([partition(0, 3, 3), partition(1, 3, 3)], 2)).toMatchObject({
      status: "ok",
      message: 'Every partition of topic "logs" has 3 replicas in sync, min.insync.replicas = 2',
    });
    expect(await replicas([partition(0, 1, 1)], 1)).toMatchObject({ status: "ok" });
    expect(await replicas([partition(0, 1, 1)], null)).toMatchObject({
      status: "ok",
      message: 'Every partition of topic "logs" has 1 replica in sync',
    });
  });

  test("fewer in sync than acks = all needs", async () => {
    expect(await replicas([partition(0, 3, 3), partition(1, 1, 3)], 2)).toMatchObject({
      status: "failed",
      code: "not-enough-replicas",
      message:
        'partition 1 of topic "logs" has fewer replicas in sync than min.insync.replicas = 2: nothing can be written to it with acks = "all"',
    });
    expect(await replicas([partition(0, 1, 3)], 2, "one")).toMatchObject({ code: "under-replicated" });
  });

  test("under-replicated, and none to spare", async () => {
    const many = Array.from({ length: 12 }, (_, id) => partition(id, 2, 3));
    expect(await replicas(many, 2)).toMatchObject({
      status: "warning",
      code: "under-replicated",
      message: 'Under-replicated: partitions 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more of topic "logs"',
    });
    expect(await replicas([partition(0, 2, 2)], 2)).toMatchObject({
      status: "warning",
      code: "no-spare-replica",
    });
  });

  test("no leader", async () => {
    const results = await checkTopics(
      view({ topic: topic([partition(0, 1, 1), partition(1, 1, 1, -1)]) }),
      settings({ minInsyncReplicas: 1 }),
      never,
    );
    expect(results[1]).toMatchObject({
      check: "topic.leaders",
      status: "failed",
      code: "leader-unknown",
      message: 'No leader for partition 1 of topic "logs"',
    });
  });
});

describe("limits", () => {
  const limits = (set: Partial<TopicSettings>, config: Partial<KafkaSinkConfig> = {}) =>
    checkLimits(view({ config }), { settings: settings(set), refusals: new Map() });

  test("what is sent fits, or it is said what happens", () => {
    expect(limits({})).toMatchObject([{ status: "ok" }]);
    expect(limits({ maxMessageBytes: 1_000_000 })).toMatchObject([
      { check: "topic.limits", status: "warning", code: "topic-limit-lower" },
    ]);
    expect(limits({ maxMessageBytes: 500_000 }, { maxMessageBytes: 500_000 })).toMatchObject([
      { status: "ok", message: expect.stringContaining("batches up to 500000 fit") },
    ]);
    expect(limits({ maxMessageBytes: null })).toMatchObject([{ status: "skipped" }]);
  });

  test("a compacted topic takes no record without a key", () => {
    expect(limits({ cleanupPolicy: "compact,delete" })[1]).toMatchObject({
      check: "topic.cleanup_policy",
      status: "failed",
    });
    expect(limits({ cleanupPolicy: "compact" }, { keyField: "user" })).toHaveLength(1);
  });

  test("what the broker does not tell is skipped with its reason", () => {
    const asked = { settings: new Map(), refusals: new Map([["logs", "the broker answers X"]]) };
    expect(checkLimits(view({}), asked)).toMatchObject([
      { status: "skipped", message: 'Limits of topic "logs" are not known: the broker answers X' },
    ]);
  });
});

describe("rights", () => {
  const rights = (operations: number | null, told: Told = {}) =>
    checkRights(view({ ...told, topic: topic([partition(0, 1, 1)], operations) }));

  test("all of them", () => {
    const all = READ | WRITE | DESCRIBE;
    expect(rights(all, { clusterOperations: IDEMPOTENT_WRITE })).toMatchObject([
      { check: "rights.topic", status: "ok" },
      { check: "rights.idempotent_write", status: "ok" },
    ]);
    // KIP-679
    expect(rights(all)[1]).toMatchObject({ status: "ok" });
    expect(rights(all, { isNew: false })[1]).toMatchObject({ status: "skipped" });
    expect(rights(all, { isNew: false, clusterOperations: DESCRIBE })[1]).toMatchObject({
      status: "failed",
      code: "CLUSTER_AUTHORIZATION_FAILED",
    });
  });

  test("no READ is a warning, no WRITE has failed, each with what to type", () => {
    const sasl = { mechanism: "PLAIN", username: "edge", password: "p" } as const;
    expect(rights(WRITE | DESCRIBE)[0]).toMatchObject({ status: "warning", code: "no-read" });
    expect(rights(READ | DESCRIBE, { config: { sasl } })[0]).toMatchObject({
      status: "failed",
      message: 'This user has no right to WRITE on topic "logs"',
      hint: "kafka-acls --add --allow-principal User:edge --operation Write --topic logs",
    });
    expect(rights(WRITE | DESCRIBE, { config: { delivery: "at_least_once" } })).toMatchObject([
      { status: "ok" },
    ]);
    const positions = [{ name: "logs", purpose: "positions" as const }];
    const transactional = { delivery: "transactional" as const };
    expect(rights(WRITE | DESCRIBE, { named: positions, config: transactional })[0]).toMatchObject({
      status: "failed",
    });
  });

  test("an old broker tells none", () => {
    expect(rights(null)[0]).toMatchObject({ status: "skipped", code: "not-told" });
  });
});

describe("versions of APIs", () => {
  const versions = (without: readonly number[], config: Partial<KafkaSinkConfig> = {}) =>
    checkApiVersions(
      { ...CONFIG, ...config },
      {
        broker: "b:9092",
        highestVersion: (key: number, _: number, max: number) => without.includes(key) ? null : max,
      } as unknown as BrokerConnection,
    );

  test("all, all but one that is dear, all but one that is needed", () => {
    expect(versions([])).toMatchObject({ check: "broker.versions", status: "ok" });
    expect(versions([ApiKey.DescribeProducers])).toMatchObject({
      status: "warning",
      code: "older-broker",
      message: expect.stringContaining(
        "but not DescribeProducers (version 0): it delivers at least once, because nobody can say what became of a batch",
      ),
    });
    expect(versions([ApiKey.InitProducerId])).toMatchObject({
      status: "failed",
      message: expect.stringContaining("does not speak InitProducerId (version 1 to 4)"),
    });
  });

  test("only what this sink uses counts", () => {
    const unused = [ApiKey.InitProducerId, ApiKey.DescribeProducers, ApiKey.CreateTopics];
    expect(versions(unused, { delivery: "at_least_once" })).toMatchObject({ status: "ok" });
    const create = { delivery: "at_least_once" as const, topicsAutocreate: true };
    expect(versions(unused, create)).toMatchObject({ status: "failed" });
    expect(versions([ApiKey.EndTxn], { delivery: "transactional" })).toMatchObject({ status: "failed" });
  });
});

describe("clocks", () => {
  test("what the answer leaves open is not a difference", () => {
    const near = judgeClock("k", { sentMs: 1_000, receivedMs: 1_030, theirsMs: 1_010 });
    expect(near).toMatchObject({
      status: "ok",
      message: "The clocks of this host and of the active controller are at most 30 ms apart",
    });
    const slow = judgeClock("k", { sentMs: 0, receivedMs: 60_000, theirsMs: 30_000 });
    expect(slow.status).toBe("ok");
  });

  test("ahead and behind", () => {
    expect(judgeClock("k", { sentMs: 100_000, receivedMs: 100_010, theirsMs: 40_000 })).toMatchObject({
      status: "warning",
      code: "clocks-apart",
      message: "The clock of this host is 60.0 s ahead of the active controller's",
    });
    expect(judgeClock("k", { sentMs: 100_000, receivedMs: 100_010, theirsMs: 112_510 })).toMatchObject({
      message: "The clock of this host is 12.5 s behind the active controller's",
    });
  });
});
