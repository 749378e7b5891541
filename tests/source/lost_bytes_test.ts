import { expect, test } from "bun:test";
import fs from "node:fs";
import { settleLines } from "./fake_outlet.ts";
import { Bench, numbered, type RunOptions, until } from "./harness.ts";
import { systemFileOps } from "../../src/source/file_ops.ts";
import { faultyFileOps } from "../../src/source/faulty_file_ops.ts";

/** Ships a.log but for the first of three regions of ten lines, and is killed. */
async function leaveHole(bench: Bench, options: RunOptions = {}): Promise<void> {
  bench.write("a.log", numbered("line", 30));
  const run = await bench.start({ ...options, rooms: [10] });
  run.outlet.onRegion = (region, lines) => region.startOffset > 0 ? settleLines(region, lines) : undefined;
  for (const count of [10, 20, 30]) {
    await run.outlet.untilCount(count);
    run.outlet.addRoom(10);
  }
  await run.store.flush();
  await run.kill();
}

const HOLE_BYTES = numbered("line", 10).length;

test("what is known to be missing of a file that was deleted while shipper was stopped is counted once", async () => {
  await using bench = new Bench();
  await leaveHole(bench);
  fs.unlinkSync(bench.path("a.log"));
  const run = await bench.start();
  await until(() => run.metrics.lostBytes.total() > 0);
  expect([...run.metrics.lostBytes.values]).toEqual([["deleted", HOLE_BYTES]]);
  expect(run.log.matching("error: ")).toEqual([
    `error: Lost ${HOLE_BYTES} bytes of "${bench.path("a.log")}" between bytes 0 and ${
      numbered("line", 30).length
    }: ` +
    `it was deleted while shipper was stopped, before they were delivered`,
  ]);
  await run.stop();
  const again = await bench.start();
  await Bun.sleep(30);
  expect(again.metrics.lostBytes.total()).toBe(0);
});

test("the same with another file in its place, which is read", async () => {
  await using bench = new Bench();
  await leaveHole(bench);
  bench.write("new", "new\n");
  bench.rename("new", "a.log");
  const run = await bench.start();
  await run.outlet.untilCount(1);
  expect([...run.metrics.lostBytes.values]).toEqual([["deleted", HOLE_BYTES]]);
  expect(run.store.records("app").length).toBe(1);
});

test("a deleted file without holes costs no error", async () => {
  await using bench = new Bench();
  bench.write("a.log", numbered("line", 30));
  const first = await bench.start();
  await first.outlet.untilCount(30);
  await first.stop();
  fs.unlinkSync(bench.path("a.log"));
  const run = await bench.start();
  await until(() => run.log.matching("is gone").length === 1);
  expect(run.metrics.lostBytes.total()).toBe(0);
  expect(run.log.matching("error: ")).toEqual([]);
});

test("a folder that is not mounted yet has lost nothing", async () => {
  await using bench = new Bench();
  await leaveHole(bench);
  fs.renameSync(bench.logs, `${bench.logs}.later`);
  fs.mkdirSync(bench.logs);
  const run = await bench.start({
    ops: {
      ...systemFileOps,
      // The empty folder is on another filesystem than the one that is to be mounted there.
      stat: async (path, isLocal) => ({ ...await systemFileOps.stat(path, isLocal), dev: 1n }),
    },
  });
  await until(() => run.log.matching("is gone").length === 1);
  expect(run.metrics.lostBytes.total()).toBe(0);
  await run.stop();
  fs.rmdirSync(bench.logs);
  fs.renameSync(`${bench.logs}.later`, bench.logs);
  const again = await bench.start();
  await again.outlet.untilCount(10);
  expect(again.outlet.texts.join("\n") + "\n").toBe(numbered("line", 10));
});

test("holes of a file that was written anew while shipper was stopped are counted", async () => {
  await using bench = new Bench();
  await leaveHole(bench);
  bench.write("a.log", numbered("new", 5));
  const run = await bench.start();
  await run.outlet.untilCount(5);
  expect([...run.metrics.lostBytes.values]).toEqual([["truncated_unread", HOLE_BYTES]]);
});

test("what a truncation took from a run that was killed before it was delivered is counted by the next", async () => {
  await using bench = new Bench();
  await leaveHole(bench);
  const run = await bench.start({ rooms: [0] });
  await until(() => run.metrics.watchedFiles === 1);
  bench.write("a.log", "new\n");
  run.outlet.onRegion = () => {}; // taken, never delivered
  run.outlet.addRoom(100);
  await run.outlet.until(() => run.outlet.texts.at(-1) === "new");
  const lost = run.metrics.lostBytes.total();
  await run.store.flush();
  await run.kill();
  const again = await bench.start();
  await again.outlet.untilCount(1);
  expect(again.outlet.texts).toEqual(["new"]);
  expect(lost + again.metrics.lostBytes.total()).toBe(HOLE_BYTES);
});

test("nothing is lost of a file that is deleted while its tail is unread and the sink stands still", async () => {
  await using bench = new Bench();
  const text = numbered("line", 200_000); // many reads
  bench.write("a.log", text);
  const run = await bench.start({ rooms: [5], config: { rotateWaitMs: 50, globMinimumCooldownMs: 20 } });
  await run.outlet.untilCount(5);
  fs.unlinkSync(bench.path("a.log"));
  bench.write("a.log", "next\n");
  await Bun.sleep(200);
  expect(run.outlet.lines.length).toBe(5);
  run.outlet.addRoom(1_000_000);
  await run.outlet.untilCount(200_001);
  expect(run.outlet.texts.join("\n") + "\n").toBe(`${text}next\n`);
  expect(run.metrics.lostBytes.total()).toBe(0);
});

test("nothing is lost of a file that is deleted while all of it is read and none acknowledged", async () => {
  await using bench = new Bench();
  bench.write("a.log", numbered("line", 10));
  const run = await bench.start({ config: { rotateWaitMs: 20, globMinimumCooldownMs: 20 } });
  const waiting: (() => void)[] = [];
  run.outlet.onRegion = (region, lines) => void waiting.push(() => settleLines(region, lines));
  await run.outlet.untilCount(10);
  fs.unlinkSync(bench.path("a.log"));
  await until(() => run.outlet.ended.length === 1);
  // Its positions stay until it is delivered: a batch may have to be found again.
  await run.store.flush();
  expect(run.store.records("app").length).toBe(1);
  for (const settle of waiting) settle();
  await run.store.flush();
  expect(run.store.records("app").length).toBe(0);
  expect(run.metrics.lostBytes.total()).toBe(0);
});

test("what cannot be read is counted as unreadable", async () => {
  await using bench = new Bench();
  bench.write("a.log", numbered("line", 30));
  const ops = faultyFileOps(systemFileOps, [
    // The first read is that of the head.
    { op: "read", path: /a\.log$/u, error: "EIO", from: 2, count: 1_000 },
  ]);
  const run = await bench.start({ once: true, ops });
  await run.ended;
  expect([...run.metrics.lostBytes.values]).toEqual([["unreadable", numbered("line", 30).length]]);
  expect(run.log.matching("error: Giving up on").length).toBe(1);
});
