import { expect, test } from "bun:test";
import { createCompressor } from "../../src/kafka/compression.ts";
import type { IntentLog, RecoveredIntent } from "../../src/kafka/intent_log.ts";
import { kernelHost } from "../../src/kafka/kernels.ts";
import { Producer } from "../../src/kafka/producer.ts";
import { SinkMetrics } from "../../src/telemetry/metrics.ts";
import { delivery } from "../support/events.ts";
import { FakeKafka } from "../support/fake_kafka.ts";
import { waitUntil } from "../support/wait_until.ts";
import { plainSink } from "./producer_harness.ts";
import { newCluster, silentLog } from "./support.ts";

/** Of what an earlier run sent, which was not the same any more when it was read again. */
function changedIntent(onRead: () => void): RecoveredIntent {
  return {
    id: 1,
    topic: "logs",
    topicId: null,
    partition: 0,
    producer: { producerIdHigh: 0, producerIdLow: 77, epoch: 0, baseSequence: 0 },
    count: 2,
    place: 1,
    hintOffset: 0,
    baseTimestampMs: Date.now(),
    clusterId: null,
    isWhole: true,
    sizeBytes: 1,
    rebuild: () => {
      onRead();
      return Promise.resolve({ deliveries: [delivery(["0"]).delivery], gone: [] });
    },
    heldLines: () => [],
    describe: () => "2 events",
  };
}

test(
  "what was made again is given back when the sink ends before it is known what becomes of it",
  async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    const { shared } = kernelHost();
    const config = { ...plainSink, bootstrapServers: kafka.bootstrapServers };
    const compressor = createCompressor("none", null, silentLog);
    const cluster = newCluster(config.bootstrapServers);
    const metrics = new SinkMetrics();
    let readCount = 0;
    const intents: IntentLog = {
      hasRoom: () => true,
      startRun() {},
      append: () => 1,
      replace: () => [],
      acknowledge() {},
      durable: () => Promise.resolve(),
      recovered: [changedIntent(() => readCount++)],
    };
    const usedBytes = shared.usedBytes;
    const producer = new Producer({
      config,
      intents,
      cluster,
      compressor,
      metrics,
      log: silentLog,
      hasTopicTemplate: false,
      now: Date.now,
      random: () => 0.5,
      // New numbers are asked for twice, so far apart.
      recheckMs: 600_000,
    });
    await waitUntil("the batch was made again", () => readCount > 0 && shared.usedBytes > usedBytes);
    expect(producer.isRecovering).toBe(true);
    producer.close();
    cluster.close();
    await waitUntil("its memory is given back", () => shared.usedBytes <= usedBytes);
    expect(metrics.partitionsInDoubt).toBe(0);
  },
  30_000,
);
