import type { FileRecord } from "../../src/checkpoint/position_file.ts";
import type { Stream } from "../../src/event/stream.ts";
import { Journal } from "../../src/journal/journal.ts";
import type { StorageOps } from "../../src/storage/storage_ops.ts";
import type { Log } from "../../src/telemetry/log.ts";
import { silentLog } from "../kafka/support.ts";

/** What is stored of a file of source "app". */
export function recordOf(id: string): FileRecord {
  const path = `/var/log/${id}.log`;
  return {
    source: "app",
    id,
    path,
    lastPath: path,
    dev: "1",
    ino: "2",
    birthtimeNs: "3",
    sinceNs: "3",
    generation: 0,
    fingerprintBytes: 4,
    fingerprint: "ab",
  };
}

export function streamOf(id: string): Stream {
  return { id, source: "app", sourceType: "file", path: `/var/log/${id}.log` };
}

/** A journal with small segments. Close it with `close(1_000)`. */
export function openJournal(
  dataDir: string,
  options: {
    readonly now?: () => number;
    readonly log?: Log;
    readonly segmentBytes?: number;
    readonly liveBytesMax?: number;
    readonly ops?: StorageOps;
  } = {},
): Promise<Journal> {
  return Journal.open({
    dataDir,
    durability: "process",
    machineId: "m",
    dataDirInode: "1:2",
    onClonedState: "adopt",
    log: silentLog,
    segmentBytes: 65_536,
    ...options,
  });
}

/** Announces that a range of lines is on its way, as a lane does. */
export function regionInfo(startOffset: number, endOffset: number, lineCount = 1, endsInsideCutLine = false) {
  return { startOffset, endOffset, crc32: 0, lineCount, startsInsideCutLine: false, endsInsideCutLine };
}
