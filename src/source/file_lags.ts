import type { SourcePositions } from "../checkpoint/checkpoint.ts";
import type { FileLag } from "../telemetry/metrics.ts";
import type { TailedFile } from "./tailed_file.ts";

/** How far each sink is in each of these files. */
export function fileLags(
  files: Iterable<TailedFile>,
  positions: SourcePositions,
  source: string,
): readonly FileLag[] {
  return [...files].flatMap((file) =>
    file.tailers.map((tailer) => ({
      path: file.lastPath,
      sink: tailer.outlet.sink,
      sizeBytes: Math.max(file.sizeBytes, tailer.offset),
      readBytes: tailer.offset,
      deliveredBytes: positions.position(source, file.stream.id, tailer.outlet.sink) ?? tailer.startOffset,
    }))
  );
}
