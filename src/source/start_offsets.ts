import type { FileCatalog } from "./file_catalog.ts";
import { inodeKey } from "./file_identity.ts";
import type { FileStat } from "./file_ops.ts";

/** Files that were left alone, or could not be opened, remembered to know where they ended. */
const SIZES_MAX = 100_000;

/** Where reading starts in files that were never read. */
export class StartOffsets {
  /** Files that are found now were there before this source. */
  isFirstLook = true;
  readonly #catalog: FileCatalog;
  /** Size at the first look of files that were too old to be read, or there before this source, by inode; until they are read. */
  readonly #firstSizes = new Map<string, number>();

  constructor(catalog: FileCatalog) {
    this.#catalog = catalog;
  }

  /** Of the file at a path; null when it is too old to be read at all. */
  of(matchedPath: string, stat: FileStat): number | null {
    const { config, tail, wasRead } = this.#catalog.options;
    const inode = inodeKey(stat);
    if (this.#catalog.recordOf(stat) !== null) return 0;
    if (config.ignoreOlderMs !== null && tail.nowMs() - stat.mtimeMs > config.ignoreOlderMs) {
      this.#remember(inode, stat.sizeBytes);
      return null;
    }
    if (config.readFrom === "beginning") return 0;
    // One that came while another source took over was not there before.
    const isOld = this.isFirstLook && wasRead?.(matchedPath) !== true;
    if (isOld) this.#remember(inode, stat.sizeBytes);
    return this.#firstSizes.get(inode) ?? (isOld ? stat.sizeBytes : 0);
  }

  /** The file is being read. */
  started(stat: FileStat): void {
    this.#firstSizes.delete(inodeKey(stat));
  }

  #remember(inode: string, sizeBytes: number): void {
    if (this.#firstSizes.size < SIZES_MAX && !this.#firstSizes.has(inode)) {
      this.#firstSizes.set(inode, sizeBytes);
    }
  }
}
