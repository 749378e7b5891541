import { expect, test } from "bun:test";
import { type FileOps, systemFileOps } from "../../src/source/file_ops.ts";
import { Bench, numbered, until } from "../source/harness.ts";

// At a reload the reader of a source ends and another one takes its place. What the first one had asked of a slow disk came back afterwards: a file
// was taken up that nobody read or closed, and lines were offered that the other one offered as well.

/** A read is waited for a second at the end of a run. */
const SLOW_MS = 2_000;

/** The system's, of which one call is slow from a moment on. */
function slowOps(
  slow: "open" | "read",
): { ops: FileOps; begin(): void; readonly slowCount: number; fds: Set<number> } {
  const fds = new Set<number>();
  let isSlow = false;
  let slowCount = 0;
  const wait = async (call: string) => {
    if (!isSlow || call !== slow) return;
    slowCount++;
    await Bun.sleep(SLOW_MS);
  };
  return {
    ops: {
      ...systemFileOps,
      async open(path) {
        const fd = await systemFileOps.open(path);
        fds.add(fd);
        await wait("open");
        return fd;
      },
      async read(...call) {
        await wait("read");
        return await systemFileOps.read(...call);
      },
      close(fd) {
        fds.delete(fd);
        systemFileOps.close(fd);
      },
    },
    begin: () => void (isSlow = true),
    get slowCount() {
      return slowCount;
    },
    fds,
  };
}

test("a file that is being opened when the run ends is closed, and not taken up", async () => {
  await using bench = new Bench();
  bench.write("a.log", "one\n");
  const slow = slowOps("open");
  const run = await bench.start({ ops: slow.ops });
  await run.outlet.untilCount(1);
  slow.begin();
  bench.write("b.log", "two\n");
  await until(() => slow.slowCount === 1);
  await run.stop();
  const { watchedFiles } = run.metrics;
  await until(() => slow.fds.size === 0);
  expect(run.metrics.watchedFiles).toBe(watchedFiles);
  expect(run.metrics.openFiles).toBe(0);
  expect(run.store.records("app").length).toBe(1);
}, 30_000);

test("what is read when the run has ended is not offered any more", async () => {
  await using bench = new Bench();
  bench.write("a.log", "one\n");
  const slow = slowOps("read");
  const run = await bench.start({ ops: slow.ops });
  await run.outlet.untilCount(1);
  slow.begin();
  bench.append("a.log", numbered("two", 3));
  await until(() => slow.slowCount === 1);
  await run.stop();
  const before = run.outlet.texts.length;
  // The descriptor is closed when the read has come back.
  await until(() => slow.fds.size === 0);
  await Bun.sleep(100);
  expect(run.outlet.texts.length).toBe(before);
  const again = await bench.start();
  await until(() => again.outlet.texts.includes("two 2"));
  await again.stop();
  expect([...run.outlet.texts, ...again.outlet.texts]).toEqual(["one", "two 0", "two 1", "two 2"]);
}, 30_000);
