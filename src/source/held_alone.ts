import path from "node:path";
import type { SourcePositions } from "../checkpoint/checkpoint.ts";
import type { Log } from "../telemetry/log.ts";
import { HUNG_MS, untilHung } from "./device_gate.ts";
import { inodeKey } from "./file_identity.ts";
import type { FileOps } from "./file_ops.ts";
import { FolderSearch } from "./folder_search.ts";
import { fileRecord } from "./known_records.ts";
import type { RescueStore } from "./rescue_store.ts";
import type { TailedFile } from "./tailed_file.ts";

export interface HeldAloneOptions {
  readonly files: Iterable<TailedFile>;
  readonly positions: SourcePositions;
  readonly rescue: RescueStore | null;
  readonly ops: FileOps;
  readonly log: Log;
}

/**
 * The path of a file that nobody would find again if its reader closed it now: it was deleted or moved out of its folder, some of it is not delivered,
 * and that is not copied (`RescueStore`) either. Null: there is none. Looks at the folders themselves: an event of a moment ago may not have come.
 */
export async function heldAlone(
  { files, positions, rescue, ops, log }: HeldAloneOptions,
): Promise<string | null> {
  for (const file of files) {
    const { stream, tailers, isRescued, handle, sizeBytes, lastPath } = file;
    if (isRescued || handle.fd === null) continue;
    const isDelivered = tailers.every(({ outlet }) => {
      const position = positions.position(stream.source, stream.id, outlet.sink);
      return position === null || position >= sizeBytes;
    });
    if (isDelivered || (rescue?.copyOf(stream.source, stream.id)?.endOffset ?? 0) >= sizeBytes) continue;
    // One on a device that does not answer has not lost its name, as far as anybody knows.
    let isFindable = true;
    const looking = isFound(file, ops, log).then((found) => void (isFindable = found));
    await untilHung(looking, HUNG_MS, () => looking.catch(() => {}));
    if (!isFindable) return lastPath;
  }
  return null;
}

/** Whether a restart would find the file. */
async function isFound(file: TailedFile, ops: FileOps, log: Log): Promise<boolean> {
  const there = await ops.stat(file.place, false).catch(() => null); // whatever it is, the file is not found there
  if (there !== null && inodeKey(there) === file.inode) return true;
  const found = await new FolderSearch({ ops, log, onFailure: () => {} }).find(
    fileRecord(file.stream.source, file),
  );
  // NFS gives a deleted file such a name until the last one closes it.
  return found !== null && !path.basename(found.path).startsWith(".nfs");
}
