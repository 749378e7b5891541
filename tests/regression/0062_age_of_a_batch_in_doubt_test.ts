// Without the right to READ, a batch in doubt is sent again under its numbers while brokers must still remember it: half of dedup_window_secs from its
// first attempt. After a change of the leader, and after a restart, that time began anew, so that on_undecidable was never asked, and the batch could be
// there twice.
import { expect, test } from "bun:test";
import { createCompressor } from "../../src/kafka/compression.ts";
import type { IntentLog, RecoveredIntent } from "../../src/kafka/intent_log.ts";
import { Producer } from "../../src/kafka/producer.ts";
import { SinkMetrics } from "../../src/telemetry/metrics.ts";
import { plainSink } from "../kafka/producer_harness.ts";
import { newCluster, silentLog, until } from "../kafka/support.ts";
import { delivery } from "../support/events.ts";
import { FakeKafka } from "../support/fake_kafka.ts";

const HALF_WINDOW_MS = 3_600_000;

/** What is sent in these runs is of stdin: there is never an intent. */
function intents(recovered: readonly RecoveredIntent[]): IntentLog {
  return {
    hasRoom: () => true,
    startRun() {},
    append() {
      throw new Error("Nothing of stdin can be in an intent");
    },
    replace: (_cancelled, _gone, replacing) => replacing.map((_, i) => i),
    acknowledge() {},
    durable: () => Promise.resolve(),
    recovered,
  };
}

/** A batch that the run before sent so long ago. */
function recoveredBatch(agoMs: number): RecoveredIntent {
  return {
    id: 1,
    topic: "logs",
    topicId: null,
    partition: 0,
    producer: { producerIdHigh: 0, producerIdLow: 77, epoch: 0, baseSequence: 0 },
    count: 1,
    place: 1,
    hintOffset: 0,
    baseTimestampMs: Date.now() - agoMs,
    clusterId: null,
    isWhole: true,
    sizeBytes: 1,
    rebuild: () => Promise.resolve({ deliveries: [delivery(["0"]).delivery], gone: [] }),
    heldLines: () => [],
    describe: () => "1 event",
  };
}

/** The only batch is sent again and again without an answer, until `check` has had its leader changed and the clock go on. */
async function run(
  recovered: readonly RecoveredIntent[],
  check: (goOn: (ms: number) => Promise<void>, kafka: FakeKafka) => Promise<void>,
): Promise<string> {
  await using kafka = await FakeKafka.start(2, { logs: 1 });
  kafka.inspection.canRead = false;
  let isWritten = recovered.length > 0;
  let attemptCount = 0;
  kafka.fault = () => {
    attemptCount++;
    const kind = isWritten ? "cut-before" : "cut-after";
    isWritten = true;
    return { kind };
  };
  const config = {
    ...plainSink,
    bootstrapServers: kafka.bootstrapServers,
    dedupWindowMs: 2 * HALF_WINDOW_MS,
    onUndecidable: "stop" as const,
  };
  const cluster = newCluster(config.bootstrapServers);
  const metrics = new SinkMetrics();
  let laterMs = 0;
  let failure = "";
  const producer = new Producer({
    config,
    intents: intents(recovered),
    cluster,
    compressor: createCompressor("none", null, silentLog),
    metrics,
    log: silentLog,
    hasTopicTemplate: false,
    now: () => Date.now() + laterMs,
    monotonic: () => performance.now() + laterMs,
    random: () => 0.5,
    recheckMs: 20,
    onFatal: (message) => failure = message,
  });
  const isSentAgain = async (countMin: number) => {
    const before = attemptCount;
    await until(() => attemptCount >= before + countMin || failure !== "", "it is sent, or that is given up");
  };
  if (recovered.length === 0) {
    metrics.inFlightEvents += 1;
    const made = delivery(["0"]).delivery;
    while (producer.append(made, 0) === 0) await producer.waitForRoom();
  }
  await isSentAgain(2);
  await check(async (ms) => {
    laterMs += ms;
    await isSentAgain(3);
  }, kafka);
  producer.close();
  cluster.close();
  expect(kafka.violations).toEqual([]);
  return failure;
}

test("the age of a batch in doubt counts from its first attempt", async () => {
  const failure = await run([], async (goOn, kafka) => {
    for (const leader of [2, 1]) {
      // Each time less than half of the window after the change before.
      kafka.moveLeader(leader, "logs", 0);
      await goOn(0.6 * HALF_WINDOW_MS);
    }
    expect(kafka.values()).toEqual(["0"]);
  });
  expect(failure).toContain("Cannot tell whether 1 event");
});

test("of a batch of an earlier run it counts from then", async () => {
  const failure = await run([recoveredBatch(0.6 * HALF_WINDOW_MS)], (goOn) => goOn(0.6 * HALF_WINDOW_MS));
  expect(failure).toContain("Cannot tell whether 1 event");
});
