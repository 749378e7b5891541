import { expect, test } from "bun:test";
import fs from "node:fs";
import { Bench, numbered, until } from "./harness.ts";

test("copytruncate is read on from the start, under a stream of its own", async () => {
  await using bench = new Bench();
  bench.write("a.log", "one\ntwo\n");
  const run = await bench.start();
  await run.outlet.untilCount(2);
  fs.copyFileSync(bench.path("a.log"), bench.path("a.log.1"));
  await Bun.sleep(20); // more than the grain of birth times
  fs.truncateSync(bench.path("a.log"), 0);
  bench.append("a.log", "three\n");
  await run.outlet.untilCount(3);
  await Bun.sleep(300);
  expect(run.outlet.texts).toEqual(["one", "two", "three"]);
  expect(run.metrics.truncationsCount).toBe(1);
  expect(new Set(run.outlet.lines.map((line) => line.stream)).size).toBe(2);
  await run.stop();
  const again = await bench.start();
  bench.append("a.log", "four\n");
  await again.outlet.untilCount(1);
  expect(again.outlet.texts).toEqual(["four"]);
  // A rename rotation later must not take the old copy for a rotation that nobody saw.
  bench.rename("a.log", "a.log.0");
  bench.write("a.log", "five\n");
  await again.outlet.untilCount(2);
  expect(again.outlet.texts).toEqual(["four", "five"]);
});

test("a file that is truncated and written beyond the old position is read from its start", async () => {
  await using bench = new Bench();
  bench.write("a.log", numbered("old", 10));
  const run = await bench.start();
  await run.outlet.untilCount(10);
  bench.write("a.log", numbered("new", 50)); // opens with O_TRUNC, one event-loop turn
  await run.outlet.untilCount(60);
  expect(run.outlet.texts).toEqual((numbered("old", 10) + numbered("new", 50)).trimEnd().split("\n"));
});

test("a file that is written anew with the same size is read from its start", async () => {
  await using bench = new Bench();
  bench.write("a.log", "aaaa\n");
  const run = await bench.start();
  await run.outlet.untilCount(1);
  bench.write("a.log", "bbbb\n");
  await run.outlet.untilCount(2);
  expect(run.outlet.texts).toEqual(["aaaa", "bbbb"]);
});

test("bytes that a truncation takes before they were read are counted", async () => {
  await using bench = new Bench();
  bench.write("a.log", "x".repeat(99) + "\n" + numbered("line", 100_000));
  const run = await bench.start({ rooms: [1] });
  await run.outlet.untilCount(1);
  await Bun.sleep(20);
  const size = fs.statSync(bench.path("a.log")).size;
  bench.write("a.log", "new\n");
  run.outlet.addRoom(1_000_000);
  await run.outlet.until(() => run.outlet.texts.at(-1) === "new");
  await until(() => run.metrics.lostBytes.total() > 0);
  const taken = run.outlet.lines.slice(0, -1).reduce((sum, line) => sum + line.text.length + 1, 0);
  expect(run.metrics.lostBytes.values.get("truncated_unread")).toBe(size - taken);
  expect(run.log.matching(`error: Lost at least ${size - taken} bytes of`).length).toBe(1);
});

test("a file that was truncated while shipper was stopped is read from its start", async () => {
  await using bench = new Bench();
  bench.write("short.log", numbered("old", 10));
  bench.write("long.log", numbered("old", 10));
  const run = await bench.start();
  await run.outlet.untilCount(20);
  await run.stop();
  bench.write("short.log", "new\n");
  bench.write("long.log", numbered("new", 50));
  const again = await bench.start();
  await again.outlet.untilCount(51);
  expect(again.outlet.texts.every((text) => text.startsWith("new"))).toBe(true);
  expect(again.metrics.truncationsCount).toBe(2);
});
