import { afterEach, describe, expect, test } from "bun:test";
import { parseServer } from "../../src/kafka/cluster.ts";
import { ApiKey } from "../../src/kafka/protocol/api_keys.ts";
import { metadataTopics } from "../support/fake_broker.ts";
import { cleanUp, onCleanUp, start, topicLedBy } from "./fake_cluster.ts";
import { failureOf, newCluster, until } from "./support.ts";

afterEach(cleanUp);

describe("metadata", () => {
  test("topics, leaders and the cluster's identity", async () => {
    const { kafka, cluster } = await start(2);
    kafka.topics = [topicLedBy("a", 2, 1)];
    expect(cluster.topic("a")).toBeUndefined();
    expect(cluster.leaderOf("a", 0)).toBe(-1);
    await cluster.refresh(["a", "missing"], "test");
    expect(cluster.topic("a")!.partitions[0]!.leader).toBe(2);
    expect([cluster.leaderOf("a", 0), cluster.leaderOf("a", 1), cluster.leaderOf("missing", 0)]).toEqual([
      2,
      -1,
      -1,
    ]);
    expect(cluster.topic("missing")!.errorCode).toBe(3);
    expect([cluster.clusterId, cluster.controllerId]).toEqual(["fake", 1]);
  });

  test("the bootstrap connection becomes the broker's own", async () => {
    const { kafka, cluster } = await start(1);
    await cluster.refresh([], "test");
    await cluster.connectionTo(1);
    await cluster.refresh([], "test");
    expect(kafka.brokers[0]!.connectionsCount).toBe(1);
    expect(cluster.openConnection(1)!.broker).toBe(kafka.brokers[0]!.address);
  });

  test("a bootstrap name that no broker has is let go once brokers are known", async () => {
    const { kafka, cluster } = await start(2);
    kafka.listed = [2];
    await cluster.refresh([], "test");
    await until(() => kafka.brokers[0]!.sockets.size === 0, "the bootstrap connection is closed");
    await cluster.refresh([], "test");
    expect(kafka.brokers[1]!.countOf(ApiKey.Metadata)).toBe(1);
  });

  test("callers share a request; one that comes while a request is under way gets the next", async () => {
    const { kafka, cluster } = await start(1);
    await cluster.refresh([], "connect");
    const before = kafka.metadataCount();
    await Promise.all(["a", "b", "c"].map((name) => cluster.refresh([name], "test")));
    expect(kafka.metadataCount()).toBe(before + 1);
    expect(cluster.topic("c")!.errorCode).toBe(3);
    let release: () => void = () => {};
    const held = new Promise<void>((resolve) => release = resolve);
    kafka.brokers[0]!.on(ApiKey.Metadata, (request) => {
      const answer = kafka.metadata(metadataTopics(request), request.apiVersion) as { body: Buffer };
      release();
      return { ...answer, delayMs: 20 };
    });
    const first = cluster.refresh(["a"], "test");
    await held;
    kafka.topics = [topicLedBy("a", 1, 5)];
    const second = cluster.refresh(["a"], "saw something newer");
    await first;
    expect(cluster.topic("a")!.errorCode).toBe(3);
    await second;
    expect(cluster.leaderOf("a", 0)).toBe(1);
  });

  test("requests are at least 100 ms apart", async () => {
    const { kafka, cluster } = await start(1);
    const startMs = Date.now();
    for (let i = 0; i < 4; i++) await cluster.refresh([], "test");
    expect(Date.now() - startMs).toBeGreaterThanOrEqual(290);
    expect(kafka.metadataCount()).toBe(4);
  });

  test("callbacks come after a change, and only then", async () => {
    const { kafka, cluster } = await start(2);
    kafka.topics = [topicLedBy("a", 1, 1)];
    let changesCount = 0;
    const stop = cluster.onChange(() => changesCount++);
    await cluster.refresh(["a"], "test");
    expect(changesCount).toBe(1);
    await cluster.refresh(["a"], "test");
    expect(changesCount).toBe(1);
    kafka.topics = [topicLedBy("a", 2, 2)];
    await cluster.refresh(["a"], "test");
    expect([changesCount, cluster.leaderOf("a", 0)]).toEqual([2, 2]);
    stop();
    kafka.topics = [topicLedBy("a", 1, 3)];
    await cluster.refresh(["a"], "test");
    expect(changesCount).toBe(2);
  });

  test("an older leader epoch does not count, unless the topic was made anew", async () => {
    const { kafka, cluster } = await start(2);
    kafka.topics = [topicLedBy("a", 2, 7)];
    await cluster.refresh(["a"], "test");
    kafka.topics = [topicLedBy("a", 1, 6)];
    await cluster.refresh(["a"], "test");
    expect(cluster.leaderOf("a", 0)).toBe(2);
    kafka.topics = [{ ...topicLedBy("a", 1, 0), topicId: Buffer.alloc(16, 9) }];
    await cluster.refresh(["a"], "test");
    expect(cluster.leaderOf("a", 0)).toBe(1);
  });

  test("is asked for again after metadata_refresh_ms", async () => {
    const { kafka, cluster } = await start(1, { metadataRefreshMs: 30 });
    await cluster.refresh(["a"], "test");
    await until(() => kafka.metadataCount() >= 3, "two periodic requests");
    expect(metadataTopics(kafka.brokers[0]!.requests.at(-1)!)).toEqual(["a"]);
  });
});

describe("brokers that fail", () => {
  test("no broker can be reached: the error names it, and a later call works", async () => {
    const { kafka, cluster } = await start(1);
    await kafka.brokers[0]!.stop();
    const error = await failureOf(cluster.refresh(["a"], "test"));
    expect(error.code).toBe("ECONNREFUSED");
    expect(error.message).toContain(kafka.brokers[0]!.address);
    await kafka.brokers[0]!.listen();
    await cluster.refresh(["a"], "test");
    expect(cluster.topic("a")!.errorCode).toBe(3);
  });

  test("the other bootstrap servers are tried", async () => {
    const { kafka } = await start(3);
    await kafka.brokers[0]!.stop();
    kafka.brokers[1]!.on(ApiKey.Metadata, () => "cut");
    kafka.listed = [3];
    const cluster = newCluster(kafka.brokers.map((broker) => broker.address));
    onCleanUp(() => cluster.close());
    await cluster.refresh([], "test");
    expect(cluster.controllerId).toBe(3);
  });

  test("a broker that holds its answer back is not waited for alone", async () => {
    const { kafka } = await start(2);
    kafka.brokers[0]!.on(ApiKey.Metadata, () => "silence");
    const servers = kafka.brokers.map((broker) => broker.address);
    // random() near 1 keeps the order of the servers.
    const cluster = newCluster(servers, { requestTimeoutMs: 30_000 });
    onCleanUp(() => cluster.close());
    const startMs = Date.now();
    await cluster.refresh([], "test");
    expect(kafka.brokers[0]!.countOf(ApiKey.Metadata)).toBe(1);
    expect(Date.now() - startMs).toBeLessThan(10_000);
  });

  test("garbage as metadata counts as failed", async () => {
    const { kafka } = await start(2);
    kafka.brokers[0]!.on(ApiKey.Metadata, () => ({ body: Buffer.from([1, 2, 3]) }));
    const cluster = newCluster([kafka.brokers[0]!.address]);
    onCleanUp(() => cluster.close());
    const error = await failureOf(cluster.refresh([], "test"));
    expect(error.code).toBe("bad-answer");
    expect(error.message).toContain("cut short");
    await until(() => kafka.brokers[0]!.sockets.size === 0, "that connection is closed");
  });

  test("a broker that lists no brokers is not believed", async () => {
    const { kafka, cluster } = await start(1);
    kafka.listed = [];
    expect((await failureOf(cluster.refresh([], "test"))).code).toBe("no-brokers");
  });

  test("a leader goes and another takes over; the first comes back at another address", async () => {
    const { kafka, cluster } = await start(2);
    kafka.topics = [topicLedBy("a", 1, 1)];
    await cluster.refresh(["a"], "test");
    const connection = await cluster.connectionTo(1);
    const closed = Promise.withResolvers<unknown>();
    connection.onClose(closed.resolve);
    const oldPort = kafka.brokers[0]!.port;
    await kafka.brokers[0]!.stop();
    await closed.promise;
    expect(cluster.openConnection(1)).toBeNull();
    kafka.listed = [2];
    kafka.topics = [topicLedBy("a", 2, 2)];
    await cluster.refresh(["a"], "leader lost");
    expect(cluster.leaderOf("a", 0)).toBe(2);
    expect((await cluster.connectionTo(2)).isOpen).toBe(true);
    expect((await failureOf(cluster.connectionTo(1))).code).toBe("unknown-broker");
    await kafka.brokers[0]!.listen(0);
    expect(kafka.brokers[0]!.port).not.toBe(oldPort);
    kafka.listed = [1, 2];
    await cluster.refresh(["a"], "test");
    expect((await cluster.connectionTo(1)).broker).toBe(kafka.brokers[0]!.address);
  });

  test("all addresses change: the bootstrap servers are asked again", async () => {
    const { kafka, cluster } = await start(2);
    kafka.listed = [2];
    await cluster.refresh([], "test");
    await kafka.brokers[1]!.stop();
    await kafka.brokers[1]!.listen(0);
    await cluster.refresh([], "test");
    expect((await cluster.connectionTo(2)).broker).toBe(kafka.brokers[1]!.address);
  });

  test("tries to connect back off, and are shared", async () => {
    const { kafka, cluster } = await start(2, { retryIntervalMs: 50, retryMaxIntervalMs: 100 });
    await cluster.refresh([], "test");
    await kafka.brokers[1]!.stop();
    const [first, second] = await Promise.all([
      failureOf(cluster.connectionTo(2)),
      failureOf(cluster.connectionTo(2)),
    ]);
    expect(first).toBe(second);
    const startMs = Date.now();
    await failureOf(cluster.connectionTo(2));
    expect(Date.now() - startMs).toBeGreaterThanOrEqual(40);
    await kafka.brokers[1]!.listen();
    expect((await cluster.connectionTo(2)).isOpen).toBe(true);
  });

  test("a broker that the cluster lists is tried again within a second, whatever its back-off", async () => {
    const { kafka, cluster } = await start(2, { retryIntervalMs: 60_000, retryMaxIntervalMs: 60_000 });
    await cluster.refresh([], "test");
    await kafka.brokers[1]!.stop();
    await failureOf(cluster.connectionTo(2));
    const waiting = cluster.connectionTo(2);
    await kafka.brokers[1]!.listen();
    await cluster.refresh([], "test");
    expect((await waiting).isOpen).toBe(true);
  });

  test("a connection that is dropped at once counts as failed", async () => {
    const { kafka, cluster } = await start(2, { retryIntervalMs: 50, retryMaxIntervalMs: 2_000 });
    await cluster.refresh([], "test");
    await cluster.connectionTo(2);
    const startMs = Date.now();
    kafka.brokers[1]!.cutAll();
    await until(() => cluster.openConnection(2) === null, "the connection is lost");
    await cluster.connectionTo(2);
    expect(Date.now() - startMs).toBeGreaterThanOrEqual(40);
  });
});

test("bootstrap servers are host:port", () => {
  expect(parseServer("kafka.example.com:9092")).toEqual({ host: "kafka.example.com", port: 9092 });
  expect(parseServer("[::1]:9092")).toEqual({ host: "::1", port: 9092 });
  for (
    const wrong of [
      "kafka",
      "kafka:",
      ":9092",
      "kafka:0",
      "kafka:65536",
      "::1:9092",
      "http://kafka:9092",
      "a b:1",
      "",
    ]
  ) {
    expect(() => parseServer(wrong)).toThrow(`Cannot use bootstrap server "${wrong}": it is not host:port`);
  }
});
