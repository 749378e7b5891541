import { afterEach, describe, expect, test } from "bun:test";
import { topicConfigBy } from "../../src/kafka/cluster_requests.ts";
import { ApiKey } from "../../src/kafka/protocol/api_keys.ts";
import { WireWriter } from "../../src/kafka/protocol/wire.ts";
import type { FakeAnswer } from "../support/fake_broker.ts";
import { cleanUp, start } from "./fake_cluster.ts";
import { failureOf, until } from "./support.ts";

afterEach(cleanUp);

describe("requests", () => {
  const never = new AbortController().signal;

  const producerId = (errorCode: number, version: number): FakeAnswer => {
    const writer = new WireWriter(version >= 2).int32(0).int16(errorCode).raw(
      Buffer.from("00000000000003e9", "hex"),
    ).int16(4);
    return { body: Buffer.from(writer.tags().slice()) };
  };

  test("a producer id, past errors that pass", async () => {
    const { kafka, cluster } = await start(1);
    const errors = [14, 15, 16, -1];
    kafka.brokers[0]!.on(
      ApiKey.InitProducerId,
      ({ apiVersion }) => producerId(errors.pop() ?? 0, apiVersion),
    );
    const { id, idText, epoch } = await cluster.initProducerId(never);
    expect([id.toString("hex"), idText, epoch]).toEqual(["00000000000003e9", "1001", 4]);
    expect(kafka.brokers[0]!.countOf(ApiKey.InitProducerId)).toBe(5);
  });

  test("a refusal for good, and giving up", async () => {
    const { kafka, cluster } = await start(1);
    kafka.brokers[0]!.on(ApiKey.InitProducerId, ({ apiVersion }) => producerId(31, apiVersion));
    const error = await failureOf(cluster.initProducerId(never));
    expect(error.code).toBe("CLUSTER_AUTHORIZATION_FAILED");
    expect(error.hint).toContain("IDEMPOTENT_WRITE");
    kafka.brokers[0]!.on(ApiKey.InitProducerId, () => "silence");
    const abort = new AbortController();
    const given = failureOf(cluster.initProducerId(abort.signal));
    await until(() => kafka.brokers[0]!.countOf(ApiKey.InitProducerId) === 2, "the second request");
    abort.abort();
    expect((await given).code).toBe("aborted");
  });

  test("topics are created through the controller, also when it has moved", async () => {
    const { kafka, cluster } = await start(2);
    const answer = (errorCode: number) => ({
      body: Buffer.from(
        new WireWriter(true).int32(0).arrayLength(1).string("new").raw(Buffer.alloc(16)).int16(errorCode)
          .string(null)
          .int32(1).int16(1).arrayLength(0).tags().tags().slice(),
      ),
    });
    kafka.brokers[0]!.on(ApiKey.CreateTopics, () => {
      kafka.listed = [2, 1];
      return answer(41);
    });
    kafka.brokers[1]!.on(ApiKey.CreateTopics, () => answer(0));
    const topics = [{ name: "new", partitions: 3, replicationFactor: -1 }];
    expect(await cluster.createTopics(topics, never)).toEqual([{
      name: "new",
      errorCode: 0,
      errorMessage: null,
    }]);
    expect(kafka.brokers.map((broker) => broker.countOf(ApiKey.CreateTopics))).toEqual([1, 1]);
  });

  test("a topic's setting, or null when it may not be seen", async () => {
    const { kafka, cluster } = await start(1);
    let errorCode = 0;
    kafka.brokers[0]!.on(ApiKey.DescribeConfigs, () => {
      const writer = new WireWriter(true).int32(0).arrayLength(1).int16(errorCode).string(null).int8(2)
        .string("a");
      writer.arrayLength(1).string("max.message.bytes").string("2000000").boolean(false).int8(5).boolean(
        false,
      );
      writer.arrayLength(0).int8(3).string(null).tags().tags().tags();
      return { body: Buffer.from(writer.slice()) };
    });
    expect(await topicConfigBy(cluster, "a", "max.message.bytes", never)).toBe("2000000");
    errorCode = 29;
    expect(await topicConfigBy(cluster, "a", "max.message.bytes", never)).toBeNull();
  });

  test("close rejects what waits and refuses what comes", async () => {
    const { kafka, cluster } = await start(1);
    await cluster.refresh([], "test");
    kafka.brokers[0]!.on(ApiKey.Metadata, () => "silence");
    const waiting = failureOf(cluster.refresh(["a"], "test"));
    await until(() => kafka.metadataCount() === 2, "the second request");
    cluster.close();
    expect((await waiting).code).toBe("closed");
    expect((await failureOf(cluster.refresh([], "test"))).code).toBe("closed");
    expect((await failureOf(cluster.ask(() => Promise.resolve(1)))).code).toBe("closed");
    await until(() => kafka.brokers[0]!.sockets.size === 0, "its connections are closed");
  });
});
