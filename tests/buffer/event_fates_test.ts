import { describe, expect, test } from "bun:test";
import { EventFates, Fate } from "../../src/buffer/event_fates.ts";
import { Ledger } from "../../src/checkpoint/ledger.ts";

const { DONE, WAITING, OPEN } = Fate;
const stream = { id: "b", source: "(disk buffer)", sourceType: "file", path: "" } as const;

function newLedger(position: number): Ledger {
  return new Ledger(stream, 1, position, () => {});
}

function track(ledger: Ledger, startOffset: number, endOffset: number, crc32 = 7) {
  return ledger.track({
    startOffset,
    endOffset,
    crc32,
    lineCount: endOffset - startOffset,
    startsInsideCutLine: false,
    endsInsideCutLine: false,
  });
}

describe("fates of events", () => {
  test("of a buffer that the journal does not know: all wait, and all that is missing is wanted", () => {
    const fates = new EventFates(null);
    expect([...fates.of(5, 3, () => 0)]).toEqual([WAITING, WAITING, WAITING]);
    expect(fates.missingIn(2, 9)).toEqual({ from: 2, to: 9, count: 7 });
    expect([fates.position, fates.waitingTo(4)]).toEqual([null, 4]);
  });

  test("in front of the position are done, behind all regions wait", () => {
    const fates = new EventFates(newLedger(10));
    expect([...fates.of(4, 6, () => 0)]).toEqual([DONE, DONE, DONE, DONE, DONE, DONE]);
    expect([...fates.of(8, 4, () => 0)]).toEqual([DONE, DONE, WAITING, WAITING]);
    expect(fates.missingIn(0, 10)).toBeNull();
    expect(fates.missingIn(0, 12)).toEqual({ from: 10, to: 12, count: 2 });
    expect(fates.waitingTo(15)).toBe(5);
  });

  test("in a region are done where they are covered, and open where an intent is live", () => {
    const ledger = newLedger(0);
    track(ledger, 0, 4);
    const region = track(ledger, 4, 9);
    region.cover(0, 3);
    const fates = new EventFates(ledger, [{ firstEvent: 4, runs: [1, 2] }]);
    expect([...fates.of(4, 5, () => 7)]).toEqual([DONE, OPEN, OPEN, WAITING, WAITING]);
    expect([...fates.of(0, 4, () => 7)]).toEqual([WAITING, WAITING, WAITING, WAITING]);
    // Two that no batch has, and two whose batch cannot be made again.
    expect(fates.missingIn(4, 9)).toEqual({ from: 4, to: 9, count: 4 });
    expect(fates.waitingTo(20)).toBe(17);
  });

  test("of a frame with another checksum all wait: a shipper delivers it whole", () => {
    const ledger = newLedger(0);
    track(ledger, 0, 4).cover(0, 3);
    expect([...new EventFates(ledger).of(0, 4, () => 8)]).toEqual([WAITING, WAITING, WAITING, WAITING]);
  });

  test("that were dropped or lost in one piece are done, whatever frames they were in", () => {
    const ledger = newLedger(0);
    track(ledger, 0, 4);
    const dropped = track(ledger, 4, 12, 0);
    dropped.cover(0, 8);
    dropped.settle(8);
    const fates = new EventFates(ledger);
    expect([...fates.of(2, 6, () => 1)]).toEqual([WAITING, WAITING, DONE, DONE, DONE, DONE]);
    expect([...fates.of(10, 3, () => 1)]).toEqual([DONE, DONE, WAITING]);
    expect(fates.missingIn(4, 12)).toBeNull();
    expect(fates.missingIn(0, 14)).toEqual({ from: 0, to: 14, count: 6 });
  });
});
