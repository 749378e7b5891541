import { expect, test } from "bun:test";
import { mkdtempSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemFileOps } from "../../src/source/file_ops.ts";
import { FolderSearch } from "../../src/source/folder_search.ts";
import { KeptLog } from "../kafka/producer_harness.ts";

// A file that was renamed while shipper was stopped was not found where its folder holds a link that leads to itself: the first entry that could not be
// looked at ended the search, and the folder counted as one that cannot be listed.

for (const code of ["ELOOP", "EIO"] as const) {
  test(`an entry that cannot be looked at (${code}) hides none behind it`, async () => {
    const dir = mkdtempSync(join(tmpdir(), "shipper-0093-"));
    try {
      const first = join(dir, "app.log");
      writeFileSync(first, "unread\n");
      const { dev, ino, birthtimeNs } = statSync(first, { bigint: true });
      const bad = join(dir, "bad.log");
      if (code === "ELOOP") symlinkSync("bad.log", bad);
      else writeFileSync(bad, "");
      const ops = {
        ...systemFileOps,
        // The bad one comes first, whatever order the system has.
        list: async (path: string, isLocal: boolean) =>
          (await systemFileOps.list(path, isLocal)).sort((a) => a.name === "bad.log" ? -1 : 1),
        stat: (path: string, isLocal: boolean) =>
          code === "EIO" && path === bad
            ? Promise.reject(Object.assign(new Error("EIO: i/o error"), { code: "EIO" }))
            : systemFileOps.stat(path, isLocal),
      };
      renameSync(first, join(dir, "app.log.1"));
      const failures: string[] = [];
      const search = new FolderSearch({
        ops,
        log: new KeptLog(),
        onFailure: (folder) => failures.push(folder),
      });
      const file = {
        path: first,
        lastPath: first,
        dev: String(dev),
        ino: String(ino),
        birthtimeNs: String(birthtimeNs),
      };
      expect((await search.find(file))?.path).toBe(join(dir, "app.log.1"));
      // A link without an end leads to no file. What cannot be read may be one.
      expect(await search.hasLookedThrough(file)).toBe(code === "ELOOP");
      expect(failures.length > 0).toBe(code === "EIO");
    } finally {
      rmSync(dir, { recursive: true });
    }
  }, 30_000);
}
