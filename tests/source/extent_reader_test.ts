import { expect, test } from "bun:test";
import fs from "node:fs";
import type { FileRecord } from "../../src/checkpoint/position_file.ts";
import { DeviceGate } from "../../src/source/device_gate.ts";
import { EXTENT_FILES_MAX, ExtentReader } from "../../src/source/extent_reader.ts";
import { faultyFileOps } from "../../src/source/faulty_file_ops.ts";
import type { FileOps } from "../../src/source/file_ops.ts";
import { systemFileOps } from "../../src/source/file_ops.ts";
import { Bench, MemoryLog, numbered } from "./harness.ts";

const TEXT = numbered("line", 100);

interface Opened {
  readonly reader: ExtentReader;
  readonly id: string;
  readonly openCount: () => number;
  /** Bytes from 7 to 14, "line 1\n". */
  readonly read: () => Promise<string | null>;
}

/** A file that was shipped and is known by its record, and a reader that knows nothing else. */
async function open(bench: Bench, ops: FileOps = systemFileOps, mountWaitMs?: number): Promise<Opened> {
  bench.write("a.log", TEXT);
  const run = await bench.start();
  await run.outlet.untilCount(100);
  await run.stop();
  const records = bench.stored.open().records("app");
  let openCount = 0;
  const counting: FileOps = {
    ...ops,
    async open(path) {
      const fd = await ops.open(path);
      openCount++;
      return fd;
    },
    close(fd) {
      openCount--;
      ops.close(fd);
    },
  };
  const reader = readerOf(records, counting, mountWaitMs);
  const id = records[0]!.id;
  return {
    reader,
    id,
    openCount: () => openCount,
    read: async () => (await reader.read("app", id, 7, 14))?.toString() ?? null,
  };
}

function readerOf(
  records: readonly FileRecord[],
  ops: FileOps = systemFileOps,
  mountWaitMs?: number,
): ExtentReader {
  return new ExtentReader({
    ops,
    records: (source, id) => records.find((record) => record.source === source && record.id === id) ?? null,
    log: new MemoryLog(),
    gate: new DeviceGate(),
    ...(mountWaitMs === undefined ? {} : { mountWaitMs }),
  });
}

test("an extent is read again, and the file stays open for the next one", async () => {
  await using bench = new Bench();
  const { reader, id, read, openCount } = await open(bench);
  const [first, second] = await Promise.all([read(), reader.read("app", id, 0, TEXT.length)]);
  expect(first).toBe("line 1\n");
  expect(second!.toString()).toBe(TEXT);
  expect(openCount()).toBe(1);
  // The descriptor leads there, whatever became of the name.
  fs.unlinkSync(bench.path("a.log"));
  expect(await read()).toBe("line 1\n");
  reader.close();
  expect(openCount()).toBe(0);
  await expect(read()).rejects.toThrow("closed");
});

test("a file is found under another name, outside of the patterns", async () => {
  await using bench = new Bench();
  const { read } = await open(bench);
  bench.rename("a.log", "moved-by-hand");
  bench.write("a.log", "another\nfile\n");
  expect(await read()).toBe("line 1\n");
});

test("a file is found when its device got another number", async () => {
  await using bench = new Bench();
  const { read } = await open(bench, {
    ...systemFileOps,
    stat: async (path, isLocal) => ({ ...await systemFileOps.stat(path, isLocal), dev: 4_711n }),
    fstat: async (fd) => ({ ...await systemFileOps.fstat(fd), dev: 4_711n }),
  });
  expect(await read()).toBe("line 1\n");
});

test("a file that is gone, replaced, truncated or written anew gives nothing", async () => {
  const changes: Record<string, (bench: Bench) => void> = {
    deleted: (bench) => fs.unlinkSync(bench.path("a.log")),
    replaced: (bench) => {
      bench.write("new", TEXT);
      bench.rename("new", "a.log");
    },
    truncated: (bench) => fs.truncateSync(bench.path("a.log"), 0),
    "written anew": (bench) => bench.write("a.log", numbered("other", 100)),
    "a folder in its place": (bench) => {
      fs.unlinkSync(bench.path("a.log"));
      fs.mkdirSync(bench.path("a.log"));
    },
  };
  for (const [name, change] of Object.entries(changes)) {
    await using bench = new Bench();
    const { read, openCount } = await open(bench);
    change(bench);
    expect([name, await read(), openCount()]).toEqual([name, null, 0]);
  }
});

test("a file whose folder is missing may be on a filesystem that is mounted late", async () => {
  await using bench = new Bench();
  const { read } = await open(bench, systemFileOps, 250);
  fs.renameSync(bench.logs, `${bench.logs}-later`);
  await expect(read()).rejects.toThrow("ENOENT");
  fs.renameSync(`${bench.logs}-later`, bench.logs);
  expect(await read()).toBe("line 1\n");
});

test("a file whose folder stays missing is gone", async () => {
  await using bench = new Bench();
  const { read } = await open(bench, systemFileOps, 50);
  fs.rmSync(bench.logs, { recursive: true });
  await Bun.sleep(60);
  expect(await read()).toBe(null);
});

test("an extent behind the end of the file gives nothing, also when the file was open before", async () => {
  await using bench = new Bench();
  const { reader, id, read } = await open(bench);
  expect(await reader.read("app", id, 0, TEXT.length + 1)).toBe(null);
  fs.truncateSync(bench.path("a.log"), 10);
  expect(await read()).toBe(null);
  expect(await reader.read("app", "unknown", 0, 1)).toBe(null);
});

test("a file that is renamed while it is looked for is found", async () => {
  await using bench = new Bench();
  let renames = 0;
  const { read } = await open(bench, {
    ...systemFileOps,
    open(path) {
      if (renames < 3) fs.renameSync(path, bench.path(`a.log.${++renames}`));
      return systemFileOps.open(path);
    },
  });
  expect(await read()).toBe("line 1\n");
  expect(renames).toBe(3);
});

test("what hinders reading for now is told, and the next try works", async () => {
  await using bench = new Bench();
  const path = /a\.log$/u;
  const ops = faultyFileOps(systemFileOps, [
    { op: "open", path, error: "EACCES", from: 1, count: 1 },
    // The second open is for the head.
    { op: "read", path, error: "EIO", from: 2, count: 1 },
  ]);
  const { read, openCount } = await open(bench, ops);
  await expect(read()).rejects.toMatchObject({
    code: "EACCES",
    message: expect.stringContaining(`Cannot read bytes 7 to 14 of "${bench.path("a.log")}" again (EACCES)`),
  });
  await expect(read()).rejects.toMatchObject({ code: "EIO" });
  expect(openCount()).toBe(0);
  expect(await read()).toBe("line 1\n");
});

test("a folder that cannot be listed does not make a file gone", async () => {
  await using bench = new Bench();
  const { read } = await open(bench, {
    ...systemFileOps,
    list: () => Promise.reject(Object.assign(new Error("no"), { code: "EACCES" })),
  });
  bench.rename("a.log", "elsewhere");
  await expect(read()).rejects.toMatchObject({ code: "EACCES" });
});

test("no more than a fixed number of files stays open", async () => {
  await using bench = new Bench();
  const count = EXTENT_FILES_MAX + 10;
  for (let i = 0; i < count; i++) bench.write(`${i}.log`, `file ${i}\n`);
  const run = await bench.start();
  await run.outlet.untilCount(count);
  await run.stop();
  const records = bench.stored.open().records("app");
  const fds = new Set<number>();
  const reader = readerOf(records, {
    ...systemFileOps,
    async open(path) {
      const fd = await systemFileOps.open(path);
      fds.add(fd);
      return fd;
    },
    close(fd) {
      fds.delete(fd);
      systemFileOps.close(fd);
    },
  });
  const texts = await Promise.all(records.map((record) => reader.read("app", record.id, 0, 5)));
  expect(new Set(texts.map((text) => text!.toString()))).toEqual(new Set(["file "]));
  expect(fds.size).toBe(EXTENT_FILES_MAX);
  reader.close();
  expect(fds.size).toBe(0);
});
