import type { FileCatalog } from "./file_catalog.ts";
import { inodeKey } from "./file_identity.ts";
import type { FileStat } from "./file_ops.ts";

/** Old files that were left alone, remembered to know where they ended. */
const IGNORED_MAX = 100_000;

/** Where reading starts in files that were never read. */
export class StartOffsets {
  /** Files that are found now were there before this source. */
  isFirstLook = true;
  readonly #catalog: FileCatalog;
  /** Size at the first look of files that were too old to be read, by inode. */
  readonly #ignoredSizes = new Map<string, number>();

  constructor(catalog: FileCatalog) {
    this.#catalog = catalog;
  }

  /** Of the file at a path; null when it is too old to be read at all. */
  of(matchedPath: string, stat: FileStat): number | null {
    const { config, tail, wasRead } = this.#catalog.options;
    const inode = inodeKey(stat);
    if (this.#catalog.recordOf(stat) !== null) return 0;
    if (config.ignoreOlderMs !== null && tail.nowMs() - stat.mtimeMs > config.ignoreOlderMs) {
      if (this.#ignoredSizes.size < IGNORED_MAX && !this.#ignoredSizes.has(inode)) {
        this.#ignoredSizes.set(inode, stat.sizeBytes);
      }
      return null;
    }
    if (config.readFrom === "beginning") return 0;
    const ignoredSize = this.#ignoredSizes.get(inode);
    this.#ignoredSizes.delete(inode);
    // One that came while another source took over was not there before.
    const isOld = this.isFirstLook && wasRead?.(matchedPath) !== true;
    return ignoredSize ?? (isOld ? stat.sizeBytes : 0);
  }
}
