import type { FileRecord } from "../checkpoint/position_file.ts";
import type { DeviceGate } from "./device_gate.ts";
import type { Fingerprint } from "./file_identity.ts";
import { inodeKey, readFingerprint, verifyFingerprint } from "./file_identity.ts";
import type { FileOps, FileStat } from "./file_ops.ts";
import { MarkCheck, type SinkKnowledge } from "./mark_check.ts";

/** An open file, and whether it is the content that a stored stream knows. */
export interface Opened {
  /** Belongs to the caller. */
  readonly fd: number;
  readonly stat: FileStat;
  /** The stored stream of this inode. */
  readonly record: FileRecord | null;
  /** The content is the one that `record` knows, at least up to a mark: same head, and not shorter than what was read. */
  readonly isSame: boolean;
  /** For sinks that were given bytes that are not there any more: where they go on. */
  readonly rewinds: ReadonlyMap<string, number>;
  readonly fingerprint: Fingerprint;
}

const NO_REWINDS: ReadonlyMap<string, number> = new Map();

/**
 * Opens the file and compares its head, and the last bytes that were read of it, with the stored stream of its inode. Null when another file,
 * or something that is no regular file, is there by now: the next look finds it. Rejects with the system's error.
 */
export async function openFile(
  { ops, gate }: { readonly ops: FileOps; readonly gate: DeviceGate },
  expected: { readonly path: string; readonly stat: FileStat },
  record: FileRecord | null,
  known: readonly SinkKnowledge[],
  fingerprintBytes: number,
): Promise<Opened | null> {
  const device = String(expected.stat.dev);
  await gate.acquire(device);
  try {
    const fd = await ops.open(expected.path);
    try {
      const stat = await ops.fstat(fd);
      if (stat.kind !== "file" || inodeKey(stat) !== inodeKey(expected.stat)) {
        ops.close(fd);
        return null;
      }
      const head = record === null ? null : await verifyFingerprint(
        ops,
        fd,
        { sizeBytes: record.fingerprintBytes, hash: record.fingerprint },
        fingerprintBytes,
      );
      const check = new MarkCheck(ops, fd);
      const rewinds = record === null
        ? null
        : await (head === null ? check.checkFromStart(known) : check.check(stat.sizeBytes, known));
      const fingerprint = head ?? await readFingerprint(ops, fd, Math.min(fingerprintBytes, stat.sizeBytes));
      return { fd, stat, record, isSame: rewinds !== null, rewinds: rewinds ?? NO_REWINDS, fingerprint };
    } catch (error) {
      ops.close(fd);
      throw error;
    }
  } finally {
    gate.release(device);
  }
}
