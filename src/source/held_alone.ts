import type { SourcePositions } from "../checkpoint/checkpoint.ts";
import type { RescueStore } from "./rescue_store.ts";
import type { TailedFile } from "./tailed_file.ts";

/**
 * The path of a file that nobody would find again if its reader closed it now: it was deleted, some of it is not delivered, and that is not copied
 * (`RescueStore`) either. Null: there is none.
 */
export function heldAlone(
  files: Iterable<TailedFile>,
  positions: SourcePositions,
  rescue: RescueStore | null,
): string | null {
  for (const { stream, tailers, paths, isUnlinked, isRescued, sizeBytes, lastPath } of files) {
    if (!isUnlinked || isRescued || paths.size > 0) continue;
    const isDelivered = tailers.every(({ outlet }) => {
      const position = positions.position(stream.source, stream.id, outlet.sink);
      return position === null || position >= sizeBytes;
    });
    if (isDelivered || (rescue?.copyOf(stream.source, stream.id)?.endOffset ?? 0) >= sizeBytes) continue;
    return lastPath;
  }
  return null;
}
