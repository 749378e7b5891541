import { expect, test } from "bun:test";
import fs from "node:fs";
import { faultyFileOps } from "../../src/source/faulty_file_ops.ts";
import { systemFileOps } from "../../src/source/file_ops.ts";
import { Bench } from "./harness.ts";

test("the calls that a fault names fail, and no others", async () => {
  await using bench = new Bench();
  bench.write("a.log", "a");
  bench.write("b.log", "b");
  const ops = faultyFileOps(systemFileOps, [
    { op: "open", path: /a\.log$/u, error: "EMFILE", from: 2, count: 2 },
    { op: "read", path: /b\.log$/u, error: "EIO", from: 1, count: 1 },
  ]);
  const results: string[] = [];
  const buffer = Buffer.alloc(1);
  for (const name of ["a", "b", "a", "a", "b", "a"]) {
    try {
      const fd = await ops.open(bench.path(`${name}.log`));
      try {
        await ops.read(fd, buffer, 1, 0);
      } finally {
        ops.close(fd);
      }
      results.push(buffer.toString());
    } catch (error) {
      results.push((error as { code: string }).code);
    }
  }
  expect(results).toEqual(["a", "EIO", "EMFILE", "EMFILE", "b", "a"]);
  expect(fs.readdirSync(bench.logs).length).toBe(2);
});
