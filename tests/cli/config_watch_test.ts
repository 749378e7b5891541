import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  chmodSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { ConfigWatch } from "../../src/cli/config_watch.ts";
import { FileMarks } from "../../src/cli/file_marks.ts";
import { MemoryLog } from "../source/harness.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

let dir: TempDir;
let watch: ConfigWatch;
let changeCount: number;
beforeEach(() => {
  dir = tempDir("watch");
  changeCount = 0;
});
afterEach(() => {
  watch.stop();
  dir.remove();
});

/** Reads these files, and watches them. */
function read(paths: readonly string[], timing = { pollMs: 60_000, settleMs: 60 }): FileMarks {
  const marks = new FileMarks();
  for (const path of paths) marks.note(path);
  watch = new ConfigWatch({ onChange: () => changeCount++, log: new MemoryLog(), ...timing });
  watch.watch(marks);
  return marks;
}

const changed = (count: number) => waitUntil(`${count} changes`, () => changeCount === count);
const path = () => dir.file("shipper.toml");

test("kernel events tell of writes, renames over it, and links that lead elsewhere", async () => {
  writeFileSync(dir.file("one"), "1");
  writeFileSync(dir.file("two"), "2");
  symlinkSync("one", path());
  read([path()]);
  writeFileSync(dir.file("one"), "1 again");
  await changed(1);
  symlinkSync("two", dir.file("next"));
  renameSync(dir.file("next"), path());
  await changed(2);
  writeFileSync(dir.file("next"), "3");
  renameSync(dir.file("next"), path());
  await changed(3);
  unlinkSync(path());
  await changed(4);
  writeFileSync(path(), "4");
  await changed(5);
});

test("the poll finds what no event tells: a folder that was replaced", async () => {
  for (const folder of ["etc", "new"]) {
    mkdirSync(dir.file(folder));
    writeFileSync(dir.file(`${folder}/shipper.toml`), folder);
  }
  read([dir.file("etc/shipper.toml")], { pollMs: 40, settleMs: 200 });
  renameSync(dir.file("etc"), dir.file("old"));
  renameSync(dir.file("new"), dir.file("etc"));
  await changed(1);
  await Bun.sleep(400);
  expect(changeCount).toBe(1);
});

test("what changed between the reading and the watching is told", async () => {
  writeFileSync(path(), "1");
  const marks = new FileMarks();
  marks.note(path());
  expect(readFileSync(path(), "utf8")).toBe("1");
  writeFileSync(path(), "22");
  watch = new ConfigWatch({
    onChange: () => changeCount++,
    log: new MemoryLog(),
    pollMs: 60_000,
    settleMs: 20,
  });
  watch.watch(marks);
  await changed(1);
});

test("several writes are one change, and one that is taken back is none", async () => {
  writeFileSync(path(), "");
  read([path()], { pollMs: 60_000, settleMs: 300 });
  for (let i = 0; i < 5; i++) {
    writeFileSync(path(), "x".repeat(i + 1));
    await Bun.sleep(60);
  }
  expect(changeCount).toBe(0);
  await changed(1);
  renameSync(path(), dir.file("away"));
  await Bun.sleep(100);
  renameSync(dir.file("away"), path());
  await Bun.sleep(500);
  // A rename changes the time of the inode: that may be told, and is told once.
  expect(changeCount).toBeLessThanOrEqual(2);
});

test("other files of the folder, and reading, are no change; rights are", async () => {
  writeFileSync(path(), "1");
  read([path()], { pollMs: 30, settleMs: 30 });
  for (let i = 0; i < 20; i++) {
    writeFileSync(dir.file(`app-${i}.log`), "a line");
    readFileSync(path());
  }
  await Bun.sleep(300);
  expect(changeCount).toBe(0);
  chmodSync(path(), 0o600);
  await changed(1);
  utimesSync(path(), 1, 1);
  await changed(2);
});

test("a secret's file is watched too, and what is no file is not", async () => {
  writeFileSync(path(), "1");
  writeFileSync(dir.file("password"), "old");
  read([path(), dir.file("password"), "/dev/null"], { pollMs: 30, settleMs: 30 });
  writeFileSync(dir.file("password"), "new one");
  await changed(1);
  watch.stop();
  rmSync(dir.file("password"));
  await Bun.sleep(150);
  expect(changeCount).toBe(1);
});
