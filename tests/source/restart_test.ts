import { expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { type FileOps, systemFileOps } from "../../src/source/file_ops.ts";
import { Bench, numbered, until } from "./harness.ts";

test("a file renamed while shipper was stopped is finished first, also outside the patterns", async () => {
  await using bench = new Bench();
  bench.write("a.log", numbered("line", 100));
  const run = await bench.start({ rooms: [30] });
  await run.outlet.untilCount(30);
  await run.stop();
  bench.rename("a.log", "renamed-by-hand");
  bench.write("a.log", numbered("line", 100, 100));
  const again = await bench.start();
  await again.outlet.untilCount(170);
  expect([...run.outlet.texts, ...again.outlet.texts].join("\n") + "\n").toBe(numbered("line", 200));
  expect(again.outlet.lines[0]!.path).toBe(bench.path("a.log"));
  await until(() => again.outlet.ended.length === 1);
});

test("three rotations while shipper was stopped are finished in their order", async () => {
  await using bench = new Bench();
  bench.write("a.log", "older than all\n");
  bench.rename("a.log", "a.log.1");
  await Bun.sleep(10);
  bench.write("a.log", numbered("line", 10));
  const run = await bench.start({ rooms: [5] });
  await run.outlet.untilCount(5);
  await run.stop();
  for (let rotation = 1; rotation <= 3; rotation++) {
    for (const i of [4, 3, 2, 1]) {
      if (fs.existsSync(bench.path(`a.log.${i}`))) bench.rename(`a.log.${i}`, `a.log.${i + 1}`);
    }
    bench.rename("a.log", "a.log.1");
    await Bun.sleep(10);
    bench.write("a.log", numbered("line", 10, rotation * 10));
  }
  const again = await bench.start();
  await again.outlet.untilCount(35);
  await Bun.sleep(400);
  expect([...run.outlet.texts, ...again.outlet.texts].join("\n") + "\n").toBe(numbered("line", 40));
});

test("rotations while stopped are left alone with rotated = none, but for the file that was being read", async () => {
  await using bench = new Bench();
  bench.write("a.log", "one\ntwo\n");
  const run = await bench.start({ rooms: [1], config: { rotated: "none" } });
  await run.outlet.untilCount(1);
  await run.stop();
  bench.rename("a.log", "a.log.2");
  bench.write("a.log.1", "never seen\n");
  bench.write("a.log", "three\n");
  const again = await bench.start({ config: { rotated: "none" } });
  await again.outlet.untilCount(2);
  await Bun.sleep(300);
  expect(again.outlet.texts).toEqual(["two", "three"]);
});

test("rotated names that the patterns match are finished in their order as well", async () => {
  await using bench = new Bench();
  const config = { include: [bench.path("a.log*")] };
  bench.write("a.log", numbered("line", 10));
  const run = await bench.start({ rooms: [5], config });
  await run.outlet.untilCount(5);
  await run.stop();
  for (let rotation = 1; rotation <= 2; rotation++) {
    if (fs.existsSync(bench.path("a.log.1"))) bench.rename("a.log.1", "a.log.2");
    bench.rename("a.log", "a.log.1");
    await Bun.sleep(10);
    bench.write("a.log", numbered("line", 10, rotation * 10));
  }
  const again = await bench.start({ config });
  await again.outlet.untilCount(25);
  await Bun.sleep(300);
  expect([...run.outlet.texts, ...again.outlet.texts].join("\n") + "\n").toBe(numbered("line", 30));
  bench.append("a.log.2", "late\n");
  await again.outlet.untilCount(26);
});

test("a position moves only when lines are settled", async () => {
  await using bench = new Bench();
  bench.write("a.log", "one\ntwo\n");
  const run = await bench.start({ isSettling: false });
  await run.outlet.untilCount(2);
  await run.stop();
  const again = await bench.start();
  await again.outlet.untilCount(2);
  expect(again.outlet.texts).toEqual(["one", "two"]);
  await again.stop();
  const third = await bench.start({ once: true });
  await third.ended;
  expect(third.outlet.texts).toEqual([]);
});

test("a device number that changed does not make a file another one", async () => {
  await using bench = new Bench();
  bench.write("a.log", "one\n");
  const run = await bench.start();
  await run.outlet.untilCount(1);
  await run.stop();
  const { systemFileOps } = await import("../../src/source/file_ops.ts");
  const ops = {
    ...systemFileOps,
    stat: async (file: string, isLocal: boolean) => ({
      ...await systemFileOps.stat(file, isLocal),
      dev: 4_711n,
    }),
    fstat: async (fd: number) => ({ ...await systemFileOps.fstat(fd), dev: 4_711n }),
  };
  bench.append("a.log", "two\n");
  const again = await bench.start({ ops });
  await again.outlet.untilCount(1);
  expect(again.outlet.texts).toEqual(["two"]);
  await again.stop();
  expect(bench.stored.open().records("app").map((record) => record.dev)).toEqual(["4711"]);
});

test("a file that is renamed while a restart is about to open it hides none that came and went behind it", async () => {
  await using bench = new Bench();
  bench.write("a.log", "");
  const run = await bench.start();
  await until(() => run.store.records("app").length === 1);
  await run.stop();
  const replace = (text: string) => {
    Bun.sleepSync(12); // birth times are no finer
    bench.write("a.log", text);
  };
  // Gone without a trace, and another one in its place.
  fs.unlinkSync(bench.path("a.log"));
  replace("two\n");
  let isRenamed = false;
  const ops: FileOps = {
    ...systemFileOps,
    watch: () => ({ close: () => {} }),
    async realpath(name) {
      if (name === bench.path("a.log") && !isRenamed) {
        isRenamed = true;
        fs.renameSync(name, path.join(bench.folder, "away"));
        replace("three\n");
        bench.rename("a.log", "a.log.1");
      }
      return await systemFileOps.realpath(name);
    },
  };
  const again = await bench.start({ ops });
  await until(() => isRenamed);
  replace("four\n");
  await again.outlet.untilCount(2);
  await again.stop();
  expect(again.outlet.texts).toEqual(["three", "four"]);
});

/** The system's listing of folders in search of files, of which the first `count` calls fail. */
function failingLists(code: string, count: number): FileOps {
  return {
    ...systemFileOps,
    async list(folder, isLocal) {
      if (!isLocal && count-- > 0) throw Object.assign(new Error("Cannot list"), { code });
      return await systemFileOps.list(folder, isLocal);
    },
  };
}

test("a folder that cannot be listed for now: nothing in it counts as gone, and what was rotated is read first", async () => {
  await using bench = new Bench();
  bench.write("a.log", "one\n");
  const run = await bench.start();
  await run.outlet.untilCount(1);
  await run.stop();
  bench.append("a.log", "two\n");
  for (const text of ["three\n", "four\n"]) {
    Bun.sleepSync(12); // birth times are no finer
    if (text === "four\n") bench.rename("a.log.1", "a.log.2");
    bench.rename("a.log", "a.log.1");
    bench.write("a.log", text);
  }
  const again = await bench.start({ ops: failingLists("EMFILE", 3) });
  await again.outlet.untilCount(3);
  await again.stop();
  expect(again.outlet.texts).toEqual(["two", "three", "four"]);
  expect(again.metrics.lostBytes.total()).toBe(0);
});

test("a folder that may not be listed holds nothing, and its files are found when it may be", async () => {
  await using bench = new Bench();
  bench.write("a.log", "one\n");
  const run = await bench.start();
  await run.outlet.untilCount(1);
  await run.stop();
  bench.append("a.log", "two\n");
  Bun.sleepSync(12); // birth times are no finer
  bench.rename("a.log", "a.log.1");
  bench.write("a.log", "three\n");
  const include = [bench.path("a.log")];
  const blind = await bench.start({ ops: failingLists("EACCES", Infinity), config: { include } });
  await blind.outlet.untilCount(1);
  await blind.stop();
  expect(blind.outlet.texts).toEqual(["three"]);
  expect(blind.metrics.lostBytes.total()).toBe(0);
  const again = await bench.start();
  await again.outlet.untilCount(1);
  await again.stop();
  expect(again.outlet.texts).toEqual(["two"]);
});

test("a file whose folder cannot be listed at a start is read when it can be", async () => {
  await using bench = new Bench();
  bench.write("a.log", "one\n");
  const run = await bench.start();
  await run.outlet.untilCount(1);
  await run.stop();
  bench.append("a.log", "two\n");
  bench.rename("a.log", "kept-under-another-name");
  const again = await bench.start({ ops: failingLists("EIO", 8) });
  await again.outlet.untilCount(1, 30_000);
  await again.stop();
  expect(again.outlet.texts).toEqual(["two"]);
}, 60_000);

test("a rotated file that cannot be opened at a start, for long, is read when it can be", async () => {
  await using bench = new Bench();
  bench.write("a.log", "one\n");
  const run = await bench.start();
  await run.outlet.untilCount(1);
  await run.stop();
  bench.append("a.log", "two\n");
  bench.rename("a.log", "a.log.1");
  bench.write("a.log", "three\n");
  let isFailing = true;
  const ops: FileOps = {
    ...systemFileOps,
    async open(file) {
      if (isFailing && file === bench.path("a.log.1")) {
        throw Object.assign(new Error("Cannot open"), { code: "EIO" });
      }
      return await systemFileOps.open(file);
    },
  };
  const again = await bench.start({ ops });
  await again.outlet.untilCount(1, 30_000);
  isFailing = false;
  await again.outlet.untilCount(2);
  await again.stop();
  expect(again.outlet.texts).toEqual(["three", "two"]);
}, 60_000);

test(
  "a file that cannot be opened at a start, and is renamed meanwhile, is read when it can be",
  async () => {
    await using bench = new Bench();
    bench.write("a.log", "one\n");
    const run = await bench.start();
    await run.outlet.untilCount(1);
    await run.stop();
    bench.append("a.log", "two\n");
    let failedCount = 0;
    let isFailing = true;
    const ops: FileOps = {
      ...systemFileOps,
      async open(file) {
        failedCount++;
        if (isFailing) throw Object.assign(new Error("Cannot open"), { code: "EMFILE" });
        return await systemFileOps.open(file);
      },
    };
    const again = await bench.start({ ops });
    await until(() => failedCount > 0);
    bench.rename("a.log", "kept-under-another-name");
    await Bun.sleep(4_000); // it is waited for at the start
    isFailing = false;
    await again.outlet.untilCount(1);
    await again.stop();
    expect(again.outlet.texts).toEqual(["two"]);
  },
  60_000,
);
