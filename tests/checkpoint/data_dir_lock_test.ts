import { afterEach, beforeEach, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { acquireDataDir } from "../../src/checkpoint/data_dir_lock.ts";
import { StartError } from "../../src/errors.ts";

let folder: string;
beforeEach(() => folder = fs.mkdtempSync(path.join(os.tmpdir(), "shipper-lock-")));
afterEach(() => fs.rmSync(folder, { recursive: true, force: true }));

function startError(dataDir: string): StartError {
  try {
    acquireDataDir(dataDir);
  } catch (error) {
    if (error instanceof StartError) return error;
    throw error;
  }
  throw new Error("The lock was given");
}

test("acquireDataDir makes the folder for its owner only, and gives it to one", () => {
  const dataDir = path.join(folder, "deep/data");
  const lock = acquireDataDir(dataDir);
  expect(fs.statSync(dataDir).mode & 0o777).toBe(0o700);
  const error = startError(dataDir);
  expect([error.code, error.exitCode]).toEqual(["data-dir-locked", 78]);
  expect(error.message).toContain(`process ${process.pid} is using it`);
  lock.release();
  lock.release();
  acquireDataDir(dataDir).release();
});

test("acquireDataDir: the lock goes with a process that is killed", async () => {
  const module = new URL("../../src/checkpoint/data_dir_lock.ts", import.meta.url).pathname;
  const script = `const { acquireDataDir } = await import(${JSON.stringify(module)});
    acquireDataDir(${JSON.stringify(folder)}); console.log("locked"); setInterval(() => {}, 1000);`;
  const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe" });
  await child.stdout.getReader().read();
  expect(startError(folder).message).toContain(`process ${child.pid} is using it`);
  child.kill("SIGKILL");
  await child.exited;
  acquireDataDir(folder).release();
});

test("acquireDataDir says why a folder cannot be used", () => {
  fs.writeFileSync(path.join(folder, "file"), "");
  const error = startError(path.join(folder, "file/data"));
  expect([error.code, error.exitCode]).toEqual(["data-dir-unusable", 78]);
  expect(error.message).toContain("ENOTDIR");
  expect(error.hint).toContain("something else has that name");
});
