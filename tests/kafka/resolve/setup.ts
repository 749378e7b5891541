import { expect } from "bun:test";
import type { Cluster } from "../../../src/kafka/cluster.ts";
import type { DoubtfulBatch } from "../../../src/kafka/resolve/verdict.ts";
import type { FakeBroker } from "../../support/fake_broker.ts";
import { FakeKafka } from "../../support/fake_kafka.ts";
import { onCleanUp } from "../fake_cluster.ts";
import { KeptLog } from "../producer_harness.ts";
import { newCluster } from "../support.ts";
import { bytesOf, doubtful } from "./batches.ts";

/** Fake brokers with the topic "logs" of one partition, and a client of them. */
export interface Setup {
  readonly kafka: FakeKafka;
  readonly cluster: Cluster;
  readonly log: KeptLog;
}

/** Use `cleanUp` afterwards. */
export async function start(
  brokerCount = 1,
  prepare: (broker: FakeBroker) => void = () => {},
): Promise<Setup> {
  const kafka = await FakeKafka.start(brokerCount, { logs: 1 });
  onCleanUp(() => kafka[Symbol.asyncDispose]());
  for (const broker of kafka.brokers) prepare(broker);
  const cluster = newCluster(kafka.bootstrapServers, { requestTimeoutMs: 500 });
  onCleanUp(() => cluster.close());
  return { kafka, cluster, log: new KeptLog() };
}

/** Sequences 100 to 102 and 103 to 106. */
export const two = doubtful(100, [3, 4]);
/** Another producer's, to fill a log with. */
export const others = doubtful(0, [5], { producerIdLow: 8 });

/** Appends batches to the leader's log. */
export function write({ kafka }: Setup, ...batches: readonly DoubtfulBatch[]): void {
  for (const batch of batches) expect(kafka.log().append(bytesOf(batch)).errorCode).toBe(0);
}
