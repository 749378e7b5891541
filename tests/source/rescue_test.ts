import { expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { ExtentReader } from "../../src/source/extent_reader.ts";
import { systemFileOps } from "../../src/source/file_ops.ts";
import { RESCUE_FOLDER } from "../../src/source/rescue_index.ts";
import { faultyRescueOps } from "../../src/source/rescue_ops.ts";
import { Bench, MemoryLog, numbered, until } from "./harness.ts";
import { copiesIn, killAfter, rescuedFile, roomyOps, start } from "./rescue_bench.ts";

for (
  const [what, lose] of [
    ["deleted", (bench: Bench) => fs.unlinkSync(bench.path("a.log"))],
    [
      "moved to another folder",
      (bench: Bench) => fs.renameSync(bench.path("a.log"), path.join(bench.folder, "away")),
    ],
    ["deleted and made again", (bench: Bench) => {
      fs.unlinkSync(bench.path("a.log"));
      bench.write("a.log", numbered("new", 10));
    }],
  ] as const
) {
  test(`the unread end of a file that is ${what} survives a kill, and its copy goes when it is delivered`, async () => {
    await using bench = new Bench();
    const run = await killAfter(bench, () => lose(bench));
    expect(run.metrics.rescuedBytesCount).toBeGreaterThan(0);
    const again = await start(bench);
    const newCount = what === "deleted and made again" ? 10 : 0;
    await again.outlet.untilCount(970 + newCount);
    const texts = [...run.outlet.texts, ...again.outlet.texts];
    expect(texts.join("\n") + "\n").toBe(numbered("line", 1_000) + numbered("new", newCount));
    expect(again.outlet.lines[0]!.path).toBe(bench.path("a.log"));
    await until(() => copiesIn(bench).length === 0);
    await until(() => again.store.records("app").length === (newCount > 0 ? 1 : 0));
    expect(again.log.entries.filter((entry) => entry.startsWith("error"))).toEqual([]);
    await again.stop();
    const third = await start(bench);
    await Bun.sleep(100);
    expect(third.outlet.texts).toEqual([]);
  });
}

for (const isMoved of [false, true]) {
  test(
    `a file that is ${isMoved ? "moved away" : "deleted"} a moment before the stop is copied`,
    async () => {
      await using bench = new Bench();
      bench.write("a.log", numbered("line", 1_000));
      // Nobody tells of it, and there is no scan before the stop.
      const run = await start(bench, {
        rooms: [30],
        ops: { ...systemFileOps, watch: () => ({ close: () => {} }) },
        config: { globMinimumCooldownMs: 60_000 },
      });
      await run.outlet.untilCount(30);
      if (isMoved) fs.renameSync(bench.path("a.log"), path.join(bench.folder, "away"));
      else fs.unlinkSync(bench.path("a.log"));
      await run.stop();
      const again = await start(bench);
      await again.outlet.untilCount(970);
      await again.stop();
      expect([...run.outlet.texts, ...again.outlet.texts].join("\n") + "\n").toBe(numbered("line", 1_000));
    },
    30_000,
  );
}

test("a rotated file is copied only when it is deleted, also after it was read to its end", async () => {
  await using bench = new Bench();
  bench.write("a.log", numbered("line", 100));
  const run = await start(bench, { isSettling: false });
  await run.outlet.untilCount(100);
  bench.rename("a.log", "a.log.1");
  await until(() => run.outlet.ended.length === 1);
  bench.rename("a.log.1", "kept-under-another-name");
  await Bun.sleep(500);
  expect(copiesIn(bench)).toEqual([]);
  expect(run.metrics.openFiles).toBe(1);
  fs.unlinkSync(bench.path("kept-under-another-name"));
  await until(() => run.rescue!.heldBytes() === numbered("line", 100).length);
  await run.kill();
  const again = await start(bench);
  await again.outlet.untilCount(100);
  expect(again.outlet.texts.join("\n") + "\n").toBe(numbered("line", 100));
  await until(() => copiesIn(bench).length === 0);
});

test("a file that is deleted and still written to is followed", async () => {
  await using bench = new Bench();
  bench.write("a.log", numbered("line", 10));
  const fd = fs.openSync(bench.path("a.log"), "a");
  const run = await start(bench, { isSettling: false });
  await run.outlet.untilCount(10);
  fs.unlinkSync(bench.path("a.log"));
  await until(() => run.rescue!.heldBytes() === numbered("line", 10).length);
  for (let round = 1; round <= 3; round++) {
    fs.writeSync(fd, numbered("line", 10, round * 10));
    await until(() => run.rescue!.heldBytes() === numbered("line", 10 + round * 10).length);
  }
  fs.writeSync(fd, "no newline");
  await until(() => run.rescue!.heldBytes() === numbered("line", 40).length + 10);
  await run.kill();
  fs.closeSync(fd);
  const again = await start(bench, { once: true });
  await again.ended;
  expect(again.outlet.texts).toEqual([...numbered("line", 40).trimEnd().split("\n"), "no newline"]);
});

test("what is delivered is not kept, and files that keep up leave nothing behind", async () => {
  await using bench = new Bench();
  bench.write("a.log", numbered("line", 10));
  const fd = fs.openSync(bench.path("a.log"), "a");
  const run = await start(bench);
  await run.outlet.untilCount(10);
  fs.unlinkSync(bench.path("a.log"));
  for (let round = 1; round <= 5; round++) {
    fs.writeSync(fd, numbered("line", 10, round * 10));
    await run.outlet.untilCount(10 + round * 10);
  }
  fs.closeSync(fd);
  await until(() => run.outlet.ended.length === 1);
  await until(() => run.metrics.openFiles === 0);
  await until(() => copiesIn(bench).length === 0);
  expect(run.rescue!.heldBytes()).toBe(0);
});

test("a stop copies what is not copied yet", async () => {
  await using bench = new Bench();
  bench.write("a.log", numbered("line", 300_000));
  const run = await start(bench, { rooms: [10] });
  await run.outlet.untilCount(10);
  fs.unlinkSync(bench.path("a.log"));
  await until(() => run.store.records("app").length === 1 && run.metrics.rotationsCount === 1);
  await run.stop();
  const again = await start(bench, { once: true });
  await again.ended;
  expect(again.outlet.texts.length).toBe(299_990);
});

test("a file that comes back, or is found under another name, needs no copy", async () => {
  await using bench = new Bench();
  const away = path.join(bench.folder, "away");
  bench.write("a.log", numbered("line", 100));
  const run = await start(bench, { rooms: [30] });
  await run.outlet.untilCount(30);
  fs.renameSync(bench.path("a.log"), away);
  await until(() => run.rescue!.heldBytes() > 0);
  fs.renameSync(away, bench.path("b.log"));
  await until(() => copiesIn(bench).length === 0);
  fs.renameSync(bench.path("b.log"), away);
  await until(() => run.rescue!.heldBytes() > 0);
  await run.kill();
  fs.renameSync(away, bench.path("c"));
  const again = await start(bench);
  await again.outlet.untilCount(70);
  expect([...run.outlet.texts, ...again.outlet.texts].join("\n") + "\n").toBe(numbered("line", 100));
  expect(copiesIn(bench)).toEqual([]);
});

test("holes and lines of a region that is covered in part are read from the copy", async () => {
  await using bench = new Bench();
  bench.write("a.log", numbered("line", 100));
  const run = await start(bench, { isSettling: false });
  run.outlet.onRegion = (region, lines) => {
    for (const line of lines.filter((each) => each % 10 === 3)) {
      region.cover(line, 1);
      region.settle(1);
    }
  };
  await run.outlet.untilCount(100);
  await run.store.flush();
  fs.unlinkSync(bench.path("a.log"));
  await until(() => run.rescue!.heldBytes() === numbered("line", 100).length);
  await run.kill();
  const again = await start(bench, { once: true });
  await again.ended;
  const missing = numbered("line", 100).trimEnd().split("\n").filter((_, i) => i % 10 !== 3);
  expect(again.outlet.texts).toEqual(missing);
  expect(again.metrics.lostBytes.total()).toBe(0);
});

test("a region of which the copy holds a part is lost and counted, not sent in part", async () => {
  await using bench = new Bench();
  bench.write("a.log", numbered("line", 100));
  const run = await start(bench, { isSettling: false, rescueSizeBytesMax: 500 });
  run.outlet.onRegion = (region) => {
    region.cover(3, 1);
    region.settle(1);
  };
  await run.outlet.untilCount(100);
  await run.store.flush();
  fs.unlinkSync(bench.path("a.log"));
  await until(() => run.log.matching("rescue_max_size").length === 1);
  await run.kill();
  const again = await start(bench, { once: true });
  await again.ended;
  expect(again.outlet.texts).toEqual([]);
  expect(again.metrics.lostBytes.values.get("deleted")).toBe(numbered("line", 100).length);
  expect(again.log.matching("were not copied before shipper ended").length).toBe(1);
});

test("every sink goes on where it was; one that is new gets nothing of a copy", async () => {
  await using bench = new Bench();
  bench.write("a.log", numbered("line", 1_000));
  const run = await start(bench, { sinks: ["a", "b"], rooms: [100, 30] });
  await run.outlets[0]!.untilCount(100);
  await run.outlets[1]!.untilCount(30);
  fs.unlinkSync(bench.path("a.log"));
  const bytes = numbered("line", 1_000).length - numbered("line", 30).length;
  await until(() => run.rescue!.heldBytes() === bytes);
  await run.kill();
  const again = await start(bench, { sinks: ["a", "b", "c"], once: true });
  await again.ended;
  expect(again.outlets.map((outlet) => outlet.texts.length)).toEqual([900, 970, 0]);
  expect(again.outlets[0]!.texts[0]).toBe("line 100");
});

test("copies of forgotten streams and what else lies there are removed at the start; a newer shipper's are not", async () => {
  await using bench = new Bench();
  await killAfter(bench, () => fs.unlinkSync(bench.path("a.log")));
  const dir = path.join(bench.dataDir, RESCUE_FOLDER);
  fs.writeFileSync(path.join(dir, "0123.data"), "no index");
  const newer = fs.readFileSync(rescuedFile(bench, ".index"), "utf8").replace('"version":1', '"version":2');
  const json = newer.slice(9, newer.indexOf("\n"));
  const crc = Bun.hash.crc32(json).toString(16).padStart(8, "0");
  fs.writeFileSync(path.join(dir, "4567.index"), `${crc} ${json}\n`);
  fs.writeFileSync(path.join(dir, "4567.data"), "bytes");
  const other = new Bench();
  // Nothing is stored: nobody knows the stream.
  fs.cpSync(bench.dataDir, other.dataDir, { recursive: true });
  await using forgetful = other;
  const run = await start(forgetful);
  await until(() => copiesIn(forgetful).length === 2);
  expect(copiesIn(forgetful).sort()).toEqual(["4567.data", "4567.index"]);
  expect(run.rescue!.heldBytes()).toBe(0);
  const again = await start(bench);
  await again.outlet.untilCount(970);
});

test("a copy that cannot be read now is kept for the next start, and nothing is called lost", async () => {
  await using bench = new Bench();
  await killAfter(bench, () => fs.unlinkSync(bench.path("a.log")));
  const rescueOps = faultyRescueOps(roomyOps, [{
    op: "read",
    path: /rescue/,
    error: "EIO",
    from: 1,
    count: 100,
  }]);
  bench.write("a.log", numbered("new", 10));
  const broken = await start(bench, { rescueOps, once: true });
  await broken.ended;
  expect(broken.log.matching("Cannot read the copy in data_dir").length).toBe(1);
  expect(broken.metrics.lostBytes.total()).toBe(0);
  await broken.stop();
  const again = await start(bench, { once: true });
  await again.ended;
  expect(again.outlet.texts.length).toBe(970);
});

test("extents of a file that is gone are read from its copy", async () => {
  await using bench = new Bench();
  await killAfter(bench, () => fs.unlinkSync(bench.path("a.log")));
  const store = bench.stored.open();
  const record = store.records("app")[0]!;
  const reader = new ExtentReader({
    ops: systemFileOps,
    records: (source, id) => store.record(source, id),
    log: new MemoryLog(),
    copyPath: () => rescuedFile(bench, ".data"),
  });
  const text = numbered("line", 1_000);
  const bytes = await reader.read("app", record.id, 500, 700);
  expect(String(bytes)).toBe(text.slice(500, 700));
  expect(await reader.read("app", record.id, text.length - 10, text.length + 10)).toBeNull();
  reader.close();
});

test("extents of a deleted file that is still open are read from it, whether it is copied or not", async () => {
  await using bench = new Bench();
  const text = numbered("line", 1_000);
  bench.write("a.log", text);
  const run = await start(bench, { isSettling: false, rescueSizeBytesMax: 0 });
  await run.outlet.untilCount(1_000);
  const record = run.store.records("app")[0]!;
  const reader = new ExtentReader({
    ops: systemFileOps,
    records: (source, id) => run.store.record(source, id),
    log: new MemoryLog(),
    readHeld: (source, id, ...where) => run.rescue!.readHeld(source, id, ...where),
  });
  fs.unlinkSync(bench.path("a.log"));
  await until(() => run.metrics.rotationsCount === 1);
  expect(String(await reader.read("app", record.id, 500, 700))).toBe(text.slice(500, 700));
  expect(await reader.read("app", record.id, text.length - 10, text.length + 10)).toBeNull();
  await run.stop();
  expect(await reader.read("app", record.id, 500, 700)).toBeNull();
  reader.close();
});
