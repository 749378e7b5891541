import { crc32 } from "node:zlib";
import type { RegionInfo } from "../checkpoint/region.ts";
import type { ByteColumn, EventBatch } from "../event/event_batch.ts";
import type { BufferPool, PooledBuffer } from "../event/pooled_buffer.ts";
import { type PooledTimes, takeNumbers, takeTimes } from "../event/pooled_numbers.ts";
import { areHeaders } from "../event/record_headers.ts";
import type { Stream } from "../event/stream.ts";
import { ByteDecoder, CodecError } from "../storage/byte_codec.ts";
import {
  ABSENT,
  BUFFER_ID_BYTES,
  columnBytes,
  ENDS_INSIDE,
  FIXED_BYTES,
  fixedBytes,
  HEADERS,
  KEYS,
  LINES,
  ONE_HEADERS,
  PARTITIONS,
  RAW_ENDS,
  STARTS,
  STARTS_INSIDE,
  TIMES,
  TIMES_OF_READING,
  TOPICS,
  TRACKED,
} from "./events_frame.ts";

/** Where the events of a stored frame came from. */
export interface StoredOrigin extends RegionInfo {
  readonly stream: Stream;
  readonly topics: readonly string[];
  /** The stream can be read again. */
  readonly isTracked: boolean;
}

/** A frame EVENTS as it was found, not decoded yet. */
export interface StoredEvents {
  /** The window that it was found in; the payload is `data[start .. end)`. */
  readonly data: Buffer;
  readonly start: number;
  readonly end: number;
  readonly firstEvent: number;
  readonly count: number;
}

/** Reads a frame's numbers. Throws `CodecError` when it is none of this buffer, or not what is written here. */
export function readStoredEvents(
  data: Buffer,
  start: number,
  end: number,
  bufferId: Buffer | null,
): StoredEvents {
  if (end - start < FIXED_BYTES) throw new CodecError("A frame of events is too short");
  if (bufferId !== null && bufferId.compare(data, start, start + BUFFER_ID_BYTES) !== 0) {
    throw new CodecError("A frame of events belongs to another buffer");
  }
  const count = data.readUInt32LE(start + 16);
  const flags = data.readUInt32LE(start + 20);
  if (end - start < fixedBytes(flags)) throw new CodecError("A frame of events is too short");
  const sizeBytes = fixedBytes(flags) + data.readUInt32LE(start + 56) + data.readUInt32LE(start + 60) +
    data.readUInt32LE(start + 64) + headerBytesOf(data, start) + columnBytes(flags) * count;
  if (sizeBytes !== end - start || count === 0) throw new CodecError("A frame of events has another size");
  return { data, start, end, firstEvent: data.readUIntLE(start + 8, 6), count };
}

function textsAt(data: Buffer, start: number): number {
  return start + fixedBytes(data.readUInt32LE(start + 20));
}

function headerBytesOf(data: Buffer, start: number): number {
  return textsAt(data, start) === start + FIXED_BYTES ? 0 : data.readUInt32LE(start + FIXED_BYTES);
}

/** The id of the buffer that a frame belongs to. */
export function bufferIdOf({ data, start }: StoredEvents): Buffer {
  return Buffer.from(data.subarray(start, start + BUFFER_ID_BYTES));
}

/** CRC-32 of the frame's payload, by which intents name it. */
export function checksumOf({ data, start, end }: StoredEvents): number {
  return crc32(data.subarray(start, end));
}

/** When the frame's events were read, milliseconds since the epoch. */
export function receivedMsOf({ data, start }: StoredEvents): number {
  return data.readUIntLE(start + 24, 6);
}

export function originOf({ data, start }: StoredEvents): StoredOrigin {
  const flags = data.readUInt32LE(start + 20);
  const from = textsAt(data, start);
  const input = new ByteDecoder(data.subarray(from, from + data.readUInt32LE(start + 56)));
  const source = input.text();
  const sourceType = input.text() === "stdin" ? "stdin" : "file";
  const stream: Stream = { source, sourceType, id: input.text(), path: input.text() };
  const topics: string[] = [];
  for (let left = input.varint(); left > 0; left--) topics.push(input.text());
  return {
    stream,
    topics,
    startOffset: data.readUIntLE(start + 32, 6),
    endOffset: data.readUIntLE(start + 40, 6),
    crc32: data.readUInt32LE(start + 48),
    lineCount: data.readUInt32LE(start + 52),
    startsInsideCutLine: (flags & STARTS_INSIDE) !== 0,
    endsInsideCutLine: (flags & ENDS_INSIDE) !== 0,
    isTracked: (flags & TRACKED) !== 0,
  };
}

/** The lines of its region that a frame holds: pairs of (lines skipped, lines meant). */
export function lineRunsOf({ data, start, count }: StoredEvents): number[] {
  const flags = data.readUInt32LE(start + 20);
  if ((flags & LINES) === 0) return [0, count];
  let at = textsAt(data, start) + data.readUInt32LE(start + 56) + 4 * count;
  if ((flags & STARTS) !== 0) at += 4 * count;
  if ((flags & RAW_ENDS) !== 0) at += 4 * count;
  const runs: number[] = [];
  let next = 0;
  for (let i = 0; i < count;) {
    const line = data.readUInt32LE(at + 4 * i);
    let run = 1;
    while (i + run < count && data.readUInt32LE(at + 4 * (i + run)) === line + run) run++;
    runs.push(line - next, run);
    next = line + run;
    i += run;
  }
  return runs;
}

/**
 * The events of a frame as a batch. Values, keys and headers stay where they are, in the window: `owner` is retained for them. `stream` names them in
 * messages. `kept`: indexes of the events to take; null: all.
 */
export function decodeEvents(
  stored: StoredEvents,
  origin: StoredOrigin,
  stream: Stream,
  owner: PooledBuffer,
  pool: BufferPool,
  kept: Uint32Array | null = null,
): EventBatch {
  const { data, start, count: storedCount } = stored;
  const flags = data.readUInt32LE(start + 20);
  const gapBytes = data.readUInt32LE(start + 68);
  const valueBytes = data.readUInt32LE(start + 60);
  const keyBytes = data.readUInt32LE(start + 64);
  const headerBytes = headerBytesOf(data, start);
  const valuesAt = stored.end - valueBytes;
  const headersAt = valuesAt - headerBytes;
  const keysAt = headersAt - keyBytes;
  const columns = new Columns(stored, textsAt(data, start) + data.readUInt32LE(start + 56));
  const owners: PooledBuffer[] = [owner];
  const take = (count: number) => {
    const { numbers, owner: memory } = takeNumbers(pool, count);
    if (memory !== null) owners.push(memory);
    return numbers;
  };
  const ends = columns.next(take(storedCount));
  const starts = take(storedCount);
  if ((flags & STARTS) !== 0) columns.next(starts);
  else for (let i = 0; i < storedCount; i++) starts[i] = i === 0 ? 0 : ends[i - 1]! + gapBytes;
  const raw = takeNumbers(pool, storedCount);
  if ((flags & RAW_ENDS) !== 0) columns.next(raw.numbers);
  else for (let i = 0; i < storedCount; i++) raw.numbers[i] = ends[i]! + gapBytes;
  checkColumn(starts, ends, valueBytes);
  for (let i = 0; i < storedCount; i++) {
    starts[i] = starts[i]! + valuesAt;
    ends[i] = ends[i]! + valuesAt;
  }
  if ((flags & LINES) !== 0) columns.skip(4);
  const topicIndexes = (flags & TOPICS) === 0 ? null : columns.nextTopics(origin.topics.length);
  const keys = (flags & KEYS) === 0
    ? null
    : packedColumn(data, columns.next(take(storedCount)), keysAt, keyBytes, take);
  const headers = headerColumn(stored, columns, headersAt, headerBytes, take);
  const partitions = (flags & PARTITIONS) === 0 ? null : columns.next(take(storedCount));
  const times = timesOf(stored, columns, pool);
  if (times !== null && times.owner !== null) owners.push(times.owner);
  const rawStarts = kept?.map((event) => event === 0 ? 0 : raw.numbers[event - 1]!) ?? null;
  if (kept !== null) {
    for (const column of [starts, ends, raw.numbers]) keep(column, kept);
    if (topicIndexes !== null) keep(topicIndexes, kept);
    if (partitions !== null) keep(partitions, kept);
    if (times !== null) keep(times.times, kept);
    for (const packed of [keys, headers]) {
      if (packed !== null) { for (const column of [packed.starts, packed.ends]) keep(column, kept); }
    }
  }
  owner.retain();
  return {
    count: kept === null ? storedCount : kept.length,
    values: { data, starts, ends },
    keys,
    headers,
    partitions,
    timestamps: times?.times ?? null,
    topics: origin.topics,
    topicIndexes,
    receivedMs: receivedMsOf(stored),
    origin: { stream, startOffset: origin.startOffset, endOffset: origin.endOffset },
    rawEnds: raw.numbers,
    rawStarts,
    rawEndsOwner: raw.owner,
    lineNumbers: kept,
    byteSize: valueBytes + keyBytes,
    pinnedBytes: stored.end - stored.start,
    owners,
  };
}

/** Reads the columns one after the other. */
class Columns {
  readonly #data: Buffer;
  readonly #count: number;
  #at: number;

  constructor({ data, count }: StoredEvents, at: number) {
    this.#data = data;
    this.#count = count;
    this.#at = at;
  }

  next(target: Uint32Array): Uint32Array {
    const bytes = new Uint8Array(target.buffer, target.byteOffset, this.#count * 4);
    bytes.set(this.#data.subarray(this.#at, this.#at + bytes.length));
    this.#at += bytes.length;
    return target;
  }

  nextTimes(target: Float64Array): Float64Array {
    for (let i = 0; i < this.#count; i++, this.#at += 8) target[i] = this.#data.readUIntLE(this.#at, 6);
    return target;
  }

  skip(bytesEach: number): void {
    this.#at += bytesEach * this.#count;
  }

  nextTopics(topicCount: number): Uint16Array {
    const target = new Uint16Array(this.#count);
    for (let i = 0; i < this.#count; i++, this.#at += 2) {
      target[i] = this.#data.readUInt16LE(this.#at);
      if (target[i]! >= topicCount) throw new CodecError("An event has a topic that its frame does not name");
    }
    return target;
  }
}

/** Bytes of events that lie one behind the other from `at` on; `ends` are counted from there. */
function packedColumn(
  data: Buffer,
  ends: Uint32Array,
  at: number,
  sizeBytes: number,
  take: (count: number) => Uint32Array,
): ByteColumn {
  const starts = take(ends.length);
  let end = 0;
  for (let i = 0; i < ends.length; i++) {
    const isAbsent = ends[i]! >= ABSENT;
    const next = isAbsent ? ends[i]! - ABSENT : ends[i]!;
    if (next < end || next > sizeBytes || (isAbsent && next !== end)) throw contradiction();
    starts[i] = at + (isAbsent ? next + 1 : end);
    ends[i] = at + next;
    end = next;
  }
  return { data, starts, ends };
}

function timesOf(stored: StoredEvents, columns: Columns, pool: BufferPool): PooledTimes | null {
  const flags = stored.data.readUInt32LE(stored.start + 20);
  if ((flags & (TIMES | TIMES_OF_READING)) === 0) return null;
  const taken = takeTimes(pool, stored.count);
  if ((flags & TIMES) !== 0) columns.nextTimes(taken.times);
  else taken.times.fill(receivedMsOf(stored));
  return taken;
}

/** The headers from `at` on; null: there are none. */
function headerColumn(
  { data, start, count }: StoredEvents,
  columns: Columns,
  at: number,
  sizeBytes: number,
  take: (count: number) => Uint32Array,
): ByteColumn | null {
  const flags = data.readUInt32LE(start + 20);
  if ((flags & HEADERS) !== 0) {
    const headers = packedColumn(data, columns.next(take(count)), at, sizeBytes, take);
    checkHeaders(headers, count);
    return headers;
  }
  if ((flags & ONE_HEADERS) === 0) return null;
  const headers = { data, starts: take(count).fill(at), ends: take(count).fill(at + sizeBytes) };
  checkHeaders(headers, 1);
  return headers;
}

/** They are copied into records as they are, so that they must be nothing but headers. */
function checkHeaders({ data, starts, ends }: ByteColumn, count: number): void {
  for (let i = 0; i < count; i++) {
    if (!areHeaders(data, starts[i]!, ends[i]!)) {
      throw new CodecError("A frame of events has headers that nobody writes");
    }
  }
}

/** Wrong numbers must never make a record of other bytes. */
function checkColumn(starts: Uint32Array, ends: Uint32Array, sizeBytes: number): void {
  for (let i = 0; i < ends.length; i++) {
    if (starts[i]! > ends[i]! || ends[i]! > sizeBytes) {
      throw contradiction();
    }
  }
}

function contradiction(): CodecError {
  return new CodecError("A frame of events contradicts itself");
}

function keep(column: Uint32Array | Uint16Array | Float64Array, kept: Uint32Array): void {
  for (let i = 0; i < kept.length; i++) column[i] = column[kept[i]!]!;
}
