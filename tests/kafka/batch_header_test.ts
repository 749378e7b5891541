import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { NO_PRODUCER, sequenceAfter, writeBatchHeader } from "../../src/kafka/batch_header.ts";
import { BATCH_HEADER_BYTES } from "../../src/kafka/record_batch.ts";
import { readBatchHeader } from "../support/record_batches.ts";

describe("writeBatchHeader", () => {
  test("writes every field where a reader looks for it, whatever was there before", () => {
    const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 2 ** 31 - 1 }),
        fc.integer({ min: 0, max: 4 }),
        fc.integer({ min: -1, max: 2 ** 48 }),
        int32,
        int32,
        fc.integer({ min: -1, max: 32_767 }),
        fc.integer({ min: -1, max: 2 ** 31 - 1 }),
        fc.uint8Array({ minLength: BATCH_HEADER_BYTES + 7, maxLength: 300 }),
        (recordCount, codecId, timestampMs, producerIdHigh, producerIdLow, epoch, baseSequence, noise) => {
          const batch = Buffer.from(noise);
          const producer = { producerIdHigh, producerIdLow, epoch, baseSequence };
          writeBatchHeader(batch, { recordCount, codecId, timestampMs, producer });
          const read = readBatchHeader(batch);
          expect(read).toMatchObject({
            baseOffset: 0n,
            batchLength: batch.length - 12,
            magic: 2,
            attributes: codecId,
            lastOffsetDelta: recordCount - 1,
            baseTimestamp: BigInt(timestampMs),
            maxTimestamp: BigInt(timestampMs),
            producerId: BigInt.asIntN(64, (BigInt(producerIdHigh) << 32n) | BigInt(producerIdLow >>> 0)),
            producerEpoch: epoch,
            baseSequence,
            recordCount,
          });
          expect(read.crc).toBe(crc32c(batch.subarray(21)));
          expect(read.payload.equals(noise.subarray(BATCH_HEADER_BYTES))).toBe(true);
        },
      ),
    );
  });

  test("without a producer, id, epoch and sequence are -1", () => {
    const batch = Buffer.alloc(80);
    writeBatchHeader(batch, { recordCount: 1, codecId: 0, timestampMs: 0, producer: NO_PRODUCER });
    expect(readBatchHeader(batch)).toMatchObject({ producerId: -1n, producerEpoch: -1, baseSequence: -1 });
  });
});

describe("sequenceAfter", () => {
  test("wraps at 2^31 as the broker does: 2147483647 is followed by 0", () => {
    expect(sequenceAfter(0, 5)).toBe(5);
    expect(sequenceAfter(2 ** 31 - 1, 1)).toBe(0);
    expect(sequenceAfter(2 ** 31 - 6, 6)).toBe(0);
    expect(sequenceAfter(2 ** 31 - 6, 10)).toBe(4);
    expect(sequenceAfter(2 ** 31 - 1, 2 ** 31 - 1)).toBe(2 ** 31 - 2);
  });
});

/** Bit by bit: slow, and nothing to get wrong. */
function crc32c(data: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of data) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}
