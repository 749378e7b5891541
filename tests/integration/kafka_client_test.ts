import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Cluster } from "../../src/kafka/cluster.ts";
import { diagnoseCluster } from "../../src/kafka/cluster_health.ts";
import { topicConfigBy } from "../../src/kafka/cluster_requests.ts";
import { ApiKey } from "../../src/kafka/protocol/api_keys.ts";
import {
  decodeDescribeProducersResponse,
  DESCRIBE_PRODUCERS_VERSION,
  encodeDescribeProducers,
} from "../../src/kafka/protocol/describe_producers.ts";
import {
  decodeListOffsetsResponse,
  encodeListOffsets,
  LATEST_TIMESTAMP,
  LIST_OFFSETS_VERSION_MAX,
  LIST_OFFSETS_VERSION_MIN,
} from "../../src/kafka/protocol/list_offsets.ts";
import { decodeMetadataResponse, encodeMetadata } from "../../src/kafka/protocol/metadata.ts";
import { newCluster, until } from "../kafka/support.ts";
import { isBrokerAtLeast } from "../support/broker_version.ts";
import { type OwnCluster, ownCluster, sharedCluster, type TestKafka } from "../support/kafka.ts";

const never = new AbortController().signal;
let kafka: TestKafka;
let cluster: Cluster;

beforeAll(async () => {
  kafka = await sharedCluster();
  cluster = newCluster([kafka.bootstrap]);
}, 300_000);
afterAll(() => cluster.close());

test("a topic is found missing, created, described, and found", async () => {
  const name = `client-${Date.now()}`;
  const missing = await diagnoseCluster(cluster, [name], { autocreate: false }, never);
  expect(missing!.code).toBe("topic-unknown");
  expect(
    await diagnoseCluster(
      cluster,
      [name],
      { autocreate: { partitions: 3, replicationFactor: -1 } },
      never,
    ),
  ).toBeNull();
  // Kafka 3.0: a controller in KRaft mode creates what it was to validate.
  const created = isBrokerAtLeast(3, 1) ? 0 : 36;
  expect(await cluster.createTopics([{ name, partitions: 3, replicationFactor: -1 }], never)).toMatchObject([
    { name, errorCode: created },
  ]);
  expect(await diagnoseCluster(cluster, [name], { autocreate: false }, never)).toBeNull();
  const topic = cluster.topic(name)!;
  expect(topic.partitions.map(({ id, leader, leaderEpoch }) => [id, leader, leaderEpoch])).toEqual([
    [0, 1, 0],
    [1, 1, 0],
    [2, 1, 0],
  ]);
  expect(topic.topicId).toHaveLength(22);
  expect(await topicConfigBy(cluster, name, "max.message.bytes", never)).toBe("1048588");
});

test("topics that can't be created say why", async () => {
  const [result] = await cluster.createTopics(
    [{ name: "bad name!", partitions: 1, replicationFactor: 1 }],
    never,
  );
  expect(result!.errorCode).toBe(17);
  expect(result!.errorMessage).toContain("bad name!");
  const failure = await diagnoseCluster(cluster, ["bad name!"], { autocreate: true }, never);
  expect(failure!.message).toContain(`"bad name!"`);
  const [tooMany] = await cluster.createTopics([{ name: "x", partitions: 1, replicationFactor: 99 }], never);
  expect(tooMany!.errorCode).toBe(38);
});

test("every version of Metadata that the broker knows is read", async () => {
  const name = await kafka.createTopic({ partitions: 2 });
  const connection = await connectionToAny();
  let versionsCount = 0;
  for (let version = 4; version <= 12; version++) {
    if (connection.highestVersion(ApiKey.Metadata, version, version) === null) continue;
    versionsCount++;
    const payload = await connection.request(ApiKey.Metadata, version, encodeMetadata([name], version), {
      timeoutMs: 2_000,
    });
    const [topic] = decodeMetadataResponse(payload, version).topics;
    expect(topic!.partitions.map((partition) => partition.leader)).toEqual([1, 1]);
    expect(topic!.partitions[0]!.leaderEpoch).toBe(version >= 7 ? 0 : -1);
  }
  expect(versionsCount).toBeGreaterThan(3);
});

test("the log's end and its producers", async () => {
  const name = await kafka.createTopic();
  await kafka.produce(name, [{ value: "a" }, { value: "b" }, { value: "c" }]);
  const connection = await connectionToAny();
  const asked = [{ name, partitions: [{ partition: 0, timestampMs: LATEST_TIMESTAMP }] }];
  const highest = connection.versionFor(
    ApiKey.ListOffsets,
    LIST_OFFSETS_VERSION_MIN,
    LIST_OFFSETS_VERSION_MAX,
  );
  for (let version = highest; version >= LIST_OFFSETS_VERSION_MIN; version--) {
    const body = encodeListOffsets(asked, "read_uncommitted", version);
    const payload = await connection.request(ApiKey.ListOffsets, version, body, { timeoutMs: 2_000 });
    expect(decodeListOffsetsResponse(payload, version).offsets).toMatchObject([{ errorCode: 0, offset: 3 }]);
  }
  const version = connection.versionFor(
    ApiKey.DescribeProducers,
    DESCRIBE_PRODUCERS_VERSION,
    DESCRIBE_PRODUCERS_VERSION,
  );
  const payload = await connection.request(
    ApiKey.DescribeProducers,
    version,
    encodeDescribeProducers([{ name, partitions: [0] }]),
    { timeoutMs: 2_000 },
  );
  const [partition] = decodeDescribeProducersResponse(payload).partitions;
  expect(partition!.errorCode).toBe(0);
  expect(partition!.producers).toHaveLength(1);
  expect(partition!.producers[0]!.lastSequence).toBe(2);
});

test("producer ids differ", async () => {
  const first = await cluster.initProducerId(never);
  const second = await cluster.initProducerId(never);
  expect(first.idText).not.toBe(second.idText);
  expect([first.epoch, first.id.length]).toEqual([0, 8]);
});

test("a leader dies, another takes over, the first comes back", async () => {
  const own: OwnCluster = await ownCluster({ brokers: 2 });
  const client = newCluster(own.cluster.brokers.map((broker) => `127.0.0.1:${broker.port}`));
  try {
    // With two brokers the first is the only controller: the second may die.
    const name = await own.kafka.createTopic({ assignment: [[2, 1]] });
    await client.refresh([name], "test");
    expect(client.leaderOf(name, 0)).toBe(2);
    const lost = Promise.withResolvers<unknown>();
    (await client.connectionTo(2)).onClose(lost.resolve);
    await own.cluster.brokers[1]!.kill();
    await lost.promise;
    const deadlineMs = Date.now() + 30_000;
    while (client.leaderOf(name, 0) !== 1) {
      if (Date.now() > deadlineMs) throw new Error("The leader has not moved");
      await client.refresh([name], "test");
    }
    await own.cluster.startBroker(1);
    await client.refresh([name], "test");
    expect((await client.connectionTo(2)).isOpen).toBe(true);
  } finally {
    client.close();
    await own.stop();
  }
}, 300_000);

async function connectionToAny() {
  await cluster.refresh([], "test");
  await until(() => cluster.controllerId >= 0, "a controller");
  return await cluster.connectionTo(1);
}
