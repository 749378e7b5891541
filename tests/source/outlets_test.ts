import { expect, test } from "bun:test";
import { Bench, numbered, until } from "./harness.ts";
import { systemFileOps } from "../../src/source/file_ops.ts";

test("a full outlet stops reading after one chunk", async () => {
  await using bench = new Bench();
  for (let i = 0; i < 20; i++) bench.write(`${i}.log`, numbered(`file ${i} line`, 20_000));
  let readCount = 0;
  const counting: typeof systemFileOps = {
    ...systemFileOps,
    read(fd, target, length, position) {
      if (length > 1_024) readCount++; // not a fingerprint
      return systemFileOps.read(fd, target, length, position);
    },
  };
  const run = await bench.start({ rooms: [3], ops: counting });
  await run.outlet.untilCount(3);
  await until(() => run.metrics.watchedFiles === 20);
  await Bun.sleep(100);
  expect(readCount).toBe(1);
  // Room for one line at a time reads nothing again.
  for (let i = 0; i < 100; i++) {
    run.outlet.addRoom(1);
    await run.outlet.untilCount(4 + i);
  }
  expect(readCount).toBe(1);
});

test("a stalled sink does not hold another", async () => {
  await using bench = new Bench();
  bench.write("a.log", numbered("a", 5_000));
  bench.write("b.log", numbered("b", 5_000));
  const run = await bench.start({ sinks: ["slow", "fast"], rooms: [1, Infinity] });
  const [slow, fast] = run.outlets;
  await fast!.untilCount(10_000);
  bench.rename("a.log", "a.log.1");
  bench.write("a.log", numbered("a", 10, 5_000));
  await fast!.untilCount(10_010);
  expect(slow!.lines.length).toBe(1);
  await run.stop();
  const positions = bench.stored.open();
  const [first] = positions.records("app");
  for (const sink of ["slow", "fast"]) {
    expect(positions.position("app", first!.id, sink)).toBeGreaterThanOrEqual(0);
  }
  const again = await bench.start({ sinks: ["slow", "fast"] });
  await again.outlets[0]!.untilCount(10_009);
  const texts = [...slow!.texts, ...again.outlets[0]!.texts].filter((text) => text.startsWith("a"));
  expect(texts.join("\n") + "\n").toBe(numbered("a", 5_010));
  expect(again.outlets[1]!.lines.length).toBe(0);
});

test("a sink that is added later reads from the start", async () => {
  await using bench = new Bench();
  bench.write("a.log", "one\n");
  const run = await bench.start({ sinks: ["first"] });
  await run.outlet.untilCount(1);
  await run.stop();
  const again = await bench.start({ sinks: ["first", "second"] });
  await again.outlets[1]!.untilCount(1);
  expect(again.outlets.map((outlet) => outlet.texts)).toEqual([[], ["one"]]);
});

test("many files are read in turn", async () => {
  await using bench = new Bench();
  bench.write("big.log", numbered("big", 200_000));
  for (let i = 0; i < 10; i++) bench.write(`small${i}.log`, `small ${i}\n`);
  const run = await bench.start({ rooms: [1] });
  await until(() => run.metrics.watchedFiles === 11);
  run.outlet.addRoom(1_000_000);
  await run.outlet.untilCount(200_010);
  const firstSmall = run.outlet.texts.findIndex((text) => text.startsWith("small"));
  const lastSmall = run.outlet.texts.findLastIndex((text) => text.startsWith("small"));
  expect(firstSmall).toBeLessThan(200_000);
  expect(lastSmall).toBeLessThan(200_000);
});

test("lags are told by file and sink", async () => {
  await using bench = new Bench();
  bench.write("a.log", "one\ntwo\n");
  const run = await bench.start({ sinks: ["slow", "fast"], rooms: [1, Infinity] });
  await run.outlets[1]!.untilCount(2);
  await run.outlets[0]!.untilCount(1);
  const path = bench.path("a.log");
  expect(run.metrics.fileLags()).toEqual([
    { path, sink: "slow", sizeBytes: 8, readBytes: 4, deliveredBytes: 4 },
    { path, sink: "fast", sizeBytes: 8, readBytes: 8, deliveredBytes: 8 },
  ]);
});
