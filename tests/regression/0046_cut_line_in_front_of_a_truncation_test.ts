import { expect, test } from "bun:test";
import { Ledger } from "../../src/checkpoint/ledger.ts";
import { regionInfo, streamOf } from "../checkpoint/journaled_positions.ts";

// A file was truncated behind the position, which was in the middle of a line that was longer than max_line_bytes. The ledger forgot that, and after a
// restart the rest of the line was shipped as a line of its own.

test("what stays may end in the middle of a line that was cut", () => {
  const cut = { startsInsideCutLine: true, endsInsideCutLine: true };
  const ledger = new Ledger(streamOf("x"), 1, 0, () => {});
  const region = ledger.track({ ...regionInfo(0, 10), endsInsideCutLine: true });
  region.cover(0, 1);
  region.settle(1);
  ledger.track({ ...regionInfo(20, 30), startsInsideCutLine: true });
  ledger.rewind(30);
  expect(ledger.isInsideCutLine(10)).toBe(true);
  ledger.rewind(15);
  expect([ledger.trackedEnd, ledger.isInsideCutLine(10)]).toEqual([10, true]);
  ledger.track({ ...regionInfo(10, 15, 0), ...cut });
  expect(ledger.position).toBe(15);
  ledger.rewind(10);
  expect(ledger.isInsideCutLine(10)).toBe(false);
});
