import zlib from "node:zlib";
import { varintBytes } from "../../event/varint.ts";
import { type ProducerNumbers, writeBatchHeader } from "../batch_header.ts";
import { crc32c } from "../crc32c.ts";
import { ProtocolError } from "../protocol/wire.ts";
import { BATCH_HEADER_BYTES } from "../record_batch.ts";
import type { PositionRecord } from "./position_records.ts";

/** A record batch (format v2, KIP-98) that was fetched. `batch_header.ts` has the drawing of its header. */
export interface FetchedBatch {
  readonly baseOffset: number;
  /** Offset behind its last record. */
  readonly endOffset: number;
  readonly isTransactional: boolean;
  /** A marker of a transaction: it holds no record of anybody. */
  readonly isControl: boolean;
  /** The int64 as 8 bytes, big endian: a view. */
  readonly producerId: Buffer;
  readonly bytes: Buffer;
}

const TRANSACTIONAL = 16;
const CONTROL = 32;
/** baseOffset and batchLength. */
const PREFIX_BYTES = 12;

/** Encodes records as one transactional batch, uncompressed. */
export function encodeTransactionalBatch(
  records: readonly PositionRecord[],
  producer: ProducerNumbers,
  timestampMs: number,
): Buffer {
  const bodies = records.map((record, index) => {
    const valueBytes = record.value?.length ?? -1;
    return 3 + varintBytes(index) + varintBytes(record.key.length) + record.key.length +
      (valueBytes < 0 ? 1 : varintBytes(valueBytes) + valueBytes);
  });
  const size = bodies.reduce((sum, body) => sum + varintBytes(body) + body, BATCH_HEADER_BYTES);
  const batch = Buffer.alloc(size);
  let at = BATCH_HEADER_BYTES;
  records.forEach(({ key, value }, index) => {
    at = writeVarint(batch, at, bodies[index]!);
    at += 2; // attributes, timestamp delta
    at = writeVarint(batch, at, index);
    at = writeVarint(batch, at, key.length);
    at += key.copy(batch, at);
    at = writeVarint(batch, at, value === null ? -1 : value.length);
    if (value !== null) at += value.copy(batch, at);
    at++; // no headers
  });
  writeBatchHeader(batch, {
    recordCount: records.length,
    codecId: 0,
    timestampMs,
    producer,
    isTransactional: true,
  });
  return batch;
}

function writeVarint(target: Buffer, start: number, value: number): number {
  let at = start;
  let rest = value < 0 ? -value * 2 - 1 : value * 2;
  while (rest > 0x7f) {
    target[at++] = (rest & 0x7f) | 0x80;
    rest = Math.floor(rest / 128);
  }
  target[at++] = rest;
  return at;
}

/** The whole batches of an answer of Fetch; the last one may be cut, and is left out. Throws ProtocolError when these are no batches. */
export function* fetchedBatches(records: Buffer): Iterable<FetchedBatch> {
  let at = 0;
  while (records.length - at >= BATCH_HEADER_BYTES) {
    const sizeBytes = PREFIX_BYTES + records.readInt32BE(at + 8);
    const magic = records.readInt8(at + 16);
    const lastOffsetDelta = records.readInt32BE(at + 23);
    if (magic !== 2 || sizeBytes < BATCH_HEADER_BYTES || lastOffsetDelta < 0) {
      throw new ProtocolError(`Fetched records hold a batch of format ${magic} with ${sizeBytes} bytes`);
    }
    if (records.length - at < sizeBytes) return;
    const bytes = records.subarray(at, at + sizeBytes);
    if (crc32c(bytes, 21, bytes.length) !== bytes.readUInt32BE(17)) {
      throw new ProtocolError("Fetched records hold a batch whose checksum does not fit");
    }
    const attributes = bytes.readInt16BE(21);
    const baseOffset = Number(bytes.readBigInt64BE(0));
    yield {
      baseOffset,
      endOffset: baseOffset + lastOffsetDelta + 1,
      isTransactional: (attributes & TRANSACTIONAL) !== 0,
      isControl: (attributes & CONTROL) !== 0,
      producerId: bytes.subarray(43, 51),
      bytes,
    };
    at += sizeBytes;
  }
}

/** Calls back for each record of a batch, headers encoded with their count: views, valid as long as the batch. Throws ProtocolError when they cannot be read. */
export function readRecords(
  batch: FetchedBatch,
  take: (offset: number, key: Buffer | null, value: Buffer | null, headers: Buffer) => void,
): void {
  const { bytes, baseOffset } = batch;
  const count = bytes.readInt32BE(57);
  const cursor = new RecordCursor(decompress(bytes.subarray(BATCH_HEADER_BYTES), bytes.readInt16BE(21) & 7));
  for (let i = 0; i < count; i++) {
    const end = cursor.varint() + cursor.at;
    cursor.skip(1);
    cursor.varint();
    const offsetDelta = cursor.varint();
    const key = cursor.bytes();
    const value = cursor.bytes();
    const headers = cursor.rest(end);
    take(baseOffset + offsetDelta, key, value, headers);
  }
}

function decompress(payload: Buffer, codecId: number): Buffer {
  try {
    if (codecId === 0) return payload;
    if (codecId === 1) return zlib.gunzipSync(payload);
    if (codecId === 4) return zlib.zstdDecompressSync(payload);
  } catch (error) {
    throw new ProtocolError(`Fetched records cannot be decompressed: ${(error as Error).message}`);
  }
  // Positions are written uncompressed: the topic's own setting has changed them.
  throw new ProtocolError('Fetched records are compressed: set compression.type to "producer" for the topic');
}

class RecordCursor {
  readonly #data: Buffer;
  at = 0;

  constructor(data: Buffer) {
    this.#data = data;
  }

  skip(byteCount: number): void {
    if (byteCount < 0 || byteCount > this.#data.length - this.at) {
      throw new ProtocolError(`A record is cut short at byte ${this.at} of ${this.#data.length}`);
    }
    this.at += byteCount;
  }

  /** What is left up to `end`. */
  rest(end: number): Buffer {
    const start = this.at;
    this.skip(end - start);
    return this.#data.subarray(start, end);
  }

  /** Zigzag; longer ones (timestamps) lose what is beyond 2^53. */
  varint(): number {
    let value = 0;
    let factor = 1;
    for (let i = 0; i < 10; i++) {
      this.skip(1);
      const byte = this.#data[this.at - 1]!;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
      factor *= 128;
    }
    throw new ProtocolError(`A record holds a number that ends nowhere at byte ${this.at}`);
  }

  bytes(): Buffer | null {
    const length = this.varint();
    if (length < 0) return null;
    this.skip(length);
    return this.#data.subarray(this.at - length, this.at);
  }
}
