import { expect, test } from "bun:test";
import { type FileOps, systemFileOps } from "../../src/source/file_ops.ts";
import { Bench, until } from "../source/harness.ts";

// A file that was closed (max_open_files), with lines that a full sink had not taken yet, and rotated twice where the kernel tells nothing (NFS) was
// looked for under its first rotated name only, and given up as unreadable though it was in its folder.

test(
  "a closed file that is rotated twice without an event is found, and read before newer ones",
  async () => {
    await using bench = new Bench();
    const ops: FileOps = { ...systemFileOps, watch: () => ({ close() {} }) };
    const long = "x".repeat(1_000);
    const written: string[] = [];
    const text = (name: string, count: number) => {
      const lines = Array.from({ length: count }, (_, index) => `${name} ${index} ${long}`);
      written.push(...lines);
      return lines.map((line) => `${line}\n`).join("");
    };
    bench.write("a.log", text("first", 1_500));
    const run = await bench.start({
      ops,
      rooms: [10],
      config: {
        include: [bench.path("a.log"), bench.path("b.log")],
        maxOpenFiles: 1,
        globMinimumCooldownMs: 50,
      },
    });
    await run.outlet.untilCount(10);
    bench.write("b.log", ""); // the one that stays open
    await until(() => run.metrics.watchedFiles === 2 && run.metrics.openFiles === 1);

    bench.rename("a.log", "a.log.1");
    bench.write("a.log", text("second", 10));
    await until(() => run.metrics.watchedFiles === 3);
    bench.rename("a.log.1", "a.log.2");
    bench.rename("a.log", "a.log.1");
    bench.write("a.log", text("third", 10));
    await until(() => run.metrics.watchedFiles === 4);

    run.outlet.addRoom(1_000_000);
    await run.outlet.untilCount(written.length, 20_000);
    await run.stop();
    expect(run.outlet.texts).toEqual(written);
    expect(run.metrics.lostBytes.total()).toBe(0);
  },
  60_000,
);
