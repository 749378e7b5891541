import { join } from "node:path";
import { LogDamagedError, LogNewerError } from "./log_errors.ts";
import {
  decodeSegmentHeader,
  FORMAT_VERSIONS,
  freeNumber,
  type LogKind,
  SEGMENT_HEADER_BYTES,
  segmentNumber,
} from "./segment_format.ts";
import { type LogFrame, SegmentReader } from "./segment_reader.ts";
import { readFully, type StorageOps, systemOps } from "./storage_ops.ts";

/** A file of a log's folder that may be read although the log is damaged. */
export interface SalvageFile {
  readonly path: string;
  /** By its own header; for a file under its right name that of the name. */
  readonly number: number;
  /** It is not part of the log any more: its name says that it waits to be used again. */
  readonly isFree: boolean;
}

/**
 * The files of a damaged journal from which something may be read, newest first: segments, and those of earlier ones that are kept for later
 * use and still hold them. What a file says of itself counts, not its name.
 *
 * Throws `LogNewerError`, and the system's errors.
 */
export function salvageFiles(dir: string, kind: LogKind, ops: StorageOps = systemOps): SalvageFile[] {
  const files: SalvageFile[] = [];
  for (const name of ops.list(dir)) {
    const isFree = freeNumber(name) !== null;
    if (!isFree && segmentNumber(name) === null) continue;
    const path = join(dir, name);
    const header = headerOf(path, ops);
    if ("cause" in header) {
      if (header.newerVersion !== null && !isFree) {
        throw new LogNewerError(path, header.newerVersion, FORMAT_VERSIONS[kind]);
      }
    } else if (header.kind === kind) files.push({ path, number: header.number, isFree });
  }
  return files.sort((a, b) => b.number - a.number);
}

/**
 * Gives the frames of one file up to its end, up to where it is damaged, or up to the first frame for which `onFrame` returns false. False:
 * there is no good group at its start, and no frame was given. Throws the system's errors.
 */
export function readFileUntilDamage(
  { path, number }: SalvageFile,
  kind: LogKind,
  onFrame: (frame: LogFrame) => boolean,
  ops: StorageOps = systemOps,
): boolean {
  const reader = new SegmentReader(ops, path, number, kind);
  try {
    if (!reader.hasGoodStart(0)) return false;
    reader.read(
      (frame) => {
        if (!onFrame(frame)) throw new LogDamagedError(path, frame.offset, "it is not wanted from there on");
      },
      Infinity,
      0,
    );
    return true;
  } catch (error) {
    if (!(error instanceof LogDamagedError)) throw error;
    return error.byte > SEGMENT_HEADER_BYTES;
  } finally {
    reader.close();
  }
}

function headerOf(path: string, ops: StorageOps): ReturnType<typeof decodeSegmentHeader> {
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
  const fd = ops.openRead(path);
  try {
    return decodeSegmentHeader(bytes.subarray(0, readFully(ops, fd, bytes, 0, bytes.length, 0)));
  } finally {
    ops.close(fd);
  }
}
