import { expect, test } from "bun:test";
import fc from "fast-check";
import fs from "node:fs";
import { FakeOutlet, settleLines } from "./fake_outlet.ts";
import { Bench, numbered, type Running, until } from "./harness.ts";

/** Ships `count` lines of a.log in regions of ten. */
async function shipInTens(
  bench: Bench,
  count: number,
  options: Parameters<Bench["start"]>[0] = {},
): Promise<Running> {
  const run = await bench.start({ rooms: [0], ...options });
  for (let taken = 0; taken < count; taken += 10) {
    run.outlet.addRoom(10);
    await run.outlet.untilCount(taken + 10);
  }
  run.outlet.addRoom(1_000_000);
  return run;
}

/** Fixed width, so that offsets are line numbers; a hundred of them are much longer than the fingerprint. */
function lines(prefix: string, count: number, from = 0): string {
  let text = "";
  for (let i = from; i < from + count; i++) {
    text += `${prefix} ${String(i).padStart(5, "0")} ${"-".repeat(50)}\n`;
  }
  return text;
}

const LINE_BYTES = lines("x", 1).length;

test("after a power cut that took the tail reading goes on at the last region that is still there", async () => {
  await using bench = new Bench();
  bench.write("a.log", lines("a", 100));
  const run = await shipInTens(bench, 100);
  await run.stop();
  // Lines 47 and on never reached the disk, and the application wrote others there.
  fs.truncateSync(bench.path("a.log"), 47 * LINE_BYTES);
  bench.append("a.log", lines("b", 90));
  const again = await bench.start();
  await again.outlet.untilCount(7 + 90);
  expect(again.outlet.texts.join("\n") + "\n").toBe(lines("a", 7, 40) + lines("b", 90));
  expect(again.log.matching(`warn: File "${bench.path("a.log")}" lost its end`)).toEqual([
    expect.stringContaining(`reading on at byte ${40 * LINE_BYTES}`),
  ]);
  expect(again.metrics.truncationsCount).toBe(1);
  expect(again.metrics.lostBytes.total()).toBe(0);
  await again.stop();
  // It is the same stream as before, and another restart finds nothing to do.
  const third = await bench.start();
  bench.append("a.log", "c\n");
  await third.outlet.untilCount(1);
  expect(third.outlet.texts).toEqual(["c"]);
  expect(third.store.records("app").length).toBe(1);
  expect(third.metrics.truncationsCount).toBe(0);
});

test("a file that is shorter than its fingerprint goes on at the last region that is still there, too", async () => {
  await using bench = new Bench();
  bench.write("a.log", numbered("a", 40));
  await (await shipInTens(bench, 40)).stop();
  fs.truncateSync(bench.path("a.log"), numbered("a", 25).length);
  bench.append("a.log", numbered("b", 90));
  const again = await bench.start();
  await again.outlet.untilCount(5 + 90);
  expect(again.outlet.texts.join("\n") + "\n").toBe(numbered("a", 5, 20) + numbered("b", 90));
  expect(again.metrics.truncationsCount).toBe(1);
});

test("a file that was cut back while shipper was stopped is read on where it ends", async () => {
  await using bench = new Bench();
  bench.write("a.log", lines("a", 100));
  await (await shipInTens(bench, 100)).stop();
  fs.truncateSync(bench.path("a.log"), 50 * LINE_BYTES);
  const again = await bench.start();
  await until(() => again.metrics.watchedFiles === 1);
  await Bun.sleep(30);
  bench.append("a.log", "new\n");
  await again.outlet.untilCount(1);
  expect(again.outlet.texts).toEqual(["new"]);
});

test("the same head and nothing else is a new generation, read from its start", async () => {
  await using bench = new Bench();
  const head = `${"#".repeat(1_100)}\n`;
  bench.write("a.log", head + lines("a", 100));
  await (await shipInTens(bench, 100)).stop();
  bench.write("a.log", head + lines("b", 200));
  const again = await bench.start();
  await again.outlet.untilCount(201);
  expect(again.outlet.texts.join("\n") + "\n").toBe(head + lines("b", 200));
});

test("a start reads no more than the last region of a known file", async () => {
  await using bench = new Bench();
  bench.write("a.log", lines("a", 100_000));
  const run = await bench.start();
  await run.outlet.untilCount(100_000);
  await run.stop();
  const { systemFileOps } = await import("../../src/source/file_ops.ts");
  let readBytes = 0;
  const again = await bench.start({
    ops: {
      ...systemFileOps,
      async read(fd, target, length, position) {
        const count = await systemFileOps.read(fd, target, length, position);
        readBytes += count;
        return count;
      },
    },
  });
  bench.append("a.log", "new\n");
  await again.outlet.untilCount(1);
  // The head, a region, and the read of what is new with its marker.
  expect(readBytes).toBeLessThan(1_024 + 524_288 + 2 * 1_024);
});

test("each sink goes back by what it has read itself", async () => {
  await using bench = new Bench();
  bench.write("a.log", lines("a", 100));
  const run = await shipInTens(bench, 100, { sinks: ["ahead", "behind"], rooms: [0, 20] });
  await run.outlets[1]!.untilCount(20);
  await run.stop();
  fs.truncateSync(bench.path("a.log"), 60 * LINE_BYTES);
  bench.append("a.log", lines("b", 40));
  const again = await bench.start({ sinks: ["ahead", "behind"] });
  const [ahead, behind] = again.outlets;
  await ahead!.untilCount(40);
  await behind!.untilCount(80);
  expect(ahead!.texts.join("\n") + "\n").toBe(lines("b", 40));
  expect(behind!.texts.join("\n") + "\n").toBe(lines("a", 40, 20) + lines("b", 40));
});

test("holes that a power cut took are counted as lost", async () => {
  await using bench = new Bench();
  bench.write("a.log", lines("a", 100));
  const run = await bench.start({ rooms: [0] });
  run.outlet.onRegion = (region, all) => {
    // Of lines 80 to 89 one is missing, the others are delivered.
    settleLines(region, region.startOffset === 80 * LINE_BYTES ? all.slice(1) : all);
  };
  for (let taken = 0; taken < 100; taken += 10) {
    run.outlet.addRoom(10);
    await run.outlet.untilCount(taken + 10);
  }
  await run.store.flush();
  await run.kill();
  fs.truncateSync(bench.path("a.log"), 75 * LINE_BYTES);
  bench.append("a.log", lines("b", 3));
  const again = await bench.start();
  await again.outlet.untilCount(5 + 3);
  expect(again.outlet.texts.join("\n") + "\n").toBe(lines("a", 5, 70) + lines("b", 3));
  expect(again.metrics.lostBytes.values.get("truncated_unread")).toBe(10 * LINE_BYTES);
  expect(again.log.matching(`error: Lost ${10 * LINE_BYTES} bytes of`).length).toBe(1);
});

test("a region that was written over is given up, and reading goes on there", async () => {
  await using bench = new Bench();
  bench.write("a.log", lines("a", 100));
  const run = await bench.start({ rooms: [0] });
  run.outlet.onRegion = (region, all) => {
    settleLines(region, region.startOffset === 50 * LINE_BYTES ? all.slice(1) : all);
  };
  for (let taken = 0; taken < 100; taken += 10) {
    run.outlet.addRoom(10);
    await run.outlet.untilCount(taken + 10);
  }
  await run.store.flush();
  await run.kill();
  // In place, far from the head and from the last region.
  const fd = fs.openSync(bench.path("a.log"), "r+");
  fs.writeSync(fd, lines("b", 1), 55 * LINE_BYTES);
  fs.closeSync(fd);
  const again = await bench.start({
    makeOutlet: (sink, store) => Object.assign(new FakeOutlet(sink, store), { allowsCutBack: true }),
  });
  await again.outlet.untilCount(50);
  expect(again.outlet.texts.join("\n") + "\n").toBe(lines("a", 5, 50) + lines("b", 1) + lines("a", 44, 56));
  expect(again.metrics.truncationsCount).toBe(1);
});

test("a file that is cut back while it is read goes on there", async () => {
  await using bench = new Bench();
  bench.write("a.log", lines("a", 100));
  const run = await bench.start({
    sinks: ["ahead", "behind"],
    makeOutlet: (sink, store) =>
      Object.assign(new FakeOutlet(sink, store, sink === "behind" ? 20 : 0), { allowsCutBack: true }),
  });
  const [ahead, behind] = run.outlets;
  for (let taken = 0; taken < 100; taken += 10) {
    ahead!.addRoom(10);
    await ahead!.untilCount(taken + 10);
  }
  ahead!.addRoom(1_000);
  await behind!.untilCount(20);
  fs.truncateSync(bench.path("a.log"), 60 * LINE_BYTES);
  await until(() => run.metrics.truncationsCount === 1);
  bench.append("a.log", lines("b", 10));
  await ahead!.untilCount(110);
  expect(ahead!.texts.slice(100).join("\n") + "\n").toBe(lines("b", 10));
  // The other one holds a buffer of what was there before: that is delivered, too, and then it goes on as well.
  behind!.addRoom(1_000);
  await behind!.until(() => behind!.texts.at(-1) === lines("b", 1, 9).trimEnd());
  expect(behind!.texts.slice(0, 60).join("\n") + "\n").toBe(lines("a", 60));
  expect(behind!.texts.slice(-10).join("\n") + "\n").toBe(lines("b", 10));
  await run.stop();
  const again = await bench.start({ sinks: ["ahead", "behind"] });
  bench.append("a.log", "c\n");
  for (const outlet of again.outlets) {
    await outlet.untilCount(1);
    expect(outlet.texts).toEqual(["c"]);
  }
});

test("what a slow sink had not read of a file that is cut back is counted", async () => {
  await using bench = new Bench();
  bench.write("a.log", lines("a", 100_000));
  const run = await bench.start({
    sinks: ["ahead", "behind"],
    makeOutlet: (sink, store) =>
      Object.assign(new FakeOutlet(sink, store, sink === "behind" ? 20 : Infinity), { allowsCutBack: true }),
  });
  const [ahead, behind] = run.outlets;
  await ahead!.untilCount(100_000);
  fs.truncateSync(bench.path("a.log"), 60_000 * LINE_BYTES);
  await until(() => run.metrics.truncationsCount === 1);
  expect([...run.metrics.lostBytes.values]).toEqual([["truncated_unread", 40_000 * LINE_BYTES]]);
  expect(run.log.matching(`error: Lost at least ${40_000 * LINE_BYTES} bytes`).length).toBe(1);
  bench.append("a.log", lines("b", 10));
  behind!.addRoom(1_000_000);
  await behind!.untilCount(60_010);
  expect(behind!.texts.join("\n") + "\n").toBe(lines("a", 60_000) + lines("b", 10));
  await ahead!.until(() => ahead!.texts.at(-1) === lines("b", 1, 9).trimEnd());
  expect(run.metrics.lostBytes.total()).toBe(40_000 * LINE_BYTES);
});

test("after any power cut no line is missing, and no more than a region is there twice", async () => {
  const powerCut = fc.record({
    tens: fc.integer({ min: 1, max: 12 }),
    width: fc.constantFrom(1, 20, 200),
    cut: fc.double({ min: 0, max: 1, noNaN: true }),
    others: fc.nat(60),
  });
  await fc.assert(
    fc.asyncProperty(powerCut, async ({ tens, width, cut, others }) => {
      await using bench = new Bench();
      const wide = (prefix: string, count: number) =>
        Array.from({ length: count }, (_, i) => `${prefix}${i}${"-".repeat(width)}\n`).join("");
      bench.write("a.log", wide("a", tens * 10));
      const run = await shipInTens(bench, tens * 10);
      await run.stop();
      const cutBytes = Math.floor(fs.statSync(bench.path("a.log")).size * cut);
      fs.truncateSync(bench.path("a.log"), cutBytes);
      bench.append("a.log", `\n${wide("b", others)}`);
      const again = await bench.start({ once: true });
      await again.ended;
      const shipped = [...run.outlet.texts, ...again.outlet.texts];
      const content = fs.readFileSync(bench.path("a.log"), "utf8").trimEnd().split("\n");
      expect(content.filter((line) => line !== "" && !shipped.includes(line))).toEqual([]);
      const repeated = again.outlet.texts.filter((line) => line !== "" && run.outlet.texts.includes(line));
      expect(repeated.length).toBeLessThanOrEqual(10);
    }),
    { numRuns: 60, interruptAfterTimeLimit: 15_000 },
  );
}, 90_000);

test("an incomplete line that is cut back is forgotten", async () => {
  await using bench = new Bench();
  bench.write("a.log", "one\nabcdef");
  const run = await bench.start({
    makeOutlet: (sink, store) => Object.assign(new FakeOutlet(sink, store), { allowsCutBack: true }),
  });
  await run.outlet.untilCount(1);
  await until(() => run.outlet.offerCount >= 2);
  fs.truncateSync(bench.path("a.log"), 4);
  await until(() => run.metrics.truncationsCount === 1);
  expect(run.metrics.lostBytes.values.get("truncated_unread")).toBe(6);
  bench.append("a.log", "x\ny\n");
  await run.outlet.untilCount(3);
  expect(run.outlet.texts).toEqual(["one", "x", "y"]);
});

test("positions without marks, of an older shipper, go by the length", async () => {
  await using bench = new Bench();
  for (const name of ["longer.log", "shorter.log"]) bench.write(name, lines("a", 10));
  const run = await bench.start();
  await run.outlet.untilCount(20);
  for (const record of run.store.records("app")) {
    run.store.forget("app", record.id);
    run.store.put(record);
    run.store.startAt("app", record.id, "out", 10 * LINE_BYTES);
  }
  await run.stop();
  bench.append("longer.log", "new\n");
  fs.truncateSync(bench.path("shorter.log"), 5 * LINE_BYTES);
  const again = await bench.start();
  await again.outlet.untilCount(6);
  expect(again.outlet.texts.toSorted()).toEqual((lines("a", 5) + "new").split("\n").toSorted());
});
