// Kafka 4.3.1 calls a transaction complete whose marker it did not write, when the partition had no leader at that moment: the positions of a sink in
// transactions then stayed open in their topic for good, and were waited for without end. It happens when the only broker is killed in a commit.
import { describe, expect, test } from "bun:test";
import { ApiKey } from "../../src/kafka/protocol/api_keys.ts";
import { TransactionHarness } from "../kafka/transaction/transaction_harness.ts";
import { FakeKafka } from "../support/fake_kafka.ts";
import type { CoordinatorFault } from "../support/fake_transactions.ts";
import { waitUntil } from "../support/wait_until.ts";

const LINES = Array.from({ length: 30 }, (_, i) => `line ${i}`);
const MORE = Array.from({ length: 30 }, (_, i) => `more ${i}`);
const WAIT_MS = 10_000;
const LOST = /The brokers lost the end of a transaction .*: it is ended again \((commit|abort)\)/u;
const sorted = (values: readonly string[]) => [...values].sort();

for (const version of [2, 0]) {
  describe(`transaction.version ${version}`, () => {
    const start = async () => {
      const kafka = await FakeKafka.start(2, { logs: 2, positions: 3 });
      kafka.transactions.isVersion2 = version === 2;
      return kafka;
    };

    /** A transaction with LINES and positions whose end is written to no partition; later ones are. `fault`: what becomes of EndTxn. */
    const hang = async (
      kafka: FakeKafka,
      harness: TransactionHarness,
      fault: CoordinatorFault,
      isLast: boolean,
    ) => {
      await harness.started();
      await harness.producer.flush();
      kafka.refuse = ({ topic }) => {
        if (topic === "logs") harness.positions.set("in\u0000a", "one");
        return undefined;
      };
      const { transactions } = kafka;
      let endedCount = -1;
      transactions.losesMarker = () => transactions.endings.length === endedCount + 1;
      transactions.fault = (apiKey) => {
        const isHurt = endedCount >= 0;
        if (isHurt) return isLast ? "cut-before" : undefined;
        if (apiKey !== ApiKey.EndTxn || !kafka.values().includes("line 0")) return undefined;
        endedCount = transactions.endings.length;
        return fault;
      };
      await harness.send(LINES);
      await waitUntil("it is to be ended", () => endedCount >= 0, { timeoutMs: WAIT_MS, pollMs: 2 });
    };

    for (const [what, fault] of [["committed", "cut-after"], ["aborted", "cut-before"]] as const) {
      test(`the process goes on: what was ${what} counts so, and nothing is waited for`, async () => {
        await using kafka = await start();
        await using harness = new TransactionHarness(kafka);
        await hang(kafka, harness, fault, false);
        await harness.producer.flush();
        expect(harness.log.texts("warn").find((text) => LOST.test(text))).toContain(
          fault === "cut-after" ? "(commit)" : "(abort)",
        );
        expect(sorted(kafka.committedValues())).toEqual(sorted(LINES));
        const written = kafka.values().filter((value) => value.startsWith("line"));
        expect(written.length).toBe(LINES.length * (fault === "cut-after" ? 1 : 2));
        expect(harness.statuses).toEqual(["delivered"]);
        // Nothing is left open that the end of another transaction would change.
        let left = 1;
        kafka.transactions.fault = (key) => key === ApiKey.EndTxn && left-- > 0 ? "cut-before" : undefined;
        await harness.send(MORE);
        await harness.producer.flush();
        expect(sorted(kafka.committedValues())).toEqual(sorted([...LINES, ...MORE]));
        expect(harness.failure).toBeNull();
        harness.producer.close();
        await using next = new TransactionHarness(kafka);
        await next.started();
        expect(next.positions.restored).toEqual({ "in\u0000a": "one" });
      }, 30_000);

      test(`the process is gone too: the next one finds what was ${what}`, async () => {
        await using kafka = await start();
        {
          await using harness = new TransactionHarness(kafka);
          await hang(kafka, harness, fault, true);
        }
        kafka.transactions.fault = () => undefined;
        await using next = new TransactionHarness(kafka);
        await next.started();
        expect(next.positions.restored).toEqual(fault === "cut-after" ? { "in\u0000a": "one" } : {});
        expect(sorted(kafka.committedValues())).toEqual(fault === "cut-after" ? sorted(LINES) : []);
        await next.send(MORE);
        await next.producer.flush();
        expect(sorted(kafka.committedValues())).toEqual(
          sorted(fault === "cut-after" ? [...LINES, ...MORE] : MORE),
        );
      }, 30_000);
    }

    test(
      "nobody can tell how it ended: that is said, nothing is read, and whoever ends it decides",
      async () => {
        await using kafka = await start();
        const id = "nobody";
        {
          await using harness = new TransactionHarness(kafka, {
            transactionalId: id,
            retryIntervalMs: 60_000,
          });
          await hang(kafka, harness, "cut-after", true);
          harness.producer.close();
        }
        kafka.transactions.fault = () => undefined;
        // A process that asked for a producer id and died: the coordinator has nothing to say about the transaction before.
        const { producerId, epoch } = kafka.transactions.takeOver(id);
        kafka.transactions.losesMarker = () => false;
        await using next = new TransactionHarness(kafka, { transactionalId: id });
        const said = () =>
          next.log.texts("error").some((text) => text.includes("nobody can tell whether it was"));
        await waitUntil("it is said", said, { timeoutMs: WAIT_MS, pollMs: 2 });
        expect(next.isStarted).toBe(false);
        for (const topic of ["logs", "positions"]) {
          for (const log of kafka.topics.get(topic)!) log.mark(producerId, epoch, true);
        }
        await next.started();
        expect(next.positions.restored).toEqual({ "in\u0000a": "one" });
      },
      30_000,
    );
  });
}
