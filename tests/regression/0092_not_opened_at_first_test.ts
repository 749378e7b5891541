import { expect, test } from "bun:test";
import fs from "node:fs";
import { type FileOps, systemFileOps } from "../../src/source/file_ops.ts";
import { Bench, numbered, type Running, until } from "../source/harness.ts";

// A file that could not be opened at first (no descriptor left) was forgotten when it was rotated before it could be, and nothing else was known of its path:
// a new path, or one whose file before was deleted. And one that was there at the start was read from its start on, although `read_from` was "end".

/** Opening files fails while `isShort`. */
class ShortOfFiles {
  isShort = false;
  failedCount = 0;
  readonly ops: FileOps = {
    ...systemFileOps,
    watch: (...call) => this.isDeaf ? { close() {} } : systemFileOps.watch(...call),
    open: (file) => {
      if (!this.isShort) return systemFileOps.open(file);
      this.failedCount++;
      return Promise.reject(Object.assign(new Error("The system fails"), { code: "EMFILE" }));
    },
  };
  readonly isDeaf: boolean;

  constructor(isDeaf = false) {
    this.isDeaf = isDeaf;
  }

  async untilFailed(): Promise<void> {
    const { failedCount } = this;
    await until(() => this.failedCount > failedCount);
  }
}

const CONFIG = { globMinimumCooldownMs: 50, rotateWaitMs: 50 };

async function rotateWhileShort(bench: Bench, run: Running, system: ShortOfFiles, isComing: boolean) {
  system.isShort = true;
  bench.write("a.log", numbered("first", 10));
  await system.untilFailed();
  // What was there before is let go.
  await until(() => run.metrics.watchedFiles === 0);
  await system.untilFailed();
  bench.rename("a.log", "a.log.1");
  const expected = numbered("first", 10) + (isComing ? numbered("second", 10) : "");
  if (isComing) {
    Bun.sleepSync(20); // files are put in order by the times of their birth
    bench.write("a.log", numbered("second", 10));
    await system.untilFailed();
  } else await Bun.sleep(100);
  system.isShort = false;
  return expected.trimEnd().split("\n");
}

for (const isDeaf of [false, true]) {
  for (const isComing of [false, true]) {
    for (const wasDeleted of [false, true]) {
      const what = `${wasDeleted ? "a path whose file was deleted" : "a new path"}, ${
        isDeaf ? "without" : "with"
      } events, with ${isComing ? "another" : "no"} file behind it`;
      test(`a file that is rotated before it can be opened is read: ${what}`, async () => {
        await using bench = new Bench();
        const system = new ShortOfFiles(isDeaf);
        if (wasDeleted) bench.write("a.log", "before\n");
        const run = await bench.start({ ops: system.ops, config: CONFIG });
        if (wasDeleted) {
          await run.outlet.untilCount(1);
          fs.unlinkSync(bench.path("a.log"));
        }
        const expected = await rotateWhileShort(bench, run, system, isComing);
        if (wasDeleted) expected.unshift("before");
        await run.outlet.untilCount(expected.length);
        await run.stop();
        expect(run.outlet.texts).toEqual(expected);
      }, 60_000);
    }
  }
}

test(
  "a file that was there at the start and could not be opened then is read from its end of then on",
  async () => {
    await using bench = new Bench();
    const system = new ShortOfFiles();
    system.isShort = true;
    bench.write("a.log", numbered("old", 10));
    const run = await bench.start({ ops: system.ops, config: { ...CONFIG, readFrom: "end" } });
    await system.untilFailed();
    bench.append("a.log", "new\n");
    await system.untilFailed();
    system.isShort = false;
    await run.outlet.until(() => run.outlet.texts.includes("new"));
    await run.stop();
    expect(run.outlet.texts).toEqual(["new"]);
  },
  60_000,
);

test(
  "a file that came and went behind a deleted one is read when its folder can be listed again",
  async () => {
    await using bench = new Bench();
    let isFailing = false;
    let failedCount = 0;
    const ops: FileOps = {
      ...systemFileOps,
      list: (...call) => {
        if (!isFailing) return systemFileOps.list(...call);
        failedCount++;
        return Promise.reject(Object.assign(new Error("The system fails"), { code: "EIO" }));
      },
    };
    bench.write("a.log", "before\n");
    const run = await bench.start({ ops, config: CONFIG });
    await run.outlet.untilCount(1);
    isFailing = true;
    fs.unlinkSync(bench.path("a.log"));
    bench.write("a.log", numbered("first", 10));
    bench.rename("a.log", "a.log.1");
    await until(() => run.metrics.watchedFiles === 0);
    const before = failedCount;
    await until(() => failedCount >= before + 4);
    isFailing = false;
    await run.outlet.untilCount(11);
    await run.stop();
    expect(run.outlet.texts).toEqual(["before", ...numbered("first", 10).trimEnd().split("\n")]);
  },
  60_000,
);
