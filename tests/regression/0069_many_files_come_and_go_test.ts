import { expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { UNSEEN_KEPT_MS } from "../../src/checkpoint/position_store.ts";
import { ENDED_MAX, EndedFiles } from "../../src/source/ended_files.ts";
import { type FileOps, systemFileOps } from "../../src/source/file_ops.ts";
import type { TailedFile } from "../../src/source/tailed_file.ts";
import { Bench, until } from "../source/harness.ts";

// A process that runs for months, where each file has a name of its own (pods, spool folders), kept something of every one: the watch of its folder, until
// no more could be watched, and what was known of its path and position.

const FOLDERS = 20;

/** Counts watches that are open. */
class CountedWatches {
  openCount = 0;
  readonly ops: FileOps = {
    ...systemFileOps,
    watch: (...args) => {
      const watcher = systemFileOps.watch(...args);
      let isOpen = true;
      this.openCount++;
      const close = () => {
        if (isOpen) this.openCount--;
        isOpen = false;
        watcher.close();
      };
      return { close };
    },
  };
}

for (const isLink of [false, true]) {
  test(`folders that are gone are watched no more${isLink ? ", those behind links too" : ""}`, async () => {
    await using bench = new Bench();
    const watches = new CountedWatches();
    const pods = isLink ? path.join(bench.folder, "pods") : bench.logs;
    fs.mkdirSync(pods, { recursive: true });
    const include = isLink ? bench.path("*.log") : path.join(pods, "*", "*.log");
    const run = await bench.start({
      ops: watches.ops,
      config: { include: [include], globMinimumCooldownMs: 20 },
    });
    for (let i = 0; i < FOLDERS; i++) {
      const folder = path.join(pods, `pod-${i}`);
      fs.mkdirSync(folder);
      fs.writeFileSync(path.join(folder, "0.log"), `line ${i}\n`);
      if (isLink) fs.symlinkSync(path.join(folder, "0.log"), bench.path(`${i}.log`));
      await run.outlet.untilCount(i + 1);
      if (isLink) fs.unlinkSync(bench.path(`${i}.log`));
      fs.rmSync(folder, { recursive: true });
    }
    await until(() => watches.openCount === 1);
    // What comes now is found as ever.
    fs.mkdirSync(path.join(pods, "pod-0"));
    fs.writeFileSync(path.join(pods, "pod-0", "0.log"), "last\n");
    if (isLink) fs.symlinkSync(path.join(pods, "pod-0", "0.log"), bench.path("0.log"));
    await run.outlet.untilCount(FOLDERS + 1);
    await run.stop();
    expect(run.outlet.texts.at(-1)).toBe("last");
    expect(watches.openCount).toBe(0);
  }, 30_000);
}

test("what is stored of files that are gone for a week is forgotten while shipper runs", async () => {
  await using bench = new Bench();
  bench.write("a.log", "one\n");
  bench.write("b.log", "two\n");
  let passedMs = 0;
  const run = await bench.start({
    now: () => Date.now() + passedMs,
    monotonic: () => performance.now() + passedMs,
  });
  await run.outlet.untilCount(2);
  fs.renameSync(bench.path("a.log"), path.join(bench.folder, "away"));
  await until(() => run.metrics.watchedFiles === 1);
  expect(run.store.records("app").length).toBe(2);
  passedMs = UNSEEN_KEPT_MS + 1_000;
  await until(() => run.store.records("app").length === 1);
  bench.append("b.log", "three\n");
  await run.outlet.untilCount(3);
  await run.stop();
  const again = await bench.start({ now: () => Date.now() + passedMs });
  bench.append("b.log", "four\n");
  await again.outlet.untilCount(1);
  await again.stop();
  expect(again.outlet.texts).toEqual(["four"]);
}, 30_000);

test("of paths that their last files have left, so many are known at most", () => {
  const ended = new EndedFiles();
  const byPath = new Map<string, TailedFile>();
  const file = (isUnlinked: boolean) => ({ isUnlinked }) as TailedFile;
  for (let i = 0; i < ENDED_MAX + 10; i++) {
    const moved = file(false);
    byPath.set(`/spool/${i}`, moved);
    ended.leavePaths(moved, byPath);
  }
  expect(byPath.size).toBe(ENDED_MAX);
  expect(byPath.has("/spool/9")).toBe(false);
  expect(byPath.has("/spool/10")).toBe(true);
  // Another file is there by now.
  const next = file(false);
  byPath.set("/spool/10", next);
  const gone = file(true);
  byPath.set("/spool/gone", gone);
  ended.leavePaths(gone, byPath);
  const one = file(false);
  byPath.set("/spool/one", one);
  ended.leavePaths(one, byPath);
  expect(byPath.get("/spool/10")).toBe(next);
  expect(byPath.has("/spool/gone")).toBe(false);
});
