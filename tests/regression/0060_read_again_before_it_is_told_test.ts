// A sink that changed to at-least-once delivery with batches in doubt cancelled their intents in the journal at once, and told a second later that
// their lines have to be read again. Where another sink had the journal written in between, and the process was killed, nobody read them again.
import { afterEach, beforeEach, expect, test } from "bun:test";
import { cpSync } from "node:fs";
import { Membership } from "../../src/batch/membership.ts";
import { Delivery } from "../../src/event/delivery.ts";
import type { EventBatch } from "../../src/event/event_batch.ts";
import type { Journal } from "../../src/journal/journal.ts";
import { readJournal } from "../../src/journal/journal_reader.ts";
import { openJournal, recordOf, regionInfo, streamOf } from "../checkpoint/journaled_positions.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";

const LINES = 3;
const PRODUCER = { producerIdHigh: 0, producerIdLow: 1, epoch: 0, baseSequence: 0 };

let dir: TempDir;
beforeEach(() => {
  dir = tempDir("journal");
});
afterEach(() => dir.remove());

/** A batch of three lines of the file from `startOffset` on is in the journal, and on its way. */
async function send(journal: Journal, sink: string, startOffset: number): Promise<void> {
  const ledger = journal.positions.ledger(streamOf("x"), sink, 0);
  const region = ledger.track(regionInfo(startOffset, startOffset + 30, LINES));
  const members = new Membership();
  const batch = { count: LINES, lineNumbers: null, receivedMs: 1 } as EventBatch;
  members.addRange(new Delivery(batch, () => {}, region), 0, LINES);
  const intents = journal.intentsOf(sink, () => Promise.reject(new Error("not asked for")), true);
  intents.startRun(null, PRODUCER);
  const place = { topic: "t", topicId: null, partition: 0, place: 0, hintOffset: -1, baseTimestampMs: 1 };
  intents.append({ ...place, producer: PRODUCER, count: LINES, members });
  await intents.durable();
}

/** As kill -9 does: what is on disk at this moment is what is found. */
async function kill(journal: Journal, from: string, to: string): Promise<void> {
  cpSync(dir.file(from), dir.file(to), { recursive: true });
  await journal.close(1_000);
}

test("lines of cancelled batches are to be read again from the same moment on", async () => {
  let journal = await openJournal(dir.file("1"));
  journal.positions.put(recordOf("x"));
  await send(journal, "lax", 0);
  await send(journal, "exact", 0);
  await kill(journal, "1", "2");
  journal = await openJournal(dir.file("2"));
  journal.readAgain("lax");
  await send(journal, "exact", 30);
  await kill(journal, "2", "3");
  const { live, positions } = readJournal(dir.file("3"));
  const resumed = (sink: string) => positions.resumeOffset("app", "x", sink);
  // Of the other sink nobody reads them: they are in its batches.
  expect([live.size, resumed("lax"), resumed("exact")]).toEqual([2, 0, 60]);
});
