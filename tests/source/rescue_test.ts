import { expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { ExtentReader } from "../../src/source/extent_reader.ts";
import { systemFileOps } from "../../src/source/file_ops.ts";
import { RESCUE_FOLDER } from "../../src/source/rescue_index.ts";
import { faultyRescueOps, type RescueOps, systemRescueOps } from "../../src/source/rescue_ops.ts";
import { Bench, MemoryLog, numbered, type Running, type RunOptions, until } from "./harness.ts";

const MIB = 1_048_576;
const RESCUE = { rescueSizeBytesMax: 64 * MIB };
/** Room on the disk, whatever the one under the tests has. */
const roomyOps: RescueOps = {
  ...systemRescueOps,
  space: () => Promise.resolve({ freeBytes: 1024 * MIB, totalBytes: 2048 * MIB }),
};

function start(bench: Bench, options: RunOptions = {}): Promise<Running> {
  return bench.start({ ...RESCUE, rescueOps: roomyOps, ...options });
}

function copiesIn(bench: Bench): string[] {
  const dir = path.join(bench.dataDir, RESCUE_FOLDER);
  return fs.existsSync(dir) ? fs.readdirSync(dir) : [];
}

function rescuedFile(bench: Bench, suffix: ".data" | ".index"): string {
  return path.join(bench.dataDir, RESCUE_FOLDER, copiesIn(bench).find((name) => name.endsWith(suffix))!);
}

/** Ships 30 lines of 1000, loses the file by `lose`, waits until the rest is copied, and is killed. */
async function killAfter(bench: Bench, lose: () => void, options: RunOptions = {}): Promise<Running> {
  bench.write("a.log", numbered("line", 1_000));
  const run = await start(bench, { rooms: [30], ...options });
  await run.outlet.untilCount(30);
  lose();
  const bytes = numbered("line", 1_000).length - numbered("line", 30).length;
  await until(() => run.rescue!.heldBytes() === bytes);
  await run.kill();
  return run;
}

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

test("rescue_max_size: the warning says what is not protected, and the next run gives whole lines only", async () => {
  await using bench = new Bench();
  bench.write("a.log", numbered("line", 1_000));
  const run = await start(bench, { rooms: [30], rescueSizeBytesMax: 2_000 });
  await run.outlet.untilCount(30);
  fs.unlinkSync(bench.path("a.log"));
  await until(() => run.log.matching("rescue_max_size").length === 1);
  await Bun.sleep(500);
  expect(run.log.matching("rescue_max_size").length).toBe(1);
  expect(run.log.matching("rescue_max_size")[0]).toContain("bytes 2230 to 8890");
  expect(run.metrics.rescueFailuresCount).toBeGreaterThan(1);
  expect(run.rescue!.heldBytes()).toBe(2_000);
  await run.kill();
  const again = await start(bench, { once: true });
  await again.ended;
  const all = numbered("line", 1_000).split("\n");
  expect(again.outlet.texts.length).toBeGreaterThan(200);
  expect(again.outlet.texts).toEqual(all.slice(30, 30 + again.outlet.texts.length));
});

test("room that was used up is taken again when something is delivered", async () => {
  await using bench = new Bench();
  bench.write("a.log", numbered("line", 1_000));
  const run = await start(bench, { rooms: [30], rescueSizeBytesMax: 2_000 });
  await run.outlet.untilCount(30);
  fs.unlinkSync(bench.path("a.log"));
  await until(() => run.rescue!.heldBytes() === 2_000);
  run.outlet.addRoom(400);
  await until(() => run.metrics.rescuedBytesCount === 4_000);
  await run.kill();
  const again = await start(bench, { once: true });
  await again.ended;
  const all = numbered("line", 1_000).split("\n");
  expect(again.outlet.texts.length).toBeGreaterThan(150);
  expect(again.outlet.texts).toEqual(all.slice(430, 430 + again.outlet.texts.length));
});

test("rescue_max_size = 0 copies nothing, and says nothing", async () => {
  await using bench = new Bench();
  bench.write("a.log", numbered("line", 100));
  const run = await start(bench, { rooms: [30], rescueSizeBytesMax: 0 });
  await run.outlet.untilCount(30);
  fs.unlinkSync(bench.path("a.log"));
  await Bun.sleep(500);
  expect(run.log.matching("warn")).toEqual([]);
  run.outlet.addRoom(100);
  await run.outlet.untilCount(100);
  expect(copiesIn(bench)).toEqual([]);
});

for (const op of ["open", "write", "sync"] as const) {
  for (const error of ["ENOSPC", "EIO"]) {
    test(`${op} fails with ${error}: told once, tried again, and complete then`, async () => {
      await using bench = new Bench();
      const fault = { op, path: /rescue/, error, from: 2, count: 3 };
      const run = await killAfter(bench, () => fs.unlinkSync(bench.path("a.log")), {
        rescueOps: faultyRescueOps(roomyOps, [fault]),
      });
      expect(run.log.matching("Cannot copy bytes").length).toBe(1);
      expect(run.log.matching(error === "ENOSPC" ? "nearly full" : error).length).toBe(1);
      expect(run.log.matching("is copied to data_dir now").length).toBe(1);
      const again = await start(bench);
      await again.outlet.untilCount(970);
      expect([...run.outlet.texts, ...again.outlet.texts].join("\n") + "\n").toBe(numbered("line", 1_000));
    });
  }
}

test("the last of the disk is left alone", async () => {
  await using bench = new Bench();
  bench.write("a.log", numbered("line", 100));
  let freeBytes = 20 * MIB;
  const rescueOps = {
    ...systemRescueOps,
    space: () => Promise.resolve({ freeBytes, totalBytes: 400 * MIB }),
  };
  const run = await start(bench, { rooms: [30], rescueOps });
  await run.outlet.untilCount(30);
  fs.unlinkSync(bench.path("a.log"));
  await until(() => run.log.matching("nearly full").length === 1);
  expect(copiesIn(bench)).toEqual([]);
  freeBytes = 21 * MIB;
  await until(() => run.rescue!.heldBytes() > 0);
});

for (const damage of ["data cut", "data changed", "index cut", "index changed"] as const) {
  test(`a copy with its ${damage} gives what is whole, and nothing else`, async () => {
    await using bench = new Bench();
    bench.write("a.log", numbered("line", 300_000));
    const run = await start(bench, { rooms: [30] });
    await run.outlet.untilCount(30);
    fs.unlinkSync(bench.path("a.log"));
    const bytes = numbered("line", 300_000).length - numbered("line", 30).length;
    await until(() => run.rescue!.heldBytes() === bytes);
    await run.kill();
    const file = rescuedFile(bench, damage.startsWith("data") ? ".data" : ".index");
    const { size } = fs.statSync(file);
    if (damage.endsWith("cut")) fs.truncateSync(file, size - 50);
    else {
      const fd = fs.openSync(file, "r+");
      fs.writeSync(fd, "x", size - 50);
      fs.closeSync(fd);
    }
    const again = await start(bench, { once: true });
    await again.ended;
    const all = numbered("line", 300_000).split("\n");
    const count = again.outlet.texts.length;
    // All pieces but the last one are there.
    expect(count).toBeGreaterThan(150_000);
    expect(count).toBeLessThan(299_970);
    expect(again.outlet.texts).toEqual(all.slice(30, 30 + count));
  });
}

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
