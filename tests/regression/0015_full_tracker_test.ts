import { expect, test } from "bun:test";
import { Ledger } from "../../src/checkpoint/ledger.ts";
import { regionInfo, streamOf } from "../checkpoint/journaled_positions.ts";

// One range that does not settle (a partition without a leader) kept all settled ones behind it. At their limit the run ended.

test("settled regions behind one that does not settle take no memory, and nothing waits for it", () => {
  const ledger = new Ledger(streamOf("x"), 1, 0, () => {});
  const stuck = ledger.track(regionInfo(0, 10));
  const count = 200_000;
  for (let i = 1; i <= count; i++) {
    const region = ledger.track(regionInfo(i * 10, i * 10 + 10));
    region.cover(0, 1);
    region.settle(1);
    if (ledger.entries().length > 200) throw new Error(`${ledger.entries().length} entries at ${i}`);
  }
  expect([ledger.position, ledger.frontier]).toEqual([0, count * 10 + 10]);
  stuck.cover(0, 1);
  stuck.settle(1);
  expect(ledger.position).toBe(count * 10 + 10);
});
