import { crc32c } from "./crc32c.ts";

/** Producer id of a batch that takes no part in de-duplication (acks one or none). */
export const NO_PRODUCER: ProducerNumbers = {
  producerIdHigh: -1,
  producerIdLow: -1,
  epoch: -1,
  baseSequence: -1,
};

/** What the broker de-duplicates by (KIP-98). The 64-bit id is kept as two signed 32-bit halves. */
export interface ProducerNumbers {
  readonly producerIdHigh: number;
  readonly producerIdLow: number;
  readonly epoch: number;
  readonly baseSequence: number;
}

export interface BatchHeader {
  readonly recordCount: number;
  /** 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd. */
  readonly codecId: number;
  /** Milliseconds since the epoch; the times of records are relative to it. */
  readonly timestampMs: number;
  /** The latest time of a record. Default: the same. */
  readonly maxTimestampMs?: number;
  readonly producer: ProducerNumbers;
  /** Part of a transaction. Default: false. */
  readonly isTransactional?: boolean;
}

const TRANSACTIONAL = 16;

/**
 * Writes the header of a record batch into the first 61 bytes of `batch`, which holds the whole batch, and its checksum.
 *
 *      0 baseOffset           int64   0, the broker sets it
 *      8 batchLength          int32   bytes after this field
 *     12 partitionLeaderEpoch int32   -1
 *     16 magic                int8    2
 *     17 crc                  uint32  CRC-32C of everything from attributes to the end
 *     21 attributes           int16   bits 0-2: codec; bit 3: 0 = CreateTime; bit 4: transactional
 *     23 lastOffsetDelta      int32
 *     27 baseTimestamp        int64
 *     35 maxTimestamp         int64
 *     43 producerId           int64
 *     51 producerEpoch        int16
 *     53 baseSequence         int32
 *     57 recordsCount         int32
 */
export function writeBatchHeader(batch: Buffer, header: BatchHeader): void {
  const { timestampMs, maxTimestampMs = timestampMs } = header;
  batch.fill(0, 0, 8);
  batch.writeInt32BE(batch.length - 12, 8);
  batch.writeInt32BE(-1, 12);
  batch[16] = 2;
  batch.writeInt16BE(header.codecId | (header.isTransactional === true ? TRANSACTIONAL : 0), 21);
  batch.writeInt32BE(header.recordCount - 1, 23);
  batch.writeInt32BE(Math.floor(timestampMs / 0x1_0000_0000), 27);
  batch.writeUInt32BE(timestampMs >>> 0, 31);
  batch.writeInt32BE(Math.floor(maxTimestampMs / 0x1_0000_0000), 35);
  batch.writeUInt32BE(maxTimestampMs >>> 0, 39);
  batch.writeInt32BE(header.producer.producerIdHigh, 43);
  batch.writeInt32BE(header.producer.producerIdLow, 47);
  batch.writeInt16BE(header.producer.epoch, 51);
  batch.writeInt32BE(header.producer.baseSequence, 53);
  batch.writeInt32BE(header.recordCount, 57);
  batch.writeUInt32BE(crc32c(batch, 21, batch.length), 17);
}

/** The sequence after `count` records from `baseSequence`: it wraps at 2^31 (KIP-98). */
export function sequenceAfter(baseSequence: number, count: number): number {
  return (baseSequence + count) % 0x8000_0000;
}
