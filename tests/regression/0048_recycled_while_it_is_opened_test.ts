import { expect, test } from "bun:test";
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { LogChangedError, LogDamagedError } from "../../src/storage/log_errors.ts";
import { openSegmentFile } from "../../src/storage/segment_file.ts";
import { encodeSegmentHeader, SEGMENT_HEADER_BYTES, segmentName } from "../../src/storage/segment_format.ts";
import { SegmentReader } from "../../src/storage/segment_reader.ts";
import { type StorageOps, systemOps } from "../../src/storage/storage_ops.ts";
import { tempDir } from "../support/temp_dir.ts";

// `shipper audit` beside a running shipper opened a segment, which was recycled and became another one before its header was read: the journal was
// called damaged.

/** Segment 1 holds the header of segment 3; `isRecycled`: it is called 3 as soon as it was opened. */
function segmentOf(dir: string, isRecycled: boolean): StorageOps {
  const header = Buffer.alloc(SEGMENT_HEADER_BYTES);
  const size = { alignmentBytes: 4096, sizeBytes: 65_536, previous: 0, previousEnd: 0, previousSyncedTo: 0 };
  encodeSegmentHeader({ kind: "journal", number: 3, nonce: Buffer.alloc(16, 7), ...size }, header);
  const path = join(dir, segmentName(1));
  writeFileSync(path, header);
  let openedCount = 0;
  return {
    ...systemOps,
    openRead: (opened) => {
      const fd = systemOps.openRead(opened);
      if (isRecycled && ++openedCount === 1) renameSync(path, join(dir, segmentName(3)));
      return fd;
    },
  };
}

for (const isRecycled of [true, false]) {
  test(`a segment with another's header ${isRecycled ? "that was recycled" : "that stays there"}`, async () => {
    await using dir = tempDir("recycled");
    const path = join(dir.path, segmentName(1));
    const read = () => new SegmentReader(segmentOf(dir.path, isRecycled), path, 1, "journal");
    expect(read).toThrow(isRecycled ? LogChangedError : LogDamagedError);
    const open = () => openSegmentFile(dir.path, 1, "journal", segmentOf(dir.path, isRecycled));
    if (isRecycled) expect(open).toThrow("ENOENT");
    else expect(open().cause).toBe("its header says that it is segment 3");
  });
}
