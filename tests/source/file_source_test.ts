import { expect, test } from "bun:test";
import { Bench, numbered } from "./harness.ts";

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
