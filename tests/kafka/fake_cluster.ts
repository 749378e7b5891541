import type { Cluster } from "../../src/kafka/cluster.ts";
import { ApiKey } from "../../src/kafka/protocol/api_keys.ts";
import {
  type FakeAnswer,
  FakeBroker,
  type FakeTopic,
  metadataBody,
  metadataTopics,
} from "../support/fake_broker.ts";
import { newCluster } from "./support.ts";

export class FakeCluster {
  readonly brokers: FakeBroker[] = [];
  topics: FakeTopic[] = [];
  listed: number[] = [];
  clusterId = "fake";

  static async start(count: number): Promise<FakeCluster> {
    const kafka = new FakeCluster();
    for (let id = 1; id <= count; id++) {
      const broker = await FakeBroker.start();
      broker.on(ApiKey.Metadata, (request) => kafka.metadata(metadataTopics(request), request.apiVersion));
      kafka.brokers.push(broker);
      kafka.listed.push(id);
    }
    return kafka;
  }

  metadata(names: string[], apiVersion: number): FakeAnswer {
    const topics = names.map((name) =>
      this.topics.find((topic) => topic.name === name) ??
        { name, errorCode: 3, topicId: Buffer.alloc(16), partitions: [] }
    );
    const brokers = this.listed.map((id) => ({ id, host: "127.0.0.1", port: this.brokers[id - 1]!.port }));
    return {
      body: metadataBody(
        { brokers, clusterId: this.clusterId, controllerId: this.listed[0]!, topics },
        apiVersion,
      ),
    };
  }

  metadataCount(): number {
    return this.brokers.reduce((sum, broker) => sum + broker.countOf(ApiKey.Metadata), 0);
  }
}
const cleanups: (() => unknown)[] = [];

/** Adds something to be done by `cleanUp`, before what was added earlier. */
export function onCleanUp(cleanup: () => unknown): void {
  cleanups.push(cleanup);
}

/** Closes every cluster and stops every broker that `start` made; for `afterEach`. */
export async function cleanUp(): Promise<void> {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
}

/** Fake brokers and a client that knows the first of them. */
export async function start(
  count: number,
  overrides = {},
): Promise<{ kafka: FakeCluster; cluster: Cluster }> {
  const kafka = await FakeCluster.start(count);
  cleanups.push(() => Promise.all(kafka.brokers.map((broker) => broker.stop())));
  const cluster = newCluster([kafka.brokers[0]!.address], overrides);
  cleanups.push(() => cluster.close());
  return { kafka, cluster };
}

export const topicLedBy = (name: string, leader: number, leaderEpoch: number): FakeTopic => ({
  name,
  partitions: [{ id: 0, leader, leaderEpoch }],
});
