import { expect, test } from "bun:test";
import { LogChangedError, LogDamagedError, LogNewerError } from "../../src/storage/log_errors.ts";
import { DirectWriter } from "../../src/storage/group_writer.ts";
import { readLog } from "../../src/storage/log_reader.ts";
import {
  decodeSegmentHeader,
  encodeSegmentHeader,
  type LogKind,
  type SegmentHeader,
  segmentName,
} from "../../src/storage/segment_format.ts";
import type { Durability } from "../../src/storage/log_options.ts";
import { SegmentedLog } from "../../src/storage/segmented_log.ts";
import { randomNumbers, SimulatedFiles } from "./simulated_files.ts";
import { EventWriter, logOptions, readEvents } from "./support.ts";

/** A log of one segment on `files` with `groups` commits of three events each, left as a kill leaves it. */
async function writeLog(
  files: SimulatedFiles,
  groups: number,
  { durability = "machine", kind = "journal" }: { durability?: Durability; kind?: LogKind } = {},
): Promise<EventWriter> {
  const { found, next } = readEvents(files, kind);
  const events = new EventWriter(next);
  const writer = new DirectWriter(files);
  const log = await SegmentedLog.open(logOptions(files, events, { durability, kind, writer }), found);
  for (let i = 0; i < groups; i++) {
    events.append(log, 3, 100);
    await log.commit();
  }
  // What runs in the background comes to its end.
  await Bun.sleep(2);
  return events;
}

/** The number of events, or the error that reading gives. */
function outcome(files: SimulatedFiles, kind: LogKind = "journal"): number | Error {
  try {
    return readEvents(files, kind).next;
  } catch (error) {
    return error as Error;
  }
}

function expectDamage(result: number | Error, byte?: number): void {
  expect(result).toBeInstanceOf(LogDamagedError);
  if (byte !== undefined) expect((result as LogDamagedError).byte).toBe(byte);
}

const FIRST = segmentName(1);
/** Header, and the group with the checkpoint. */
const GROUPS_START = 8192;

test("A journal that is cut at any byte has whole groups from its start, and says that it was cut", async () => {
  for (const durability of ["machine", "process"] as const) {
    const files = new SimulatedFiles(1);
    await writeLog(files, 6, { durability });
    const content = Buffer.from(files.content(FIRST));
    const end = durability === "machine" ? GROUPS_START + 6 * 4096 + 64 : 4096 + 56 + 6 * 360 + 64;
    const seen = new Set<number>();
    for (let size = 0; size <= end; size++) {
      files.put(FIRST, content.subarray(0, size));
      const result = outcome(files);
      if (size < 4096 + 49) {
        expectDamage(result, size < 4096 ? 0 : 4096);
        continue;
      }
      seen.add(result as number);
      // A group is there exactly when all its bytes are.
      const groupsStart = durability === "machine" ? GROUPS_START : 4096 + 56;
      const step = durability === "machine" ? 4096 : 360;
      const groups = Math.max(0, Math.min(6, Math.floor((size - groupsStart - 355) / step) + 1));
      expect(`${result} events in ${size} bytes`).toBe(`${groups * 3} events in ${size} bytes`);
      expect(readEvents(files).found.notes.join()).toContain("shorter than it was made");
    }
    expect([...seen].sort((a, b) => a - b)).toEqual([0, 3, 6, 9, 12, 15, 18]);
  }
});

test("A flipped bit anywhere is found: never another event, never one left out that was synced", async () => {
  const files = new SimulatedFiles(2);
  await writeLog(files, 8);
  const content = files.content(FIRST);
  const random = randomNumbers(3);
  const mark = GROUPS_START + 8 * 4096;
  let damaged = 0;
  for (let i = 0; i < 6_000; i++) {
    // Half of them in headers.
    const group = 4096 * Math.floor(random() * 11);
    const byte = group + Math.floor(random() * (random() < 0.5 ? 48 : 420));
    const bit = 1 << Math.floor(random() * 8);
    content[byte] ^= bit;
    const result = outcome(files);
    const where = `byte ${byte}, bit ${bit}`;
    if (typeof result === "number") expect(`${result} events (${where})`).toBe(`24 events (${where})`);
    else expectDamage(result, byte < 4096 ? undefined : group);
    if (byte < 128 || (byte >= 4096 && byte < mark && byte % 4096 < 40)) expectDamage(result);
    if (typeof result !== "number") damaged++;
    content[byte] ^= bit;
  }
  expect(damaged).toBeGreaterThan(3_000);
  expect(outcome(files)).toBe(24);
});

test("After a kill a flip in the last synced group is damage, thanks to the mark behind it", async () => {
  const files = new SimulatedFiles(4);
  await writeLog(files, 4);
  const last = GROUPS_START + 3 * 4096;
  files.content(FIRST)[last + 100] ^= 1;
  expectDamage(outcome(files), last);
  // Without the mark it looks like a group that never came to the disk.
  files.content(FIRST).fill(0, last + 4096, last + 8192);
  expect(outcome(files)).toBe(9);
});

test("A good group in another group's place is damage: the disk wrote it to the wrong place, or not at all", async () => {
  const files = new SimulatedFiles(12);
  await writeLog(files, 5);
  const content = files.content(FIRST);
  const group = (index: number) => GROUPS_START + index * 4096;
  content.copy(content, group(3), group(1), group(2));
  expectDamage(outcome(files), group(3));
});

test("A group that did not come to the disk ends the log, also when one behind it did", async () => {
  const files = new SimulatedFiles(5);
  const events = await writeLog(files, 2);
  const { found } = readEvents(files);
  const log = await SegmentedLog.open(
    logOptions(files, events, { writer: new DirectWriter(files) }),
    found,
  );
  events.append(log, 3);
  await log.commit();
  const synced = GROUPS_START + 4096;
  for (let i = 0; i < 3; i++) {
    events.append(log, 3);
    await log.commit(false);
  }
  const content = files.content(segmentName(2));
  expect(outcome(files)).toBe(18);
  content.fill(0, synced, synced + 4096);
  const { found: torn, next } = readEvents(files);
  expect(next).toBe(9);
  expect(torn.isCleanStop).toBe(false);
  // Once a later group says that it was on the disk, the hole is damage.
  events.append(log, 1);
  await log.commit();
  expectDamage(outcome(files), synced);
});

test("What a recycled file held before is never read", async () => {
  const files = new SimulatedFiles(6);
  for (let run = 0; run < 12; run++) {
    const before = readEvents(files).next;
    await writeLog(files, 5 + run % 3);
    expect(readEvents(files).next).toBe(before + (5 + run % 3) * 3);
    // Behind the end of what was written lie the groups of former lives.
    const { found } = readEvents(files);
    const content = files.content(segmentName(found.lastSegment));
    content.fill(0, found.endBytes, found.endBytes + 4096);
    expect(readEvents(files).next).toBe(before + (5 + run % 3) * 3);
  }
  const names = files.list();
  expect(names.filter((name) => name.startsWith("free-")).length).toBeLessThanOrEqual(2);
  expect(names.filter((name) => /^\d/.test(name))).toHaveLength(1);
  const stale = names.filter((name) => name.startsWith("free-")).map((name) => files.content(name));
  expect(stale.some((content) => content.includes("SHPG"))).toBe(true);
});

test("Segments of a journal that are missing, empty, garbage, doubled or swapped: refused or passed over, never wrong", async () => {
  const files = new SimulatedFiles(7);
  await writeLog(files, 2);
  const old = Buffer.from(files.content(FIRST));
  await writeLog(files, 2);
  const second = segmentName(2);
  const good = Buffer.from(files.content(second));
  expect(outcome(files)).toBe(12);

  // Older ones do not count, whatever they hold.
  for (const content of [old, Buffer.alloc(0), Buffer.from("garbage"), good]) {
    files.put(FIRST, content);
    expect(outcome(files)).toBe(12);
  }
  // Files of other names do not either.
  for (const name of ["x.seg", "0000000000000009.seg.bak", "free-7.seg", "9.seg", "lost+found"]) {
    files.put(name, old);
    expect(outcome(files)).toBe(12);
  }
  // In the place of the newest they are refused.
  files.put(FIRST, old);
  for (const content of [Buffer.alloc(0), Buffer.alloc(300_000), Buffer.from("garbage"), old]) {
    files.put(second, content);
    expectDamage(outcome(files));
  }
  files.put(second, good);
  files.put(segmentName(3), good);
  expectDamage(outcome(files), 16);
  files.put(FIRST, good);
  files.put(second, old);
  expectDamage(outcome(files));
});

test("A segment that was never finished is passed over for the one that it goes on from, which must be there", async () => {
  const files = new SimulatedFiles(8);
  await writeLog(files, 3);
  const unfinished = Buffer.alloc(262_144);
  const { found } = readEvents(files);
  const header = {
    kind: "journal",
    alignmentBytes: 4096,
    number: 2,
    sizeBytes: unfinished.length,
    nonce: Buffer.alloc(16, 9),
    previous: 1,
    previousEnd: found.endBytes,
    previousSyncedTo: found.syncedTo,
  } as const;
  encodeSegmentHeader(header, unfinished);
  files.put(segmentName(2), unfinished);
  const read = readEvents(files);
  expect(read.next).toBe(9);
  expect(read.found).toMatchObject({ segments: [1], lastSegment: 2, isCleanStop: false });
  expect(read.found.notes.join()).toContain("never finished");
  // What it says about the other one is held against that.
  const content = files.content(FIRST);
  const kept = Buffer.from(content);
  content.fill(0, 4096, content.length);
  expectDamage(outcome(files), 4096);
  kept.copy(content);
  files.delete(FIRST);
  expectDamage(outcome(files), 0);
  // The very first one has nothing before it.
  encodeSegmentHeader({ ...header, previous: 0 }, unfinished);
  expect(readEvents(files)).toMatchObject({ next: 0, found: { segments: [], lastSegment: 2 } });
});

test("A buffer's segments follow each other: one that is missing between others is refused", async () => {
  const files = new SimulatedFiles(9);
  for (let run = 0; run < 4; run++) await writeLog(files, 2, { kind: "buffer" });
  expect(outcome(files, "buffer")).toBe(24);
  expect(readEvents(files, "buffer").found.segments).toEqual([1, 2, 3, 4]);
  const second = files.content(segmentName(2));
  files.delete(segmentName(2));
  expectDamage(outcome(files, "buffer"), 0);
  files.put(segmentName(2), second);
  // The oldest may be gone: it was released.
  files.delete(FIRST);
  expect(readEvents(files, "buffer")).toMatchObject({ first: 6, next: 24 });
  // The end of an older segment was on the disk, as the next one says, mark or not.
  const endBytes = 4096 + 4096 + 2 * 4096;
  second.fill(0, endBytes, endBytes + 4096);
  expect(outcome(files, "buffer")).toBe(24);
  second[endBytes - 4096 + 50] ^= 1;
  expectDamage(outcome(files, "buffer"), endBytes - 4096);
});

test("A log of a later format, and one of the other kind, are refused by name", async () => {
  const files = new SimulatedFiles(10);
  await writeLog(files, 1);
  const error = outcome(files, "buffer");
  expectDamage(error, 16);
  expect((error as Error).message).toBe(
    `Cannot read "/log/${FIRST}" from byte 16 on: it belongs to a journal, not to a buffer`,
  );
  const header = files.content(FIRST).subarray(0, 128);
  header.writeUInt16LE(2, 12);
  header.writeUInt32LE(0, 8);
  header.writeUInt32LE(Bun.hash.crc32(header), 8);
  const newer = outcome(files);
  expect(newer).toBeInstanceOf(LogNewerError);
  expect((newer as Error).message).toBe(
    `Cannot read "/log/${FIRST}": it has format version 2, and this version reads up to 1`,
  );
});

test("A reader that has its segment taken away while it reads is told so, not that the log is damaged", async () => {
  const files = new SimulatedFiles(11);
  await writeLog(files, 5);
  const old = Buffer.from(files.content(FIRST));
  for (const change of ["header", "everything"]) {
    files.put(FIRST, Buffer.from(old));
    const content = files.content(FIRST);
    const read = () =>
      readLog("/log", "journal", ({ type }) => {
        if (type !== 1) return;
        encodeSegmentHeader(
          { ...headerOf(old), number: 2, nonce: Buffer.alloc(16, 3), previous: 1 },
          content,
        );
        if (change === "everything") content.fill(0, 4096);
      }, files);
    expect(read).toThrow(LogChangedError);
  }
});

test("Groups that the owner writes while another process reads are read, not taken for damage", async () => {
  const files = new SimulatedFiles(13);
  await writeLog(files, 5);
  const content = files.content(FIRST);
  const whole = Buffer.from(content);
  // What the reader sees at first: the last two groups and the mark are still to come, or every group is.
  const cases = [{ from: GROUPS_START + 3 * 4096, lastEarlyRead: 4 }, { from: 4096, lastEarlyRead: 2 }];
  for (const { from, lastEarlyRead } of cases) {
    content.fill(0, from);
    const read = files.read.bind(files);
    let reads = 0;
    files.read = (...args) => {
      const length = read(...args);
      if (++reads === lastEarlyRead) whole.copy(content);
      return length;
    };
    expect(outcome(files)).toBe(15);
    expect(reads).toBeGreaterThan(lastEarlyRead);
    files.read = read;
  }
});

function headerOf(content: Buffer): SegmentHeader {
  const header = decodeSegmentHeader(content);
  if ("cause" in header) throw new Error(header.cause);
  return header;
}
