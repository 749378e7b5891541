import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A folder of its own for a test: `await using dir = tempDir()` removes it at the end of the block, as `remove` does. */
export interface TempDir extends AsyncDisposable, Disposable {
  readonly path: string;
  /** Path of something in it. */
  file(...names: string[]): string;
  remove(): void;
}

/** Makes an empty folder that nobody else uses. */
export function tempDir(name = "test"): TempDir {
  const path = mkdtempSync(join(tmpdir(), `shipper-${name}-`));
  const remove = () => rmSync(path, { recursive: true, force: true });
  return {
    path,
    file: (...names) => join(path, ...names),
    remove,
    [Symbol.dispose]: remove,
    [Symbol.asyncDispose]: async () => remove(),
  };
}
