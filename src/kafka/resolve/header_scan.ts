import { sequenceAfter } from "../batch_header.ts";
import { ProtocolError } from "../protocol/wire.ts";
import type { DoubtfulBatch } from "./verdict.ts";

/** baseOffset and batchLength, which every format begins with. */
const PREFIX_BYTES = 12;
/** To the magic byte, which every format has at the same place. */
const MAGIC_AT = 16;
/** Header of format v2 (`writeBatchHeader` has its drawing). */
const HEADER_BYTES = 61;
/** checksum, magic, attributes, key length, value length: the least that a message before v2 can be. */
const OLD_MESSAGE_BYTES_MIN = 14;
const LOG_APPEND_TIME = 8;

/** Looks for batches in a partition's log by their headers. Feed it answers of Fetch, each from `nextOffset` on. */
export class HeaderScan {
  readonly #batches: readonly DoubtfulBatch[];
  readonly #endOffsets: number[];
  #nextOffset: number;
  #hasHole = false;
  #isNumberTaken = false;

  constructor(batches: readonly DoubtfulBatch[], fromOffset: number) {
    this.#batches = batches;
    this.#endOffsets = batches.map(() => -1);
    this.#nextOffset = fromOffset;
  }

  /** Offset behind the last header that was read. */
  get nextOffset(): number {
    return this.#nextOffset;
  }

  /** Offset behind each batch; -1: not found. */
  get endOffsets(): readonly number[] {
    return this.#endOffsets;
  }

  /** The newest batch was found: the others were there before it. */
  get isDone(): boolean {
    return this.#endOffsets[this.#endOffsets.length - 1]! >= 0;
  }

  /** Offsets were missing: compaction took whole batches out. A broker gives every offset once, in order. */
  get hasHole(): boolean {
    return this.#hasHole;
  }

  /** A batch with one of our sequences, and not ours. */
  get isNumberTaken(): boolean {
    return this.#isNumberTaken;
  }

  /**
   * Reads the headers of what a broker gave; the last batch may be cut, behind its header or within. Throws ProtocolError when
   * these can't be batches, or when not even the first header is whole.
   */
  take(records: Buffer): void {
    let at = 0;
    while (records.length - at > MAGIC_AT) {
      const sizeBytes = PREFIX_BYTES + records.readInt32BE(at + 8);
      const magic = records.readInt8(at + MAGIC_AT);
      const bytesMin = magic === 2 ? HEADER_BYTES : PREFIX_BYTES + OLD_MESSAGE_BYTES_MIN;
      if (magic < 0 || magic > 2 || sizeBytes < bytesMin) {
        throw new ProtocolError(`Fetched records hold a batch of format ${magic} with ${sizeBytes} bytes`);
      }
      if (records.length - at < bytesMin) break;
      if (magic === 2) this.#takeBatch(records, at);
      else this.#advance(offsetAt(records, at) + 1);
      at += sizeBytes;
    }
    if (at === 0 && records.length > 0) {
      throw new ProtocolError(`Fetched records end after ${records.length} bytes, within the first header`);
    }
  }

  #takeBatch(records: Buffer, at: number): void {
    const baseOffset = offsetAt(records, at);
    const lastOffsetDelta = records.readInt32BE(at + 23);
    if (lastOffsetDelta < 0) {
      throw new ProtocolError(`Fetched records hold a batch that ends ${lastOffsetDelta} behind its start`);
    }
    if (baseOffset > this.#nextOffset) this.#hasHole = true;
    const endOffset = baseOffset + lastOffsetDelta + 1;
    this.#compare(records, at, lastOffsetDelta + 1, endOffset);
    this.#advance(endOffset);
  }

  /** What a broker gives from an offset on may begin before it. */
  #advance(offset: number): void {
    if (offset > this.#nextOffset) this.#nextOffset = offset;
  }

  /** `count` by the offsets: compaction may have taken records out, and leaves offsets and numbers as they are. */
  #compare(records: Buffer, at: number, count: number, endOffset: number): void {
    const { producerIdHigh, producerIdLow, epoch } = this.#batches[0]!.producer;
    if (records.readInt32BE(at + 43) !== producerIdHigh || records.readInt32BE(at + 47) !== producerIdLow) {
      return;
    }
    const baseSequence = records.readInt32BE(at + 53);
    // Markers of transactions have no sequence.
    if (records.readInt16BE(at + 51) !== epoch || baseSequence < 0) return;
    const hasAllRecords = records.readInt32BE(at + 57) === count;
    const hasOwnTime = (records.readInt16BE(at + 21) & LOG_APPEND_TIME) === 0 && hasAllRecords;
    for (let i = 0; i < this.#batches.length; i++) {
      const batch = this.#batches[i]!;
      if (!overlaps(baseSequence, count, batch)) continue;
      const isOurs = baseSequence === batch.producer.baseSequence && count === batch.count &&
        (!hasOwnTime || isTime(records, at + 27, batch.baseTimestampMs));
      if (isOurs) this.#endOffsets[i] = endOffset;
      else this.#isNumberTaken = true;
    }
  }
}

/** A non-negative int64 that every real offset fits in a number. */
function offsetAt(records: Buffer, at: number): number {
  const offset = records.readInt32BE(at) * 0x1_0000_0000 + records.readUInt32BE(at + 4);
  if (!Number.isSafeInteger(offset) || offset < 0) {
    throw new ProtocolError(`Fetched records hold an offset that cannot be: about ${offset}`);
  }
  return offset;
}

function isTime(records: Buffer, at: number, timestampMs: number): boolean {
  return records.readInt32BE(at) === Math.floor(timestampMs / 0x1_0000_0000) &&
    records.readUInt32BE(at + 4) === timestampMs >>> 0;
}

/** Ranges of sequences, each from its base on, modulo 2^31. */
function overlaps(baseSequence: number, count: number, batch: DoubtfulBatch): boolean {
  const distance = (from: number, to: number) => sequenceAfter(to, 0x8000_0000 - from);
  const first = batch.producer.baseSequence;
  return distance(baseSequence, first) < count || distance(first, baseSequence) < batch.count;
}
