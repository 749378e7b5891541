import { expect, test } from "bun:test";
import fs from "node:fs";
import { type FileOps, systemFileOps } from "../../src/source/file_ops.ts";
import { FAILURES_MAX } from "../../src/source/file_tailer.ts";
import { isRotatedName } from "../../src/source/rotated_names.ts";
import { Bench, numbered, until } from "./harness.ts";

test("rename rotation while behind gives every line once, in order", async () => {
  await using bench = new Bench();
  bench.write("a.log", numbered("line", 2_000));
  const run = await bench.start({ rooms: [10] });
  await run.outlet.untilCount(10);
  bench.rename("a.log", "a.log.1");
  bench.write("a.log", numbered("line", 2_000, 2_000));
  await until(() => run.metrics.watchedFiles === 2);
  bench.append("a.log.1", ""); // nothing more, but an event
  bench.rename("a.log.1", "a.log.2");
  bench.rename("a.log", "a.log.1");
  bench.write("a.log", numbered("line", 2_000, 4_000));
  await until(() => run.metrics.watchedFiles === 3);
  expect(run.outlet.lines.length).toBe(10);
  run.outlet.addRoom(1_000_000);
  await run.outlet.untilCount(6_000);
  expect(run.outlet.texts.join("\n") + "\n").toBe(numbered("line", 6_000));
  await until(() => run.outlet.ended.length === 2);
  expect(run.metrics.rotationsCount).toBe(2);
  expect(run.metrics.openFiles).toBe(1);
});

test("rotation every 50 ms under load gives every line once, in order", async () => {
  await using bench = new Bench();
  bench.write("a.log", "");
  const run = await bench.start();
  // A file that is rotated before it was ever seen is none of ours.
  await until(() => run.metrics.watchedFiles === 1);
  let next = 0;
  let fd = fs.openSync(bench.path("a.log"), "a");
  for (let rotation = 0; rotation < 20; rotation++) {
    const until = performance.now() + 50;
    while (performance.now() < until) {
      for (let i = 0; i < 50; i++) fs.writeSync(fd, `line ${next++}\n`);
      await Bun.sleep(1);
    }
    for (let i = 5; i > 0; i--) {
      if (fs.existsSync(bench.path(`a.log.${i}`))) bench.rename(`a.log.${i}`, `a.log.${i + 1}`);
    }
    bench.rename("a.log", "a.log.1");
    for (let i = 0; i < 10; i++) fs.writeSync(fd, `line ${next++}\n`); // the writer has not noticed yet
    fs.closeSync(fd);
    fd = fs.openSync(bench.path("a.log"), "a");
  }
  fs.closeSync(fd);
  await run.outlet.untilCount(next);
  expect(run.outlet.texts.join("\n") + "\n").toBe(numbered("line", next));
});

test("rotations that nobody saw are found by name and birth time", async () => {
  await using bench = new Bench();
  bench.write("a.log", "one\n");
  const run = await bench.start({ config: { globMinimumCooldownMs: 1_000 } });
  await run.outlet.untilCount(1);
  // All of it happens before the event loop gets a turn. Birth times have the grain of a clock tick.
  for (const text of ["two\n", "three\n", "four\n"]) {
    Bun.sleepSync(10);
    for (const i of [2, 1]) {
      if (fs.existsSync(bench.path(`a.log.${i}`))) bench.rename(`a.log.${i}`, `a.log.${i + 1}`);
    }
    bench.rename("a.log", "a.log.1");
    bench.write("a.log", text);
  }
  await run.outlet.untilCount(4);
  expect(run.outlet.texts).toEqual(["one", "two", "three", "four"]);
});

test("a rotated name that the patterns match stays the same stream", async () => {
  await using bench = new Bench();
  bench.write("a.log", "one\n");
  const run = await bench.start({ config: { include: [bench.path("a.log*")] } });
  await run.outlet.untilCount(1);
  bench.rename("a.log", "a.log.1");
  bench.write("a.log", "two\n");
  await run.outlet.untilCount(2);
  await Bun.sleep(500);
  bench.append("a.log.1", "late\n");
  await run.outlet.untilCount(3);
  expect(run.outlet.texts).toEqual(["one", "two", "late"]);
  expect(run.outlet.lines[2]!.stream).toBe(run.outlet.lines[0]!.stream);
  expect(run.outlet.ended).toEqual([]);
});

test("late lines of a rotated file are read for rotate_wait_secs, and its last line without newline", async () => {
  await using bench = new Bench();
  bench.write("a.log", "one\n");
  const run = await bench.start();
  await run.outlet.untilCount(1);
  const fd = fs.openSync(bench.path("a.log"), "a");
  bench.rename("a.log", "elsewhere.txt");
  bench.write("a.log", "new\n");
  await run.outlet.untilCount(2);
  fs.writeSync(fd, "late\nunfinished");
  fs.closeSync(fd);
  await run.outlet.untilCount(4);
  expect(run.outlet.texts).toEqual(["one", "new", "late", "unfinished"]);
  await until(() => run.outlet.ended.length === 1);
});

test("a last line without newline comes before the next file", async () => {
  await using bench = new Bench();
  bench.write("a.log", "one\nunfinished");
  const run = await bench.start();
  await run.outlet.untilCount(1);
  bench.rename("a.log", "a.log.1");
  bench.write("a.log", "new\n");
  await run.outlet.untilCount(3);
  expect(run.outlet.texts).toEqual(["one", "unfinished", "new"]);
});

test("a deleted file is read to its end, then let go and forgotten", async () => {
  await using bench = new Bench();
  bench.write("a.log", numbered("line", 1_000));
  const run = await bench.start({ rooms: [5] });
  await run.outlet.untilCount(5);
  fs.unlinkSync(bench.path("a.log"));
  await Bun.sleep(50);
  run.outlet.addRoom(1_000_000);
  await run.outlet.untilCount(1_000);
  await until(() => run.outlet.ended.length === 1);
  expect(run.metrics.openFiles).toBe(0);
  await run.stop();
  expect(bench.stored.open().records("app")).toEqual([]);
});

test("files that are deleted and created again, with inodes used again, are each read from their start", async () => {
  await using bench = new Bench();
  const run = await bench.start();
  const expected: string[] = [];
  for (let i = 0; i < 10; i++) {
    fs.rmSync(bench.path("a.log"), { force: true });
    const text = numbered(`file ${i} line`, i % 3 + 1);
    expected.push(...text.trimEnd().split("\n"));
    bench.write("a.log", text);
    await run.outlet.untilCount(expected.length);
  }
  expect(run.outlet.texts).toEqual(expected);
});

test("isRotatedName knows what rotation makes of a name", () => {
  for (
    const name of [
      "a.log.1",
      "a.log.12",
      "a.log-20240102",
      "a.log.2024-01-02T03:04",
      "a.log.old",
      "a-2024.log",
      "a.1.log",
    ]
  ) {
    expect([name, isRotatedName("a.log", name)]).toEqual([name, true]);
  }
  for (const name of ["a.log", "a.log.1.gz", "ab.log", "a.log.tmp", "b.log.1", "a-error.log", "a.logs"]) {
    expect([name, isRotatedName("a.log", name)]).toEqual([name, false]);
  }
});

/** The system's reads, which fail for one file from a moment on. */
function failingReads(code: string) {
  let failingInode: bigint | null = null;
  const isFailing = (fd: number) => fs.fstatSync(fd, { bigint: true }).ino === failingInode;
  return {
    fail: (file: string | null) => {
      failingInode = file === null ? null : fs.statSync(file, { bigint: true }).ino;
    },
    ops: {
      ...systemFileOps,
      async read(fd: number, target: Buffer, length: number, position: number) {
        if (isFailing(fd)) throw Object.assign(new Error("Cannot read"), { code });
        return await systemFileOps.read(fd, target, length, position);
      },
    },
  };
}

test(
  "a rotated file that a pattern matches and that cannot be read does not hold newer ones for ever",
  async () => {
    await using bench = new Bench();
    bench.write("a.log", "one\n");
    const reads = failingReads("EIO");
    const config = { include: [bench.path("a.log*")], globMinimumCooldownMs: 10 };
    const run = await bench.start({ ops: reads.ops, config });
    await run.outlet.untilCount(1);
    reads.fail(bench.path("a.log"));
    bench.append("a.log", "two\n");
    bench.rename("a.log", "a.log.1");
    bench.write("a.log", "three\n");
    await run.outlet.untilCount(2, 20_000);
    expect(run.log.matching("newer files are read now").length).toBe(1);
    reads.fail(null);
    await run.outlet.untilCount(3, 20_000);
    await run.stop();
    expect(run.outlet.texts).toEqual(["one", "three", "two"]);
    expect(run.metrics.lostBytes.total()).toBe(0);
  },
  60_000,
);

test("a rotated file is not given up while descriptors are short", async () => {
  await using bench = new Bench();
  bench.write("a.log", "one\n");
  const reads = failingReads("EMFILE");
  const run = await bench.start({ ops: reads.ops, config: { globMinimumCooldownMs: 10 } });
  await run.outlet.untilCount(1);
  reads.fail(bench.path("a.log"));
  bench.append("a.log", "two\n");
  bench.rename("a.log", "a.log.1");
  await until(() => (run.metrics.errors.values.get("EMFILE") ?? 0) > 2 * FAILURES_MAX);
  reads.fail(null);
  await run.outlet.untilCount(2, 20_000);
  await run.stop();
  expect(run.metrics.lostBytes.total()).toBe(0);
}, 60_000);

test("rotations that nobody saw are found when the folder can be listed again", async () => {
  await using bench = new Bench();
  bench.write("a.log", "one\n");
  let failuresLeft = 0;
  const ops: FileOps = {
    ...systemFileOps,
    async list(folder, isLocal) {
      if (!isLocal && failuresLeft-- > 0) throw Object.assign(new Error("Cannot list"), { code: "EMFILE" });
      return await systemFileOps.list(folder, isLocal);
    },
  };
  const run = await bench.start({ ops });
  await run.outlet.untilCount(1);
  failuresLeft = 3;
  for (const text of ["two\n", "three\n"]) {
    Bun.sleepSync(12); // birth times are no finer
    if (text === "three\n") bench.rename("a.log.1", "a.log.2");
    bench.rename("a.log", "a.log.1");
    bench.write("a.log", text);
  }
  await run.outlet.untilCount(3);
  await run.stop();
  expect(run.outlet.texts).toEqual(["one", "two", "three"]);
});
