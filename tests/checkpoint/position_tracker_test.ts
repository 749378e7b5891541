import { expect, test } from "bun:test";
import fc from "fast-check";
import { RangeTracker } from "../../src/checkpoint/position_tracker.ts";
import type { BatchStatus } from "../../src/event/delivery.ts";

interface Range {
  readonly end: number;
  readonly isCut: boolean;
  status: BatchStatus | null;
}

test("RangeTracker equals a list of ranges, whatever the order of settling", () => {
  const action = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({ kind: fc.constant("track" as const), length: fc.nat(20), isCut: fc.boolean() }),
    },
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constant("settle" as const),
        pick: fc.nat(),
        status: fc.oneof(
          { weight: 20, arbitrary: fc.constant("delivered" as const) },
          { weight: 5, arbitrary: fc.constant("rejected" as const) },
          { weight: 1, arbitrary: fc.constant("errored" as const) },
        ),
      }),
    },
  );
  fc.assert(
    fc.property(
      fc.nat(1_000),
      fc.boolean(),
      fc.array(action, { minLength: 20, maxLength: 300 }),
      (start, isStartCut, actions) => {
        let advances = 0;
        const tracker = new RangeTracker(start, () => advances++, isStartCut);
        const ranges: Range[] = [];
        const open: number[] = [];
        let end = start;
        let lastPosition = start;
        for (const step of actions) {
          if (step.kind === "track") {
            expect(tracker.track(end, end + step.length, step.isCut)).toBe(ranges.length);
            end += step.length;
            open.push(ranges.length);
            ranges.push({ end, isCut: step.isCut, status: null });
          } else if (open.length > 0) {
            const ticket = open.splice(step.pick % open.length, 1)[0]!;
            ranges[ticket]!.status = step.status;
            tracker.settle(ticket, step.status);
          }
          const stop = ranges.findIndex((range) =>
            range.status !== "delivered" && range.status !== "rejected"
          );
          const passed = stop === -1 ? ranges.length : stop;
          const position = passed === 0 ? start : ranges[passed - 1]!.end;
          expect(tracker.position).toBe(position);
          expect(tracker.isPositionInsideCutLine).toBe(passed === 0 ? isStartCut : ranges[passed - 1]!.isCut);
          expect(tracker.trackedEnd).toBe(end);
          expect(tracker.startsInsideCutLine).toBe(ranges.at(-1)?.isCut ?? isStartCut);
          if (position !== lastPosition) expect(advances).toBeGreaterThan(0);
          lastPosition = position;
          const errored = ranges.findIndex((range) => range.status === "errored");
          const kept = errored === -1 ? ranges.length : errored;
          expect(tracker.openCount).toBe(kept - Math.min(passed, kept));
        }
      },
    ),
    { numRuns: 300 },
  );
});

test("RangeTracker refuses gaps, and settling twice", () => {
  const tracker = new RangeTracker(10, () => {});
  expect(() => tracker.track(11, 12)).toThrow("has to start at 10");
  const first = tracker.track(10, 12);
  const second = tracker.track(12, 14);
  tracker.settle(second, "delivered");
  expect(() => tracker.settle(second, "delivered")).toThrow("settled already");
  tracker.settle(first, "delivered");
  expect(() => tracker.settle(first, "delivered")).toThrow("settled already");
  expect(() => tracker.settle(2, "delivered")).toThrow("never tracked");
  expect(tracker.position).toBe(14);
});

test("RangeTracker keeps nothing behind an errored range", () => {
  const tracker = new RangeTracker(0, () => {});
  const first = tracker.track(0, 1);
  tracker.settle(tracker.track(1, 2), "errored");
  for (let i = 2; i < 100_000; i++) tracker.settle(tracker.track(i, i + 1), "delivered");
  expect([tracker.openCount, tracker.position]).toEqual([1, 0]);
  tracker.settle(first, "delivered");
  expect([tracker.openCount, tracker.position, tracker.trackedEnd]).toEqual([0, 1, 100_000]);
});
