import fs from "node:fs";
import { inodeKey } from "./file_identity.ts";

const STDIN_FD = 0;

/** A regular file that this process has on a descriptor, as `shipper < FILE` gives it. */
export interface StdinFile {
  readonly fd: number;
  /** A name that leads to it. */
  readonly path: string;
  /** Where a read of the descriptor would start. */
  readonly offset: number;
}

/**
 * The file on stdin. A text where there is one that cannot be found by a later run, and why; null where stdin is no regular file. `fd`: for
 * tests.
 */
export function findStdinFile(fd = STDIN_FD): StdinFile | string | null {
  let inode: string;
  try {
    const stat = fs.fstatSync(fd, { bigint: true });
    if (!stat.isFile()) return null;
    inode = inodeKey(stat);
  } catch {
    return null; // closed: an empty one
  }
  try {
    const info = fs.readFileSync(`/proc/self/fdinfo/${fd}`, "utf8");
    const offset = /^pos:\s*(\d+)$/mu.exec(info)?.[1];
    const flags = /^flags:\s*([0-7]+)$/mu.exec(info)?.[1];
    if (offset === undefined || flags === undefined) return "the system does not tell where it stands in it";
    if ((parseInt(flags, 8) & fs.constants.O_WRONLY) !== 0) return "it is open for writing only";
    const path = fs.readlinkSync(`/proc/self/fd/${fd}`);
    if (inodeKey(fs.statSync(path, { bigint: true })) !== inode) return "its name leads to another file";
    return { fd, path, offset: Number(offset) };
  } catch {
    return "it has no name any more, or the system does not tell it";
  }
}
