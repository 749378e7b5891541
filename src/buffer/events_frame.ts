import type { ByteColumn, EventBatch } from "../event/event_batch.ts";
import type { TrackedRegion } from "../event/tracked_region.ts";
import { ByteEncoder } from "../storage/byte_codec.ts";

/*
 * A frame EVENTS of the disk buffer: the events that were shaped from one piece of a stream, and where they came from. docs/storage_format.md
 * says the same for somebody who writes another reader. Little-endian; a "u48" takes eight bytes, the upper two zero.
 *
 *    0  8 bytes of buffer id            8  u48  number of the first event
 *   16  u32  events                    20  u32  flags, see below
 *   24  u48  time of reading, ms       32  u48  start of the region in its stream     40  u48  its end
 *   48  u32  CRC-32 of its bytes       52  u32  its lines
 *   56  u32  bytes of texts            60  u32  bytes of values       64  u32  bytes of keys
 *   68  u32  bytes between a value and the next, where all have the same
 *   72  u32  bytes of headers, with flag HEADERS or ONE_HEADERS; else the texts start here
 *       texts: source, "file" or "stdin", stream id, path; varint topics, each a text (byte_codec.ts)
 *       u32 * events   ends of values, in the values
 *       u32 * events   their starts                               flag STARTS; else the end before, and what is between
 *       u32 * events   raw ends: of each event's bytes in the stream, from the region's start
 *                                                                flag RAW_ENDS; else the value's end, and what is between
 *       u32 * events   number of the line in the region           flag LINES; else 0, 1, 2 ...
 *       u16 * events   index of the topic                         flag TOPICS; else 0
 *       u32 * events   ends of keys, in the keys                  flag KEYS; else there are none. + ABSENT: the event has none
 *       u32 * events   ends of headers, in the headers            flag HEADERS; with ONE_HEADERS all have the same, else there are none
 *       u32 * events   number of the partition that is wanted     flag PARTITIONS; else none is
 *       u48 * events   the event's time, ms                       flag TIMES; with TIMES_OF_READING all have the time of reading, else none
 *       keys | headers (src/event/record_headers.ts) | values
 *
 * HEADERS, ONE_HEADERS, PARTITIONS, TIMES, TIMES_OF_READING and ABSENT came with version 2 of the format; everything else is as it was in version 1.
 */
export const KEYS = 1;
export const TOPICS = 2;
export const LINES = 4;
export const RAW_ENDS = 8;
export const STARTS = 16;
export const STARTS_INSIDE = 32;
export const ENDS_INSIDE = 64;
/** The stream can be read again, and its position follows from this frame. */
export const TRACKED = 128;
export const HEADERS = 256;
export const ONE_HEADERS = 512;
export const PARTITIONS = 1024;
export const TIMES = 2048;
export const TIMES_OF_READING = 4096;
/** Added to the end of a key: no column is so long. */
export const ABSENT = 0x80000000;

export const BUFFER_ID_BYTES = 8;
/** In front of the texts; with headers there are `HEADER_SIZE_BYTES` more. */
export const FIXED_BYTES = 72;
const HEADER_SIZE_BYTES = 4;

/** How the values of a batch lie: as they are, or packed. */
interface ValueLayout {
  /** Copied in one piece from here to there; -1: one by one. */
  readonly from: number;
  readonly to: number;
  readonly bytes: number;
  readonly gapBytes: number;
  readonly hasStarts: boolean;
}

/** A batch that is about to be stored, measured. */
export interface EventsFrame {
  readonly batch: EventBatch;
  readonly region: TrackedRegion;
  readonly sizeBytes: number;
  readonly values: ValueLayout;
  readonly flags: number;
  readonly texts: Buffer;
  readonly keyBytes: number;
  readonly headerBytes: number;
}

const textsOut = new ByteEncoder();

/** Measures a batch of at least one event; nothing is copied but its names. */
export function measureEvents(batch: EventBatch, region: TrackedRegion): EventsFrame {
  const { count, keys, headers, topics, topicIndexes, lineNumbers, rawEnds } = batch;
  const values = layoutOf(batch);
  const keyBytes = keys === null ? 0 : bytesOf(keys, count);
  const headerFlag = headersFlag(headers, count);
  const headerBytes = headerFlag === 0 ? 0 : bytesOf(headers!, headerFlag === ONE_HEADERS ? 1 : count);
  const { source, sourceType, id, path } = region.stream;
  textsOut.reset().text(source).text(sourceType).text(id).text(path).varint(topics.length);
  for (const topic of topics) textsOut.text(topic);
  const texts = Buffer.from(textsOut.bytes());
  const flags = (keys === null ? 0 : KEYS) | (topicIndexes === null ? 0 : TOPICS) |
    (lineNumbers === null ? 0 : LINES) | (values.hasStarts ? STARTS : 0) |
    (isRawLikeValues(batch, values, rawEnds) ? 0 : RAW_ENDS) |
    (region.startsInsideCutLine ? STARTS_INSIDE : 0) | (region.endsInsideCutLine ? ENDS_INSIDE : 0) |
    (region.streamNumber === 0 ? 0 : TRACKED) | headerFlag | (batch.partitions === null ? 0 : PARTITIONS) |
    timesFlag(batch);
  const sizeBytes = fixedBytes(flags) + texts.length + columnBytes(flags) * count + keyBytes + headerBytes +
    values.bytes;
  return { batch, region, sizeBytes, values, flags, texts, keyBytes, headerBytes };
}

/** Writes the frame's payload, `sizeBytes` long, at `at`. */
export function writeEvents(
  { batch, region, values, flags, texts, keyBytes, headerBytes }: EventsFrame,
  bufferId: Buffer,
  firstEvent: number,
  target: Buffer,
  at: number,
): void {
  const { count } = batch;
  bufferId.copy(target, at);
  putU48(target, firstEvent, at + 8);
  target.writeUInt32LE(count, at + 16);
  target.writeUInt32LE(flags, at + 20);
  putU48(target, Math.max(0, Math.trunc(batch.receivedMs)), at + 24);
  putU48(target, region.startOffset, at + 32);
  putU48(target, region.endOffset, at + 40);
  target.writeUInt32LE(region.crc32, at + 48);
  target.writeUInt32LE(region.lineCount, at + 52);
  target.writeUInt32LE(texts.length, at + 56);
  target.writeUInt32LE(values.bytes, at + 60);
  target.writeUInt32LE(keyBytes, at + 64);
  target.writeUInt32LE(values.gapBytes, at + 68);
  let to = at + fixedBytes(flags);
  if (to > at + FIXED_BYTES) target.writeUInt32LE(headerBytes, at + FIXED_BYTES);
  to += texts.copy(target, to);
  to = putValueEnds(batch, values, target, to);
  if ((flags & RAW_ENDS) !== 0) to = putNumbers(batch.rawEnds, count, target, to);
  if ((flags & LINES) !== 0) to = putNumbers(batch.lineNumbers!, count, target, to);
  if ((flags & TOPICS) !== 0) {
    for (let i = 0; i < count; i++, to += 2) target.writeUInt16LE(batch.topicIndexes![i]!, to);
  }
  if ((flags & KEYS) !== 0) to = putEnds(batch.keys!, count, target, to);
  if ((flags & HEADERS) !== 0) to = putEnds(batch.headers!, count, target, to);
  if ((flags & PARTITIONS) !== 0) to = putNumbers(batch.partitions!, count, target, to);
  if ((flags & TIMES) !== 0) {
    for (let i = 0; i < count; i++, to += 8) putU48(target, batch.timestamps![i]!, to);
  }
  if ((flags & KEYS) !== 0) to = putBytes(batch.keys!, count, target, to);
  if ((flags & HEADERS) !== 0) to = putBytes(batch.headers!, count, target, to);
  else if ((flags & ONE_HEADERS) !== 0) to = putBytes(batch.headers!, 1, target, to);
  putValues(batch, values, target, to);
}

function layoutOf({ values: { starts, ends }, count }: EventBatch): ValueLayout {
  const from = starts[0]!;
  const to = ends[count - 1]!;
  const gapBytes = count > 1 ? starts[1]! - ends[0]! : 0;
  let bytes = ends[0]! - from;
  let isInOrder = gapBytes >= 0;
  let isEven = true;
  for (let i = 1; i < count; i++) {
    const start = starts[i]!;
    const gap = start - ends[i - 1]!;
    if (gap !== gapBytes) isEven = false;
    if (gap < 0) isInOrder = false;
    bytes += ends[i]! - start;
  }
  // What lies between the values (newlines, as a rule) costs less than a copy for each of them.
  if (isInOrder && isEven) return { from, to, bytes: to - from, gapBytes, hasStarts: false };
  if (isInOrder && to - from <= bytes + bytes / 4) {
    return { from, to, bytes: to - from, gapBytes: 0, hasStarts: true };
  }
  return { from: -1, to: -1, bytes, gapBytes: 0, hasStarts: false };
}

function isRawLikeValues({ values, count }: EventBatch, layout: ValueLayout, rawEnds: Uint32Array): boolean {
  const { from, gapBytes, hasStarts } = layout;
  if (from < 0 || hasStarts) return false;
  for (let i = 0; i < count; i++) if (rawEnds[i] !== values.ends[i]! - from + gapBytes) return false;
  return true;
}

/** In front of the texts. */
export function fixedBytes(flags: number): number {
  return (flags & (HEADERS | ONE_HEADERS)) === 0 ? FIXED_BYTES : FIXED_BYTES + HEADER_SIZE_BYTES;
}

/** Bytes of an event in the columns. */
export function columnBytes(flags: number): number {
  return 4 + ((flags & TIMES) !== 0 ? 8 : 0) + ((flags & HEADERS) !== 0 ? 4 : 0) +
    ((flags & PARTITIONS) !== 0 ? 4 : 0) +
    ((flags & STARTS) !== 0 ? 4 : 0) +
    ((flags & RAW_ENDS) !== 0 ? 4 : 0) +
    ((flags & LINES) !== 0 ? 4 : 0) + ((flags & TOPICS) !== 0 ? 2 : 0) + ((flags & KEYS) !== 0 ? 4 : 0);
}

function putU48(target: Buffer, value: number, at: number): void {
  target.writeUIntLE(value, at, 6);
  target.writeUInt16LE(0, at + 6);
}

function putNumbers(numbers: Uint32Array, count: number, target: Buffer, at: number): number {
  target.set(new Uint8Array(numbers.buffer, numbers.byteOffset, count * 4), at);
  return at + count * 4;
}

/** Numbers that are copied out at once. */
let scratchNumbers = new Uint32Array(16_384);

function scratch(count: number): Uint32Array {
  if (count > scratchNumbers.length) scratchNumbers = new Uint32Array(2 * count);
  return scratchNumbers;
}

/** Ends, and starts where they are told. */
function putValueEnds(
  { values, count }: EventBatch,
  layout: ValueLayout,
  target: Buffer,
  at: number,
): number {
  const { starts, ends } = values;
  const view = scratch(count);
  if (layout.from >= 0) { for (let i = 0; i < count; i++) view[i] = ends[i]! - layout.from; }
  else {
    for (let i = 0, end = 0; i < count; i++) {
      end += ends[i]! - starts[i]!;
      view[i] = end;
    }
  }
  let to = putNumbers(view, count, target, at);
  if (!layout.hasStarts) return to;
  for (let i = 0; i < count; i++) view[i] = starts[i]! - layout.from;
  to = putNumbers(view, count, target, to);
  return to;
}

function bytesOf({ starts, ends }: ByteColumn, count: number): number {
  let bytes = 0;
  for (let i = 0; i < count; i++) bytes += Math.max(0, ends[i]! - starts[i]!);
  return bytes;
}

/** Headers that are the same bytes for all events, as where they come from the configuration or the file alone, are stored once. */
function headersFlag(headers: ByteColumn | null, count: number): number {
  if (headers === null) return 0;
  const { starts, ends } = headers;
  for (let i = 1; i < count; i++) if (starts[i] !== starts[0] || ends[i] !== ends[0]) return HEADERS;
  return ends[0] === starts[0] ? 0 : ONE_HEADERS;
}

/** Lines of text have the time of reading, which is stored anyway. */
function timesFlag({ timestamps, receivedMs, count }: EventBatch): number {
  if (timestamps === null) return 0;
  const sameMs = Math.max(0, Math.trunc(receivedMs));
  for (let i = 0; i < count; i++) if (timestamps[i] !== sameMs) return TIMES;
  return TIMES_OF_READING;
}

/** Where each event's bytes end when they lie one behind the other. */
function putEnds({ starts, ends }: ByteColumn, count: number, target: Buffer, at: number): number {
  for (let i = 0, end = 0; i < count; i++) {
    const bytes = ends[i]! - starts[i]!;
    if (bytes > 0) end += bytes;
    target.writeUInt32LE(bytes < 0 ? end + ABSENT : end, at + 4 * i);
  }
  return at + 4 * count;
}

function putBytes({ data, starts, ends }: ByteColumn, count: number, target: Buffer, at: number): number {
  for (let i = 0; i < count; i++) {
    if (starts[i]! < ends[i]!) at += data.copy(target, at, starts[i]!, ends[i]!);
  }
  return at;
}

function putValues(
  { values, count }: EventBatch,
  { from, to }: ValueLayout,
  target: Buffer,
  at: number,
): void {
  const { data, starts, ends } = values;
  if (from >= 0) return void data.copy(target, at, from, to);
  for (let i = 0; i < count; i++) at += data.copy(target, at, starts[i]!, ends[i]!);
}
