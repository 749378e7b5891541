import { readVarint, varintBytes, writeVarint } from "./varint.ts";

/*
 * The headers of one event, as a record holds them (record batch format v2, KIP-82), so that they are encoded once and then only copied:
 *
 *     headersCount  varint
 *     for each:     nameLength varint | name, UTF-8 | valueLength varint | value
 *
 * An event without headers has no bytes here at all; its record gets the count 0. A name may be there twice, and their order is kept.
 */

/** Headers of one event: their count takes one byte, which can be filled in when they are all written. */
export const HEADERS_MAX = 63;

/** A name, and text that is written as UTF-8, or bytes as they are. */
export type RecordHeader = readonly [name: string, value: string | Uint8Array];

/** The headers of one event in memory of their own; for what is the same for many events, or happens rarely. Throws beyond `HEADERS_MAX`. */
export function encodeHeaders(headers: readonly RecordHeader[]): Buffer {
  if (headers.length === 0) return Buffer.alloc(0);
  if (headers.length > HEADERS_MAX) throw new RangeError(`Cannot give a record ${headers.length} headers`);
  return Buffer.concat([
    varint(headers.length),
    ...headers.flatMap(([name, value]) => [prefixed(Buffer.from(name)), prefixed(bytesOf(value))]),
  ]);
}

/** What `encodeHeaders` wrote, and every writer of a column of headers. */
export function decodeHeaders(bytes: Buffer): [name: string, value: Buffer][] {
  const headers: [string, Buffer][] = [];
  if (bytes.length === 0) return headers;
  const count = readVarint(bytes, 0);
  let at = count.at;
  const next = (): Buffer => {
    const length = readVarint(bytes, at);
    at = length.at + length.value;
    return bytes.subarray(length.at, at);
  };
  for (let left = count.value; left > 0; left--) headers.push([next().toString(), next()]);
  return headers;
}

/** Whether `data[start .. end)` is what a writer of headers writes: nothing, or headers that fill it exactly. */
export function areHeaders(data: Buffer, start: number, end: number): boolean {
  if (start === end) return true;
  // The count is even, by zigzag, and at most HEADERS_MAX.
  const count = data[start]!;
  if (count === 0 || count > 2 * HEADERS_MAX || (count & 1) !== 0) return false;
  let at = start + 1;
  for (let part = 0; part < count; part++) {
    let raw = 0;
    let scale = 1;
    let byte = 0x80;
    for (; byte >= 0x80; scale *= 128) {
      if (at >= end || scale > 2 ** 28) return false;
      byte = data[at++]!;
      raw += (byte & 0x7f) * scale;
    }
    if ((raw & 1) !== 0) return false;
    at += raw / 2;
  }
  return at === end;
}

/** `existing`, the encoded headers of an event, with more behind them, in memory of their own. Throws beyond `HEADERS_MAX`. */
export function appendHeaders(existing: Buffer, more: readonly RecordHeader[]): Buffer {
  if (existing.length === 0) return encodeHeaders(more);
  const { value: count, at } = readVarint(existing, 0);
  if (count + more.length > HEADERS_MAX) {
    throw new RangeError(`Cannot give a record ${count + more.length} headers`);
  }
  if (more.length === 0) return Buffer.from(existing);
  return Buffer.concat([varint(count + more.length), existing.subarray(at), encodeHeaders(more).subarray(1)]);
}

/** Bytes with their length in front. */
export function prefixed(bytes: Buffer): Buffer {
  return Buffer.concat([varint(bytes.length), bytes]);
}

function varint(value: number): Buffer {
  const target = Buffer.alloc(varintBytes(value));
  writeVarint(target, 0, value);
  return target;
}

function bytesOf(value: string | Uint8Array): Buffer {
  return typeof value === "string" ? Buffer.from(value) : Buffer.from(value);
}
