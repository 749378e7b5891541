import { expect, test } from "bun:test";
import fs from "node:fs";
import { RESCUE_FOLDER } from "../../src/source/rescue_index.ts";
import { type FileOps, systemFileOps } from "../../src/source/file_ops.ts";
import { type RescueOps } from "../../src/source/rescue_ops.ts";
import { Bench, numbered } from "../source/harness.ts";
import { killAfter, roomyOps, start } from "../source/rescue_bench.ts";

// Where the copy of a deleted file could not be opened or read for a moment at a start (no descriptor left), its lines waited for the next start; and where that was
// noticed late, the start ended there: files behind it were found by the next scan, with `read_from = "end"` from their ends on, and rotated ones not at all.

const failure = (code: string) => Promise.reject(Object.assign(new Error("The system fails"), { code }));

/** The source's, and those of copies, of which the first `failing` calls for a copy fail. */
function failingCalls(
  failing: "open" | "fstat" | "read" | "verify",
  times = 1,
): { ops: FileOps; rescueOps: RescueOps } {
  let failedCount = 0;
  const copyFds = new Set<number>();
  const fails = (isIt: boolean) => isIt && failedCount < times && ++failedCount > 0;
  const ops: FileOps = {
    ...systemFileOps,
    async open(file) {
      const isCopy = file.includes(`/${RESCUE_FOLDER}/`);
      if (fails(isCopy && failing === "open")) return await failure("EMFILE");
      const fd = await systemFileOps.open(file);
      if (isCopy) copyFds.add(fd);
      return fd;
    },
    fstat: (fd) => fails(copyFds.has(fd) && failing === "fstat") ? failure("EIO") : systemFileOps.fstat(fd),
    read: (fd, ...rest) =>
      fails(copyFds.has(fd) && failing === "read") ? failure("EIO") : systemFileOps.read(fd, ...rest),
    close(fd) {
      copyFds.delete(fd);
      systemFileOps.close(fd);
    },
  };
  const openRead: RescueOps["openRead"] = (file) =>
    fails(failing === "verify") ? failure("EMFILE") : roomyOps.openRead(file);
  return { ops, rescueOps: { ...roomyOps, openRead } };
}

/** More than a start waits for. */
const MANY = 65;

for (
  const [failing, times] of [["open", 1], ["fstat", 1], ["read", 1], ["verify", 1], ["open", MANY], [
    "verify",
    MANY,
  ]] as const
) {
  test(
    `a copy of which "${failing}" fails ${times} times at a start is read all the same, and holds up nothing`,
    async () => {
      await using bench = new Bench();
      const run = await killAfter(bench, () => fs.unlinkSync(bench.path("a.log")));
      bench.write("b.log", "old\n");
      const again = await start(bench, { ...failingCalls(failing, times), config: { readFrom: "end" } });
      await again.outlet.untilCount(970);
      bench.write("c.log", "new\n");
      await again.outlet.untilCount(971);
      await again.stop();
      expect(again.outlet.texts).toEqual([...numbered("line", 1_000).trimEnd().split("\n").slice(30), "new"]);
      expect(run.outlet.texts.length).toBe(30);
      expect(again.log.matching("trying again with every scan")).toHaveLength(1);
      expect([again.metrics.openFiles, again.metrics.lostBytes.total()]).toEqual([0, 0]);
    },
    60_000,
  );
}

test("a run with --once that cannot read a copy says so", async () => {
  await using bench = new Bench();
  await killAfter(bench, () => fs.unlinkSync(bench.path("a.log")));
  bench.write("b.log", "other\n");
  const once = await start(bench, { ...failingCalls("open"), once: true });
  await once.ended;
  expect(once.outlet.texts).toEqual(["other"]);
  expect(once.metrics.unopenedFilesCount).toBe(1);
  await once.stop();
  const again = await start(bench);
  await again.outlet.untilCount(970);
  await again.stop();
}, 60_000);
