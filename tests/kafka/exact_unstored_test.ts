import { expect, test } from "bun:test";
import { createCompressor } from "../../src/kafka/compression.ts";
import type { IntentLog } from "../../src/kafka/intent_log.ts";
import { Producer } from "../../src/kafka/producer.ts";
import { ErrorCode } from "../../src/kafka/protocol/error_codes.ts";
import { SinkMetrics } from "../../src/telemetry/metrics.ts";
import { delivery } from "../support/events.ts";
import { FakeKafka } from "../support/fake_kafka.ts";
import { KeptLog, plainSink } from "./producer_harness.ts";
import { newCluster, silentLog, until } from "./support.ts";

/** Of a sink that reads stdin alone: there is never an intent. */
const noIntents: IntentLog = {
  hasRoom: () => true,
  startRun() {},
  append() {
    throw new Error("Nothing of stdin can be in an intent");
  },
  replace: (_cancelled, _gone, intents) => intents.map((_, i) => i),
  acknowledge() {},
  durable: () => Promise.resolve(),
  recovered: [],
};

test("a record of stdin that is refused leaves no hole in the sequence", async () => {
  await using kafka = await FakeKafka.start(1, { logs: 1 });
  kafka.refuse = ({ values }) => values.includes("bad") ? { errorCode: ErrorCode.INVALID_RECORD } : undefined;
  const config = { ...plainSink, bootstrapServers: kafka.bootstrapServers, batchMaxEvents: 1 };
  const cluster = newCluster(config.bootstrapServers);
  const log = new KeptLog();
  const metrics = new SinkMetrics();
  const producer = new Producer({
    config,
    intents: noIntents,
    cluster,
    compressor: createCompressor("none", null, silentLog),
    metrics,
    log,
    hasTopicTemplate: false,
    now: Date.now,
    random: () => 0.5,
    recheckMs: 20,
  });
  const values = ["0", "1", "bad", "3", "4"];
  metrics.inFlightEvents += values.length;
  const made = delivery(values);
  for (let next = producer.append(made.delivery, 0); next < values.length;) {
    await producer.waitForRoom();
    next = producer.append(made.delivery, next);
  }
  await producer.flush();
  await until(() => kafka.values().length === 4, "all but one are there");
  producer.close();
  cluster.close();
  expect(kafka.values()).toEqual(["0", "1", "3", "4"]);
  expect(log.texts("error").filter((text) => !text.includes("INVALID_RECORD"))).toEqual([]);
  expect(metrics.brokerLostAckedCount).toBe(0);
  expect(kafka.violations).toEqual([]);
});
