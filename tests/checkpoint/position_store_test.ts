import { afterEach, beforeEach, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { FileRecord } from "../../src/checkpoint/position_file.ts";
import { openPositionStore, UNSEEN_KEPT_MS } from "../../src/checkpoint/position_store.ts";
import { StartError } from "../../src/errors.ts";
import type { Stream } from "../../src/event/stream.ts";
import { MemoryLog } from "../source/harness.ts";

let dataDir: string;
let file: string;
beforeEach(() => {
  dataDir = fs.mkdtempSync(path.join(os.tmpdir(), "shipper-positions-"));
  file = path.join(dataDir, "positions.json");
});
afterEach(() => fs.rmSync(dataDir, { recursive: true, force: true }));

function record(id: string): FileRecord {
  const logPath = `/var/log/${id}.log`;
  const identity = { dev: "1", ino: "2", birthtimeNs: "3", sinceNs: "3", generation: 0 };
  return {
    source: "app",
    id,
    path: logPath,
    lastPath: logPath,
    ...identity,
    fingerprintBytes: 4,
    fingerprint: "ab",
  };
}

function stream(id: string): Stream {
  return { id, source: "app", sourceType: "file", path: `/var/log/${id}.log` };
}

function open(now: () => number = Date.now, log = new MemoryLog()) {
  return openPositionStore({ dataDir, log, now });
}

async function startError(): Promise<StartError> {
  try {
    await open();
  } catch (error) {
    if (error instanceof StartError) return error;
    throw error;
  }
  throw new Error("The store was opened");
}

test("positions are stored by stream and sink", async () => {
  const store = await open();
  store.put(record("x"));
  store.startAt("app", "x", "slow", 7);
  const tracker = store.tracker(stream("x"), "fast", 7);
  expect(store.tracker(stream("x"), "fast", 999)).toBe(tracker);
  tracker.settle(tracker.track(7, 20), "delivered");
  tracker.track(20, 30);
  expect(store.resumeOffset("app", "x", "fast")).toBe(30);
  expect(await store.close()).toBe(true);
  const again = await open();
  expect(again.records("app")).toEqual([record("x")]);
  expect(again.position("app", "x", "fast")).toBe(20);
  expect(again.position("app", "x", "slow")).toBe(7);
  expect(again.position("app", "x", "other")).toBe(null);
  expect(again.position("other", "x", "fast")).toBe(null);
  expect(fs.readdirSync(dataDir)).toEqual(["positions.json"]);
});

test("positions of stdin are tracked and not stored", async () => {
  const store = await open();
  const tracker = store.tracker({ id: "stdin:1", source: "in", sourceType: "stdin", path: "" }, "s", 0);
  tracker.settle(tracker.track(0, 5), "delivered");
  expect(tracker.position).toBe(5);
  await store.close();
  expect(fs.readdirSync(dataDir)).toEqual([]);
});

test("changes are written by themselves within some seconds", async () => {
  const store = await open();
  store.put(record("x"));
  const deadline = performance.now() + 10_000;
  while (!fs.existsSync(file) && performance.now() < deadline) await Bun.sleep(20);
  expect(JSON.parse(fs.readFileSync(file, "utf8")).streams[0].id).toBe("x");
  await store.close();
});

test("a stream goes when its file is gone and every sink has delivered it", async () => {
  const store = await open();
  store.put(record("x"));
  const tracker = store.tracker(stream("x"), "a", 0);
  const ticket = tracker.track(0, 10);
  store.startAt("app", "x", "b", 10);
  store.forgetWhenDelivered("app", "x", new Map([["a", 10], ["b", 10]]));
  await store.flush();
  expect(store.records("app").length).toBe(1);
  tracker.settle(ticket, "delivered");
  await store.flush();
  expect(store.records("app").length).toBe(0);
  await store.close();
});

test("a stream that was not seen for long goes when asked to", async () => {
  let nowMs = 1_000_000;
  const store = await open(() => nowMs);
  store.put(record("old"));
  nowMs += UNSEEN_KEPT_MS;
  store.put(record("new"));
  store.forgetUnseen("app");
  expect(store.records("app").length).toBe(2);
  nowMs += 1;
  store.forgetUnseen("app");
  expect(store.records("app").map(({ id }) => id)).toEqual(["new"]);
  await store.close();
});

test("adopt gives the positions to another identity", async () => {
  const store = await open();
  store.put(record("x"));
  store.startAt("app", "x", "a", 12);
  store.adopt("x", record("y"));
  expect(store.records("app").map(({ id }) => id)).toEqual(["y"]);
  expect(store.position("app", "y", "a")).toBe(12);
  await store.close();
});

test("a damaged file stops the start, names itself and stays", async () => {
  const store = await open();
  store.put(record("x"));
  store.startAt("app", "x", "a", 12);
  await store.close();
  const good = fs.readFileSync(file, "utf8");
  const damages = [
    "",
    "{",
    "[]",
    "null",
    good.slice(0, -20),
    good.replace('"a":12', '"a":13'),
    good.replace('"version":1', '"version":0'),
  ];
  for (const damage of damages) {
    fs.writeFileSync(file, damage);
    const error = await startError();
    expect([damage, error.code, error.exitCode]).toEqual([damage, "positions-damaged", 78]);
    expect(error.message).toContain(file);
    expect(error.hint).toContain("mv ");
    expect(fs.readFileSync(file, "utf8")).toBe(damage);
  }
});

test("positions of a newer version are refused", async () => {
  fs.writeFileSync(file, '{"version":2,"anything":true}');
  const error = await startError();
  expect([error.code, error.exitCode]).toEqual(["positions-newer", 78]);
  expect(error.message).toContain("version 2");
});

test("what a crash left half-written aside is ignored", async () => {
  const store = await open();
  store.put(record("x"));
  await store.close();
  fs.writeFileSync(`${file}.new`, '{"version":1,"crc');
  const again = await open();
  expect(again.records("app").length).toBe(1);
  again.put(record("y"));
  expect(await again.close()).toBe(true);
  expect(fs.readdirSync(dataDir)).toEqual(["positions.json"]);
});

test("a write that fails is told once and tried again", async () => {
  const log = new MemoryLog();
  const store = await open(Date.now, log);
  fs.mkdirSync(`${file}.new`); // opening it for writing fails, also for root
  store.put(record("x"));
  expect(await store.flush()).toBe(false);
  expect(await store.flush()).toBe(false);
  expect(log.matching("warn: Cannot store positions").length).toBe(1);
  fs.rmdirSync(`${file}.new`);
  expect(await store.flush()).toBe(true);
  expect(log.matching("info: Positions are stored again").length).toBe(1);
  expect(await store.close()).toBe(true);
  expect((await open()).records("app").length).toBe(1);
});
