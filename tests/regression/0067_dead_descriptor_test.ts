import { expect, test } from "bun:test";
import { type FileOps, systemFileOps } from "../../src/source/file_ops.ts";
import { Bench, until } from "../source/harness.ts";

// A file on NFS was read no more when its server had been changed, until shipper was restarted: a descriptor that has become stale was asked again and
// again, and not opened anew.

for (const code of ["ESTALE", "ENOTCONN"]) {
  test(`a file whose descriptor gives ${code} is opened anew`, async () => {
    await using bench = new Bench();
    bench.write("a.log", "one\n");
    const open = new Set<number>();
    const dead = new Set<number>();
    const ops: FileOps = {
      ...systemFileOps,
      async open(path) {
        const fd = await systemFileOps.open(path);
        dead.delete(fd); // the number is used again
        open.add(fd);
        return fd;
      },
      async read(fd, ...where) {
        if (dead.has(fd)) throw Object.assign(new Error("The descriptor is dead"), { code });
        return await systemFileOps.read(fd, ...where);
      },
      close(fd) {
        open.delete(fd);
        systemFileOps.close(fd);
      },
    };
    const run = await bench.start({ ops, sinks: ["one", "other"] });
    await until(() => run.outlets.every(({ texts }) => texts.length === 1));
    for (const fd of open) dead.add(fd);
    bench.append("a.log", "two\n");
    await until(() => run.outlets.every(({ texts }) => texts.length === 2));
    expect(open.size).toBe(1);
    await run.stop();
    expect(run.outlets.map(({ texts }) => texts)).toEqual([["one", "two"], ["one", "two"]]);
    expect(run.log.matching(`(${code}): trying again`).length).toBe(1);
  }, 30_000);
}
