import { afterEach, beforeEach, expect, test } from "bun:test";
import { Membership } from "../../src/batch/membership.ts";
import type { Region } from "../../src/checkpoint/region.ts";
import { auditStored } from "../../src/cli/stored_audit.ts";
import { Delivery } from "../../src/event/delivery.ts";
import type { Stream } from "../../src/event/stream.ts";
import { Journal } from "../../src/journal/journal.ts";
import { readJournal } from "../../src/journal/journal_reader.ts";
import type { NewIntent } from "../../src/kafka/intent_log.ts";
import { KeptLog } from "../kafka/producer_harness.ts";
import { eventBatch } from "../support/events.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";

const SINK = "events";
const LINE_BYTES = 10;
const stream: Stream = { id: "1:2:3", source: "app", sourceType: "file", path: "/a.log" };

let dir: TempDir;
let journal: Journal;
beforeEach(async () => {
  dir = tempDir("account");
  journal = await open();
  journal.positions.put({
    source: stream.source,
    id: stream.id,
    path: stream.path,
    lastPath: stream.path,
    dev: "1",
    ino: "2",
    birthtimeNs: "3",
    generation: 0,
    sinceNs: "3",
    fingerprintBytes: 0,
    fingerprint: "",
  });
});
afterEach(() => dir.remove());

function open(): Promise<Journal> {
  return Journal.open({
    dataDir: dir.path,
    durability: "process",
    machineId: "m",
    dataDirInode: "1:1",
    onClonedState: "adopt",
    log: new KeptLog(),
  });
}

/** Stops as a clean end does, and starts again: the new journal begins with a checkpoint of what the old one said. */
async function restart(): Promise<void> {
  expect(await journal.close(1_000)).toBe(true);
  journal = await open();
}

function ledger() {
  return journal.positions.ledger(stream, SINK, 0);
}

/** Lines from line number `first` of the file on, as one region whose checksum tells what is in it. */
function read(first: number, count: number, crc32 = first + 1): Region {
  const startOffset = first * LINE_BYTES;
  return ledger().track({
    startOffset,
    endOffset: startOffset + count * LINE_BYTES,
    crc32,
    lineCount: count,
    startsInsideCutLine: false,
    endsInsideCutLine: false,
  });
}

/** All lines of these regions as the members of a batch. */
function membersOf(...regions: Region[]): Membership {
  const members = new Membership();
  for (const region of regions) {
    const batch = eventBatch(Array.from({ length: region.lineCount }, () => "x"), { stream });
    members.addRange(new Delivery(batch, () => region.settle(region.lineCount), region), 0, region.lineCount);
  }
  return members;
}

function intentOf(members: Membership): NewIntent {
  return {
    topic: "logs",
    topicId: null,
    partition: 0,
    producer: { producerIdHigh: 0, producerIdLow: 1, epoch: 0, baseSequence: 0 },
    count: members.count,
    place: 0,
    hintOffset: -1,
    baseTimestampMs: 1_000,
    members,
  };
}

function sinkNumber(): number {
  return journal.positions.sinkNumber(SINK);
}

function append(members: Membership): number {
  return journal.append(sinkNumber(), 1, intentOf(members));
}

function acknowledge(id: number, members: Membership): void {
  journal.acknowledge(id);
  members.settle("delivered");
}

/** What the journal says on disk, after all of it is written. */
async function stored() {
  await journal.positions.flush();
  await journal.durable(false);
  const { addsUp, streams } = auditStored(readJournal(dir.path), dir.path);
  const { read, acknowledged, inFlight, dropped, lost, difference } = streams[0]!;
  return { addsUp, read, acknowledged, inFlight, dropped, lost, difference };
}

/** The same of what is in memory, which the next checkpoint writes. */
function inMemory() {
  const { coveredCount, deliveredCount } = ledger().totals;
  return [coveredCount, deliveredCount];
}

test("acknowledgements are counted alike in memory and by a reader, over restarts", async () => {
  const members = [membersOf(read(0, 3)), membersOf(read(3, 4)), membersOf(read(7, 2))];
  const ids = members.map(append);
  acknowledge(ids[0]!, members[0]!);
  acknowledge(ids[2]!, members[2]!);
  expect(inMemory()).toEqual([9, 5]);
  expect(await stored()).toMatchObject({ addsUp: true, read: 9, acknowledged: 5, inFlight: 4 });
  await restart();
  expect(inMemory()).toEqual([9, 5]);
  journal.acknowledge(ids[1]!);
  expect(inMemory()).toEqual([9, 9]);
  ledger().changed();
  expect(await stored()).toMatchObject({ addsUp: true, read: 9, acknowledged: 9, inFlight: 0 });
  await restart();
  expect(await stored()).toMatchObject({ addsUp: true, read: 9, acknowledged: 9, inFlight: 0 });
});

test("a file that is cut back while a batch is on its way: the journal can be read, and adds up", async () => {
  const kept = membersOf(read(0, 3));
  acknowledge(append(kept), kept);
  const cut = membersOf(read(3, 5));
  const cutId = append(cut);
  journal.positions.rewind(stream.source, stream.id, SINK, 3 * LINE_BYTES);
  // Other lines under the same offsets, in another cut.
  const other = membersOf(read(3, 4, 99), read(7, 4, 98));
  const otherId = append(other);
  expect(await stored()).toMatchObject({ addsUp: true, read: 16, acknowledged: 3, inFlight: 13 });
  await restart();
  expect(await stored()).toMatchObject({ addsUp: true, read: 16, acknowledged: 3, inFlight: 13 });
  journal.acknowledge(cutId);
  expect(await stored()).toMatchObject({ addsUp: true, acknowledged: 8, inFlight: 8 });
  // The new lines are in their own batch still: the old one's acknowledgement says nothing of them.
  const live = [...readJournal(dir.path).live.keys()];
  expect(live).toEqual([otherId]);
});

test("after a checkpoint, lines under the offsets of a batch that was cut off are read again", async () => {
  const cut = membersOf(read(0, 5));
  append(cut);
  journal.positions.rewind(stream.source, stream.id, SINK, 0);
  await restart();
  await restart();
  expect(ledger().cursor).toBe(0);
  expect(ledger().pieceAt(0)).toBeNull();
});

test("lines that were cut off leave the account when their batch gets new numbers", async () => {
  const kept = membersOf(read(0, 3));
  acknowledge(append(kept), kept);
  const regions = [read(3, 2), read(5, 4)];
  const id = append(membersOf(...regions));
  journal.positions.rewind(stream.source, stream.id, SINK, 5 * LINE_BYTES);
  // The lines go out all the same; the intent can name those of the first region alone.
  const [newId] = journal.replace(sinkNumber(), 1, [id], [], [intentOf(membersOf(...regions))]);
  // By the frame alone, and by the positions that are stored later.
  await journal.durable(false);
  expect(auditStored(readJournal(dir.path), dir.path).streams[0]).toMatchObject({ read: 5, difference: 0 });
  expect(await stored()).toMatchObject({ addsUp: true, read: 5, acknowledged: 3, inFlight: 2 });
  journal.acknowledge(newId!);
  expect(inMemory()).toEqual([5, 5]);
  expect(await stored()).toMatchObject({ addsUp: true, read: 5, acknowledged: 5, inFlight: 0 });
  await restart();
  expect(await stored()).toMatchObject({ addsUp: true, read: 5, acknowledged: 5, inFlight: 0 });
});

test("lines that were cut off before their batch was journalled are not in the account", async () => {
  const regions = [read(0, 2), read(2, 3)];
  journal.positions.rewind(stream.source, stream.id, SINK, 2 * LINE_BYTES);
  const members = membersOf(...regions);
  acknowledge(append(members), members);
  expect(inMemory()).toEqual([2, 2]);
  expect(ledger().marks.all.map(({ endOffset }) => endOffset)).toEqual([2 * LINE_BYTES]);
  expect(await stored()).toMatchObject({ addsUp: true, read: 2, acknowledged: 2 });
});

test("a sink that is forgotten takes its live batches along, in memory and on disk", async () => {
  append(membersOf(read(0, 3)));
  expect([journal.liveCount, journal.failure]).toEqual([1, null]);
  journal.forgetSink("nobody");
  expect(journal.liveCount).toBe(1);
  journal.forgetSink(SINK);
  expect(journal.liveCount).toBe(0);
  await journal.positions.flush();
  await restart();
  expect([journal.liveCount, journal.positions.sinkNames(), journal.content.runs.size]).toEqual([0, [], 0]);
});

test("what takes the place of a batch goes out where that would have, behind no other, restart after restart", async () => {
  const intents = () => journal.intentsOf(SINK, () => Promise.resolve({ deliveries: [], gone: [] }), false);
  const counts = () => intents().recovered.map(({ count }) => count);
  let lane = intents();
  lane.startRun("c", { producerIdHigh: 0, producerIdLow: 1, epoch: 0, baseSequence: 0 });
  const a = membersOf(read(0, 5));
  const b = membersOf(read(5, 2));
  const c = membersOf(read(7, 3));
  const [idA, , idC] = [a, b, c].map((members) => lane.append(intentOf(members)));
  await restart();
  expect(counts()).toEqual([5, 2, 3]);
  lane = intents();
  lane.startRun("c", { producerIdHigh: 0, producerIdLow: 2, epoch: 0, baseSequence: 0 });
  const [recoveredA, , recoveredC] = lane.recovered;
  // A is split, and C, journalled by the same producer, gets new numbers with it; B stays what it is.
  const regions = recoveredA!.heldLines().map(({ region }) => region as Region);
  const parts = membersOf(...regions);
  const rest = membersOf(...recoveredC!.heldLines().map(({ region }) => region as Region));
  lane.replace([idA!, idC!], [], [
    { ...intentOf(parts.slice(0, 1)), place: recoveredA!.place },
    { ...intentOf(parts.slice(1, 5)), place: recoveredA!.place },
    { ...intentOf(rest), place: recoveredC!.place },
  ]);
  for (let run = 0; run < 2; run++) {
    await restart();
    expect(counts()).toEqual([1, 4, 2, 3]);
  }
});
