import { expect, test } from "bun:test";
import { type FileOps, systemFileOps } from "../../src/source/file_ops.ts";
import { HUNG_MS } from "../../src/source/device_gate.ts";
import { Bench, numbered, until } from "../source/harness.ts";

// On a disk that is busy, looking at a file takes more than a second; then the next task begins. A file that the first one had begun to open was opened
// by both, and each of its lines given twice; and a file was put behind the wrong one, so that lines of a rotation came before older ones.

/** Longer than what is taken for hung. */
const SLOW_MS = HUNG_MS + 500;

test("a file whose opening hangs while another task looks at it is read once", async () => {
  await using bench = new Bench();
  bench.write("a.log", "one\n");
  let isSlow = false;
  let openCount = 0;
  const run = await bench.start({
    rooms: [2],
    ops: {
      ...systemFileOps,
      async open(path) {
        const fd = await systemFileOps.open(path);
        if (isSlow && path.endsWith("a.log") && openCount++ === 0) await Bun.sleep(SLOW_MS);
        return fd;
      },
      // The search for rotations that nobody saw, of the second task: it ends after the opening.
      async list(path, isLocal) {
        if (openCount > 0 && !isLocal) await Bun.sleep(SLOW_MS / 2);
        return await systemFileOps.list(path, isLocal);
      },
    },
  });
  await run.outlet.untilCount(1);
  isSlow = true;
  bench.rename("a.log", "a.log.1");
  bench.write("a.log", numbered("two", 3));
  await run.outlet.untilCount(2, 10_000);
  await Bun.sleep(2 * SLOW_MS); // for a second opening
  run.outlet.addRoom(100);
  bench.append("a.log", "three\n");
  await until(() => run.outlet.texts.includes("three"));
  await run.stop();
  expect(run.outlet.texts).toEqual(["one", "two 0", "two 1", "two 2", "three"]);
  expect(openCount).toBe(1);
}, 30_000);

test(
  "a task that goes on after it was taken for hung does not put a file in front of an older one",
  async () => {
    await using bench = new Bench();
    bench.write("a.log", "one\n");
    let isWatching = true;
    let listCount = 0;
    const ops: FileOps = {
      ...systemFileOps,
      watch: (path, onEvent, onError) =>
        systemFileOps.watch(path, (...event) => isWatching && onEvent(...event), onError),
      async open(path) {
        const fd = await systemFileOps.open(path);
        if (listCount > 0 && path.endsWith("a.log.1")) await Bun.sleep(SLOW_MS / 2);
        return fd;
      },
      async list(path, isLocal) {
        if (!isLocal && !isWatching && listCount++ === 0) await Bun.sleep(SLOW_MS);
        return await systemFileOps.list(path, isLocal);
      },
    };
    const run = await bench.start({ ops });
    await run.outlet.untilCount(1);
    isWatching = false;
    // Two rotations between two looks.
    const LINES = 100_000; // several reads
    for (const text of [numbered("two", LINES), numbered("three", LINES)]) {
      await Bun.sleep(20); // birth times are no finer
      if (text.startsWith("three")) bench.rename("a.log.1", "a.log.2");
      bench.rename("a.log", "a.log.1");
      bench.write("a.log", text);
    }
    await run.outlet.untilCount(1 + 2 * LINES, 20_000);
    await run.stop();
    const { texts } = run.outlet;
    expect(texts.filter((text) => text.startsWith("two")).length).toBe(LINES);
    expect(texts.findLastIndex((text) => text.startsWith("two"))).toBe(LINES);
  },
  30_000,
);
