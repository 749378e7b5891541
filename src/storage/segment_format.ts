import { crc32 } from "node:zlib";

/*
 * The bytes of a segment. docs/storage_format.md says the same for somebody who writes another reader. All numbers are little-endian; a
 * "u48" takes eight bytes of which the upper two are zero.
 *
 *   segment   header (4096 bytes) | group | group | ... | whatever the file held before
 */

/** What the log is for. A reader refuses a log of the other kind. */
export type LogKind = "journal" | "buffer";

/** By kind: the version that is written, and the newest that is read. Older ones are read too. */
export const FORMAT_VERSIONS: Readonly<Record<LogKind, number>> = { journal: 1, buffer: 2 };
/** Where the first group starts. */
export const SEGMENT_HEADER_BYTES = 4096;
/** Groups start at multiples of this with `durability = "machine"`: no block on the device holds parts of two groups. */
export const MACHINE_ALIGNMENT_BYTES = 4096;
/** And at multiples of this with "process". */
export const PROCESS_ALIGNMENT_BYTES = 8;
export const GROUP_HEADER_BYTES = 40;
export const FRAME_HEADER_BYTES = 5;
export const NONCE_BYTES = 16;
/** Bytes that tell where a group of this segment may start: magic, and the first four of the nonce. */
export const GROUP_TAG_BYTES = 8;
/** Payload of a frame, at most. */
export const FRAME_BYTES_MAX = 1 << 30;

/** Everything that the log has to say ends here, and it was stopped cleanly. */
export const FLAG_CLEAN_STOP = 1;

const SEGMENT_MAGIC = "SHIPSEG\n";
const GROUP_MAGIC = 0x47504853; // "SHPG"
const CHECKED_HEADER_BYTES = 128;
const KINDS: readonly (LogKind | null)[] = [null, "journal", "buffer"];

export interface SegmentHeader {
  readonly kind: LogKind;
  readonly alignmentBytes: number;
  /** From 1. Also the file's name. */
  readonly number: number;
  /** Of the whole file. */
  readonly sizeBytes: number;
  /** Random; new whenever the file is used anew, so that groups of its former life are not taken for live. */
  readonly nonce: Buffer;
  /** The segment that this one goes on from: the newest one that counted when this was made. 0: none. */
  readonly previous: number;
  /** Where the previous segment ends for a buffer's reader: what lies behind was written again here. */
  readonly previousEnd: number;
  /** Everything before this byte of the previous segment was on the device: damage there is no torn tail. */
  readonly previousSyncedTo: number;
}

/**
 * The header of a segment, the first 128 bytes of its 4096 (the rest is zero):
 *
 *    0  magic "SHIPSEG\n"
 *    8  u32  CRC-32 of the 128 bytes with this field zero
 *   12  u16  format version             14  u8  kind: 1 journal, 2 buffer
 *   15  u8   alignment of groups as a power of two: 12 or 3
 *   16  u48  segment number             24  u48  size of the file
 *   32  16 bytes of nonce
 *   48  u48  previous segment, 0: none  56  u48  its end       64  u48  the byte up to which it was synced
 *
 * Magic, CRC and version stay where they are in every later version.
 */
export function encodeSegmentHeader(header: SegmentHeader, target: Buffer): void {
  target.fill(0, 0, SEGMENT_HEADER_BYTES);
  target.write(SEGMENT_MAGIC, 0, "latin1");
  target.writeUInt16LE(FORMAT_VERSIONS[header.kind], 12);
  target[14] = KINDS.indexOf(header.kind);
  target[15] = Math.log2(header.alignmentBytes);
  target.writeUIntLE(header.number, 16, 6);
  target.writeUIntLE(header.sizeBytes, 24, 6);
  header.nonce.copy(target, 32, 0, NONCE_BYTES);
  target.writeUIntLE(header.previous, 48, 6);
  target.writeUIntLE(header.previousEnd, 56, 6);
  target.writeUIntLE(header.previousSyncedTo, 64, 6);
  target.writeUInt32LE(crc32(target.subarray(0, CHECKED_HEADER_BYTES)), 8);
}

/** The header, or why it is none; `newerVersion` when it is one of a later version of the format. */
export function decodeSegmentHeader(
  bytes: Buffer,
): SegmentHeader | { readonly cause: string; readonly newerVersion: number | null } {
  if (bytes.length < SEGMENT_HEADER_BYTES) {
    return { cause: `it has ${bytes.length} bytes, less than the header of a segment`, newerVersion: null };
  }
  if (bytes.toString("latin1", 0, 8) !== SEGMENT_MAGIC) {
    return { cause: "it does not start like a segment", newerVersion: null };
  }
  const checked = Buffer.from(bytes.subarray(0, CHECKED_HEADER_BYTES));
  checked.writeUInt32LE(0, 8);
  if (crc32(checked) !== bytes.readUInt32LE(8)) {
    return { cause: "the checksum of its header is wrong", newerVersion: null };
  }
  const version = bytes.readUInt16LE(12);
  const kind = KINDS[bytes[14]];
  // Of a kind that is not known, nothing is known of its versions either.
  const newest = kind === null || kind === undefined ? 1 : FORMAT_VERSIONS[kind];
  if (version > newest) return { cause: `it has format version ${version}`, newerVersion: version };
  const number = bytes.readUIntLE(16, 6);
  const previous = bytes.readUIntLE(48, 6);
  if (version < 1 || kind === null || kind === undefined || previous >= number) {
    return { cause: "its header has values that nobody writes", newerVersion: null };
  }
  return {
    kind,
    alignmentBytes: 2 ** bytes[15],
    number,
    sizeBytes: bytes.readUIntLE(24, 6),
    nonce: Buffer.from(bytes.subarray(32, 32 + NONCE_BYTES)),
    previous,
    previousEnd: bytes.readUIntLE(56, 6),
    previousSyncedTo: bytes.readUIntLE(64, 6),
  };
}

/** Start value of every group's checksum in a segment. */
export function nonceSeed(nonce: Buffer): number {
  return crc32(nonce);
}

/** What a group's header says besides its checksum. */
export interface GroupFields {
  /** Of the frames behind the header. 0: a mark. */
  readonly payloadBytes: number;
  /** From 0, without gaps. */
  readonly groupNumber: number;
  /** Checksum of the group before; the nonce's for the first. */
  readonly previousCrc: number;
  /** Everything in front of this byte of the segment was on the device when the group was written. */
  readonly syncedTo: number;
  readonly flags: number;
}

/**
 * Writes a group's header over the 40 bytes at `at`, in front of its frames, and gives its checksum:
 *
 *    0  u32  magic "SHPG"        4  first 4 bytes of the nonce
 *    8  u32  CRC-32, started with the CRC-32 of the nonce, of all that follows: bytes 12 to 40 + payload
 *   12  u32  CRC of the group before (of the nonce for group 0)
 *   16  u32  bytes of payload    20  u32  group number
 *   24  u48  synced to           32  u32  flags: 1 clean stop      36  u32  zero
 *   40  frames: u8 type, u32 length, bytes
 *
 * Zeros follow up to the next multiple of the alignment.
 */
export function encodeGroupHeader(
  target: Buffer,
  at: number,
  fields: GroupFields,
  nonce: Buffer,
  seed: number,
): number {
  target.writeUInt32LE(GROUP_MAGIC, at);
  nonce.copy(target, at + 4, 0, 4);
  target.writeUInt32LE(fields.previousCrc, at + 12);
  target.writeUInt32LE(fields.payloadBytes, at + 16);
  target.writeUInt32LE(fields.groupNumber, at + 20);
  target.writeUIntLE(fields.syncedTo, at + 24, 6);
  target.writeUInt16LE(0, at + 30);
  target.writeUInt32LE(fields.flags, at + 32);
  target.writeUInt32LE(0, at + 36);
  const crc = crc32(target.subarray(at + 12, at + GROUP_HEADER_BYTES + fields.payloadBytes), seed);
  target.writeUInt32LE(crc, at + 8);
  return crc;
}

/** The first bytes of every group of a segment. */
export function groupTag(nonce: Buffer): Buffer {
  const tag = Buffer.alloc(GROUP_TAG_BYTES);
  tag.writeUInt32LE(GROUP_MAGIC, 0);
  nonce.copy(tag, 4, 0, 4);
  return tag;
}

/** The payload's size as the header at `at` claims it. Not checked. */
export function claimedPayloadBytes(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at + 16);
}

/** The checksum that the header at `at` carries. */
export function groupCrc(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at + 8);
}

/** Null when the group at `at`, header and frames, is not what was written. Its place in the chain is for the caller to check. */
export function decodeGroupHeader(bytes: Buffer, at: number, seed: number): GroupFields | null {
  const payloadBytes = claimedPayloadBytes(bytes, at);
  const end = at + GROUP_HEADER_BYTES + payloadBytes;
  if (end > bytes.length || crc32(bytes.subarray(at + 12, end), seed) !== groupCrc(bytes, at)) return null;
  return {
    payloadBytes,
    groupNumber: bytes.readUInt32LE(at + 20),
    previousCrc: bytes.readUInt32LE(at + 12),
    syncedTo: bytes.readUIntLE(at + 24, 6),
    flags: bytes.readUInt32LE(at + 32),
  };
}

/** `bytes`, rounded up to a multiple of `alignmentBytes` (a power of two). */
export function alignUp(bytes: number, alignmentBytes: number): number {
  return Math.ceil(bytes / alignmentBytes) * alignmentBytes;
}

/** What a group without frames takes up; every segment has room for one behind its last group. */
export function markBytes(alignmentBytes: number): number {
  return alignUp(GROUP_HEADER_BYTES, alignmentBytes);
}

/** Name of a segment's file: 16 digits. */
export function segmentName(number: number): string {
  return `${String(number).padStart(16, "0")}.seg`;
}

/** The number that a file's name stands for; null for other files. */
export function segmentNumber(name: string): number | null {
  const number = /^\d{16}\.seg$/.test(name) ? Number(name.slice(0, 16)) : 0;
  return number > 0 && Number.isSafeInteger(number) ? number : null;
}

/** The number of a file that waits for its use as a segment; null for other files. Readers pass it over. */
export function freeNumber(name: string): number | null {
  const match = /^free-(\d{1,9})\.seg$/.exec(name);
  return match === null ? null : Number(match[1]);
}

export function freeName(number: number): string {
  return `free-${number}.seg`;
}
