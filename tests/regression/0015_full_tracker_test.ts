import { expect, test } from "bun:test";
import type { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { OPEN_RANGES_MAX, RangeTracker } from "../../src/checkpoint/position_tracker.ts";
import { LaneHarness } from "../lane_harness.ts";

// One range that does not settle (a partition without a leader) keeps all settled ones behind it. At their limit the run ended.

test("a tracker says when it is full, and that it has room again", () => {
  const tracker = new RangeTracker(0, () => {});
  for (let i = 0; i < OPEN_RANGES_MAX; i++) {
    if (!tracker.hasRoom) throw new Error(`Full at ${i}`);
    const ticket = tracker.track(i, i + 1);
    if (i > 0) tracker.settle(ticket, "delivered");
  }
  expect([tracker.hasRoom, tracker.position]).toEqual([false, 0]);
  tracker.settle(0, "delivered");
  expect([tracker.hasRoom, tracker.position]).toEqual([true, OPEN_RANGES_MAX]);
});

test("a lane waits while its tracker is full, and goes on afterwards", async () => {
  let hasRoom = true;
  const tracker = new RangeTracker(0, () => {});
  const checkpoint: Checkpoint = {
    tracker: () => ({
      track: (start, end, cut) => tracker.track(start, end, cut),
      settle: (ticket, status) => tracker.settle(ticket, status),
      get position() {
        return tracker.position;
      },
      get hasRoom() {
        return hasRoom;
      },
      startsInsideCutLine: false,
    }),
  };
  for (const whenFull of ["block", "drop_newest"] as const) {
    const harness = new LaneHarness({ checkpoint, whenFull }, tracker.position);
    hasRoom = false;
    expect(harness.offer("a\n")).toBe("a\n");
    expect(harness.lane.hasRoom()).toBe(false);
    let isWoken = false;
    const waiting = harness.lane.waitForRoom(new AbortController().signal).then(() => isWoken = true);
    await Bun.sleep(1);
    expect(isWoken).toBe(false);
    hasRoom = true;
    await waiting;
    expect(harness.offer("a\n")).toBe("");
    expect(harness.read()).toEqual(["a"]);
    harness.settle("delivered");
    expect(harness.log.lines.map((line) => line.message).join("\n")).toContain("waits: bytes of");
  }
});
