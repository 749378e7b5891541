import { expect, test } from "bun:test";
import { readJournal } from "../../src/journal/journal_reader.ts";
import { openJournal, recordOf } from "../checkpoint/journaled_positions.ts";
import { appStream, LaneHarness } from "../lane_harness.ts";
import { tempDir } from "../support/temp_dir.ts";

// The head of a line that was too long was delivered, and the position that was stored lay inside of it: after a restart the rest of the
// line was shipped as a line of its own.

const record = { ...recordOf("x"), id: appStream.id };

async function ship(dataDir: string, text: string): Promise<string[]> {
  const journal = await openJournal(dataDir);
  journal.positions.put(record);
  const offset = journal.positions.resumeOffset("app", appStream.id, "events") ?? 0;
  const harness = new LaneHarness({ checkpoint: journal.positions, maxLineBytes: 4 }, offset);
  harness.offer(text);
  const values = harness.read();
  while (harness.waitingCount > 0) harness.settle("delivered");
  expect(await journal.close(1_000)).toBe(true);
  return values;
}

function storedLedger(dataDir: string) {
  return readJournal(dataDir).positions.ledger(appStream, "events", 0);
}

test("the rest of a cut line is skipped after restarts, however many there are", async () => {
  await using dir = tempDir("cut");
  expect(await ship(dir.path, "one\nabcdefgh")).toEqual(["one", "abcd"]);
  expect(await ship(dir.path, "ijkl")).toEqual([]);
  expect(await ship(dir.path, "mnop\nnext\nqrstuvw")).toEqual(["next", "qrst"]);
  expect(storedLedger(dir.path).position).toBe(33);
  expect(storedLedger(dir.path).isInsideCutLine(33)).toBe(true);
  expect(await ship(dir.path, "x\ny\n")).toEqual(["y"]);
  const after = storedLedger(dir.path);
  expect(after.isInsideCutLine(after.position)).toBe(false);
});

test("what is in flight when the process dies is not taken for delivered", async () => {
  await using dir = tempDir("cut");
  const journal = await openJournal(dir.path);
  journal.positions.put(record);
  const harness = new LaneHarness({ checkpoint: journal.positions, maxLineBytes: 4 });
  harness.offer("one\nabcdefgh");
  harness.read();
  expect(await journal.close(1_000)).toBe(true);
  expect(await ship(dir.path, "one\nabcdefgh\n")).toEqual(["one", "abcd"]);
});
