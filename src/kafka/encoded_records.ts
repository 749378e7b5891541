import type { LetterHeader } from "../event/dead_letters.ts";
import { readVarint } from "../event/varint.ts";

/** A record of a batch, as it lies in its bytes: views. */
export interface EncodedRecord {
  readonly key: Buffer | null;
  readonly value: Buffer;
  readonly headers: readonly LetterHeader[];
  /** Attributes to the end of the key, without the length in front. */
  readonly front: Buffer;
  /** The headers with their count. */
  readonly back: Buffer;
}

/** The records of a batch that is not compressed, in order. They were written here: nothing is checked. */
export function encodedRecords(records: Buffer, count: number): EncodedRecord[] {
  const found: EncodedRecord[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    const body = readVarint(records, at);
    at = body.at + body.value;
    found.push(readRecord(records.subarray(body.at, at)));
  }
  return found;
}

function readRecord(body: Buffer): EncodedRecord {
  // Attributes, then the time and the offset, which nobody asks for.
  const key = readBytes(body, readVarint(body, readVarint(body, 1).at).at);
  const value = readBytes(body, key.end);
  const headers: LetterHeader[] = [];
  let { value: left, at } = readVarint(body, value.end);
  for (; left > 0; left--) {
    const name = readBytes(body, at);
    const bytes = readBytes(body, name.end);
    headers.push([String(name.bytes), bytes.bytes ?? Buffer.alloc(0)]);
    at = bytes.end;
  }
  return {
    key: key.bytes,
    value: value.bytes ?? Buffer.alloc(0),
    headers,
    front: body.subarray(0, key.end),
    back: body.subarray(value.end),
  };
}

function readBytes(source: Buffer, start: number): { bytes: Buffer | null; end: number } {
  const length = readVarint(source, start);
  if (length.value < 0) return { bytes: null, end: length.at };
  const end = length.at + length.value;
  return { bytes: source.subarray(length.at, end), end };
}
