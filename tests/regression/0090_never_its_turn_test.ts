import { expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { type FileOps, systemFileOps } from "../../src/source/file_ops.ts";
import { Bench, until } from "../source/harness.ts";

// A scan looks at a part of the many files that are known, in turn. Two patterns counted their turns together, so that with two parts each pattern came to
// the same part again and again: what no event tells of the other files was never seen.

const FILES = 64;

test("every file of several patterns has its turn", async () => {
  await using bench = new Bench();
  const elsewhere = path.join(bench.folder, "elsewhere");
  fs.mkdirSync(elsewhere);
  const folders = ["one", "two"];
  const names = folders.flatMap((folder) => Array.from({ length: FILES }, (_, i) => `${folder}/${i}.log`));
  for (const folder of folders) fs.mkdirSync(bench.path(folder));
  for (const name of names) {
    bench.write(name, "first\n");
    fs.linkSync(bench.path(name), path.join(elsewhere, name.replace("/", "-")));
  }
  let listCount = 0;
  const ops: FileOps = {
    ...systemFileOps,
    list(...call) {
      listCount++;
      return systemFileOps.list(...call);
    },
  };
  const run = await bench.start({
    ops,
    config: { include: folders.map((folder) => bench.path(`${folder}/*.log`)), globMinimumCooldownMs: 300 },
  });
  await run.outlet.untilCount(names.length);
  await until(() => run.metrics.watchedFiles === names.length);
  const listedCount = listCount;
  await until(() => listCount >= listedCount + 6); // by now it is known how many there are
  // Nobody watches these names.
  for (const name of names) fs.appendFileSync(path.join(elsewhere, name.replace("/", "-")), `${name}\n`);
  await run.outlet.untilCount(2 * names.length).catch(() => {}); // says less than the next line
  const taken = new Set(run.outlet.texts);
  expect(names.filter((name) => !taken.has(name))).toEqual([]);
  await run.stop();
}, 60_000);
