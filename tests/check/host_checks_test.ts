import { describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, readdirSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { acquireDataDir } from "../../src/checkpoint/data_dir_lock.ts";
import { checkClock, checkDataDir } from "../../src/check/data_dir_checks.ts";
import { checkDeadLetterFile } from "../../src/check/dead_letter_check.ts";
import { checkFiles } from "../../src/check/file_checks.ts";
import { lockOwner } from "../../src/check/lock_owner.ts";
import { checkInotify, checkOpenFiles } from "../../src/check/system_limits.ts";
import { readStoredState } from "../../src/cli/stored_state.ts";
import type { Config, FileSourceConfig, KafkaSinkConfig, SinkConfig } from "../../src/config/config.ts";
import { testIf } from "../support/skip.ts";
import { tempDir } from "../support/temp_dir.ts";

const MIB = 1_048_576;
const never = new AbortController().signal;

function config(dataDir: string, more: Partial<Config> = {}): Config {
  return { dataDir, sinks: [], sources: [], ...more } as unknown as Config;
}

async function dataDirResults(dataDir: string, more: Partial<Config> = {}, now = Date.now) {
  const results = await checkDataDir(config(dataDir, more), { now, readState: readStoredState });
  return new Map(results.map((each) => [each.check, each]));
}

describe("data_dir", () => {
  test("not there: it can be made, and is not", async () => {
    await using dir = tempDir("check");
    const results = await dataDirResults(dir.file("a", "b"));
    expect([...results.keys()]).toEqual(["data_dir", "data_dir.room"]);
    expect(results.get("data_dir")).toMatchObject({ status: "ok" });
    expect(readdirSync(dir.path)).toEqual([]);
  });

  test("a file is in its place", async () => {
    await using dir = tempDir("check");
    writeFileSync(dir.file("data"), "");
    expect((await dataDirResults(dir.file("data"))).get("data_dir")).toMatchObject({
      status: "failed",
      code: "ENOTDIR",
    });
    expect((await dataDirResults(dir.file("data", "below"))).get("data_dir")).toMatchObject({
      status: "failed",
      code: "ENOTDIR",
    });
  });

  test("its mode", async () => {
    await using dir = tempDir("check");
    mkdirSync(dir.file("data"), { mode: 0o700 });
    expect((await dataDirResults(dir.file("data"))).get("data_dir.mode")).toMatchObject({
      status: "ok",
      message: `data_dir "${dir.file("data")}" has mode 0700`,
    });
    chmodSync(dir.file("data"), 0o755);
    expect((await dataDirResults(dir.file("data"))).get("data_dir.mode")).toMatchObject({
      status: "warning",
      code: "open-mode",
      hint: `chmod 0700 ${dir.file("data")}`,
    });
  });

  test("who has it is told without touching the lock", async () => {
    await using dir = tempDir("check");
    const lock = acquireDataDir(dir.file("data"));
    expect((await dataDirResults(dir.file("data"))).get("data_dir.lock")!.message).toBe(
      `A shipper that runs has data_dir: process ${process.pid}`,
    );
    lock.release();
    expect((await dataDirResults(dir.file("data"))).get("data_dir.lock")!.message).toBe(
      "No shipper has data_dir now",
    );
  });

  test("a damaged journal has failed, one from the future is a warning", async () => {
    await using dir = tempDir("check");
    mkdirSync(dir.file("data", "journal"), { recursive: true, mode: 0o700 });
    expect((await dataDirResults(dir.file("data"))).get("data_dir.journal")!.message).toBe(
      "Nothing is stored in data_dir yet",
    );
    const segment = dir.file("data", "positions.json");
    writeFileSync(segment, "{");
    expect((await dataDirResults(dir.file("data"))).get("data_dir.journal")).toMatchObject({
      status: "failed",
    });
  });

  test("room for the buffers", async () => {
    await using dir = tempDir("check");
    const sinks = [{ name: "k", buffer: { type: "disk", maxSizeBytes: 2 ** 50 } }] as unknown as SinkConfig[];
    expect((await dataDirResults(dir.path, { sinks })).get("data_dir.room")).toMatchObject({
      status: "warning",
      code: "less-than-buffers",
      message: expect.stringContaining("1073741824 MiB more"),
    });
    const small = [{ name: "k", buffer: { type: "disk", maxSizeBytes: MIB } }] as unknown as SinkConfig[];
    expect((await dataDirResults(dir.path, { sinks: small })).get("data_dir.room")).toMatchObject({
      status: "ok",
    });
  });
});

describe("the owner of a lock, by the kernel's list", () => {
  test("inode and device, or inode and the pid in the file", async () => {
    await using dir = tempDir("check");
    const lock = dir.file("lock");
    const locks = dir.file("locks");
    expect(lockOwner(lock, locks)).toBeNull();
    writeFileSync(lock, "4711\n");
    expect(lockOwner(lock, locks)).toBe("unknown");
    const { ino, dev } = await Bun.file(lock).stat();
    const own = `${((dev >> 8) & 0xfff).toString(16).padStart(2, "0")}:${
      (dev & 0xff).toString(16).padStart(2, "0")
    }`;
    const list = (pid: number, device: string, inode: number) =>
      `1: POSIX  ADVISORY  WRITE 1 00:01:${inode} 0 EOF\n7: FLOCK  ADVISORY  WRITE ${pid} ${device}:${inode} 0 EOF\n`;
    writeFileSync(locks, list(99, "ff:fe", ino));
    expect(lockOwner(lock, locks)).toBeNull();
    writeFileSync(locks, list(4711, "ff:fe", ino));
    expect(lockOwner(lock, locks)).toBe(4711);
    writeFileSync(locks, list(99, own, ino));
    expect(lockOwner(lock, locks)).toBe(99);
    writeFileSync(locks, list(4711, own, ino + 1));
    expect(lockOwner(lock, locks)).toBeNull();
  });
});

describe("files", () => {
  const source = (include: readonly string[]): FileSourceConfig =>
    ({ type: "file", name: "app", include, exclude: [] }) as unknown as FileSourceConfig;

  test("found, and none found", async () => {
    await using dir = tempDir("check");
    writeFileSync(dir.file("a.log"), "x\n");
    writeFileSync(dir.file("b.log"), "x\n");
    mkdirSync(dir.file("sub"));
    const include = [dir.file("*.log"), dir.file("*.txt"), dir.file("none", "*.log"), dir.file("a.log")];
    const { results, fileCount, folders } = await checkFiles(source(include), dir.file("data"), never);
    expect(results).toMatchObject([
      { status: "ok", message: `Pattern "${include[0]}" leads to 2 files, all readable` },
      { status: "warning", code: "no-files" },
      { status: "warning", code: "no-folder" },
      { status: "ok", message: `Pattern "${include[3]}" leads to 1 file, all readable` },
    ]);
    expect(fileCount).toBe(2);
    expect([...folders]).toContain(dir.path);
  });

  test("what is in data_dir, a FIFO and a device are none; nothing waits for them", async () => {
    await using dir = tempDir("check");
    mkdirSync(dir.file("data"));
    writeFileSync(dir.file("data", "a.log"), "x\n");
    symlinkSync("/dev/zero", dir.file("zero.log"));
    await Bun.$`mkfifo ${dir.file("fifo.log")}`;
    const { results } = await checkFiles(source([dir.file("**/*.log")]), dir.file("data"), never);
    expect(results).toMatchObject([{ status: "warning", code: "no-files" }]);
  });
});

describe("the file for dead letters", () => {
  const check = (path: string, sizeBytesMax = 100) =>
    checkDeadLetterFile(
      { name: "k", deadLetter: { kind: "file", path, sizeBytesMax } } as unknown as KafkaSinkConfig,
    )[0]!;

  test("can be made, is there, is full, is none, or has no folder", async () => {
    await using dir = tempDir("check");
    const file = dir.file("dead.jsonl");
    expect(check(file)).toMatchObject({ check: "dead_letter.file", status: "ok" });
    expect(readdirSync(dir.path)).toEqual([]);
    writeFileSync(file, "x".repeat(99));
    expect(check(file)).toMatchObject({ status: "ok" });
    writeFileSync(file, "x".repeat(100));
    expect(check(file)).toMatchObject({ status: "failed", code: "full" });
    expect(check(dir.path)).toMatchObject({ status: "failed", code: "no-file" });
    expect(check(dir.file("none", "dead.jsonl"))).toMatchObject({ status: "failed", code: "ENOENT" });
    expect(checkDeadLetterFile({ deadLetter: null } as unknown as KafkaSinkConfig)).toEqual([]);
  });
});

describe("limits of the system", () => {
  const source = (maxOpenFiles: number | null) => ({ type: "file", name: "a", maxOpenFiles }) as never;

  test("open files", () => {
    const check = (maxOpenFiles: number | null, fileCount: number) =>
      checkOpenFiles(config("/d", { sources: [source(maxOpenFiles)] }), { fileCount, folderCount: 1 })[0]!;
    expect(check(null, 3)).toMatchObject({ check: "limits.open_files", status: "ok" });
    expect(check(10, 11)).toMatchObject({ status: "warning", code: "files-take-turns" });
    expect(check(100_000_000, 3)).toMatchObject({ status: "warning", code: "limit-low" });
    expect(check(100_000_000, 100_000_000)).toMatchObject({ status: "failed", code: "EMFILE" });
    expect(checkOpenFiles(config("/d"), { fileCount: 0, folderCount: 0 })).toEqual([]);
  });

  testIf(process.platform === "linux", "needs Linux", "inotify", () => {
    const check = (folderCount: number) =>
      checkInotify(config("/d", { sources: [source(null)] }), { fileCount: 1, folderCount })[0]!;
    expect(check(1)).toMatchObject({ check: "limits.inotify", status: "ok" });
    expect(check(20_000)).toMatchObject({ status: "warning", code: "too-many-folders" });
  });

  test("the clock of this host", () => {
    expect(checkClock(Date.now)).toMatchObject({ check: "clock.host", status: "ok" });
    expect(checkClock(() => 0)).toMatchObject({
      status: "failed",
      message: "The clock of this host says 1970-01-01T00:00:00.000Z, which is long past",
    });
  });

  test("a journal written in the future", async () => {
    await using dir = tempDir("check");
    mkdirSync(dir.file("data", "journal"), { recursive: true, mode: 0o700 });
    writeFileSync(dir.file("data", "journal", "note"), "");
    const later = Date.now() / 1000 + 86_400;
    utimesSync(dir.file("data", "journal", "note"), later, later);
    const stored = await readStoredState(dir.file("data"));
    const readState = () => Promise.resolve({ ...stored, checkpoint: {} as never });
    const results = await checkDataDir(config(dir.file("data")), { now: Date.now, readState });
    expect(results.find((each) => each.check === "data_dir.journal")).toMatchObject({
      status: "warning",
      code: "from-the-future",
    });
  });
});
