import { expect, test } from "bun:test";
import { type FileRecord, readPositionFile, writePositionFile } from "../../src/checkpoint/position_file.ts";
import { openPositionStore, type PositionStore } from "../../src/checkpoint/position_store.ts";
import { silentLog } from "../kafka/support.ts";
import { appStream, LaneHarness } from "../lane_harness.ts";
import { tempDir } from "../support/temp_dir.ts";

// The head of a line that was too long was delivered, and the position that was stored lay inside of it: after a restart the rest of the
// line was shipped as a line of its own.

const record: FileRecord = {
  source: "app",
  id: appStream.id,
  path: appStream.path,
  lastPath: appStream.path,
  dev: "1",
  ino: "2",
  birthtimeNs: "3",
  generation: 0,
  sinceNs: "0",
  fingerprintBytes: 0,
  fingerprint: "",
};

async function ship(dataDir: string, text: string): Promise<string[]> {
  const store = await open(dataDir);
  const offset = store.resumeOffset("app", appStream.id, "events") ?? 0;
  const harness = new LaneHarness({ checkpoint: store, maxLineBytes: 4 }, offset);
  harness.offer(text);
  const values = harness.read();
  while (harness.waitingCount > 0) harness.settle("delivered");
  expect(await store.close()).toBe(true);
  return values;
}

async function open(dataDir: string): Promise<PositionStore> {
  const store = await openPositionStore({ dataDir, log: silentLog });
  store.put(record);
  return store;
}

test("the rest of a cut line is skipped after restarts, however many there are", async () => {
  await using dir = tempDir("cut");
  expect(await ship(dir.path, "one\nabcdefgh")).toEqual(["one", "abcd"]);
  expect(await ship(dir.path, "ijkl")).toEqual([]);
  expect(await ship(dir.path, "mnop\nnext\nqrstuvw")).toEqual(["next", "qrst"]);
  expect(readPositionFile(dir.path)[0]).toMatchObject({
    offsets: { events: 33 },
    insideCutLine: { events: 33 },
  });
  expect(await ship(dir.path, "x\ny\n")).toEqual(["y"]);
  expect(readPositionFile(dir.path)[0]!.insideCutLine).toBeUndefined();
});

test("a position that a shipper without this has moved on is an ordinary one", async () => {
  await using dir = tempDir("cut");
  expect(await ship(dir.path, "abcdefgh")).toEqual(["abcd"]);
  const [stored] = readPositionFile(dir.path);
  await writePositionFile(dir.path, [{ ...stored!, offsets: { events: 20 } }]);
  expect(await ship(dir.path, "new\n")).toEqual(["new"]);
});

test("what is in flight when the process dies is not taken for delivered", async () => {
  await using dir = tempDir("cut");
  const store = await open(dir.path);
  const harness = new LaneHarness({ checkpoint: store, maxLineBytes: 4 });
  harness.offer("one\nabcdefgh");
  harness.read();
  expect(await store.close()).toBe(true);
  expect(await ship(dir.path, "one\nabcdefgh\n")).toEqual(["one", "abcd"]);
});
