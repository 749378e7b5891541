import { afterEach, beforeEach, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { Ledger } from "../../src/checkpoint/ledger.ts";
import { UNSEEN_KEPT_MS } from "../../src/checkpoint/position_store.ts";
import { StartError } from "../../src/errors.ts";
import { readJournal } from "../../src/journal/journal_reader.ts";
import { openJournal, recordOf, regionInfo, streamOf } from "./journaled_positions.ts";

let dataDir: string;
beforeEach(() => {
  dataDir = fs.mkdtempSync(path.join(os.tmpdir(), "shipper-positions-"));
});
afterEach(() => fs.rmSync(dataDir, { recursive: true, force: true }));

/** The lines of the range are delivered without an intent having told it. */
function deliver(ledger: Ledger, start: number, end: number): void {
  const region = ledger.track(regionInfo(start, end));
  region.cover(0, 1);
  region.settle(1);
  ledger.changed();
}

test("positions are stored by stream and sink", async () => {
  const journal = await openJournal(dataDir);
  const store = journal.positions;
  store.put(recordOf("x"));
  store.startAt("app", "x", "slow", 7);
  const ledger = store.ledger(streamOf("x"), "fast", 7);
  expect(store.ledger(streamOf("x"), "fast", 999)).toBe(ledger);
  deliver(ledger, 7, 20);
  ledger.track(regionInfo(20, 30));
  ledger.cursor = 30;
  expect(store.resumeOffset("app", "x", "fast")).toBe(30);
  expect(await journal.close(1_000)).toBe(true);
  const again = readJournal(dataDir).positions;
  expect(again.records("app")).toEqual([recordOf("x")]);
  expect(again.position("app", "x", "fast")).toBe(20);
  expect(again.resumeOffset("app", "x", "fast")).toBe(20);
  expect(again.position("app", "x", "slow")).toBe(7);
  expect(again.position("app", "x", "other")).toBe(null);
  expect(again.position("other", "x", "fast")).toBe(null);
});

test("positions of stdin are tracked and not stored", async () => {
  const journal = await openJournal(dataDir);
  const stdin = { id: "stdin:1", source: "in", sourceType: "stdin", path: "" } as const;
  const ledger = journal.positions.ledger(stdin, "s", 0);
  deliver(ledger, 0, 5);
  expect([ledger.position, ledger.streamNumber]).toEqual([5, 0]);
  await journal.close(1_000);
  expect(readJournal(dataDir).positions.records("in")).toEqual([]);
});

test("changes are written by themselves within some seconds", async () => {
  const journal = await openJournal(dataDir);
  journal.positions.put(recordOf("x"));
  const deadline = performance.now() + 10_000;
  while (readJournal(dataDir).positions.records("app").length === 0 && performance.now() < deadline) {
    await Bun.sleep(20);
  }
  expect(readJournal(dataDir).positions.records("app")[0]?.id).toBe("x");
  await journal.close(1_000);
});

test("a stream goes when its file is gone and every sink has delivered it", async () => {
  const journal = await openJournal(dataDir);
  const store = journal.positions;
  store.put(recordOf("x"));
  const ledger = store.ledger(streamOf("x"), "a", 0);
  const region = ledger.track(regionInfo(0, 10));
  store.startAt("app", "x", "b", 10);
  store.forgetWhenDelivered("app", "x", new Map([["a", 10], ["b", 10]]));
  await store.flush();
  expect(store.records("app").length).toBe(1);
  region.cover(0, 1);
  region.settle(1);
  await store.flush();
  expect(store.records("app").length).toBe(0);
  await journal.close(1_000);
  expect(readJournal(dataDir).positions.records("app")).toEqual([]);
});

test("a stream that was not seen for long goes when asked to", async () => {
  let nowMs = 1_000_000;
  const journal = await openJournal(dataDir, { now: () => nowMs });
  const store = journal.positions;
  store.put(recordOf("old"));
  nowMs += UNSEEN_KEPT_MS;
  store.put(recordOf("new"));
  store.forgetUnseen("app");
  expect(store.records("app").length).toBe(2);
  nowMs += 1;
  store.forgetUnseen("app");
  expect(store.records("app").map(({ id }) => id)).toEqual(["new"]);
  await journal.close(1_000);
});

test("adopt gives the positions to another identity", async () => {
  const journal = await openJournal(dataDir);
  journal.positions.put(recordOf("x"));
  journal.positions.startAt("app", "x", "a", 12);
  journal.positions.adopt("x", recordOf("y"));
  await journal.close(1_000);
  const again = readJournal(dataDir).positions;
  expect(again.records("app").map(({ id }) => id)).toEqual(["y"]);
  expect(again.position("app", "y", "a")).toBe(12);
});

test("positions of the first version are taken over, and their file is set aside", async () => {
  const streams = [{ ...recordOf("x"), seenMs: 5, offsets: { a: 12, b: 9 }, insideCutLine: { b: 9 } }];
  const crc32 = (await import("node:zlib")).crc32(JSON.stringify(streams)).toString(16).padStart(8, "0");
  fs.writeFileSync(path.join(dataDir, "positions.json"), JSON.stringify({ version: 1, crc32, streams }));
  await (await openJournal(dataDir)).close(1_000);
  expect(fs.readdirSync(dataDir).sort()).toEqual(["journal", "positions.json.migrated"]);
  const store = readJournal(dataDir).positions;
  expect([store.position("app", "x", "a"), store.position("app", "x", "b")]).toEqual([12, 9]);
  expect(store.ledger(streamOf("x"), "b", 0).isInsideCutLine(9)).toBe(true);
});

test("a damaged file of the first version stops the start, names itself and stays", async () => {
  const file = path.join(dataDir, "positions.json");
  for (const damage of ["", "{", "[]", "null", '{"version":0}', '{"version":1,"crc32":"0","streams":[]}']) {
    fs.writeFileSync(file, damage);
    const error = await openJournal(dataDir).then(() => null, (thrown: unknown) => thrown);
    if (!(error instanceof StartError)) throw new Error(`Started with ${damage}`);
    expect([damage, error.code, error.exitCode]).toEqual([damage, "positions-damaged", 78]);
    expect(error.message).toContain(file);
    expect(fs.readFileSync(file, "utf8")).toBe(damage);
  }
  fs.writeFileSync(file, '{"version":2,"anything":true}');
  expect(openJournal(dataDir)).rejects.toMatchObject({ code: "positions-newer", exitCode: 78 });
});
