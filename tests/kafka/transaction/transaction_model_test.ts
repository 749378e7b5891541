import { expect, test } from "bun:test";
import fc from "fast-check";
import { ErrorCode } from "../../../src/kafka/protocol/error_codes.ts";
import { FakeKafka, type RequestFault } from "../../support/fake_kafka.ts";
import type { CoordinatorFault } from "../../support/fake_transactions.ts";
import { TransactionHarness } from "./transaction_harness.ts";

const BATCHES = 6;
const LINES_PER_BATCH = 20;

type Trouble = CoordinatorFault | NonNullable<RequestFault["kind"]> | "refuse" | "time-out" | null;

const coordinatorFault = fc.constantFrom<Trouble>(
  null,
  null,
  "cut-before",
  "cut-after",
  ErrorCode.COORDINATOR_NOT_AVAILABLE,
  ErrorCode.CONCURRENT_TRANSACTIONS,
  ErrorCode.NOT_COORDINATOR,
);
const produceFault = fc.constantFrom<Trouble>(
  null,
  null,
  null,
  "cut-before",
  "cut-after",
  "refuse",
  "time-out",
  "garbage",
);

test(
  "whatever the coordinator and brokers do: every line is committed once, in order in its partition",
  async () => {
    const scenario = fc.record({
      version: fc.constantFrom(0, 2),
      coordinator: fc.array(coordinatorFault, { maxLength: 12 }),
      produce: fc.array(produceFault, { maxLength: 12 }),
      hasKeys: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(scenario, async ({ version, coordinator, produce, hasKeys }) => {
        await using kafka = await FakeKafka.start(2, { logs: 3, positions: 2 });
        kafka.transactions.isVersion2 = version === 2;
        const faults = [...coordinator];
        kafka.transactions.fault = () => (faults.shift() ?? undefined) as CoordinatorFault | undefined;
        const troubles = [...produce];
        let isRefused = false;
        kafka.fault = () => {
          const trouble = troubles.shift() ?? null;
          isRefused = trouble === "refuse";
          if (trouble === "time-out") kafka.transactions.timeOut(harness.id);
          const isKind = trouble !== null && trouble !== "refuse" && trouble !== "time-out";
          return isKind ? { kind: trouble as NonNullable<RequestFault["kind"]> } : undefined;
        };
        kafka.refuse = ({ values }) =>
          isRefused && values.length > 1 ? { errorCode: ErrorCode.MESSAGE_TOO_LARGE } : undefined;
        await using harness = new TransactionHarness(kafka, {
          batchMaxEvents: 7,
          ...(hasKeys ? { keyField: "k", partitioner: "murmur2_random" } : {}),
        });
        const all: string[] = [];
        for (let b = 0; b < BATCHES; b++) {
          const lines = Array.from({ length: LINES_PER_BATCH }, (_, i) => `${b * LINES_PER_BATCH + i}`);
          all.push(...lines);
          harness.positions.set("in\u0000a", `${all.length}`);
          await harness.send(lines, hasKeys ? { keys: lines.map((line) => `${Number(line) % 5}`) } : {});
        }
        await harness.producer.flush();
        const committed = kafka.committedValues();
        expect([...committed].sort()).toEqual([...all].sort());
        for (const log of kafka.topics.get("logs")!) {
          const numbers = log.committedValues().map(Number);
          expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
        }
        expect(harness.failure).toBeNull();
        expect(kafka.violations).toEqual([]);
        expect(harness.settledCount).toBe(all.length);
        expect(harness.metrics).toMatchObject({ inFlightEvents: 0, deliveredEventsCount: all.length });
        harness.producer.close();
        await using next = new TransactionHarness(kafka);
        await next.started();
        expect(next.positions.restored).toEqual({ "in\u0000a": `${all.length}` });
      }),
      { numRuns: Number(process.env.SHIPPER_MODEL_RUNS ?? 12) },
    );
  },
  240_000,
);
