import { expect, test } from "bun:test";
import { SinkPositions } from "../../src/checkpoint/sink_positions.ts";
import { recordOf, regionInfo, streamOf } from "./journaled_positions.ts";

/** No timer: a change is noted when it is asked for. */
const never = { writeLater: () => () => {} };

/** Applies changes as the topic would keep them. */
function keep(stored: Map<string, Buffer>, positions: SinkPositions): string[] {
  const changes = positions.takeChanges();
  for (const { key, value } of changes) {
    if (value === null) stored.delete(key);
    else stored.set(key, value);
  }
  positions.stored();
  return changes.map(({ key, value }) => `${value === null ? "-" : "+"}${key}`);
}

function restored(stored: ReadonlyMap<string, Buffer>): SinkPositions {
  const positions = new SinkPositions("s", never);
  positions.restore(stored);
  return positions;
}

test("what is covered is restored, and what is not is read again", () => {
  const positions = new SinkPositions("s", never);
  const stored = new Map<string, Buffer>();
  let changeCount = 0;
  positions.onChange = () => changeCount++;
  positions.restore(new Map());
  positions.store.put(recordOf("x"));
  positions.store.startAt("app", "x", "s", 7);
  expect(changeCount).toBeGreaterThan(0);
  expect(positions.hasNew).toBe(true);
  expect(keep(stored, positions)).toEqual(["+app\u0000x"]);
  expect(positions.hasChanges).toBe(false);

  const ledger = positions.store.ledger(streamOf("x"), "s", 7);
  const first = ledger.track(regionInfo(7, 20, 2));
  const second = ledger.track(regionInfo(20, 40, 3));
  second.cover(1, 1);
  positions.touch(ledger.streamNumber);
  // A stream of stdin has no number.
  positions.touch(0);
  expect([positions.hasChanges, positions.hasNew]).toEqual([true, false]);
  expect(keep(stored, positions)).toEqual(["+app\u0000x"]);
  let next = restored(stored);
  expect(next.store.records("app")).toEqual([recordOf("x")]);
  expect([next.store.position("app", "x", "s"), next.store.resumeOffset("app", "x", "s")]).toEqual([7, 7]);

  first.cover(0, 2);
  positions.touch(ledger.streamNumber);
  keep(stored, positions);
  next = restored(stored);
  expect(next.store.position("app", "x", "s")).toBe(20);
  const again = next.store.ledger(streamOf("x"), "s", 0).pieceAt(20);
  expect(again).toMatchObject({ kind: "region" });
  expect(again?.kind === "region" && [0, 1, 2].map((line) => again.region.isLineCovered(line))).toEqual([
    false,
    true,
    false,
  ]);
});

test("what could not be stored is given again, with what came meanwhile", () => {
  const positions = new SinkPositions("s", never);
  positions.restore(new Map());
  positions.store.put(recordOf("x"));
  expect(positions.takeChanges()).toHaveLength(1);
  positions.store.put(recordOf("y"));
  positions.notStored();
  expect(positions.takeChanges().map(({ key }) => key).sort()).toEqual(["app\u0000x", "app\u0000y"]);
  positions.stored();
  expect(positions.hasChanges).toBe(false);
  positions.changeAll();
  expect(positions.takeChanges()).toHaveLength(2);
});

test("a stream that is forgotten, or has another id, leaves nothing behind", () => {
  const positions = new SinkPositions("s", never);
  const stored = new Map<string, Buffer>();
  positions.restore(new Map());
  for (const id of ["x", "y", "z"]) positions.store.put(recordOf(id));
  keep(stored, positions);
  const next = restored(stored);
  next.store.forgetWhenDelivered("app", "x", new Map());
  next.store.adopt("y", { ...recordOf("y"), id: "y2" });
  expect(next.hasChanges).toBe(true);
  expect(keep(stored, next).sort()).toEqual(["+app\u0000y2", "-app\u0000x", "-app\u0000y"]);
  expect([...stored.keys()].sort()).toEqual(["app\u0000y2", "app\u0000z"]);
  expect(restored(stored).store.records("app").map(({ id }) => id).sort()).toEqual(["y2", "z"]);
});

test("a stream that was made again under its id stays", () => {
  const positions = new SinkPositions("s", never);
  const stored = new Map<string, Buffer>();
  positions.restore(new Map());
  positions.store.put(recordOf("x"));
  keep(stored, positions);
  positions.store.forget("app", "x");
  positions.store.forgetWhenDelivered("app", "x", new Map());
  positions.store.put(recordOf("x"));
  keep(stored, positions);
  expect([...stored.keys()]).toEqual(["app\u0000x"]);
});

test("values that are none are errors", () => {
  const positions = new SinkPositions("s", never);
  positions.restore(new Map());
  positions.store.put(recordOf("x"));
  positions.store.startAt("app", "x", "s", 7);
  const [change] = positions.takeChanges();
  const value = change!.value!;
  for (let length = 0; length < value.length; length++) {
    expect(() => restored(new Map([["app\u0000x", value.subarray(0, length)]])), `${length} bytes`).toThrow();
  }
  expect(() => restored(new Map([["app\u0000other", value]]))).toThrow("its file record is incomplete");
  // What later versions may add to a ledger is a number or two; this is none.
  const longer = Buffer.concat([value, Buffer.alloc(40, 0xff)]);
  expect(() => restored(new Map([["app\u0000x", longer]]))).toThrow();
});
