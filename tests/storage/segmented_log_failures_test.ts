import { expect, test } from "bun:test";
import { segmentName } from "../../src/storage/segment_format.ts";
import { numbered, openLog, turns } from "./open_log.ts";
import { SimulatedFiles } from "./simulated_files.ts";
import { readEvents } from "./support.ts";

test("Once the next file is there, a disk that is full stops nothing", async () => {
  const { files, log, events, problems } = await openLog();
  for (let i = 0; i < 40; i++) {
    events.append(log, 1, 3_000);
    await log.commit();
  }
  await turns();
  files.capacityBytes = files.usedBytes();
  for (let i = 0; i < 1_500; i++) {
    events.append(log, 1, 3_000);
    await log.commit();
    if (i % 10 === 0) await turns(2);
  }
  expect(problems).toEqual([]);
  expect(readEvents(files).next).toBe(1_540);
});

test("While the disk refuses everything waits in memory, and all of it is there when it takes bytes again", async () => {
  const { files, log, events, problems } = await openLog();
  files.capacityBytes = files.usedBytes();
  let committed = 0;
  for (let i = 0; i < 100; i++) {
    events.append(log, 1, 5_000);
    void log.commit().then(() => committed++);
    await turns(2);
  }
  expect(log.isFailing).toBe(true);
  expect(committed).toBeLessThan(100);
  // A checkpoint that is tried stands for what waited.
  expect(log.pendingBytes).toBeGreaterThan(0);
  expect(problems[0]).toContain("ENOSPC");
  expect(problems).not.toContain(null);
  expect(numbered(files)).toHaveLength(1);
  files.capacityBytes = Infinity;
  await log.commit();
  expect(committed).toBe(100);
  expect(problems.at(-1)).toBeNull();
  expect(log.isFailing).toBe(false);
  expect(readEvents(files).next).toBe(100);
});

test("A sync that failed is not asked for again: the log goes on in a new segment", async () => {
  for (const kind of ["journal", "buffer"] as const) {
    const { files, log, events, problems } = await openLog({ kind });
    events.append(log, 2);
    await log.commit();
    const first = log.currentSegment;
    events.append(log, 2);
    files.faults.set(files.calls + 1, "EIO"); // write, then the sync
    await log.commit();
    expect(problems).toEqual(["EIO: simulated", null]);
    expect(log.currentSegment).toBeGreaterThan(first);
    await turns();
    // A file that a sync failed for is not used for another segment.
    if (kind === "journal") expect(files.list()).toEqual([segmentName(2)]);
    files.powerCut();
    // The checkpoint stands for what was before it.
    const expected = kind === "journal"
      ? { first: 4, found: { segments: [2] } }
      : { first: 0, found: { segments: [1, 2] } };
    expect(readEvents(files, kind)).toMatchObject({ ...expected, next: 4 });
  }
});

test(
  "Whatever call fails, once or from there on for a while, every commit comes to its end and nothing is lost",
  async () => {
    for (const kind of ["journal", "buffer"] as const) {
      for (const fault of ["EIO", "ENOSPC", "short", "EINTR"] as const) {
        for (let at = 0; at < 24; at++) {
          for (const count of [1, 4]) {
            const { files, log, events } = await openLog({ kind, segmentBytes: 262_144 });
            for (let i = 0; i < count; i++) files.faults.set(files.calls + at + i, fault);
            for (let i = 0; i < 4; i++) {
              events.append(log, 1, 80_000);
              await log.commit();
            }
            files.powerCut();
            expect(readEvents(files, kind)).toMatchObject({ next: 4 });
          }
        }
      }
    }
  },
  90_000,
);

test("What a failed sync left in the page cache, and was read after a kill, is on the device once the log is open", async () => {
  for (let seed = 0; seed < 20; seed++) {
    const { files, log, events } = await openLog({ kind: "buffer" }, new SimulatedFiles(seed, 4096));
    events.append(log);
    await log.commit();
    events.append(log, 2);
    files.faults.set(files.calls + 1, "EIO"); // the sync
    files.faults.set(files.calls + 2, "crash");
    void log.commit().catch(() => {});
    await turns(2);
    files.kill();
    const again = await openLog({ kind: "buffer" }, files);
    expect(again.events.next).toBe(3);
    files.powerCut();
    expect(readEvents(files, "buffer").next).toBe(3);
  }
});

test("A released segment that comes back after a power cut is whole, or is not there", async () => {
  for (let seed = 0; seed < 60; seed++) {
    const files = new SimulatedFiles(seed, 4096);
    for (let run = 0; run < 3; run++) {
      const { log, events } = await openLog({ kind: "buffer" }, files);
      events.append(log, 2);
      await log.close(1_000);
    }
    // The process that released the first one was killed before the folder was synced.
    files.rename(segmentName(1), "free-7.seg");
    files.faults.set(files.calls + seed % 12, "crash");
    let isOpen = false;
    void openLog({ kind: "buffer" }, files).then(() => isOpen = true, () => {});
    await turns(3);
    files.powerCut();
    const { first, next } = readEvents(files, "buffer");
    expect([0, 2]).toContain(first);
    expect(next).toBe(6);
    if (seed % 12 === 11) expect(isOpen).toBe(true);
  }
});

test("close gives up on a disk that refuses, and tells those who wait", async () => {
  const { files, log, events } = await openLog();
  files.capacityBytes = files.usedBytes();
  for (let i = 0; i < 1_000; i++) files.faults.set(files.calls + i, "EIO");
  events.append(log);
  const committed = log.commit();
  const outcome = committed.then(() => "resolved", (error: Error) => error.message);
  expect(await log.close(30)).toBe(false);
  expect(await outcome).toContain("The log is closed");
  events.append(log);
  expect(log.pendingBytes).toBe(0);
  await expect(log.commit()).rejects.toThrow("The log is closed");
});

test("A segment that cannot be removed does not keep the others of a journal, and is removed later", async () => {
  const { files, log, events } = await openLog();
  const rename = files.rename.bind(files);
  const remove = files.remove.bind(files);
  const stuck = segmentName(1);
  const refuse = (path: string) => {
    if (path.endsWith(stuck)) throw Object.assign(new Error("EIO: simulated"), { code: "EIO" });
  };
  files.rename = (from, to) => (refuse(from), rename(from, to));
  files.remove = (path) => (refuse(path), remove(path));
  const run = async (count: number) => {
    for (let i = 0; i < count; i++) {
      events.append(log, 1, 3_000);
      await log.commit();
      await turns(1);
    }
    await turns();
  };
  await run(900);
  expect(numbered(files)).toEqual([stuck, segmentName(log.currentSegment)]);
  files.rename = rename;
  files.remove = remove;
  await run(300);
  expect(numbered(files)).toEqual([segmentName(log.currentSegment)]);
});

test("open rejects when the first segment cannot be made", async () => {
  const files = new SimulatedFiles(1);
  files.capacityBytes = 1_000;
  await expect(openLog({}, files)).rejects.toThrow("ENOSPC");
  files.capacityBytes = Infinity;
  const { log, events } = await openLog({}, files);
  events.append(log);
  await log.commit();
  expect(readEvents(files).next).toBe(1);
});
