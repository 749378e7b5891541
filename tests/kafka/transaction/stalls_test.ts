import { expect, test } from "bun:test";
import { ErrorCode } from "../../../src/kafka/protocol/error_codes.ts";
import { FakeKafka } from "../../support/fake_kafka.ts";
import { waitUntil } from "../../support/wait_until.ts";
import { TransactionHarness } from "./transaction_harness.ts";

const LINES = Array.from({ length: 50 }, (_, i) => `line ${i}`);
const WAIT_MS = 20_000;
const sorted = (values: readonly string[]) => [...values].sort();

for (const version of [2, 0]) {
  test(
    `transaction.version ${version}: a broker that swallows batches while its connection lives is taken up, exactly once`,
    async () => {
      await using kafka = await FakeKafka.start(2, { logs: 2, positions: 3 });
      kafka.transactions.isVersion2 = version === 2;
      let isSwallowing = true;
      // It is written, and nobody hears of it.
      kafka.fault = (attempts) =>
        isSwallowing && attempts[0]!.topic === "logs" ? { kind: "silence-after" } : undefined;
      await using harness = new TransactionHarness(kafka, { socketTimeoutMs: 60_000 }, 100);
      await harness.started();
      await harness.send(LINES, { keys: LINES });
      const { stalls } = harness.metrics;
      await waitUntil("all steps were taken", () => (stalls.values.get("rebuild") ?? 0) > 1, {
        timeoutMs: WAIT_MS,
        pollMs: 5,
      });
      isSwallowing = false;
      await harness.producer.flush();
      expect(sorted(kafka.committedValues())).toEqual(sorted(LINES));
      expect(kafka.violations).toEqual([]);
      expect(harness.statuses).toEqual(["delivered"]);
      expect([...stalls.values.keys()].sort()).toEqual(["rebuild", "reconnect", "refresh"]);
      const told = harness.log.texts("warn").filter((text) => text.includes("no broker has answered for it"));
      expect(told.some((text) => text.includes("its leader is asked for again"))).toBe(true);
      expect(harness.failure).toBeNull();
    },
    40_000,
  );
}

test("batches behind a transaction that another partition holds up are no stall", async () => {
  await using kafka = await FakeKafka.start(2, { logs: 2, positions: 3 });
  let isHeld = true;
  // One partition asks to wait, again and again: it is alive. What the other has gets no turn meanwhile.
  kafka.refuse = ({ topic, partition }) =>
    topic === "logs" && partition === 0 && isHeld
      ? { errorCode: ErrorCode.CONCURRENT_TRANSACTIONS }
      : undefined;
  await using harness = new TransactionHarness(kafka, { commitIntervalMs: 1, partitioner: "murmur2" }, 300);
  await harness.started();
  const keys = LINES.slice(0, 8);
  await harness.send(keys, { keys });
  const attemptsAt = (partition: number) =>
    kafka.attempts.filter((each) => each.topic === "logs" && each.partition === partition);
  await waitUntil("both were tried", () => attemptsAt(0).length > 2 && attemptsAt(1).length > 0, {
    timeoutMs: WAIT_MS,
    pollMs: 2,
  });
  const others = attemptsAt(1).flatMap(({ values }) => values);
  const later = others.map((value) => `${value} again`);
  await harness.send(later, { keys: others });
  await Bun.sleep(1_500);
  expect(harness.settledCount).toBe(0);
  expect(kafka.values()).not.toContain(later[0]!);
  expect(harness.metrics.stalls.total()).toBe(0);
  isHeld = false;
  await harness.producer.flush();
  expect(sorted(kafka.committedValues())).toEqual(sorted([...keys, ...later]));
}, 40_000);

test("a coordinator that is away is no stall of a partition", async () => {
  await using kafka = await FakeKafka.start(2, { logs: 2, positions: 3 });
  let isCut = false;
  kafka.fault = (attempts) => {
    if (attempts[0]!.topic !== "logs" || isCut) return undefined;
    isCut = true;
    kafka.transactions.fault = () => "cut-before";
    return { kind: "cut-before" };
  };
  await using harness = new TransactionHarness(kafka, { socketTimeoutMs: 1_000 }, 1_500);
  await harness.started();
  await harness.send(LINES, { keys: LINES });
  await waitUntil("a batch was cut", () => isCut, { timeoutMs: WAIT_MS, pollMs: 2 });
  await Bun.sleep(4_000);
  expect(harness.metrics.stalls.total()).toBe(0);
  kafka.transactions.fault = () => undefined;
  await harness.producer.flush();
  expect(sorted(kafka.committedValues())).toEqual(sorted(LINES));
}, 40_000);
