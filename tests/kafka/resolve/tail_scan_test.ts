import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { brokerRefusal } from "../../../src/kafka/errors.ts";
import { ErrorCode } from "../../../src/kafka/protocol/error_codes.ts";
import type { FetchedRecords } from "../../../src/kafka/resolve/tail_scan.ts";
import { ProtocolError } from "../../../src/kafka/protocol/wire.ts";
import { HeaderScan } from "../../../src/kafka/resolve/header_scan.ts";
import { scanStart, scanTail } from "../../../src/kafka/resolve/tail_scan.ts";
import type { DoubtfulBatch, Evidence, Scan } from "../../../src/kafka/resolve/verdict.ts";
import { atOffset, batchBytes, bytesOf, doubtful, TIME_MS } from "./batches.ts";

const never = new AbortController().signal;
const stranger = { producerIdHigh: 0, producerIdLow: 5, epoch: 0, baseSequence: 100 };
/** Sequences 100 to 102 and 103 to 106. */
const two = doubtful(100, [3, 4]);

/** A log of batches that follow each other, or lie at their offsets. */
function logOf(...parts: readonly (Buffer | readonly [offset: number, bytes: Buffer])[]): Buffer[] {
  let next = 0;
  return parts.map((part) => {
    const [offset, bytes] = Array.isArray(part) ? part as [number, Buffer] : [next, part as Buffer];
    next = offset + bytes.readInt32BE(23) + 1;
    return atOffset(bytes, offset);
  });
}

const endOf = (batch: Buffer) => Number(batch.readBigInt64BE(0)) + batch.readInt32BE(23) + 1;

/** A message before format v2, as brokers may still have them. */
function oldMessage(offset: number, magic: 0 | 1): Buffer {
  const bytes = Buffer.alloc(12 + (magic === 0 ? 14 : 22) + 5);
  bytes.writeBigInt64BE(BigInt(offset), 0);
  bytes.writeInt32BE(bytes.length - 12, 8);
  bytes[16] = magic;
  return bytes;
}

interface ScanSetup {
  readonly log: readonly Buffer[];
  readonly batches?: readonly DoubtfulBatch[];
  readonly evidence?: Partial<Evidence>;
  readonly bytesMax?: number;
  /** Bytes of an answer, but for a larger first batch. */
  readonly cutBytes?: number;
  readonly idleMs?: number;
}

/** Scans like against a leader, and counts its answers. */
async function scanned(setup: ScanSetup): Promise<{ scan: Scan; fetches: number[] }> {
  const { log, batches = two, bytesMax = 1 << 20, cutBytes = Infinity } = setup;
  const endOffset = log.length === 0 ? 0 : endOf(log[log.length - 1]!);
  const evidence: Evidence = {
    clusterId: null,
    topicId: null,
    leaderEpoch: 0,
    listing: { kind: "absent" },
    logEndOffset: endOffset,
    highWatermark: endOffset,
    logStartOffset: 0,
    ...setup.evidence,
  };
  const fetches: number[] = [];
  const fetch = (offset: number, sizeBytesMax: number): Promise<FetchedRecords> => {
    fetches.push(offset);
    const rest = log.filter((batch) =>
      (batch[16] === 2 ? endOf(batch) : Number(batch.readBigInt64BE(0)) + 1) > offset
    );
    const records = Buffer.concat(rest).subarray(
      0,
      Math.max(Math.min(sizeBytesMax, cutBytes), rest[0]?.length ?? 0),
    );
    const { highWatermark, logStartOffset } = evidence;
    return Promise.resolve({
      topic: "t",
      partition: 0,
      errorCode: 0,
      highWatermark,
      logStartOffset,
      records,
    });
  };
  const options = { batches, evidence, bytesMax, fetch, signal: never, idleMs: setup.idleMs ?? 0 };
  return { scan: await scanTail(options), fetches };
}

const found = (endOffsets: number[]) => ({ endOffsets, isComplete: true, isNumberTaken: false, gap: "" });
const notAll = (gap: string) => ({ endOffsets: [-1, -1], isComplete: false, isNumberTaken: false, gap });
const other = (count: number) => batchBytes(stranger, count);
const [first, second] = two.map((batch) => bytesOf(batch)) as [Buffer, Buffer];

describe("what is found", () => {
  test.each<[string, Buffer[], number[]]>([
    ["an empty log", [], [-1, -1]],
    ["only others", logOf(other(5), other(2)), [-1, -1]],
    ["the first", logOf(other(5), first, other(2)), [8, -1]],
    ["both", logOf(first, other(5), second), [3, 12]],
    ["the second only", logOf(other(5), second, other(1)), [-1, 9]],
  ])("%s", async (_, log, endOffsets) => {
    expect((await scanned({ log })).scan).toEqual(found(endOffsets));
  });

  test("nothing is read behind the newest batch, from the hint on", async () => {
    const log = logOf(other(5), first, second, other(9), other(9));
    const batches = two.map((batch) => ({ ...batch, hintOffset: 5 }));
    const { scan, fetches } = await scanned({ log, batches, cutBytes: 1 });
    expect(scan).toEqual(found([8, 12]));
    expect(fetches).toEqual([5, 8]);
  });

  test("a hint inside a batch gives that batch from its start, which is no hole", async () => {
    const batches = two.map((batch) => ({ ...batch, hintOffset: 3 }));
    expect((await scanned({ log: logOf(other(5), first), batches })).scan).toEqual(found([8, -1]));
  });

  const variants: [
    string,
    Partial<DoubtfulBatch> & { epoch?: number; producerIdLow?: number },
    number,
    boolean,
  ][] = [
    ["another producer", { producerIdLow: 8 }, 3, false],
    ["another epoch", { epoch: 1 }, 3, false],
    ["another time", { baseTimestampMs: TIME_MS + 1 }, 3, true],
    ["another count", {}, 2, true],
    ["another count, into the second", {}, 5, true],
  ];
  test.each(variants)("%s is not ours", async (_, overrides, count, isNumberTaken) => {
    const log = logOf(bytesOf(doubtful(100, [count], overrides)[0]!));
    expect((await scanned({ log })).scan).toEqual({ ...found([-1, -1]), isNumberTaken });
  });

  test.each([
    [97, 3, false],
    [97, 4, true],
    [106, 1, true],
    [106, 9, true],
    [107, 9, false],
    [0, 9, false],
  ])("sequences from %d, %d of them: taken %p", async (base, count, isNumberTaken) => {
    const log = logOf(bytesOf(doubtful(base, [count])[0]!));
    expect((await scanned({ log })).scan).toEqual({ ...found([-1, -1]), isNumberTaken });
  });

  test("across 2^31", async () => {
    const batches = doubtful(0x7fff_fffe, [4, 2]);
    const log = logOf(...batches.map((batch) => bytesOf(batch)));
    expect((await scanned({ log, batches })).scan).toEqual(found([4, 6]));
    const inFront = logOf(bytesOf(doubtful(0x7fff_fff0, [14])[0]!), bytesOf(doubtful(4, [3])[0]!));
    expect((await scanned({ log: inFront, batches })).scan).toEqual(found([-1, -1]));
    const within = logOf(bytesOf(doubtful(0, [1])[0]!));
    expect((await scanned({ log: within, batches })).scan).toMatchObject({ isNumberTaken: true });
  });

  test("under LogAppendTime and after compaction the time of the header is the broker's, or another record's", async () => {
    const appended = Buffer.from(first);
    appended.writeInt16BE(8, 21);
    appended.writeBigInt64BE(77n, 27);
    expect((await scanned({ log: logOf(appended) })).scan).toEqual(found([3, -1]));
    const compacted = Buffer.from(first);
    compacted.writeBigInt64BE(77n, 27);
    compacted.writeInt32BE(2, 57);
    expect((await scanned({ log: logOf(compacted) })).scan).toEqual(found([3, -1]));
  });

  test("a marker of a transaction has our id and no sequence", async () => {
    const marker = batchBytes({ ...two[0]!.producer, baseSequence: -1 }, 1);
    marker.writeInt16BE(0x30, 21);
    expect((await scanned({ log: logOf(marker, first) })).scan).toEqual(found([4, -1]));
    const batches = doubtful(0x7fff_fffe, [4]);
    expect((await scanned({ log: logOf(marker), batches })).scan).toEqual(found([-1]));
  });

  test("messages of formats 0 and 1 are passed over", async () => {
    const log = [oldMessage(0, 0), oldMessage(5, 1), atOffset(first, 6)];
    expect((await scanned({ log, evidence: { logEndOffset: 9 } })).scan).toEqual(found([9, -1]));
  });
});

test("answers that are cut anywhere give the same", async () => {
  const log = logOf(other(2), other(1), first, other(3), second, other(1));
  for (let cutBytes = 1; cutBytes < 400; cutBytes += 7) {
    const { scan, fetches } = await scanned({ log, cutBytes });
    expect(scan).toEqual(found([6, 13]));
    expect(fetches.length).toBeGreaterThan(1);
  }
});

test("a batch that is cut behind its header counts, and is not read again", async () => {
  const { scan, fetches } = await scanned({
    log: logOf(other(2), first, second),
    cutBytes: other(2).length + 61,
  });
  expect(scan).toEqual(found([5, 9]));
  expect(fetches).toEqual([0, 5]);
});

describe("where not finding anything proves nothing", () => {
  test("offsets are missing", async () => {
    const log = logOf(other(2), [4, other(2)]);
    expect((await scanned({ log })).scan).toEqual(notAll("the log was compacted"));
    expect((await scanned({ log: logOf([1, other(2)]) })).scan).toEqual(notAll("the log was compacted"));
    const tail = { log: logOf(other(2)), evidence: { logEndOffset: 5, highWatermark: 5 } };
    expect((await scanned(tail)).scan).toEqual(notAll("the log was compacted"));
  });

  test("behind a hole, what is found counts", async () => {
    const log = logOf(other(2), [4, first], [9, other(2)]);
    expect((await scanned({ log })).scan).toEqual({
      ...notAll("the log was compacted"),
      endOffsets: [7, -1],
    });
    expect((await scanned({ log: logOf(other(2), [4, second]) })).scan).toEqual(found([-1, 8]));
  });

  test("resolve_scan_max_bytes is used up", async () => {
    const log = logOf(other(5), other(5), first);
    const { scan } = await scanned({ log, bytesMax: other(5).length });
    expect(scan).toEqual(
      notAll("the log was read from offset 0 to 5 (resolve_scan_max_bytes), it ends at 13"),
    );
  });

  test("the broker does not tell where its log ends", async () => {
    const evidence = { logEndOffset: null };
    const { scan } = await scanned({ log: logOf(other(5)), evidence });
    expect(scan).toEqual(notAll("the broker does not tell where its log ends"));
    expect((await scanned({ log: logOf(second), evidence })).scan).toEqual(found([-1, 4]));
  });

  const place = (hint: number, start: number, end: number) =>
    scanStart(hint, { logStartOffset: start, logEndOffset: end } as Evidence);

  test("the log begins behind the hint, or ends before it", () => {
    expect(place(20, 10, 30)).toEqual({ offset: 20, gap: "" });
    expect(place(10, 10, 30)).toEqual({ offset: 10, gap: "" });
    expect(place(30, 10, 30)).toEqual({ offset: 30, gap: "" });
    expect(place(9, 10, 30)).toEqual({
      offset: 10,
      gap: "the log begins at offset 10 now, and they may have been written from offset 9 on",
    });
    expect(place(31, 10, 30)).toEqual({
      offset: 10,
      gap: "the log ends at offset 30 now, before, it had reached 31",
    });
    expect(place(-1, 10, 30)).toEqual({
      offset: 10,
      gap: "the log begins at offset 10 now, and where they would be is not known",
    });
  });

  test("from a log that was never cut at its start, everything is read", () => {
    expect(place(-1, 0, 30)).toEqual({ offset: 0, gap: "" });
    expect(place(31, 0, 30)).toEqual({ offset: 0, gap: "" });
    expect(scanStart(31, { logStartOffset: 4, logEndOffset: null, highWatermark: 40 } as Evidence).offset)
      .toBe(31);
  });
});

describe("leaders that go wrong", () => {
  const evidence = { logEndOffset: 9, highWatermark: 5 };

  test("what is not replicated yet is waited for, and then is an error", async () => {
    const promise = scanned({ log: logOf(other(5)), evidence, idleMs: 20 });
    expect(promise).rejects.toMatchObject({
      code: "not-replicated",
      message: expect.stringContaining("5 to 9"),
    });
    await promise.catch(() => {});
  });

  test("batches before what was asked for, for ever", async () => {
    const fetch = () =>
      Promise.resolve({
        topic: "t",
        partition: 0,
        errorCode: 0,
        highWatermark: 9,
        logStartOffset: 0,
        records: atOffset(other(2), 0),
      });
    const full = { logStartOffset: 0, logEndOffset: 9, highWatermark: 9 } as Evidence;
    const batches = two.map((batch) => ({ ...batch, hintOffset: 5 }));
    const scan = scanTail({ batches, evidence: full, bytesMax: 1 << 20, fetch, signal: never });
    expect(scan).rejects.toMatchObject({ code: "bad-answer" });
    await scan.catch(() => {});
  });

  test("no READ right, other refusals, and the end of the process", async () => {
    const full = { logStartOffset: 0, logEndOffset: 9, highWatermark: 9 } as Evidence;
    const scanWith = (errorCode: number, signal = never) =>
      scanTail({
        batches: two,
        evidence: full,
        bytesMax: 1 << 20,
        fetch: () => Promise.reject(brokerRefusal(errorCode, "read", "b:1", null)),
        signal,
      }).catch((error: Error) => error);
    expect(await scanWith(ErrorCode.TOPIC_AUTHORIZATION_FAILED)).toBe("denied");
    expect(await scanWith(ErrorCode.NOT_LEADER_OR_FOLLOWER)).toMatchObject({ errorCode: 6 });
    const empty = {
      topic: "t",
      partition: 0,
      errorCode: 0,
      highWatermark: 0,
      logStartOffset: 0,
      records: Buffer.alloc(0),
    };
    const fetch = () => Promise.resolve(empty);
    const signal = AbortSignal.abort(new Error("the end"));
    const scan = scanTail({ batches: two, evidence: full, bytesMax: 1 << 20, fetch, signal });
    expect(await scan.catch((error: Error) => error.message)).toBe("the end");
  });

  test("any bytes give headers or ProtocolError, and the offset never goes back", () => {
    const whole = Buffer.concat(logOf(other(2), first, other(3), second));
    const damage = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 6 });
    fc.assert(
      fc.property(damage, fc.nat(whole.length), (changes, length) => {
        const bytes = Buffer.from(whole);
        for (const [at, value] of changes) bytes[at] = value;
        const scan = new HeaderScan(two, 1);
        try {
          scan.take(bytes.subarray(0, length));
        } catch (error) {
          if (!(error instanceof ProtocolError)) throw error;
        }
        expect(scan.nextOffset).toBeGreaterThanOrEqual(1);
      }),
      { numRuns: 500 },
    );
  });

  test.each([
    ["a length that goes backwards", 8, Buffer.from([0xff, 0xff, 0xff, 0xf0])],
    ["a length shorter than a header", 8, Buffer.from([0, 0, 0, 48])],
    ["a format that is not known", 16, Buffer.from([3])],
    ["an offset below 0", 0, Buffer.from([0x80])],
    ["a last offset before the first", 23, Buffer.from([0x80])],
  ])("%s", (_, at, bytes) => {
    const batch = Buffer.from(first);
    bytes.copy(batch, at);
    expect(() => new HeaderScan(two, 0).take(batch)).toThrow(ProtocolError);
  });

  test("less than one header", () => {
    for (const length of [1, 16, 17, 60]) {
      expect(() => new HeaderScan(two, 0).take(first.subarray(0, length))).toThrow("within the first header");
    }
    const scan = new HeaderScan(two, 0);
    scan.take(first.subarray(0, 61));
    expect(scan.endOffsets).toEqual([3, -1]);
    scan.take(Buffer.alloc(0));
    scan.take(other(2));
    expect(scan.nextOffset).toBe(3);
  });
});

test("any log, hint and cut: found is what is there, and it is complete unless something was taken out", async () => {
  const plan = fc.record({
    sizes: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 12 }),
    ours: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 3 }),
    writtenCount: fc.nat(3),
    removed: fc.option(fc.nat(20)),
    cutBytes: fc.integer({ min: 1, max: 400 }),
    places: fc.infiniteStream(fc.nat(12)),
  });
  await fc.assert(
    fc.asyncProperty(plan, async ({ sizes, ours, writtenCount, removed, cutBytes, places }) => {
      const batches = doubtful(0x7fff_fffb, ours);
      const written = batches.slice(0, writtenCount);
      const parts = sizes.map((size) => other(size));
      let at = 0;
      for (const batch of written) {
        at = Math.min(parts.length, at + 1 + Number(places.next().value) % 4);
        parts.splice(at, 0, bytesOf(batch));
      }
      const all = logOf(...parts);
      const gone = removed === null || removed >= all.length ? -1 : removed;
      const log = all.filter((_, index) => index !== gone);
      const end = endOf(all[all.length - 1]!);
      const evidence = { logEndOffset: end, highWatermark: end };
      const { scan } = await scanned({ log, batches, cutBytes, evidence });
      const expected = batches.map((batch) => {
        const stored = log.find((each) =>
          each.readInt32BE(47) === 7_001 && each.readInt32BE(53) === batch.producer.baseSequence
        );
        return stored === undefined ? -1 : endOf(stored);
      });
      const isDone = expected[expected.length - 1]! >= 0;
      expect(scan).toMatchObject({
        endOffsets: expected,
        isComplete: isDone || gone < 0,
        isNumberTaken: false,
      });
    }),
    { numRuns: 200 },
  );
});
