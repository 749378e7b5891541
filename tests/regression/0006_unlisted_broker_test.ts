import { expect, test } from "bun:test";
import { BrokerSender } from "../../src/kafka/broker_sender.ts";
import type { Cluster } from "../../src/kafka/cluster.ts";
import { RequestError } from "../../src/kafka/errors.ts";
import { FakeKafka } from "../support/fake_kafka.ts";
import { ProducerHarness } from "../kafka/producer_harness.ts";
import { silentLog, until } from "../kafka/support.ts";

// A topic's last metadata named a leader that a later answer, asked for another topic's sake, no longer listed: connecting failed at
// once, and trying again at once kept the event loop from ever running again.

test("a connection that fails at once is not tried again in the same turn of the event loop", async () => {
  let triesCount = 0;
  const cluster = {
    openConnection: () => null,
    connectionTo: () => Promise.reject(new RequestError("unknown-broker", "The cluster does not list it")),
  } as unknown as Cluster;
  const sender: BrokerSender = new BrokerSender({
    nodeId: 9,
    cluster,
    acks: -1,
    requestTimeoutMs: 1_000,
    answerTimeoutMs: 1_000,
    maxInFlight: 5,
    retryIntervalMs: 10,
    log: silentLog,
    prepare: () => {},
    onAnswer: () => {},
    onFailure: () => {},
    onUnreachable: () => triesCount++,
    onThrottled: () => {},
    // Without the bound a failure of this test would never end.
    onReady: () => queueMicrotask(() => triesCount < 1_000 && sender.send([])),
  });
  sender.send([]);
  const startMs = performance.now();
  await Bun.sleep(55);
  await until(() => triesCount >= 2, "it is tried again");
  sender.close();
  // One at once, and one after each pause of at least 5 ms.
  expect(triesCount).toBeLessThanOrEqual(1 + Math.ceil((performance.now() - startMs) / 5));
});

test("batches for a leader that is not listed wait until it is", async () => {
  await using kafka = await FakeKafka.start(2, { logs: 2 });
  kafka.listed = [1];
  await using harness = new ProducerHarness(kafka);
  const keys = ["a", "b", "c", "d"];
  await harness.send(keys, { keys });
  await Bun.sleep(50);
  expect(kafka.values().length).toBeLessThan(4);
  kafka.listed = [1, 2];
  await harness.producer.flush();
  expect(kafka.values().sort()).toEqual(keys);
});
