import type { ByteDecoder, ByteEncoder } from "../storage/byte_codec.ts";
import { CodecError } from "../storage/byte_codec.ts";
import { type FileRecord, isFileRecord } from "./position_file.ts";

/**
 * Frames of the journal that tell positions (the others are in `journal/frames.ts`):
 *
 *     SINK      number varint | name text
 *     STREAM    number varint | seen, ms since the epoch varint | file record, JSON text
 *     FORGET    number varint                                      the stream and all positions in it are forgotten
 *     POSITION  stream varint | sink varint | ledger (ledger_snapshot.ts)     replaces what was known
 *     NO_SINK   number varint                                      the sink and its positions are forgotten
 *     BUFFERED  stream varint, of a disk buffer | event varint     positions tell of all events in front of it what they were made from
 */
export const PositionFrame = {
  SINK: 2,
  STREAM: 4,
  FORGET: 5,
  POSITION: 6,
  NO_SINK: 9,
  BUFFERED: 11,
} as const;

export interface StoredStreamFrame {
  readonly number: number;
  readonly seenMs: number;
  readonly record: FileRecord;
}

export function writeStreamFrame(out: ByteEncoder, { number, seenMs, record }: StoredStreamFrame): void {
  out.varint(number).varint(Math.max(0, Math.trunc(seenMs))).text(JSON.stringify(record));
}

/** Throws `CodecError`. */
export function readStreamFrame(input: ByteDecoder): StoredStreamFrame {
  const number = input.varint();
  const seenMs = input.varint();
  let record: unknown;
  try {
    record = JSON.parse(input.text());
  } catch {
    throw new CodecError("A stream's record is not JSON");
  }
  if (!isFileRecord(record)) throw new CodecError("A stream's record is incomplete");
  return { number, seenMs, record };
}
