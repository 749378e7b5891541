import { expect, test } from "bun:test";
import { ApiKey } from "../../src/kafka/protocol/api_keys.ts";
import { ProducerHarness } from "../kafka/producer_harness.ts";
import { until } from "../kafka/support.ts";
import { FakeKafka } from "../support/fake_kafka.ts";

// Under acks = "none" a run ended when the operating system had taken the last request, and closed its connections: what the broker had not read by then was lost.
// Of 20,000 lines under --once that was up to all of them, with exit code 0.
const values = Array.from({ length: 2_000 }, (_, i) => `line ${i} ${"x".repeat(150)}`);
const none = { acks: "none", batchMaxEvents: 50 } as const;

test("a broker has worked on everything before its connection is closed", async () => {
  await using kafka = await FakeKafka.start(2, { logs: 2 });
  await using harness = new ProducerHarness(kafka, { config: { ...none, partitioner: "round_robin" } });
  await harness.send(["first"]);
  await harness.producer.flush();
  expect(kafka.values()).toEqual(["first"]);
  const sockets = kafka.brokers.flatMap((broker) => [...broker.sockets]);
  // They read slowly.
  const timer = setInterval(() => {
    for (const socket of sockets) socket.isPaused() ? socket.resume() : socket.pause();
  }, 5);
  await harness.send(values);
  await harness.producer.flush();
  harness.producer.close();
  harness.cluster.close();
  const arrived = kafka.values().length;
  clearInterval(timer);
  expect(arrived).toBe(values.length + 1);
  expect(harness.log.texts("warn")).toEqual([]);
});

test("where the connection is lost that is said", async () => {
  await using kafka = await FakeKafka.start(1, { logs: 1 });
  await using harness = new ProducerHarness(kafka, { config: none });
  await harness.send(["first"]);
  await harness.producer.flush();
  kafka.brokers[0]!.on(ApiKey.ApiVersions, () => "cut");
  await harness.send(["second"]);
  await harness.producer.flush();
  expect(harness.log.texts("warn")).toEqual([
    expect.stringMatching(
      /^What was sent last under acks = "none" may be lost: Broker .* closed the connection/u,
    ),
  ]);
});

test("a silent broker holds nobody who has to end", async () => {
  await using kafka = await FakeKafka.start(1, { logs: 1 });
  await using harness = new ProducerHarness(kafka, { config: none });
  await harness.send(["first"]);
  await harness.producer.flush();
  const broker = kafka.brokers[0]!;
  broker.on(ApiKey.ApiVersions, () => "silence");
  const asked = broker.countOf(ApiKey.ApiVersions);
  await harness.send(["second"]);
  const flushed = harness.producer.flush();
  await until(() => broker.countOf(ApiKey.ApiVersions) > asked, "it is asked");
  harness.producer.close();
  await flushed;
  expect(harness.log.texts("warn")).toEqual([]);
});
