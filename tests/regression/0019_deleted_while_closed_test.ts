// A file that was read to its end, closed because too many were open, and then deleted was tried again 60 times and given up with an
// ERROR, as if data was lost; and every failed read was counted twice.
import { expect, test } from "bun:test";
import fs from "node:fs";
import { systemFileOps } from "../../src/source/file_ops.ts";
import { Bench, until } from "../source/harness.ts";

test("a file that is deleted while it is closed is let go in silence when all of it was read", async () => {
  await using bench = new Bench();
  bench.write("a.log", "one\n");
  const run = await bench.start({ config: { maxOpenFiles: 1, globMinimumCooldownMs: 20, rotateWaitMs: 50 } });
  await run.outlet.untilCount(1);
  bench.write("b.log", "two\n");
  await run.outlet.untilCount(2);
  await until(() => run.metrics.openFiles === 1);
  fs.unlinkSync(bench.path("a.log"));
  await until(() => run.metrics.watchedFiles === 1);
  expect(run.metrics.errors.total()).toBe(0);
  expect(run.metrics.lostBytes.total()).toBe(0);
  expect(run.log.matching("a.log").filter((line) => !line.startsWith("info") && !line.startsWith("debug")))
    .toEqual([]);
  bench.append("b.log", "three\n");
  await run.outlet.untilCount(3);
});

test("a read that fails is counted once", async () => {
  await using bench = new Bench();
  bench.write("a.log", "one\n");
  let failureCount = 0;
  const failing: typeof systemFileOps = {
    ...systemFileOps,
    read(fd, target, length, position) {
      // Reads of the fingerprint are short.
      if (length < 4_096 || failureCount > 0) return systemFileOps.read(fd, target, length, position);
      failureCount++;
      return Promise.reject(Object.assign(new Error("broken"), { code: "EIO" }));
    },
  };
  const run = await bench.start({ ops: failing });
  await run.outlet.untilCount(1);
  expect(failureCount).toBe(1);
  expect(run.metrics.errors.total()).toBe(1);
});
