import { expect, test } from "bun:test";
import { renameSync, writeFileSync } from "node:fs";
import { type FileOps, systemFileOps } from "../../src/source/file_ops.ts";
import { FolderSearch } from "../../src/source/folder_search.ts";
import { KeptLog } from "../kafka/producer_harness.ts";
import { tempDir } from "../support/temp_dir.ts";

// logrotate ran while the folder was looked through for a file of an earlier run: its new name had been passed, and its old one led to the next
// file already. It was taken for deleted, and its unread lines were lost.
test("a file that is rotated while its folder is looked through is found", async () => {
  await using dir = tempDir("renamed");
  const names = ["a.log", "a.log.1", "a.log.2"].map((name) => dir.file(name));
  for (const name of names) writeFileSync(name, name);
  const wanted = await systemFileOps.stat(names[1]!, true);
  await Bun.sleep(50);
  let isRotated = false;
  const ops: FileOps = {
    ...systemFileOps,
    // In the order in which logrotate renames.
    list: async (path, isLocal) =>
      (await systemFileOps.list(path, isLocal)).sort((a, b) => a.name < b.name ? 1 : -1),
    async stat(path, isLocal) {
      const stat = await systemFileOps.stat(path, isLocal);
      if (path === names[2] && !isRotated) {
        isRotated = true;
        for (const [from, to] of [[2, 3], [1, 2], [0, 1]]) {
          renameSync(names[from!]!, dir.file(`a.log.${to}`));
        }
        writeFileSync(names[0]!, "new");
      }
      return stat;
    },
  };
  const search = new FolderSearch({ ops, log: new KeptLog(), onFailure: () => {} });
  const found = await search.find({
    path: names[0]!,
    lastPath: names[1]!,
    dev: String(wanted.dev),
    ino: String(wanted.ino),
    birthtimeNs: String(wanted.birthtimeNs),
  });
  expect(isRotated).toBe(true);
  expect(found?.path).toBe(names[2]!);
});
