import { expect, test } from "bun:test";
import fs from "node:fs";
import { faultyRescueOps, systemRescueOps } from "../../src/source/rescue_ops.ts";
import { Bench, numbered, until } from "./harness.ts";
import { copiesIn, killAfter, MIB, rescuedFile, roomyOps, start } from "./rescue_bench.ts";

// What is not there: room, a disk that works, bytes of a copy.

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
