import { expect, test } from "bun:test";
import { PartitionProbe } from "../../src/kafka/resolve/partition_probe.ts";
import { bytesOf, doubtful, produce } from "../kafka/resolve/batches.ts";
import { newCluster } from "../kafka/support.ts";
import { isBrokerAtLeast } from "../support/broker_version.ts";
import { sharedCluster } from "../support/kafka.ts";

test("a leader's list of producers is read beside one that writes times in nanoseconds", async () => {
  const kafka = await sharedCluster();
  // Kafka 4 takes no times that are far ahead unless a topic says so; before 3.6 the setting had another name, and took them.
  const configs = isBrokerAtLeast(3, 6) ? { "message.timestamp.after.max.ms": "9223372036854775807" } : {};
  const topic = await kafka.createTopic({ configs });
  const cluster = newCluster([kafka.bootstrap], { requestTimeoutMs: 10_000 });
  try {
    const { id } = await cluster.initProducerId(new AbortController().signal);
    const [batch] = doubtful(0, [3], { producerIdLow: id.readInt32BE(4), baseTimestampMs: Date.now() });
    await cluster.refresh([topic], "leaders");
    const connection = await cluster.connectionTo(cluster.leaderOf(topic, 0));
    expect((await produce(connection, topic, bytesOf(batch!))).errorCode).toBe(0);
    await kafka.produce(topic, [{ value: "odd", timestampMs: Date.now() * 1_000_000 }]);
    const probe = await PartitionProbe.open({ cluster, topic, partition: 0 });
    expect(await probe.listing(batch!.producer)).toEqual({
      kind: "listed",
      epoch: 0,
      lastSequence: 2,
      lastTimestampMs: batch!.baseTimestampMs,
    });
  } finally {
    cluster.close();
  }
}, 300_000);
