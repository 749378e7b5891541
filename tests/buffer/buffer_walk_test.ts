import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bufferEndIn, bufferIdIn, type BufferWalkOptions, walkBuffer } from "../../src/buffer/buffer_walk.ts";
import type { BufferProblem } from "../../src/buffer/walk_problems.ts";
import { segmentName } from "../../src/storage/segment_format.ts";
import { type StorageOps, systemOps } from "../../src/storage/storage_ops.ts";
import { bufferDirOf, DISK, eventPlaces, type EventsPlace, fillBuffer } from "../cli/buffer_harness.ts";
import { StateHarness } from "../cli/state_harness.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";

let state: StateHarness;
let dir: TempDir;

/** Segments 1 and 2 with frames of ten events: 0, 10, 20 and 30, 40. */
beforeAll(async () => {
  state = await StateHarness.start();
  dir = tempDir("walk");
  const config = state.config(["events"], {
    top: "shutdown_timeout_secs = 0.1",
    sink: DISK,
    isBrokerAway: true,
  });
  writeFileSync(state.dir.file("a.log"), "");
  await fillBuffer(state, config, 0, [10, 10, 10]);
  await fillBuffer(state, config, 30, [10, 10]);
}, 60_000);

afterAll(async () => {
  await state[Symbol.asyncDispose]();
  dir.remove();
});

let copies = 0;

/** A copy of the buffer, to be damaged. */
function copy(): { buffer: string; places: EventsPlace[] } {
  const buffer = dir.file(`copy-${copies++}`);
  cpSync(bufferDirOf(state), buffer, { recursive: true });
  return { buffer, places: eventPlaces(buffer) };
}

function walk(buffer: string, more: Partial<BufferWalkOptions> = {}) {
  const events: number[] = [];
  const problems: BufferProblem[] = [];
  const asked: [number, number][] = [];
  const result = walkBuffer({
    dir: buffer,
    ops: systemOps,
    bufferId: null,
    firstWanted: 0,
    storedTo: 50,
    missingIn(from, to) {
      asked.push([from, to]);
      return { from, to, count: to - from };
    },
    onProblem: (problem) => void problems.push(problem),
    onEvents: ({ firstEvent }) => void events.push(firstEvent),
    ...more,
  });
  return { events, problems, asked, result };
}

/** Reads of a file give zeros between these bytes, as if nobody had written there yet, the first so many times. */
function lateWrite(file: string, from: number, to: number, times: number): StorageOps {
  let left = times;
  const fds = new Set<number>();
  return {
    ...systemOps,
    openRead(path) {
      const fd = systemOps.openRead(path);
      if (path === file) fds.add(fd);
      else fds.delete(fd);
      return fd;
    },
    read(fd, target, offset, length, position) {
      const count = systemOps.read(fd, target, offset, length, position);
      if (!fds.has(fd) || position + count <= from || position >= to || left === 0) return count;
      left--;
      target.fill(0, offset + Math.max(0, from - position), offset + Math.min(count, to - position));
      return count;
    },
  };
}

describe("a walk over a buffer", () => {
  test("gives every frame once, in order, and ends when it is told to", () => {
    const { buffer } = copy();
    const { events, problems, asked, result } = walk(buffer);
    expect([events, problems, asked]).toEqual([[0, 10, 20, 30, 40], [], []]);
    expect(result).toMatchObject({ eventCount: 50, nextEvent: 50, problemCount: 0 });
    const some: number[] = [];
    walk(buffer, {
      onEvents({ firstEvent }) {
        some.push(firstEvent);
        return firstEvent < 10;
      },
    });
    expect(some).toEqual([0, 10]);
  });

  test("knows the buffer's id and its end", () => {
    const { buffer } = copy();
    const id = bufferIdIn(buffer, systemOps)!;
    expect(id).toHaveLength(8);
    expect(bufferEndIn(buffer, id, systemOps)).toBe(50);
    expect(bufferEndIn(buffer, Buffer.alloc(8, 1), systemOps)).toBe(0);
    expect([bufferIdIn(dir.file("nowhere"), systemOps), walk(dir.file("nowhere"), { storedTo: 0 }).events])
      .toEqual([
        null,
        [],
      ]);
  });

  test("of another buffer's frames says so", () => {
    const { buffer, places } = copy();
    const { events, problems } = walk(buffer, { bufferId: Buffer.alloc(8, 1) });
    expect(events).toEqual([]);
    expect(problems).toHaveLength(places.length);
    expect(problems[0]).toEqual({
      file: places[0]!.file,
      byte: places[0]!.offset,
      cause: "A frame of events belongs to another buffer",
      missing: null,
    });
  });

  // A group is read, and the one in front of it is on the disk only a moment later.
  test("believes in damage only when it is still there", () => {
    const { buffer, places } = copy();
    const [, second, third] = places;
    const ops = lateWrite(second!.file, second!.groupAt, third!.groupAt, 1);
    const { events, problems } = walk(buffer, { ops });
    expect([events, problems]).toEqual([[0, 10, 20, 30, 40], []]);
    const broken = walk(buffer, { ops: lateWrite(second!.file, second!.groupAt, third!.groupAt, Infinity) });
    expect(broken.events).toEqual([0, 20, 30, 40]);
    expect(broken.problems).toEqual([{
      file: second!.file,
      byte: second!.groupAt,
      cause: "what is written there is not what was stored",
      missing: { from: 10, to: 20, count: 10 },
    }]);
  });

  test("reads the end of a segment again that was written to until the next one was made", () => {
    const { buffer, places } = copy();
    const third = places[2]!;
    // The window that is read first, and what looks for a group behind it.
    const ops = lateWrite(third.file, third.groupAt, third.groupAt + 65_536, 2);
    const { events, problems } = walk(buffer, { ops, bufferId: bufferIdIn(buffer, systemOps) });
    expect([events, problems]).toEqual([[0, 10, 20, 30, 40], []]);
  });

  test("does not miss a segment that is taken away while it is read", () => {
    const { buffer, places } = copy();
    const { file, groupAt } = places[1]!;
    const bytes = readFileSync(file);
    bytes.fill(0, groupAt, groupAt + 100);
    writeFileSync(file, bytes);
    let isGone = false;
    const { events, problems, asked } = walk(buffer, {
      missingIn: () => null,
      onEvents() {
        if (!isGone) rmSync(file);
        isGone = true;
      },
    });
    expect([events, problems, asked]).toEqual([[], [], []]);
  });

  test("asks about what is in no file: at the start, between segments, and at the end", () => {
    const { buffer } = copy();
    rmSync(join(buffer, segmentName(1)));
    const { asked, problems } = walk(buffer, { storedTo: 70 });
    expect(asked).toEqual([[0, 30], [50, 70]]);
    expect(problems.map(({ file, cause, missing }) => [file, cause, missing?.count])).toEqual([
      [null, "no file holds them", 30],
      [join(buffer, segmentName(2)), "the buffer ends there, and more had been stored", 20],
    ]);
    expect(walk(buffer, { storedTo: 70, missingIn: () => null }).problems).toEqual([]);
    // What was delivered is not missed, and nothing is known of what was there without a journal.
    expect(walk(buffer, { firstWanted: 40 }).asked).toEqual([]);
    expect(walk(buffer, { firstWanted: null, storedTo: 0 }).asked).toEqual([]);
  });

  test("goes on behind blocks that cannot be read, and throws what is no damage", () => {
    const { buffer, places } = copy();
    const { file, groupAt } = places[1]!;
    const failing = (code: string): StorageOps => ({
      ...systemOps,
      openRead(path) {
        if (path === file && code === "EACCES") throw Object.assign(new Error(code), { code });
        return systemOps.openRead(path);
      },
      read(fd, target, offset, length, position) {
        if (code === "EIO" && position <= groupAt && position + length > groupAt && isFile(fd)) {
          throw Object.assign(new Error(code), { code });
        }
        return systemOps.read(fd, target, offset, length, position);
      },
    });
    const isFile = (fd: number) => readFileSync(`/proc/self/fd/${fd}`).equals(readFileSync(file));
    const { events, problems, result } = walk(buffer, { ops: failing("EIO") });
    expect(events).toEqual([0, 20, 30, 40]);
    expect(problems).toMatchObject([{
      byte: groupAt,
      cause: "it cannot be read (EIO)",
      missing: { count: 10 },
    }]);
    expect(result.segments.map(({ unreadableBlocks }) => unreadableBlocks)).toEqual([1, 0]);
    expect(() => walk(buffer, { ops: failing("EACCES"), bufferId: bufferIdIn(buffer, systemOps) })).toThrow(
      "EACCES",
    );
  });
});
