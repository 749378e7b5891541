import { expect, test } from "bun:test";
import { DirectWriter } from "../../src/storage/group_writer.ts";
import { readLog } from "../../src/storage/log_reader.ts";
import { segmentName } from "../../src/storage/segment_format.ts";
import { SegmentedLog } from "../../src/storage/segmented_log.ts";
import { numbered, openLog, turns } from "./open_log.ts";
import { SimulatedFiles, SteppedWriter } from "./simulated_files.ts";
import { EventWriter, logOptions, readEvents } from "./support.ts";

test("Commits that are asked for while one is under way share the next group", async () => {
  const files = new SimulatedFiles(1);
  const writer = new SteppedWriter(files);
  const events = new EventWriter();
  const opening = SegmentedLog.open(logOptions(files, events, { writer }), readEvents(files).found);
  let log: SegmentedLog | null = null;
  void opening.then((opened) => log = opened);
  await writer.until(() => log !== null);
  const opened = await opening;
  const done: number[] = [];
  const commit = (id: number) => {
    events.append(opened);
    void opened.commit().then(() => done.push(id));
  };
  for (let id = 0; id < 5; id++) commit(id);
  expect(opened.pendingBytes).toBeGreaterThan(100);
  await turns(3);
  expect(done).toEqual([]);
  await writer.until(() => done.length > 0);
  expect(done).toEqual([0]);
  await writer.until(() => done.length === 5);
  expect(opened.commitCount).toBe(3);
  expect(opened.pendingBytes).toBe(0);
  expect(opened.writtenBytes).toBe(3 * 8192);
});

test("A commit that asks for less is not synced, one that asks for more syncs what came before", async () => {
  const { files, log, events } = await openLog();
  const syncs = files.dataSyncs;
  events.append(log);
  await log.commit(false);
  expect(files.dataSyncs).toBe(syncs);
  await log.commit(false);
  expect(log.commitCount).toBe(2);
  await log.commit();
  expect(files.dataSyncs).toBe(syncs + 1);
  await log.commit();
  expect(files.dataSyncs).toBe(syncs + 1);
  files.powerCut();
  expect(readEvents(files).next).toBe(1);
});

test('With "process" a commit is with the system when the call returns, and nothing is synced', async () => {
  const { files, log, events } = await openLog({ durability: "process" });
  const syncs = files.dataSyncs;
  for (let i = 1; i <= 10; i++) {
    events.append(log);
    const committed = log.commit();
    expect(readEvents(files).next).toBe(i);
    await committed;
  }
  expect(files.dataSyncs).toBe(syncs);
});

test("flushSoon writes without a sync, and an earlier commit takes its frames along", async () => {
  const { files, log, events } = await openLog();
  const syncs = files.dataSyncs;
  events.append(log);
  log.flushSoon(5_000);
  log.flushSoon(2);
  await Bun.sleep(20);
  expect(readEvents(files).next).toBe(1);
  expect(files.dataSyncs).toBe(syncs);
  events.append(log);
  log.flushSoon(2);
  await log.commit();
  const count = log.commitCount;
  await Bun.sleep(10);
  expect(log.commitCount).toBe(count);
});

test("A full segment is followed by one with the checkpoint; two files take turns, and none grows", async () => {
  const { files, log, events } = await openLog();
  let sizes = 0;
  for (let i = 0; i < 1_500; i++) {
    events.append(log, 1, 3_000);
    await log.commit();
    await turns(1);
    if (i === 1_000) sizes = files.usedBytes();
  }
  await turns();
  expect(log.currentSegment).toBeGreaterThan(6);
  expect(numbered(files)).toEqual([segmentName(log.currentSegment)]);
  expect(files.usedBytes()).toBe(sizes);
  expect(files.content(segmentName(log.currentSegment)).length).toBe(1_048_576);
  expect(sizes).toBeLessThanOrEqual(3 * 1_048_576);
  expect(readEvents(files).next).toBe(1_500);
});

test("A group that is larger than a segment gets one of its own size", async () => {
  for (const kind of ["journal", "buffer"] as const) {
    const { files, log, events } = await openLog({ kind, segmentBytes: 262_144 });
    events.append(log, 1, 3_000_000);
    events.append(log, 3);
    await log.commit();
    if (kind === "journal") {
      // The checkpoint stands for it.
      expect(readEvents(files, kind)).toMatchObject({ first: 4, next: 4 });
    } else {
      expect(readEvents(files, kind)).toMatchObject({ first: 0, next: 4 });
    }
    expect(await log.close(1_000)).toBe(true);
  }
});

test("A checkpoint that is larger than a segment is not written again with every commit", async () => {
  const files = new SimulatedFiles(3, 4096);
  let checkpoints = 0;
  const checkpoint = (add: (type: number, payload: Buffer) => void) => {
    checkpoints++;
    add(2, Buffer.alloc(700_000));
  };
  const { found } = readEvents(files);
  const log = await SegmentedLog.open(
    logOptions(files, new EventWriter(), {
      checkpoint,
      writer: new DirectWriter(files),
      segmentBytes: 262_144,
    }),
    found,
  );
  for (let i = 0; i < 100; i++) {
    log.append(1, Buffer.alloc(100));
    await log.commit();
  }
  expect(checkpoints).toBe(1);
});

test("A buffer keeps its segments until they are released, oldest first, and uses their files again", async () => {
  const { files, log, events } = await openLog({ kind: "buffer", segmentBytes: 262_144 });
  const firstOf = new Map<number, number>();
  for (let i = 0; i < 200; i++) {
    events.append(log, 1, 6_000);
    await log.commit();
    if (!firstOf.has(log.currentSegment)) firstOf.set(log.currentSegment, i);
    await turns(1);
  }
  expect(log.currentSegment).toBeGreaterThan(4);
  expect(numbered(files)).toHaveLength(log.currentSegment);
  log.release([1, 2, 3]);
  await turns();
  expect(numbered(files)[0]).toBe(segmentName(4));
  expect(readEvents(files, "buffer")).toMatchObject({ first: firstOf.get(4)!, next: 200 });
  log.release(log.older.map(({ number }) => number));
  await turns();
  expect(numbered(files)).toEqual([segmentName(log.currentSegment)]);
  expect(files.list().filter((name) => name.startsWith("free-")).length).toBeLessThanOrEqual(2);
});

test("A clean stop is seen by the next reader, and only until then", async () => {
  for (const durability of ["machine", "process"] as const) {
    const { files, log, events } = await openLog({ durability });
    expect(readEvents(files).found.isCleanStop).toBe(false);
    events.append(log, 2);
    expect(await log.close(1_000)).toBe(true);
    expect(await log.close(1_000)).toBe(true);
    files.powerCut();
    expect(readEvents(files)).toMatchObject({ next: 2, found: { isCleanStop: true, tornBytes: 0 } });
    const again = await openLog({ durability }, files);
    expect(again.events.next).toBe(2);
    expect(readEvents(files).found.isCleanStop).toBe(false);
    await again.log.close(1_000);
  }
});

test("A frame of a type that does not exist, or longer than its bytes, is refused", async () => {
  const { log } = await openLog();
  expect(() => log.append(0, Buffer.alloc(1))).toThrow(RangeError);
  expect(() => log.append(256, Buffer.alloc(1))).toThrow(RangeError);
  expect(() => log.append(1, Buffer.alloc(1), 2)).toThrow(RangeError);
  log.append(255, Buffer.alloc(0));
  await log.commit();
});

test("Frames say where they lie, and an empty or missing folder is an empty log", async () => {
  const { files, log } = await openLog();
  log.append(7, Buffer.from("seven"));
  log.append(8, Buffer.from("eight!"), 5);
  await log.commit();
  const frames: [number, string, number, number][] = [];
  readLog("/log", "journal", ({ type, payload, segment, offset }) => {
    if (type > 2) frames.push([type, payload.toString(), segment, offset]);
  }, files);
  expect(frames).toEqual([[7, "seven", 1, 8192 + 40], [8, "eight", 1, 8192 + 50]]);
  const none = { segments: [], lastSegment: 0, isCleanStop: true, tornBytes: 0 };
  expect(readLog("/there/is/no/such/folder", "journal", () => {})).toMatchObject(none);
  expect(readLog("/log", "journal", () => {}, new SimulatedFiles(1))).toMatchObject(none);
});
