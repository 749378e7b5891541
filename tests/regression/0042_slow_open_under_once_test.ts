// Under --once a file whose opening took longer than a second was left out in silence: the run ended with exit code 0.
import { expect, test } from "bun:test";
import { systemFileOps } from "../../src/source/file_ops.ts";
import { Bench } from "../source/harness.ts";

const SLOW_MS = 1_500;

test("a file that is slow to open is read under --once", async () => {
  await using bench = new Bench();
  bench.write("a.log", "one\n");
  const ops: typeof systemFileOps = {
    ...systemFileOps,
    open: (path) => Bun.sleep(SLOW_MS).then(() => systemFileOps.open(path)),
  };
  const run = await bench.start({ once: true, ops });
  await run.ended;
  expect(run.outlet.lines.map(({ text }) => text)).toEqual(["one"]);
  expect(run.metrics.unopenedFilesCount).toBe(0);
});

test("a folder that is slow to be listed is looked at under --once", async () => {
  await using bench = new Bench();
  bench.write("a.log", "one\n");
  const ops: typeof systemFileOps = {
    ...systemFileOps,
    list: (path, isLocal) => Bun.sleep(SLOW_MS).then(() => systemFileOps.list(path, isLocal)),
  };
  const run = await bench.start({ once: true, ops });
  await run.ended;
  expect(run.outlet.lines.map(({ text }) => text)).toEqual(["one"]);
});
