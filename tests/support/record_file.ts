import { closeSync, openSync, readSync } from "node:fs";

/** A record as the broker holds it. */
export interface TopicRecord {
  readonly partition: number;
  readonly offset: number;
  readonly timestampMs: number;
  readonly timestampType: "none" | "create" | "append";
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly (readonly [string, Buffer | null])[];
}

const READ_BYTES = 4 << 20;
const FIXED_BYTES = 4 + 8 + 8 + 1;
const TIMESTAMP_TYPES = { [-1]: "none", 0: "create", 1: "append" } as const;

/**
 * Calls `visit` for each record of a file that reader/TopicReads.java wrote, with constant memory. Key, value and headers point into a
 * buffer that is reused: copy what is kept. Returns the number of records; throws when the file ends within one.
 */
export function scanRecordFile(path: string, visit: (record: TopicRecord) => void): number {
  const file = openSync(path, "r");
  try {
    let buffer = Buffer.allocUnsafe(READ_BYTES);
    let length = 0;
    let count = 0;
    for (;;) {
      if (length === buffer.length) buffer = Buffer.concat([buffer], buffer.length * 2); // a record larger than the buffer
      const readBytes = readSync(file, buffer, length, buffer.length - length, null);
      length += readBytes;
      const cursor = { data: buffer, at: 0, end: length };
      let done = 0;
      for (let record = next(cursor); record !== null; record = next(cursor)) {
        visit(record);
        done = cursor.at;
        count++;
      }
      buffer.copyWithin(0, done, length);
      length -= done;
      if (readBytes > 0) continue;
      if (length > 0) throw new Error(`"${path}" ends within a record`);
      return count;
    }
  } finally {
    closeSync(file);
  }
}

/** A copy of a record that may be kept. */
export function keepRecord(record: TopicRecord): TopicRecord {
  return {
    ...record,
    key: copyOf(record.key),
    value: copyOf(record.value),
    headers: record.headers.map(([name, value]) => [name, copyOf(value)] as const),
  };
}

function copyOf(bytes: Buffer | null): Buffer | null {
  return bytes === null ? null : Buffer.from(bytes);
}

interface Cursor {
  readonly data: Buffer;
  at: number;
  readonly end: number;
}

const INCOMPLETE = Symbol("incomplete");

/** The record at the cursor, or null when the rest of it is not there yet. */
function next(cursor: Cursor): TopicRecord | null {
  const { data } = cursor;
  const start = cursor.at;
  if (cursor.end - start < FIXED_BYTES) return null;
  cursor.at += FIXED_BYTES;
  const key = nextBytes(cursor);
  const value = key === INCOMPLETE ? INCOMPLETE : nextBytes(cursor);
  if (key === INCOMPLETE || value === INCOMPLETE || cursor.end - cursor.at < 4) return null;
  const headerCount = data.readInt32BE(cursor.at);
  cursor.at += 4;
  const headers: [string, Buffer | null][] = [];
  for (let i = 0; i < headerCount; i++) {
    const name = nextBytes(cursor);
    const header = name === INCOMPLETE ? INCOMPLETE : nextBytes(cursor);
    if (name === INCOMPLETE || header === INCOMPLETE) return null;
    headers.push([String(name), header]);
  }
  return {
    partition: data.readInt32BE(start),
    offset: readInt64(data, start + 4),
    timestampMs: readInt64(data, start + 12),
    timestampType: TIMESTAMP_TYPES[data.readInt8(start + 20) as -1 | 0 | 1],
    key,
    value,
    headers,
  };
}

function nextBytes(cursor: Cursor): Buffer | null | typeof INCOMPLETE {
  if (cursor.end - cursor.at < 4) return INCOMPLETE;
  const length = cursor.data.readInt32BE(cursor.at);
  if (length < 0) {
    cursor.at += 4;
    return null;
  }
  if (cursor.end - cursor.at - 4 < length) return INCOMPLETE;
  const start = cursor.at + 4;
  cursor.at = start + length;
  return cursor.data.subarray(start, cursor.at);
}

/** Offsets and times of tests are far below 2^53. */
function readInt64(data: Buffer, at: number): number {
  return data.readInt32BE(at) * 0x1_0000_0000 + data.readUInt32BE(at + 4);
}
