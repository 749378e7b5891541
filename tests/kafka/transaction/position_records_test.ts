import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { ProtocolError } from "../../../src/kafka/protocol/wire.ts";
import { takeCommitted } from "../../../src/kafka/transaction/committed_records.ts";
import {
  PART_BYTES_MAX,
  type PositionRecord,
  PositionRecordWriter,
  StoredPositions,
} from "../../../src/kafka/transaction/position_records.ts";
import {
  encodeTransactionalBatch,
  fetchedBatches,
  readRecords,
} from "../../../src/kafka/transaction/record_codec.ts";
import { verdictOn } from "../../../src/kafka/transaction/takeover.ts";
import { FakePartitionLog } from "../../support/fake_partition.ts";
import { readBatchHeader, readRecords as readIndependently } from "../../support/record_batches.ts";

const RUN = "00112233445566778899aabbccddeeff";
const marker = (number: number) => ({
  run: RUN,
  number,
  host: "höst",
  partitions: Array.from({ length: number % 4 }, (_, i) => ({
    topic: i < 2 ? "a.b_c-d" : "logs",
    partition: i * number,
  })),
});
const producerOf = (id: number, epoch = 0, baseSequence = 0) => ({
  producerIdHigh: 0,
  producerIdLow: id,
  epoch,
  baseSequence,
});

function stored(id: string, records: readonly PositionRecord[]): StoredPositions {
  const positions = new StoredPositions(id);
  for (const { key, value } of records) positions.take(key, value);
  return positions;
}

describe("records of positions", () => {
  test("any changes are read back as they were written last, whatever their size", () => {
    const value = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc.constantFrom(PART_BYTES_MAX, PART_BYTES_MAX + 1, 2 * PART_BYTES_MAX + 7).map((size) =>
        new Uint8Array(size)
      ),
    );
    const change = fc.record({
      key: fc.constantFrom("a\u0000b", "a\u0000b\u0000", "c"),
      value: fc.option(value),
    });
    const transaction = fc.record({
      changes: fc.uniqueArray(change, { selector: ({ key }) => key }),
      ends: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(transaction, { maxLength: 8 }), (transactions) => {
        const writer = new PositionRecordWriter("me", new Map());
        const log: PositionRecord[] = [];
        const expected = new Map<string, Buffer>();
        let number = 0;
        for (const { changes, ends } of transactions) {
          const made = changes.map((each) => ({
            key: each.key,
            value: each.value === null ? null : Buffer.from(each.value),
          }));
          const records = writer.records(made, marker(number + 1));
          if (!ends) continue;
          number++;
          writer.committed(made);
          log.push(...records);
          for (const each of made) {
            if (each.value === null) expected.delete(each.key);
            else expected.set(each.key, each.value);
          }
        }
        const found = stored("me", log);
        expect(new Map([...found.values()].sort())).toEqual(new Map([...expected].sort()));
        expect(found.marker).toEqual(number === 0 ? null : marker(number));
        expect([...found.partCounts().keys()].sort()).toEqual([...expected.keys()].sort());
        // As compaction leaves it: the newest of each key.
        const newest = new Map(log.map((record) => [record.key.toString("hex"), record]));
        expect(new Map([...stored("me", [...newest.values()]).values()].sort())).toEqual(
          new Map([...expected].sort()),
        );
      }),
      { numRuns: 60 },
    );
  });

  test("records of other ids are none of ours, whatever the ids have in common", () => {
    const records = ["me", "me2", "m", "me\u0001"].flatMap((id) =>
      new PositionRecordWriter(id, new Map()).records([{ key: "k", value: Buffer.from(id) }], marker(1))
    );
    expect(stored("me", records).values()).toEqual(new Map([["k", Buffer.from("me")]]));
    expect(stored("you", records).values().size).toBe(0);
  });

  test("a later version, damage and a missing part are errors", () => {
    const [part] = new PositionRecordWriter("me", new Map()).records(
      [{ key: "k", value: Buffer.from("v") }],
      marker(1),
    );
    const later = Buffer.from(part!.value!);
    later[0] = 2;
    expect(() => stored("me", [{ key: part!.key, value: later }]).values()).toThrow(
      "it has version 2, and this shipper knows 1: run the newer one that wrote it",
    );
    expect(() => stored("me", [{ key: part!.key, value: part!.value!.subarray(0, 5) }]).values()).toThrow(
      "it is damaged",
    );
    const [place] = new PositionRecordWriter("me", new Map()).records([], marker(1));
    for (const text of ["x:", ":1", "x", "x:1,-2", "x:1,,2.5", "x:a"]) {
      const damaged = Buffer.concat([place!.value!, Buffer.from(`\u0000${text}`)]);
      expect(() => stored("me", [{ key: place!.key, value: damaged }])).toThrow("it is damaged");
    }
    const large = [{ key: "k", value: Buffer.alloc(PART_BYTES_MAX + 1) }];
    const parts = new PositionRecordWriter("me", new Map()).records(large, marker(1));
    expect(() => stored("me", [parts[0]!]).values()).toThrow("part 1 of 2 of a position is missing");
  });
});

describe("batches of positions", () => {
  const record = fc.record({
    key: fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes)),
    value: fc.option(fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes))),
  });

  test("are what an independent reader reads, and are read back", () => {
    fc.assert(fc.property(fc.array(record, { minLength: 1, maxLength: 70 }), (records) => {
      const bytes = encodeTransactionalBatch(records, producerOf(7, 3, 5), 1_700_000_000_000);
      const header = readBatchHeader(bytes);
      expect(header).toMatchObject({
        attributes: 16,
        producerId: 7n,
        producerEpoch: 3,
        baseSequence: 5,
        magic: 2,
      });
      const plain = (list: readonly { key: Buffer | null; value: Buffer | null }[]) =>
        list.map(({ key, value }) => [key!.toString("hex"), value?.toString("hex") ?? null]);
      expect(plain(readIndependently(header.payload, header.recordCount))).toEqual(plain(records));
      const found: { key: Buffer | null; value: Buffer | null }[] = [];
      for (const batch of fetchedBatches(bytes)) {
        readRecords(batch, (_, key, value) => found.push({ key, value }));
      }
      expect(plain(found)).toEqual(plain(records));
    }));
  });

  test("that are cut are left out, and a flipped bit is found", () => {
    const bytes = encodeTransactionalBatch(
      [{ key: Buffer.from("k"), value: Buffer.from("v") }],
      producerOf(7),
      0,
    );
    expect([...fetchedBatches(Buffer.concat([bytes, bytes.subarray(0, bytes.length - 1)]))]).toHaveLength(1);
    for (let at = 16; at < bytes.length; at++) {
      const damaged = Buffer.from(bytes);
      damaged[at]! ^= 4;
      // The length in front may make it one that is cut.
      expect(() => [...fetchedBatches(damaged)], `byte ${at}`).toThrow(ProtocolError);
    }
  });

  test("any bytes are batches or a ProtocolError", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 150 }), (bytes) => {
      try {
        for (const batch of fetchedBatches(Buffer.from(bytes))) readRecords(batch, () => {});
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
      }
    }));
  });
});

test("whatever producers commit and abort: what is taken is what is committed, from any offset on", () => {
  const step = fc.record({
    producer: fc.integer({ min: 1, max: 3 }),
    what: fc.constantFrom("write", "commit", "abort"),
  });
  fc.assert(fc.property(fc.array(step, { maxLength: 30 }), fc.nat({ max: 40 }), (steps, from) => {
    const log = new FakePartitionLog(0, 1);
    const epochs = new Map<number, number>();
    const open = new Set<number>();
    steps.forEach(({ producer, what }, i) => {
      const epoch = epochs.get(producer) ?? 0;
      if (what === "write") {
        if (open.has(producer)) return;
        open.add(producer);
        log.open(BigInt(producer));
        const records = [0, 1].map((n) => ({ key: Buffer.from("k"), value: Buffer.from(`${i}.${n}`) }));
        log.append(encodeTransactionalBatch(records, producerOf(producer, epoch), 0));
      } else if (open.delete(producer)) {
        log.mark(BigInt(producer), epoch, what === "commit");
        epochs.set(producer, epoch + 1);
      }
    });
    const startOffset = Math.min(from, log.lastStableOffset);
    const stable = log.stored.filter(({ endOffset }) => endOffset <= log.lastStableOffset);
    const records = Buffer.concat(
      stable.filter(({ endOffset }) => endOffset > startOffset).map(({ bytes }) => bytes),
    );
    const aborted = log.aborted.filter(({ endOffset }) => endOffset > startOffset).map(
      ({ producerId, firstOffset }) => {
        const id = Buffer.alloc(8);
        id.writeBigInt64BE(producerId);
        return { producerId: id, firstOffset };
      },
    );
    const taken: string[] = [];
    const next = takeCommitted({ records, aborted }, startOffset, (_, value) => taken.push(String(value)));
    const all = log.committedValues();
    expect(next).toBe(Math.max(startOffset, stable.at(-1)?.endOffset ?? 0));
    expect(taken).toEqual(all.slice(all.length - taken.length));
    if (startOffset === 0) expect(taken).toEqual(all);
  }));
});

describe("the newest marker says what became of the last transaction", () => {
  const other = { run: "ff".repeat(16), number: 4, host: "there", partitions: [] };
  const cases = [
    ["own, as known", marker(3), { run: RUN, committed: 3, before: other }, "aborted"],
    ["own, one further", marker(4), { run: RUN, committed: 3, before: null }, "committed"],
    ["own, and out of order", marker(2), { run: RUN, committed: 3, before: null }, "other"],
    ["nobody has written since the start", other, { run: RUN, committed: 0, before: other }, "aborted"],
    ["there was none at the start", null, { run: RUN, committed: 0, before: null }, "aborted"],
    ["the first own one", marker(1), { run: RUN, committed: 0, before: other }, "committed"],
    ["another one", other, { run: RUN, committed: 3, before: null }, "other"],
    [
      "another one, since the start",
      { ...other, number: 5 },
      { run: RUN, committed: 0, before: other },
      "other",
    ],
    ["none any more", null, { run: RUN, committed: 3, before: null }, "lost"],
    ["none any more, since the start", null, { run: RUN, committed: 0, before: other }, "lost"],
  ] as const;
  for (const [name, found, own, verdict] of cases) {
    test(name, () => expect(verdictOn(found, own)).toBe(verdict));
  }
});
