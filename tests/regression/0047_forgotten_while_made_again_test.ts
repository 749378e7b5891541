import { expect, test } from "bun:test";
import { PositionStore } from "../../src/checkpoint/position_store.ts";
import { recordOf, regionInfo, streamOf } from "../checkpoint/journaled_positions.ts";

// A batch of an earlier run was made again from a disk buffer while its file, rotated away and delivered otherwise, was forgotten. The account of
// the file had been added up by then, and its events were missing from the account of the run.

test("events that are made again when their file is forgotten are in the account", () => {
  const store = new PositionStore({ writeLater: () => () => {} });
  const stream = streamOf("a");
  store.put(recordOf("a"));
  const ledger = store.ledger(stream, "events", 0);
  const region = ledger.track(regionInfo(0, 10));
  region.cover(0, 1);
  region.settle(1);
  store.forget(stream.source, stream.id);
  expect(store.forgottenTally(stream.source, "events").readCount).toBe(0);
  ledger.tally.recover(3);
  expect(store.forgottenTally(stream.source, "events")).toMatchObject({ readCount: 3, inFlightCount: 3 });
});

test("what is kept of forgotten files does not grow with their number", () => {
  const store = new PositionStore({ writeLater: () => () => {} });
  for (let i = 0; i < 2_000; i++) {
    const stream = streamOf(`f${i}`);
    store.put(recordOf(stream.id));
    const { tally } = store.ledger(stream, "events", 0);
    tally.readCount = tally.deliveredCount = 1;
    store.forget(stream.source, stream.id);
  }
  expect(store.forgottenTally(streamOf("x").source, "events").deliveredCount).toBe(2_000);
});
