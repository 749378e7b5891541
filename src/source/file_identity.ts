import { createHash } from "node:crypto";
import type { FileRecord } from "../checkpoint/position_file.ts";
import type { FileOps, FileStat } from "./file_ops.ts";

/**
 * Which file is which. Device, inode and birth time decide quickly; inodes are used again within milliseconds (ext4), the birth time then
 * differs. The fingerprint, a hash of the first bytes, verifies after a restart and where the birth time is unknown: it covers what was
 * there when it was taken, up to `fingerprint_bytes`, and grows with the file, so that a small file is known at once.
 */
export interface Fingerprint {
  /** Bytes from the start that were hashed. */
  readonly sizeBytes: number;
  readonly hash: string;
}

export const EMPTY_FINGERPRINT: Fingerprint = { sizeBytes: 0, hash: "" };

const HASH_HEX_CHARS = 32;
/** Birth times come from a clock that moves in steps: up to this long (at 100 Hz) they lie behind the time of day. */
const CLOCK_TICK_MS = 10;
const NS_PER_MS = 1_000_000n;

/** The earliest birth time (nanoseconds since the epoch) that a file may carry that is created from `nowMs` on. */
export function bornFromNs(nowMs: number): bigint {
  return BigInt(Math.trunc(nowMs) - CLOCK_TICK_MS) * NS_PER_MS;
}

/** Key of an inode as long as it exists: "dev:ino:birthtimeNs". */
export function inodeKey(stat: Pick<FileStat, "dev" | "ino" | "birthtimeNs">): string {
  return `${stat.dev}:${stat.ino}:${stat.birthtimeNs}`;
}

/** Id of a stream. A truncated file keeps its inode and gets the next generation, because its old offsets mean other bytes now. */
export function streamId(inode: string, generation: number): string {
  return generation === 0 ? inode : `${inode}#${generation}`;
}

/** `inodeKey` of a stored stream. */
export function recordInodeKey(record: Pick<FileRecord, "dev" | "ino" | "birthtimeNs">): string {
  return `${record.dev}:${record.ino}:${record.birthtimeNs}`;
}

/** Without the device, whose number may change at a boot; null where that would say too little. */
export function devicelessKey(ino: bigint | string, birthtimeNs: bigint | string): string | null {
  return String(birthtimeNs) === "0" ? null : `${ino}:${birthtimeNs}`;
}

/** Reads the first `sizeBytes` bytes; the fingerprint covers fewer when the file is shorter. */
export async function readFingerprint(ops: FileOps, fd: number, sizeBytes: number): Promise<Fingerprint> {
  if (sizeBytes === 0) return EMPTY_FINGERPRINT;
  const head = Buffer.allocUnsafe(sizeBytes);
  return fingerprintOf(head.subarray(0, await ops.read(fd, head, sizeBytes, 0)));
}

/**
 * Reads the head once and compares: null when the file does not start with what `known` covers, else the fingerprint of as much as is
 * there now, at most `sizeBytesMax` (or what `known` covers, if that is more: the option was lowered).
 */
export async function verifyFingerprint(
  ops: FileOps,
  fd: number,
  known: Fingerprint,
  sizeBytesMax: number,
): Promise<Fingerprint | null> {
  const wanted = Math.max(known.sizeBytes, sizeBytesMax);
  const buffer = Buffer.allocUnsafe(wanted);
  const head = buffer.subarray(0, await ops.read(fd, buffer, wanted, 0));
  if (head.length < known.sizeBytes) return null;
  if (fingerprintOf(head.subarray(0, known.sizeBytes)).hash !== known.hash) return null;
  return fingerprintOf(head);
}

/** The fingerprint of these first bytes. */
export function fingerprintOf(head: Buffer): Fingerprint {
  if (head.length === 0) return EMPTY_FINGERPRINT;
  const hash = createHash("sha256").update(head).digest("hex").slice(0, HASH_HEX_CHARS);
  return { sizeBytes: head.length, hash };
}
