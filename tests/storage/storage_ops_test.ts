import { expect, test } from "bun:test";
import fs from "node:fs";
import { readFully, type StorageOps, systemOps, writeFully } from "../../src/storage/storage_ops.ts";
import { tempDir } from "../support/temp_dir.ts";

test("A file that is opened for writing keeps its content, and is made when missing", () => {
  using dir = tempDir("ops");
  const path = dir.file("file");
  for (const text of ["first", "la"]) {
    const fd = systemOps.openWrite(path);
    writeFully(systemOps, fd, Buffer.from(text), 0, text.length, 0);
    systemOps.dataSync(fd);
    systemOps.close(fd);
  }
  systemOps.syncDir(dir.path);
  expect(fs.readFileSync(path, "utf8")).toBe("larst");
  expect(systemOps.size(path)).toBe(5);
  const fd = systemOps.openRead(path);
  const bytes = Buffer.alloc(10, "-");
  expect(readFully(systemOps, fd, bytes, 1, 9, 1)).toBe(4);
  expect(bytes.toString()).toBe("-arst-----");
  systemOps.close(fd);
});

test("All is written however little the system takes at a time, and however often it is interrupted", () => {
  const out = Buffer.alloc(40);
  let calls = 0;
  const ops: StorageOps = {
    ...systemOps,
    write(_fd, source, offset, length, position) {
      calls++;
      if (calls % 3 === 0) throw Object.assign(new Error("interrupted"), { code: "EINTR" });
      if (calls % 3 === 1) return 0;
      const taken = Math.min(length, 3);
      out.set(source.subarray(offset, offset + taken), position);
      return taken;
    },
  };
  writeFully(ops, 0, Buffer.from("..0123456789abcdefghijklmnopqrstuvwxyz"), 2, 36, 2);
  expect(out.toString("latin1")).toBe("\0\x000123456789abcdefghijklmnopqrstuvwxyz\0\0");
});

test("A system that takes nothing, or is interrupted for ever, is an error and no endless loop", () => {
  for (const answer of ["nothing", "EINTR", "EAGAIN"]) {
    let calls = 0;
    const ops: StorageOps = {
      ...systemOps,
      write() {
        calls++;
        if (answer === "nothing") return 0;
        throw Object.assign(new Error(answer), { code: answer });
      },
    };
    const expected = answer === "nothing" ? "EIO" : answer;
    expect(() => writeFully(ops, 0, Buffer.alloc(1), 0, 1, 0)).toThrow(expected);
    expect(calls).toBeLessThan(1_000);
  }
});
