import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";

/**
 * The bytes of files that have no name any more, and that a sink still needs: `data_dir/rescue`. Two files for each stream, named by a hash of
 * source and stream id:
 *
 *     KEY.data    the bytes, at the offsets that they had in their file; in front of them a hole
 *     KEY.index   lines of text, the first one the header, then a line for each piece, in order and without a gap:
 *
 *         CRC {"version":1,"source":"app","id":"65024:246947:1795260367005451003","startOffset":917504}
 *         CRC {"endOffset":1966080,"crc32":2783423411,"isAtEnd":false}
 *         CRC {"endOffset":2000113,"crc32":413923012,"isAtEnd":true}
 *
 * CRC is that of the JSON text, in eight hexadecimal digits. A line is written after its piece and counts when both are synced. Reading ends in
 * front of the first line that is torn or whose piece has another checksum, so that bytes which were not written whole are never sent.
 */
export const RESCUE_FOLDER = "rescue";
export const RESCUE_VERSION = 1;
export const INDEX_SUFFIX = ".index";
export const DATA_SUFFIX = ".data";
const KEY_HEX_CHARS = 32;
const CRC_HEX_CHARS = 8;

export interface RescueHeader {
  readonly source: string;
  /** Of the stream. */
  readonly id: string;
  readonly startOffset: number;
}

/** Starts where the one before it ends. */
export interface RescuePiece {
  readonly endOffset: number;
  readonly crc32: number;
  /** The file ended there when it was copied. */
  readonly isAtEnd: boolean;
}

export interface RescueIndex {
  readonly header: RescueHeader;
  readonly pieces: readonly RescuePiece[];
  /** Length of what is whole, in bytes. */
  readonly sizeBytes: number;
}

/** Names the files of a stream's copy. */
export function rescueKey(source: string, id: string): string {
  return createHash("sha256").update(`${source}\u0000${id}`).digest("hex").slice(0, KEY_HEX_CHARS);
}

export function headerLine({ source, id, startOffset }: RescueHeader): string {
  return line({ version: RESCUE_VERSION, source, id, startOffset });
}

export function pieceLine({ endOffset, crc32, isAtEnd }: RescuePiece): string {
  return line({ endOffset, crc32, isAtEnd });
}

/** What of an index is whole; null when not even its header is, or when a newer shipper wrote it. */
export function parseIndex(text: string): RescueIndex | null {
  let header: RescueHeader | null = null;
  const pieces: RescuePiece[] = [];
  let from = 0;
  let end = 0;
  for (;;) {
    const to = text.indexOf("\n", from);
    if (to === -1) break;
    const value = parseLine(text.slice(from, to));
    if (header === null) {
      header = asHeader(value);
      if (header === null) return null;
      end = header.startOffset;
    } else {
      const piece = asPiece(value);
      if (piece === null || piece.endOffset <= end) break;
      pieces.push(piece);
      end = piece.endOffset;
    }
    from = to + 1;
  }
  return header === null ? null : { header, pieces, sizeBytes: Buffer.byteLength(text.slice(0, from)) };
}

/** A newer shipper wrote it: nobody here knows what it holds. */
export function isOfNewer(text: string): boolean {
  const { version } = parseLine(text.slice(0, Math.max(0, text.indexOf("\n"))));
  return typeof version === "number" && version > RESCUE_VERSION;
}

function line(value: object): string {
  const json = JSON.stringify(value);
  return `${crc32(json).toString(16).padStart(CRC_HEX_CHARS, "0")} ${json}\n`;
}

function parseLine(text: string): Record<string, unknown> {
  const json = text.slice(CRC_HEX_CHARS + 1);
  if (text.slice(0, CRC_HEX_CHARS) !== crc32(json).toString(16).padStart(CRC_HEX_CHARS, "0")) return {};
  try {
    return Object(JSON.parse(json)) as Record<string, unknown>;
  } catch {
    return {}; // no line of ours
  }
}

function asHeader({ version, source, id, startOffset }: Record<string, unknown>): RescueHeader | null {
  if (version !== RESCUE_VERSION || typeof source !== "string" || typeof id !== "string") return null;
  return isCount(startOffset) ? { source, id, startOffset } : null;
}

function asPiece({ endOffset, crc32, isAtEnd }: Record<string, unknown>): RescuePiece | null {
  if (!isCount(endOffset) || !isCount(crc32) || typeof isAtEnd !== "boolean") return null;
  return { endOffset, crc32, isAtEnd };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
