import { beforeAll, describe, expect, test } from "bun:test";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { startProxy } from "../support/proxy.ts";

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

describe("TestKafka", () => {
  test("reads back what another client wrote: keys, nulls, headers, times, partitions", async () => {
    const topic = await kafka.createTopic({ partitions: 2 });
    await kafka.produce(topic, [
      { partition: 1, key: "k", value: "v", headers: { h: "x" }, timestampMs: 1_700_000_000_123 },
      { partition: 0, value: null },
      { partition: 0, key: "", value: Buffer.from([0, 255]) },
    ]);
    const records = await kafka.readTopic(topic);
    expect(records).toHaveLength(3);
    expect(records[0]).toMatchObject({ partition: 0, offset: 0, key: null, value: null, headers: [] });
    expect(records[1]).toMatchObject({
      partition: 0,
      offset: 1,
      key: Buffer.alloc(0),
      value: Buffer.from([0, 255]),
    });
    expect(records[2]).toEqual({
      partition: 1,
      offset: 0,
      timestampMs: 1_700_000_000_123,
      timestampType: "create",
      key: Buffer.from("k"),
      value: Buffer.from("v"),
      headers: [["h", Buffer.from("x")]],
    });
  });

  test("an empty topic is read at once, an unknown one is an error", async () => {
    expect(await kafka.readTopic(await kafka.createTopic({ partitions: 3 }))).toEqual([]);
    expect(kafka.describeTopic("no-such-topic")).rejects.toThrow("UnknownTopicOrPartition");
  });

  test("read_committed leaves aborted records out", async () => {
    const topic = await kafka.createTopic();
    await kafka.produce(topic, [{ value: "aborted" }], { transaction: "abort" });
    await kafka.produce(topic, [{ value: "committed" }], { transaction: "commit" });
    const values = async (isolation: "read_committed" | "read_uncommitted") =>
      (await kafka.readTopic(topic, { isolation })).map((record) => String(record.value));
    expect(await values("read_committed")).toEqual(["committed"]);
    expect(await values("read_uncommitted")).toEqual(["aborted", "committed"]);
  });

  test("partitions are added, configs altered, records deleted, topics deleted and made anew", async () => {
    const name = await kafka.createTopic();
    await kafka.addPartitions(name, 3);
    expect((await kafka.describeTopic(name)).map((partition) => partition.leader)).toEqual([1, 1, 1]);
    await kafka.produce(name, [0, 1, 2].map((i) => ({ partition: 2, value: `v${i}` })));
    await kafka.deleteRecords(name, 2, 2);
    expect(await kafka.offsets(name)).toEqual({ begins: { 0: 0, 1: 0, 2: 2 }, ends: { 0: 0, 1: 0, 2: 3 } });
    expect((await kafka.readTopic(name)).map((record) => String(record.value))).toEqual(["v2"]);
    await kafka.alterConfigs("topic", name, { "max.message.bytes": "2000" });
    expect(kafka.produce(name, [{ value: "x".repeat(10_000) }])).rejects.toThrow("RecordTooLarge");
    await kafka.deleteTopic(name);
    await kafka.createTopic({ name });
    expect(await kafka.countRecords(name)).toBe(0);
  });

  test("a record larger than the scanner's buffer is read whole", async () => {
    const topic = await kafka.createTopic({ configs: { "max.message.bytes": "20000000" } });
    const large = Buffer.alloc(9_000_000, "ab");
    const properties = { "max.request.size": "20000000", "buffer.memory": "64000000" };
    await kafka.produce(topic, [{ value: "before" }, { value: large }, { value: "after" }], { properties });
    const [before, middle, after] = await kafka.readTopic(topic);
    expect([String(before!.value), String(after!.value)]).toEqual(["before", "after"]);
    expect(middle!.value!.equals(large)).toBe(true);
  }, 90_000);

  test("a client that bootstraps behind the proxied listener stays behind the proxy", async () => {
    await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
    const topic = await kafka.createTopic();
    await kafka.produce(topic, [{ value: "through" }], {
      properties: { "bootstrap.servers": proxy.address },
    });
    // The bootstrap connection and the one to the advertised address of the leader.
    expect(proxy.connectionCount).toBeGreaterThanOrEqual(2);
    expect((await kafka.readTopic(topic)).map((record) => String(record.value))).toEqual(["through"]);
  });
});
