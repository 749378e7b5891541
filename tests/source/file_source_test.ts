import { expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { DeviceGate } from "../../src/source/device_gate.ts";
import type { FileOps } from "../../src/source/file_ops.ts";
import { systemFileOps } from "../../src/source/file_ops.ts";
import { Bench, numbered, until } from "./harness.ts";

test("file source reads what is there, then what is appended", async () => {
  await using bench = new Bench();
  bench.write("a.log", "one\ntwo\n");
  const run = await bench.start();
  await run.outlet.untilCount(2);
  bench.append("a.log", "three\n");
  await run.outlet.untilCount(3);
  expect(run.outlet.texts).toEqual(["one", "two", "three"]);
  expect(run.outlet.lines[2]).toMatchObject({ offset: 8, path: bench.path("a.log") });
  await run.stop();
  const again = await bench.start();
  bench.append("a.log", "four\n");
  await again.outlet.untilCount(1);
  expect(again.outlet.texts).toEqual(["four"]);
});

test("file source with once ends at the end, with the last line that has no newline", async () => {
  await using bench = new Bench();
  bench.write("a.log", numbered("a", 50_000) + "last");
  bench.write("empty.log", "");
  const run = await bench.start({ once: true });
  await run.ended;
  expect(run.outlet.lines.length).toBe(50_001);
  expect(run.outlet.texts.at(-1)).toBe("last");
  expect(run.metrics.openFiles).toBe(0);
});

test("file source reads many small appends exactly once, in order", async () => {
  await using bench = new Bench();
  bench.write("a.log", "");
  const run = await bench.start();
  for (let i = 0; i < 3_000; i++) {
    bench.append("a.log", `line ${i}\n`);
    if (i % 100 === 0) await Bun.sleep(1);
  }
  await run.outlet.untilCount(3_000);
  expect(run.outlet.texts.join("\n") + "\n").toBe(numbered("line", 3_000));
});

test("file source finds new files and new folders", async () => {
  await using bench = new Bench();
  const run = await bench.start({
    config: { include: [bench.path("**/*.log")], exclude: [bench.path("skipped/**")] },
  });
  bench.write("first.log", "1\n");
  await run.outlet.untilCount(1);
  fs.mkdirSync(bench.path("deep/er"), { recursive: true });
  fs.mkdirSync(bench.path("skipped"));
  bench.write("skipped/no.log", "no\n");
  bench.write("deep/er/second.log", "2\n");
  bench.write("other.txt", "no\n");
  await run.outlet.untilCount(2);
  bench.append("deep/er/second.log", "3\n");
  await run.outlet.untilCount(3);
  expect(run.outlet.texts).toEqual(["1", "2", "3"]);
});

test("file source takes braces, and a folder that comes later", async () => {
  await using bench = new Bench();
  const run = await bench.start({ config: { include: [bench.path("later/{a,b}/x.log")] } });
  fs.mkdirSync(bench.path("later/a"), { recursive: true });
  fs.mkdirSync(bench.path("later/c"), { recursive: true });
  bench.write("later/a/x.log", "a\n");
  bench.write("later/c/x.log", "c\n");
  await run.outlet.untilCount(1);
  await Bun.sleep(300);
  expect(run.outlet.texts).toEqual(["a"]);
});

test("file source reads 1,000 files", async () => {
  await using bench = new Bench();
  for (let i = 0; i < 1_000; i++) bench.write(`${i}.log`, `old ${i}\n`);
  const run = await bench.start({ config: { maxOpenFiles: 50 } });
  await run.outlet.untilCount(1_000);
  expect(run.metrics.watchedFiles).toBe(1_000);
  expect(run.metrics.openFiles).toBeLessThanOrEqual(50);
  for (let i = 0; i < 1_000; i++) bench.append(`${i}.log`, `new ${i}\n`);
  await run.outlet.untilCount(2_000);
  expect(new Set(run.outlet.texts).size).toBe(2_000);
  expect(run.metrics.openFiles).toBeLessThanOrEqual(50);
});

test("file source never opens a FIFO, a folder or a socket, and says so once", async () => {
  await using bench = new Bench();
  fs.mkdirSync(bench.path("folder.log"));
  Bun.spawnSync(["mkfifo", bench.path("pipe.log")]);
  const listener = Bun.listen({ unix: bench.path("socket.log"), socket: { data() {} } });
  bench.write("a.log", "one\n");
  const run = await bench.start({ config: { globMinimumCooldownMs: 20 } });
  await run.outlet.untilCount(1);
  await Bun.sleep(100);
  expect(run.log.matching("pipe.log").length).toBe(1);
  expect(run.log.matching("it is a FIFO").length).toBe(1);
  expect(run.log.matching("it is a folder").length).toBe(1);
  expect(run.log.matching("it is a socket").length).toBe(1);
  await run.stop();
  listener.stop(true);
});

test("file source ships a file with several names once", async () => {
  await using bench = new Bench();
  fs.mkdirSync(bench.path("target"));
  bench.write("target/real.txt", "one\n");
  fs.symlinkSync(bench.path("target/real.txt"), bench.path("link.log"));
  fs.linkSync(bench.path("target/real.txt"), bench.path("hard.log"));
  const run = await bench.start({
    config: { include: [bench.path("*.log"), bench.path("{link,hard}.log")] },
  });
  await run.outlet.untilCount(1);
  bench.append("target/real.txt", "two\n");
  await run.outlet.untilCount(2);
  await Bun.sleep(300);
  expect(run.outlet.texts).toEqual(["one", "two"]);
});

test("file source follows a link that is pointed elsewhere", async () => {
  await using bench = new Bench();
  fs.mkdirSync(bench.path("target"));
  bench.write("target/1", "one\n");
  bench.write("target/2", "two\n");
  fs.symlinkSync(bench.path("target/1"), bench.path("link.log"));
  const run = await bench.start();
  await run.outlet.untilCount(1);
  fs.symlinkSync(bench.path("target/2"), bench.path("new"));
  bench.rename("new", "link.log");
  await run.outlet.untilCount(2);
  bench.append("target/2", "three\n");
  await run.outlet.untilCount(3);
  expect(run.outlet.texts).toEqual(["one", "two", "three"]);
});

test("file source never reads its own data_dir", async () => {
  await using bench = new Bench();
  fs.writeFileSync(path.join(bench.dataDir, "x.log"), "own\n");
  fs.symlinkSync(bench.dataDir, bench.path("linked"));
  fs.symlinkSync(path.join(bench.dataDir, "x.log"), bench.path("file.log"));
  bench.write("a.log", "one\n");
  const run = await bench.start({
    config: {
      include: [path.join(bench.folder, "**/*.log"), bench.path("linked/*.log")],
      globMinimumCooldownMs: 20,
    },
  });
  await run.outlet.untilCount(1);
  await Bun.sleep(100);
  expect(run.outlet.texts).toEqual(["one"]);
});

test("file source with read_from end starts behind what was there, and keeps that start", async () => {
  await using bench = new Bench();
  bench.write("a.log", "old\n");
  const run = await bench.start({ config: { readFrom: "end" } });
  await until(() => run.metrics.watchedFiles === 1);
  bench.write("later.log", "later\n");
  await run.outlet.untilCount(1);
  await run.stop();
  bench.append("a.log", "while stopped\n");
  const again = await bench.start({ config: { readFrom: "end" } });
  await again.outlet.untilCount(1);
  expect([run.outlet.texts, again.outlet.texts]).toEqual([["later"], ["while stopped"]]);
});

test("file source leaves files alone that are older than ignore_older_secs, until they are written to", async () => {
  await using bench = new Bench();
  bench.write("old.log", "old\n");
  fs.utimesSync(bench.path("old.log"), 1_000, 1_000);
  bench.write("new.log", "new\n");
  const run = await bench.start({ config: { ignoreOlderMs: 60_000 } });
  await run.outlet.untilCount(1);
  await Bun.sleep(250);
  expect(run.outlet.texts).toEqual(["new"]);
  bench.append("old.log", "again\n");
  await run.outlet.untilCount(3);
  expect(run.outlet.texts).toEqual(["new", "old", "again"]);
});

test("file source holds a last line without newline back, then gives the rest as a line of its own", async () => {
  await using bench = new Bench();
  bench.write("a.log", "one\ntw");
  const run = await bench.start({ config: { partialFlushAfterMs: 300 } });
  await run.outlet.untilCount(1);
  expect(run.outlet.texts).toEqual(["one"]);
  await run.outlet.untilCount(2);
  bench.append("a.log", "o\nthree\n");
  await run.outlet.untilCount(4);
  expect(run.outlet.texts).toEqual(["one", "tw", "o", "three"]);
});

test("file source joins a line that is completed in time", async () => {
  await using bench = new Bench();
  bench.write("a.log", "one\ntw");
  const run = await bench.start();
  await run.outlet.untilCount(1);
  bench.append("a.log", "o\n");
  await run.outlet.untilCount(2);
  expect(run.outlet.texts).toEqual(["one", "two"]);
});

test("file source gives an outlet as much as its longest line needs", async () => {
  await using bench = new Bench();
  const long = "x".repeat(299_000);
  bench.write("a.log", `${long}\nshort\n${long}`);
  const run = await bench.start({ config: { maxLineBytes: 300_000 } });
  await run.outlet.untilCount(2);
  bench.append("a.log", "y\n");
  await run.outlet.untilCount(3);
  expect(run.outlet.texts).toEqual([long, "short", `${long}y`]);
  expect(run.outlet.offeredBytesMax).toBeGreaterThan(299_000);
});

test("file source keeps trying a file that it may not read, and reads it when it may", async () => {
  await using bench = new Bench();
  bench.write("a.log", "readable\n");
  bench.write("secret.log", "secret\n");
  fs.chmodSync(bench.path("secret.log"), 0o000);
  const denied: FileOps = {
    ...systemFileOps,
    // As root every file can be opened; the mode says what others would get.
    open(file) {
      if ((fs.statSync(file).mode & 0o444) !== 0) return systemFileOps.open(file);
      return Promise.reject(Object.assign(new Error("Permission denied"), { code: "EACCES" }));
    },
  };
  const run = await bench.start({ config: { globMinimumCooldownMs: 20 }, ops: denied });
  await run.outlet.untilCount(1);
  await until(() => (run.metrics.errors.values.get("EACCES") ?? 0) >= 3);
  expect(run.log.matching("secret.log").length).toBe(1);
  expect(run.log.matching("EACCES").length).toBe(1);
  fs.chmodSync(bench.path("secret.log"), 0o644);
  await run.outlet.untilCount(2);
  expect(run.outlet.texts).toEqual(["readable", "secret"]);
  expect(run.log.matching("works again").length).toBe(1);
});

test("file source finds everything by scans when the system gives no watch", async () => {
  await using bench = new Bench();
  bench.write("a.log", "one\n");
  const unwatched: FileOps = {
    ...systemFileOps,
    watch() {
      throw Object.assign(new Error("No space left on device"), { code: "ENOSPC" });
    },
  };
  const run = await bench.start({ config: { globMinimumCooldownMs: 20 }, ops: unwatched });
  await run.outlet.untilCount(1);
  bench.append("a.log", "two\n");
  await run.outlet.untilCount(2);
  bench.rename("a.log", "a.log.1");
  bench.write("a.log", "three\n");
  bench.append("a.log.1", "late\n");
  await run.outlet.untilCount(4);
  expect(run.outlet.texts.toSorted()).toEqual(["late", "one", "three", "two"]);
  expect(run.log.matching("Cannot watch").length).toBe(1);
});

test("file source looks at everything again when events were lost", async () => {
  await using bench = new Bench();
  bench.write("a.log", "one\n");
  let tell: ((name: string | null, isRename: boolean) => void) | null = null;
  const lossy: FileOps = {
    ...systemFileOps,
    watch(_folder, onEvent) {
      tell = onEvent;
      return { close() {} };
    },
  };
  const run = await bench.start({ ops: lossy, config: { globMinimumCooldownMs: 1_000_000 } });
  await run.outlet.untilCount(1);
  bench.append("a.log", "two\n");
  bench.write("b.log", "three\n");
  tell!(null, false);
  await run.outlet.untilCount(3, 900);
  expect(run.outlet.texts.toSorted()).toEqual(["one", "three", "two"]);
});

test("file source goes on with other devices while a read hangs", async () => {
  await using bench = new Bench();
  fs.mkdirSync(bench.path("dead"));
  bench.write("dead/hung.log", "hung\n");
  bench.write("dead/other.log", "other\n");
  bench.write("a.log", "one\n");
  let release: (() => void) | null = null;
  const hungFds = new Set<number>();
  let readsOfDead = 0;
  const isDead = (file: string) => file.includes("/dead/");
  const hanging: FileOps = {
    ...systemFileOps,
    async stat(file, isLocal) {
      const stat = await systemFileOps.stat(file, isLocal);
      return isDead(file) ? { ...stat, dev: 999n } : stat;
    },
    async open(file) {
      const fd = await systemFileOps.open(file);
      if (isDead(file)) hungFds.add(fd);
      return fd;
    },
    async fstat(fd) {
      const stat = await systemFileOps.fstat(fd);
      return hungFds.has(fd) ? { ...stat, dev: 999n } : stat;
    },
    async read(fd, target, length, position) {
      // The fingerprint is read without trouble.
      if (hungFds.has(fd) && length > 1_024) {
        readsOfDead++;
        if (release === null) await new Promise<void>((resolve) => release = resolve);
      }
      return systemFileOps.read(fd, target, length, position);
    },
  };
  const run = await bench.start({
    ops: hanging,
    gate: new DeviceGate(),
    config: { include: [bench.path("**/*.log")], globMinimumCooldownMs: 100 },
  });
  await run.outlet.untilCount(1);
  await until(() => release !== null);
  for (let i = 0; i < 20; i++) {
    bench.append("a.log", `more ${i}\n`);
    await Bun.sleep(10);
  }
  await run.outlet.untilCount(21);
  expect(readsOfDead).toBe(1);
  release!();
  await run.outlet.untilCount(23);
  expect(run.outlet.texts).toContain("hung");
  expect(run.outlet.texts).toContain("other");
});
