import { expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { settleLines } from "../source/fake_outlet.ts";
import { Bench, numbered, until } from "../source/harness.ts";

// Kubernetes has links in /var/log/containers to files in other folders, and rotates what they lead to. While shipper was stopped, or faster than it looked,
// the old file was looked for in the link's folder alone: its unread lines were lost, and nothing counted them.

/** Birth times are no finer. */
const BIRTH_GRAIN_MS = 12;

/** A link in the folder of logs to `pods/0.log`, which is rotated as kubelet does it. */
class LinkedLog {
  readonly #folder: string;
  #rotationCount = 0;

  constructor(bench: Bench) {
    this.#folder = path.join(bench.folder, "pods");
    fs.mkdirSync(this.#folder);
    this.append("one\n");
    fs.symlinkSync(this.path("0.log"), bench.path("app.log"));
  }

  path(name: string): string {
    return path.join(this.#folder, name);
  }

  append(text: string): void {
    fs.appendFileSync(this.path("0.log"), text);
  }

  rotate(text: string): void {
    Bun.sleepSync(BIRTH_GRAIN_MS);
    fs.renameSync(this.path("0.log"), this.path(`0.log.20260101-00000${this.#rotationCount++}`));
    this.append(text);
  }
}

test("what is behind a link is rotated while shipper is stopped", async () => {
  await using bench = new Bench();
  const log = new LinkedLog(bench);
  const run = await bench.start();
  await run.outlet.untilCount(1);
  await run.stop();
  log.append("two\n");
  for (const text of ["three\n", "four\n", "five\n"]) log.rotate(text);
  const again = await bench.start();
  await until(() => again.outlet.texts.length >= 4);
  await again.stop();
  expect(again.outlet.texts).toEqual(["two", "three", "four", "five"]);
  expect(new Set(again.outlet.lines.map((line) => line.path))).toEqual(new Set([bench.path("app.log")]));
}, 30_000);

test("what is behind a link is rotated faster than anybody looks", async () => {
  await using bench = new Bench();
  const log = new LinkedLog(bench);
  const run = await bench.start({ config: { globMinimumCooldownMs: 1_000 } });
  await run.outlet.untilCount(1);
  for (const text of ["two\n", "three\n", "four\n"]) log.rotate(text);
  await until(() => run.outlet.texts.length >= 4);
  await run.stop();
  expect(run.outlet.texts).toEqual(["one", "two", "three", "four"]);
}, 30_000);

test("a rotated file behind a link needs no copy: a restart finds it", async () => {
  await using bench = new Bench();
  const log = new LinkedLog(bench);
  log.append(numbered("line", 100));
  const run = await bench.start({ rooms: [10], rescueSizeBytesMax: 1_048_576 });
  await run.outlet.untilCount(10);
  log.rotate("last\n");
  await until(() => run.metrics.watchedFiles === 2);
  await run.stop();
  expect(run.metrics.rescuedBytesCount).toBe(0);
  const again = await bench.start({ rescueSizeBytesMax: 1_048_576 });
  await until(() => again.outlet.texts.includes("last"));
  await again.stop();
  const texts = [...run.outlet.texts, ...again.outlet.texts];
  expect(`${texts.join("\n")}\n`).toBe(`one\n${numbered("line", 100)}last\n`);
}, 30_000);

test("a file behind a link that was deleted while shipper was stopped is counted as lost", async () => {
  await using bench = new Bench();
  const log = new LinkedLog(bench);
  log.append("two\n");
  const run = await bench.start({ rooms: [1] });
  // The first line is a region that nobody gets rid of.
  run.outlet.onRegion = (region, lines) => region.startOffset > 0 ? settleLines(region, lines) : undefined;
  await run.outlet.untilCount(1);
  run.outlet.addRoom(1);
  await run.outlet.untilCount(2);
  await run.stop();
  fs.rmSync(path.dirname(log.path("0.log")), { recursive: true });
  const again = await bench.start();
  await until(() => again.metrics.lostBytes.total() > 0);
  await again.stop();
  expect([...again.metrics.lostBytes.values]).toEqual([["deleted", "one\n".length]]);
}, 30_000);
