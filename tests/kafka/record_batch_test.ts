import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { ArenaPool } from "../../src/kafka/arena_pool.ts";
import { writeBatchHeader } from "../../src/kafka/batch_header.ts";
import { ANY_TIME } from "../../src/kafka/record_times.ts";
import { BATCH_HEADER_BYTES, RecordBatchBuilder } from "../../src/kafka/record_batch.ts";
import { delivery } from "../support/events.ts";
import { readBatchHeader, readRecords } from "../support/record_batches.ts";

const newPool = () => new ArenaPool({ allocateArena: Buffer.allocUnsafeSlow, releaseArena: () => {} });

const wide = { batchMaxBytes: 1_000_000, batchMaxEvents: 50_000 };

/** CRC-32C bit by bit: slow, and nothing to get wrong. */
function referenceCrc32c(data: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of data) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

describe("RecordBatchBuilder", () => {
  test("encodes values without keys so that an independent reader gets them back", () => {
    const builder = new RecordBatchBuilder(newPool(), 100);
    const values = ["", "a", "x".repeat(63), "y".repeat(64), "z".repeat(8_200), "ä€😀"];
    expect(builder.appendRange(delivery(values).delivery, 0, values.length, wide)).toBe(values.length);
    const records = readRecords(builder.bytes.subarray(BATCH_HEADER_BYTES), builder.count);
    expect(records.map((record) => record.value!.toString())).toEqual(values);
    expect(records.map((record) => record.offsetDelta)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(records.every((record) => record.key === null && record.headers.length === 0)).toBe(true);
    expect(builder.payloadBytes).toBe(Buffer.byteLength(values.join("")));
  });

  test("stops at batch.max_bytes and at batch.max_events, and goes on in the next batch", () => {
    const values = Array.from({ length: 100 }, (_, i) => `line ${i} ${"x".repeat(i)}`);
    const { delivery: from } = delivery(values);
    const read: string[] = [];
    for (let next = 0; next < values.length;) {
      const builder = new RecordBatchBuilder(newPool(), 100);
      next = builder.appendRange(from, next, values.length, { batchMaxBytes: 700, batchMaxEvents: 8 });
      expect(builder.sizeBytes).toBeLessThanOrEqual(700);
      expect(builder.count).toBeLessThanOrEqual(8);
      const records = readRecords(builder.bytes.subarray(BATCH_HEADER_BYTES), builder.count);
      read.push(...records.map((record) => record.value!.toString()));
    }
    expect(read).toEqual(values);
  });

  test("holds to the limits with headers too, which count", () => {
    const values = Array.from({ length: 100 }, (_, i) => `line ${i}`);
    const { delivery: from } = delivery(values, {
      headers: values.map((value) => [["h".repeat(40), value]]),
    });
    const read: string[] = [];
    for (let next = 0; next < values.length;) {
      const builder = new RecordBatchBuilder(newPool(), 100);
      next = builder.appendRange(from, next, values.length, { batchMaxBytes: 700, batchMaxEvents: 8 });
      expect(builder.sizeBytes).toBeLessThanOrEqual(700);
      const records = readRecords(builder.bytes.subarray(BATCH_HEADER_BYTES), builder.count);
      for (const { value, headers } of records) {
        expect(headers).toEqual([["h".repeat(40), value]]);
        read.push(value!.toString());
      }
    }
    expect(read).toEqual(values);
  });

  test("is right at the borders of varints: lengths of all parts, and numbers of records", () => {
    const borders = [0, 1, 63, 64, 8_191, 8_192, 1_048_575, 1_048_576];
    const around = borders.flatMap((border) => [border - 8, border - 1, border, border + 1]).filter((each) =>
      each >= 0
    );
    for (const [key, value, header] of [[1, 0, 0], [0, 1, 0], [0, 0, 1]] as const) {
      const texts = around.map((length) => [key, value, header].map((isLong) => "x".repeat(isLong * length)));
      const { delivery: from } = delivery(texts.map((each) => each[1]!), {
        keys: texts.map((each) => each[0]!),
        headers: texts.map((each) => [["h", each[2]!]]),
      });
      const builder = new RecordBatchBuilder(newPool(), 0);
      for (let i = 0; i < texts.length; i++) {
        expect(builder.appendOne(from, i, { batchMaxBytes: 1 << 30, batchMaxEvents: 1_000 })).toBe(true);
      }
      const records = readRecords(builder.bytes.subarray(BATCH_HEADER_BYTES), builder.count);
      const lengths = records.map((
        each,
      ) => [each.key!.length, each.value!.length, each.headers[0]![1]!.length]);
      expect(lengths).toEqual(texts.map((each) => each.map((text) => text.length)));
    }
    for (const count of [1, 2, 63, 64, 65, 128, 8_191, 8_192, 8_193, 16_384, 50_000]) {
      const values = Array.from({ length: count }, (_, i) => `v${i}`);
      const builder = new RecordBatchBuilder(newPool(), 0);
      expect(builder.appendRange(delivery(values).delivery, 0, count, wide)).toBe(count);
      const records = readRecords(builder.bytes.subarray(BATCH_HEADER_BYTES), count);
      expect(records.every(({ value, offsetDelta }, i) => offsetDelta === i && String(value) === `v${i}`))
        .toBe(true);
    }
  }, 60_000);

  test("is full when the next record would pass batch.max_bytes, and not a byte earlier", () => {
    for (const first of [0, 1, 63, 64, 8_191]) {
      for (const hasKeys of [true, false]) {
        const values = ["a".repeat(first), "b".repeat(100)];
        const { delivery: from } = delivery(values, hasKeys ? { keys: ["k", "k"] } : {});
        const whole = new RecordBatchBuilder(newPool(), 0);
        const append = (builder: RecordBatchBuilder, batchMaxBytes: number) => {
          const limits = { batchMaxBytes, batchMaxEvents: 10 };
          if (!hasKeys) builder.appendRange(from, 0, 2, limits);
          else if (builder.appendOne(from, 0, limits)) builder.appendOne(from, 1, limits);
        };
        append(whole, 1_000_000);
        expect(whole.count).toBe(2);
        for (const [less, count] of [[0, 2], [1, 1]] as const) {
          const builder = new RecordBatchBuilder(newPool(), 0);
          append(builder, whole.sizeBytes - less);
          expect(builder.count).toBe(count);
        }
      }
    }
  });

  test("takes a record larger than the limit alone", () => {
    const builder = new RecordBatchBuilder(newPool(), 100);
    const { delivery: from } = delivery(["x".repeat(5_000), "y"]);
    expect(builder.appendRange(from, 0, 2, { batchMaxBytes: 1_000, batchMaxEvents: 10 })).toBe(1);
    expect(builder.count).toBe(1);
  });

  test("round-trips any keys, values and headers, alone and cut out of a batch", () => {
    const event = fc.tuple(
      fc.string({ unit: "grapheme", maxLength: 80 }),
      fc.string({ unit: "grapheme", maxLength: 300 }),
      fc.array(fc.tuple(fc.string({ maxLength: 70 }), fc.string({ maxLength: 90 })), { maxLength: 4 }),
    );
    fc.assert(
      fc.property(
        fc.array(event, { minLength: 1, maxLength: 200 }),
        fc.boolean(),
        fc.boolean(),
        fc.nat(),
        fc.nat(),
        (events, hasKeys, hasHeaders, a, b) => {
          const keys = events.map(([key]) => key);
          const values = events.map(([, value]) => value);
          const headers = events.map(([, , header]) => hasHeaders ? header : []);
          const pool = newPool();
          const builder = new RecordBatchBuilder(pool, 0);
          const { delivery: from } = delivery(values, {
            ...(hasKeys ? { keys } : {}),
            ...(hasHeaders ? { headers } : {}),
          });
          if (hasKeys) {
            for (let i = 0; i < values.length; i++) expect(builder.appendOne(from, i, wide)).toBe(true);
          } else builder.appendRange(from, 0, values.length, wide);
          const cutStart = a % values.length;
          const cutEnd = cutStart + 1 + (b % (values.length - cutStart));
          const part = builder.copyRecords(cutStart, cutEnd);
          for (
            const [built, start, end] of [[builder, 0, values.length], [part, cutStart, cutEnd]] as const
          ) {
            const records = readRecords(built.bytes.subarray(BATCH_HEADER_BYTES), built.count);
            expect(records.map((record) => record.value!.toString())).toEqual(values.slice(start, end));
            expect(records.map((record) => record.key?.toString() ?? null)).toEqual(
              keys.slice(start, end).map((key) => hasKeys ? key : null),
            );
            expect(records.map((record) => record.headers.map(([name, value]) => [name, value!.toString()])))
              .toEqual(headers.slice(start, end));
            expect(records.map((record) => record.offsetDelta)).toEqual(records.map((_, i) => i));
            const payload = Buffer.byteLength(values.slice(start, end).join("")) +
              (hasKeys ? Buffer.byteLength(keys.slice(start, end).join("")) : 0);
            expect(built.payloadBytes).toBe(payload);
          }
          const cutIndexes: number[] = [];
          part.members.forEachRun((_delivery, first, count) => {
            for (let i = 0; i < count; i++) cutIndexes.push(first + i);
          });
          expect(cutIndexes).toEqual(Array.from({ length: cutEnd - cutStart }, (_, i) => cutStart + i));
        },
      ),
      { numRuns: 200 },
    );
  });

  test("writes each record's own time, whatever order they are in, and keeps it when cut", () => {
    const time = fc.oneof(fc.constantFrom(0, 1_000, 1_700_000_000_000, 4_102_444_800_000), fc.nat());
    fc.assert(
      fc.property(
        fc.array(time, { minLength: 1, maxLength: 60 }),
        fc.nat(),
        fc.nat(),
        fc.tuple(time, time, time),
        (timestamps, a, b, [one, other, insteadMs]) => {
          const values = timestamps.map((_, i) => `v${i}`);
          const limits = { minMs: Math.min(one, other), maxMs: Math.max(one, other), insteadMs };
          const fits = (timeMs: number) =>
            timeMs >= limits.minMs && timeMs <= limits.maxMs ? timeMs : insteadMs;
          const { delivery: from } = delivery(values, { timestamps });
          const builder = new RecordBatchBuilder(newPool(), 0);
          const taken = builder.appendRange(from, 0, values.length, { ...wide, times: ANY_TIME });
          expect(taken).toBe(values.length);
          const cutStart = a % values.length;
          const cutEnd = cutStart + 1 + (b % (values.length - cutStart));
          const within = new RecordBatchBuilder(newPool(), 0);
          within.appendRange(from, 0, values.length, { ...wide, times: limits });
          const replacedCount = timestamps.filter((timeMs) => fits(timeMs) !== timeMs).length;
          const cases: [RecordBatchBuilder, number[], number][] = [
            [builder, timestamps, 0],
            [builder.copyRecords(cutStart, cutEnd), timestamps.slice(cutStart, cutEnd), 0],
            [within, timestamps.map(fits), replacedCount],
            [builder.copyRecords(0, values.length, limits), timestamps.map(fits), replacedCount],
          ];
          for (const [built, wanted, replaced] of cases) {
            const { baseMs, maxMs, replacedCount: found } = built.times!;
            const records = readRecords(built.bytes.subarray(BATCH_HEADER_BYTES), built.count);
            expect(records.map(({ timestampDelta }) => baseMs + timestampDelta)).toEqual(wanted);
            expect([baseMs, maxMs, found]).toEqual([wanted[0]!, Math.max(...wanted), replaced]);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  test("of events without a time of their own gives them that of reading, where times are asked for", () => {
    const builder = new RecordBatchBuilder(newPool(), 0);
    builder.appendRange(delivery(["a", "b"]).delivery, 0, 2, { ...wide, times: ANY_TIME });
    expect(builder.times).toMatchObject({ baseMs: 1_000, maxMs: 1_000 });
    const without = new RecordBatchBuilder(newPool(), 0);
    without.appendRange(delivery(["a"], { timestamps: [5] }).delivery, 0, 1, wide);
    expect(without.times).toBeNull();
  });

  test("refuses to be released twice, because its memory may be someone else's by then", () => {
    const builder = new RecordBatchBuilder(newPool(), 100);
    builder.release();
    expect(() => builder.release()).toThrow("twice");
  });
});

describe("writeBatchHeader", () => {
  test("writes what KIP-98 says, with a checksum over attributes to end", () => {
    const builder = new RecordBatchBuilder(newPool(), 100);
    builder.appendRange(delivery(["one", "two"]).delivery, 0, 2, wide);
    const timestampMs = Date.UTC(2026, 10, 21, 12);
    const producer = { producerIdHigh: 1, producerIdLow: -2, epoch: 7, baseSequence: 0x7ffffffe };
    writeBatchHeader(builder.bytes, { recordCount: 2, codecId: 0, timestampMs, producer });
    const header = readBatchHeader(builder.bytes);
    expect(header.batchLength).toBe(builder.bytes.length - 12);
    expect(header.magic).toBe(2);
    expect(header.crc).toBe(referenceCrc32c(builder.bytes.subarray(21)));
    expect(header.lastOffsetDelta).toBe(1);
    expect(header.baseTimestamp).toBe(BigInt(timestampMs));
    expect(header.maxTimestamp).toBe(BigInt(timestampMs));
    expect(header.producerId).toBe(0x1_ffff_fffen);
    expect(header.producerEpoch).toBe(7);
    expect(header.baseSequence).toBe(0x7ffffffe);
    expect(header.recordCount).toBe(2);
  });
});
