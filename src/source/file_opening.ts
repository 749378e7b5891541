import type { FileRecord } from "../checkpoint/position_file.ts";
import type { DeviceGate } from "./device_gate.ts";
import type { Fingerprint } from "./file_identity.ts";
import { inodeKey, readFingerprint, verifyFingerprint } from "./file_identity.ts";
import type { FileOps, FileStat } from "./file_ops.ts";

/** An open file, and whether it is the content that a stored stream knows. */
export interface Opened {
  /** Belongs to the caller. */
  readonly fd: number;
  readonly stat: FileStat;
  /** The stored stream of this inode. */
  readonly record: FileRecord | null;
  /** The content is the one that `record` knows: same head, and not shorter than what was read. */
  readonly isSame: boolean;
  readonly fingerprint: Fingerprint;
}

/**
 * Opens the file and compares its head with the stored stream of its inode. Null when another file, or something that is no regular file,
 * is there by now: the next look finds it. Rejects with the system's error.
 */
export async function openFile(
  { ops, gate }: { readonly ops: FileOps; readonly gate: DeviceGate },
  expected: { readonly path: string; readonly stat: FileStat },
  record: FileRecord | null,
  positionMax: number,
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
      if (record !== null) {
        const known = { sizeBytes: record.fingerprintBytes, hash: record.fingerprint };
        const fingerprint = await verifyFingerprint(ops, fd, known, fingerprintBytes);
        if (fingerprint !== null && positionMax <= stat.sizeBytes) {
          return { fd, stat, record, isSame: true, fingerprint };
        }
      }
      const fingerprint = await readFingerprint(ops, fd, Math.min(fingerprintBytes, stat.sizeBytes));
      return { fd, stat, record, isSame: false, fingerprint };
    } catch (error) {
      ops.close(fd);
      throw error;
    }
  } finally {
    gate.release(device);
  }
}
