import { describe, expect, test } from "bun:test";
import { ApiKey } from "../../../src/kafka/protocol/api_keys.ts";
import { ErrorCode } from "../../../src/kafka/protocol/error_codes.ts";
import { FakeKafka } from "../../support/fake_kafka.ts";
import type { CoordinatorFault } from "../../support/fake_transactions.ts";
import { waitUntil } from "../../support/wait_until.ts";
import { TransactionHarness } from "./transaction_harness.ts";

const LINES = Array.from({ length: 30 }, (_, i) => `line ${i}`);

async function start(version: number): Promise<FakeKafka> {
  const kafka = await FakeKafka.start(2, { logs: 2, positions: 3 });
  kafka.transactions.isVersion2 = version === 2;
  return kafka;
}

/** Has the next requests of a kind go wrong, one after the other. */
function faults(kafka: FakeKafka, apiKey: number, ...list: CoordinatorFault[]): void {
  kafka.transactions.fault = (key) => key === apiKey ? list.shift() : undefined;
}

const sorted = (values: readonly string[]) => [...values].sort();

for (const version of [2, 0]) {
  describe(`transaction.version ${version}`, () => {
    test("lines and positions are committed together, and settled after it", async () => {
      await using kafka = await start(version);
      await using harness = new TransactionHarness(kafka);
      await harness.started();
      expect(harness.positions.restored).toEqual({});
      harness.positions.set("in\u0000a", "first");
      await harness.send(LINES);
      await harness.producer.flush();
      expect(sorted(kafka.committedValues())).toEqual(sorted(LINES));
      expect(harness.statuses).toEqual(["delivered"]);
      expect(kafka.transactions.ended).not.toContain(false);
      expect(harness.metrics.transactionsCommittedCount).toBe(kafka.transactions.ended.length);
      expect(kafka.violations).toEqual([]);
      const added = kafka.countOf(ApiKey.AddPartitionsToTxn);
      expect(added > 0).toBe(version !== 2);

      harness.positions.set("in\u0000a", "second");
      harness.positions.set("in\u0000b", "x".repeat(700_000));
      harness.positions.set("in\u0000c", "gone soon");
      await harness.producer.flush();
      harness.positions.set("in\u0000b", "short again");
      harness.positions.set("in\u0000c", null);
      await harness.producer.flush();
      harness.producer.close();
      await using next = new TransactionHarness(kafka);
      await next.started();
      expect(next.positions.restored).toEqual({ "in\u0000a": "second", "in\u0000b": "short again" });
      expect(kafka.values("positions").some((value) => value.length > 262_144)).toBe(true);
    });

    test("positions of other ids are left alone, and those of one id are in one partition", async () => {
      await using kafka = await start(version);
      const ids = ["one", "one\u0001", "two", "three"];
      for (const transactionalId of ids) {
        await using harness = new TransactionHarness(kafka, { transactionalId });
        await harness.started();
        expect(harness.positions.restored).toEqual({});
        harness.positions.set("in\u0000a", `of ${transactionalId}`);
        await harness.producer.flush();
      }
      for (const transactionalId of ids) {
        await using harness = new TransactionHarness(kafka, { transactionalId });
        await harness.started();
        expect(harness.positions.restored).toEqual({ "in\u0000a": `of ${transactionalId}` });
        // What it left open would hold the others of its partition.
        await harness.producer.flush();
      }
    });

    test("the answer to a commit is lost: it is found to be committed, and nothing is sent again", async () => {
      await using kafka = await start(version);
      await using harness = new TransactionHarness(kafka);
      await harness.started();
      await harness.producer.flush();
      faults(kafka, ApiKey.EndTxn, "cut-after");
      await harness.send(LINES);
      await harness.producer.flush();
      expect(sorted(kafka.values().filter((value) => value !== ""))).toEqual(sorted(LINES));
      expect(harness.statuses).toEqual(["delivered"]);
      expect(harness.metrics.transactionsAbortedCount).toBe(1);
      expect(harness.failure).toBeNull();
    });

    for (
      const [what, ...list] of [
        ["a commit is lost on its way", "cut-before"],
        ["a commit is refused", ErrorCode.COORDINATOR_LOAD_IN_PROGRESS],
        ["a commit is refused as others end the transaction", ErrorCode.CONCURRENT_TRANSACTIONS],
        ["two commits are lost on their way", "cut-before", "cut-before"],
      ] as [string, ...CoordinatorFault[]][]
    ) {
      test(`${what}: the lines are sent again, and count once`, async () => {
        await using kafka = await start(version);
        await using harness = new TransactionHarness(kafka);
        await harness.started();
        await harness.producer.flush();
        faults(kafka, ApiKey.EndTxn, ...list);
        await harness.send(LINES);
        harness.positions.set("in\u0000a", "there");
        await harness.producer.flush();
        expect(sorted(kafka.committedValues())).toEqual(sorted(LINES));
        expect(kafka.values().filter((value) => value !== "").length).toBe(LINES.length * (list.length + 1));
        expect(harness.metrics.transactionsAbortedCount).toBe(list.length);
        harness.producer.close();
        await using next = new TransactionHarness(kafka);
        await next.started();
        expect(next.positions.restored).toEqual({ "in\u0000a": "there" });
      });
    }

    for (const kind of ["cut-before", "cut-after"] as const) {
      test(`a batch is not answered (${kind}): its transaction is aborted, every line counts once`, async () => {
        await using kafka = await start(version);
        let left = 1;
        kafka.fault = (attempts) => attempts[0]!.topic === "logs" && left-- > 0 ? { kind } : undefined;
        await using harness = new TransactionHarness(kafka, { batchMaxEvents: 4 });
        await harness.send(LINES);
        await harness.producer.flush();
        expect(sorted(kafka.committedValues())).toEqual(sorted(LINES));
        expect(harness.statuses).toEqual(["delivered"]);
        expect(harness.metrics.transactionsAbortedCount).toBeGreaterThan(0);
      });
    }

    test("a refused batch is split, a refused record is dropped and counted, the others are delivered", async () => {
      await using kafka = await start(version);
      kafka.refuse = ({ topic, values }) => {
        if (topic !== "logs") return undefined;
        if (values.length > 10) return { errorCode: ErrorCode.MESSAGE_TOO_LARGE };
        const index = values.indexOf("line 7");
        return index < 0
          ? undefined
          : { errorCode: ErrorCode.INVALID_RECORD, recordErrors: [{ index, message: "no" }] };
      };
      await using harness = new TransactionHarness(kafka);
      await harness.send(LINES);
      await harness.producer.flush();
      expect(sorted(kafka.committedValues())).toEqual(sorted(LINES.filter((line) => line !== "line 7")));
      expect([...harness.metrics.dropped.values]).toEqual([["app\u0000invalid_record", 1]]);
      expect(harness.metrics.deliveredEventsCount).toBe(LINES.length - 1);
    });

    test("another process takes over: this one ends, and commits nothing more", async () => {
      await using kafka = await start(version);
      await using harness = new TransactionHarness(kafka);
      await harness.started();
      await harness.send(LINES);
      await harness.producer.flush();
      await using other = new TransactionHarness(kafka);
      await other.started();
      await other.producer.flush();
      await harness.send(["too late"]);
      await waitUntil("it has ended", () => harness.failure !== null, { timeoutMs: 20_000, pollMs: 5 });
      expect(harness.failure).toMatch(
        /^Another process uses transactional id "shipper.test.events" now \(transaction 1 of run/u,
      );
      await other.send(["in time"]);
      await other.producer.flush();
      expect(sorted(kafka.committedValues())).toEqual(sorted([...LINES, "in time"]));
      expect(harness.statuses).toEqual(["delivered", "errored"]);
    });

    test("the time of a transaction is over: nobody took over, and it goes on", async () => {
      await using kafka = await start(version);
      await using harness = new TransactionHarness(kafka);
      await harness.started();
      await harness.producer.flush();
      let left = 1;
      kafka.fault = (attempts) => {
        if (attempts[0]!.topic === "positions" && left-- > 0) kafka.transactions.timeOut(harness.id);
        return undefined;
      };
      await harness.send(LINES);
      await harness.producer.flush();
      expect(sorted(kafka.committedValues())).toEqual(sorted(LINES));
      expect(harness.failure).toBeNull();
    });

    test("a right to the id is missing: it is named, and the start goes on when it is there", async () => {
      await using kafka = await start(version);
      let code: number = ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
      kafka.transactions.fault = (key) => key === ApiKey.InitProducerId ? code : undefined;
      await using harness = new TransactionHarness(kafka);
      await harness.send(LINES);
      await waitUntil("it is told", () => harness.log.texts("warn").length > 0, {
        timeoutMs: 20_000,
        pollMs: 5,
      });
      const { message, fields } = harness.log.lines.find(({ level }) => level === "warn")!;
      expect(message).toContain("TRANSACTIONAL_ID_AUTHORIZATION_FAILED");
      expect(fields).toEqual({
        hint: 'Give this user WRITE and DESCRIBE on transactional id "shipper.test.events"',
      });
      expect(harness.metrics.startFailure?.message).toContain("TRANSACTIONAL_ID_AUTHORIZATION_FAILED");
      expect(harness.isStarted).toBe(false);
      code = 0;
      await harness.producer.flush();
      expect(sorted(kafka.committedValues())).toEqual(sorted(LINES));
      expect(harness.metrics.startFailure).toBeNull();
    });

    test("the timeout is longer than the brokers allow: the sink ends, and says what to set", async () => {
      await using kafka = await start(version);
      faults(kafka, ApiKey.InitProducerId, ErrorCode.INVALID_TRANSACTION_TIMEOUT);
      await using harness = new TransactionHarness(kafka);
      await waitUntil("it has ended", () => harness.failure !== null, { timeoutMs: 20_000, pollMs: 5 });
      expect(harness.failure).toContain("Set transaction_timeout_ms to less than 60000");
    });
  });
}

describe("the position topic", () => {
  test("is created where there is none, compacted", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    await using harness = new TransactionHarness(kafka);
    await harness.send(LINES);
    await harness.producer.flush();
    expect(kafka.topics.get("positions")).toHaveLength(16);
    const request = kafka.brokers[0]!.requests.find(({ apiKey }) => apiKey === ApiKey.CreateTopics)!;
    expect(request.body.includes("cleanup.policy")).toBe(true);
    expect(kafka.committedValues()).toEqual(LINES);
  });

  test("cannot be created: how to do it by hand is said, and nothing is lost", async () => {
    await using kafka = await FakeKafka.start(1, { logs: 1 });
    kafka.createTopicError = ErrorCode.TOPIC_AUTHORIZATION_FAILED;
    await using harness = new TransactionHarness(kafka);
    await harness.send(LINES);
    const warned = () => harness.log.lines.find(({ message }) => message.startsWith("Cannot create topic"));
    await waitUntil("it is told", () => warned() !== undefined, { timeoutMs: 20_000, pollMs: 5 });
    expect(warned()!.message).toContain(
      'Cannot create topic "positions" for positions: TOPIC_AUTHORIZATION_FAILED; nothing is read meanwhile',
    );
    expect(JSON.stringify(warned()!.fields)).toContain(
      "kafka-topics --create --topic positions --partitions 16 --config cleanup.policy=compact --bootstrap-server 127.0.0.1:",
    );
    kafka.addTopic("positions", 4);
    await harness.producer.flush();
    expect(kafka.committedValues()).toEqual(LINES);
  });

  test("may not be read: the rights are named", async () => {
    await using kafka = await start(2);
    {
      await using first = new TransactionHarness(kafka);
      await first.started();
      await first.producer.flush();
    }
    kafka.inspection.canRead = false;
    await using harness = new TransactionHarness(kafka);
    const warned = () => harness.log.lines.find(({ message }) => message.includes("Cannot read topic"));
    await waitUntil("it is told", () => warned() !== undefined, { timeoutMs: 20_000, pollMs: 5 });
    expect(warned()!.fields).toEqual({
      hint: 'Give this user READ, WRITE and DESCRIBE on topic "positions"',
    });
    kafka.inspection.canRead = true;
    await harness.started();
  });

  test("was deleted and made again: positions are written to it again", async () => {
    await using kafka = await start(2);
    await using harness = new TransactionHarness(kafka);
    await harness.started();
    await harness.send(LINES);
    await harness.producer.flush();
    kafka.makeAgain("positions", 3);
    let left = 1;
    kafka.refuse = ({ topic }) =>
      topic === "positions" && left-- > 0 ? { errorCode: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION } : undefined;
    await harness.send(["more"]);
    await harness.producer.flush();
    expect(sorted(kafka.committedValues())).toEqual(sorted([...LINES, "more"]));
    expect(harness.log.texts("error")).toEqual([
      'Topic "positions" lost the positions of transactional id "shipper.test.events": they are written again',
    ]);
  });
});

test("a partition without a leader does not hold lines without keys", async () => {
  await using kafka = await start(2);
  await using harness = new TransactionHarness(kafka, { batchMaxEvents: 5 });
  await harness.started();
  await harness.producer.flush();
  kafka.log("logs", 0).leader = -1;
  await harness.send(LINES);
  await harness.producer.flush();
  expect(kafka.log("logs", 1).committedValues()).toEqual(LINES);
});
