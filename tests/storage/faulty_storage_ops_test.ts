import { expect, test } from "bun:test";
import { faultyStorageOps } from "../../src/storage/faulty_storage_ops.ts";
import { systemOps } from "../../src/storage/storage_ops.ts";
import { tempDir } from "../support/temp_dir.ts";

test("calls that a fault names fail, by kind, file and number, and do nothing; all others work", () => {
  using dir = tempDir("faulty-ops");
  const [a, b] = [dir.file("a.seg"), dir.file("b.seg")];
  const ops = faultyStorageOps(systemOps, [
    { op: "write", path: /a\.seg$/u, error: "ENOSPC", from: 2, count: 2 },
    { op: "sync", path: /\.seg$/u, error: "EIO", from: 1, count: 1 },
    { op: "open", path: /b\.seg$/u, error: "EMFILE", from: 2, count: 1 },
    { op: "unlink", path: /a\.seg$/u, error: "EROFS", from: 1, count: 1 },
    { op: "read", path: /a\.seg$/u, error: "EIO", from: 1, count: 1 },
  ]);
  const fd = ops.openWrite(a);
  const write = (text: string, at: number) => ops.write(fd, Buffer.from(text), 0, text.length, at);
  expect(write("one", 0)).toBe(3);
  for (let i = 0; i < 2; i++) expect(() => write("two", 3)).toThrow("ENOSPC: a fault of the test, write");
  expect(ops.size(a)).toBe(3);
  expect(write("three", 3)).toBe(5);
  expect(() => ops.dataSync(fd)).toThrow(expect.objectContaining({ code: "EIO" }));
  ops.dataSync(fd);
  ops.syncDir(dir.path);
  const target = Buffer.alloc(8);
  expect(() => ops.read(fd, target, 0, 8, 0)).toThrow("EIO");
  expect(ops.read(fd, target, 0, 8, 0)).toBe(8);
  expect(String(target)).toBe("onethree");
  ops.close(fd);
  ops.close(ops.openWrite(b));
  expect(() => ops.openRead(b)).toThrow("EMFILE");
  ops.close(ops.openRead(b));
  expect(() => ops.remove(a)).toThrow("EROFS");
  ops.remove(a);
  ops.remove(b);
  expect(ops.list(dir.path)).toEqual([]);
});
