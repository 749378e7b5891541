// A folder that one pattern lists and another one names as a file was told as skipped, and as working again, with every scan.
import { expect, test } from "bun:test";
import fs from "node:fs";
import { systemFileOps } from "../../src/source/file_ops.ts";
import { Bench, until } from "../source/harness.ts";

test("a folder that is listed for one pattern and skipped for another is told once", async () => {
  await using bench = new Bench();
  bench.write("a.log", "one\n");
  let listedCount = 0;
  const ops: typeof systemFileOps = {
    ...systemFileOps,
    list: (path, isLocal) => {
      listedCount++;
      return systemFileOps.list(path, isLocal);
    },
  };
  const include = [bench.path("*.log"), bench.logs];
  const run = await bench.start({ config: { include, globMinimumCooldownMs: 10 }, ops });
  await until(() => listedCount >= 5);
  expect(run.log.matching("Skipping")).toEqual([
    `warn: Skipping "${bench.logs}": it is a folder, not a regular file`,
  ]);
  expect(run.log.matching("works again")).toEqual([]);
});

test("a folder in the place of a file is told again after a file was there", async () => {
  await using bench = new Bench();
  const include = [bench.path("a.log")];
  fs.mkdirSync(bench.path("a.log"));
  const run = await bench.start({ config: { include, globMinimumCooldownMs: 10 } });
  await until(() => run.log.matching("Skipping").length === 1);
  fs.rmdirSync(bench.path("a.log"));
  bench.write("a.log", "one\n");
  await run.outlet.untilCount(1);
  fs.rmSync(bench.path("a.log"));
  fs.mkdirSync(bench.path("a.log"));
  await until(() => run.log.matching("Skipping").length === 2);
});
