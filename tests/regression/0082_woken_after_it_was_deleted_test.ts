// A file that was read, closed because too many were open, and deleted was told as one that cannot be read, and counted as an error, when
// an event of the file came to its reader before a scan had seen that it left.
import { expect, test } from "bun:test";
import fs from "node:fs";
import { systemFileOps } from "../../src/source/file_ops.ts";
import { Bench, until } from "../source/harness.ts";

test("a file that was read is let go in silence when its reader sees first that it was deleted", async () => {
  await using bench = new Bench();
  bench.write("a.log", "one\n");
  let tell = (_name: string, _isRename: boolean) => {};
  let failedOpens = 0;
  const ops: typeof systemFileOps = {
    ...systemFileOps,
    // Only scans see which names there are.
    watch(folder, onEvent, onError) {
      tell = onEvent;
      return systemFileOps.watch(folder, (name, isRename) => isRename || onEvent(name, isRename), onError);
    },
    async open(path) {
      try {
        return await systemFileOps.open(path);
      } catch (error) {
        failedOpens++;
        throw error;
      }
    },
  };
  const run = await bench.start({
    config: { maxOpenFiles: 1, globMinimumCooldownMs: 1_000, rotateWaitMs: 50 },
    ops,
  });
  await run.outlet.untilCount(1);
  bench.write("b.log", "two\n");
  await run.outlet.untilCount(2);
  await until(() => run.metrics.openFiles === 1);
  // Scans come once a second: begins right behind one, which has found a file.
  bench.write("c.log", "three\n");
  await run.outlet.untilCount(3);
  await until(() => run.metrics.openFiles === 1);
  fs.unlinkSync(bench.path("a.log"));
  tell("a.log", false);
  await until(() => failedOpens > 0);
  await until(() => run.metrics.watchedFiles === 2);
  expect(run.metrics.errors.total()).toBe(0);
  expect(run.metrics.lostBytes.total()).toBe(0);
  expect(run.log.matching("a.log").filter((line) => !line.startsWith("info") && !line.startsWith("debug")))
    .toEqual([]);
});
