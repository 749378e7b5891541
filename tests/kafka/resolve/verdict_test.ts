import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  checkBatches,
  type DoubtfulBatch,
  type Evidence,
  judge,
  type Listing,
  type Recency,
  type Scan,
  type ScanFinding,
  type Verdict,
} from "../../../src/kafka/resolve/verdict.ts";
import { doubtful, TIME_MS } from "./batches.ts";

const HOUR_MS = 3_600_000;
const recent: Recency = { nowMs: TIME_MS + HOUR_MS, dedupWindowMs: 24 * HOUR_MS, hasClockJumped: false };
const old: Recency = { ...recent, nowMs: TIME_MS + 12 * HOUR_MS };

const evidence: Evidence = {
  clusterId: "c",
  topicId: "t",
  leaderEpoch: 4,
  listing: { kind: "absent" },
  logEndOffset: 130,
  highWatermark: 130,
  logStartOffset: 0,
};
const listed = (lastSequence: number, epoch = 0): Listing => ({
  kind: "listed",
  epoch,
  lastSequence,
  lastTimestampMs: TIME_MS,
});
const nothing: ScanFinding = { endOffsets: [-1, -1], isComplete: true, isNumberTaken: false, gap: "" };
const inconclusive: ScanFinding = { ...nothing, isComplete: false, gap: "the log was compacted" };

/** Sequences 100 to 109 and 110 to 129. */
const two = doubtful(100, [10, 20]);

function judged(
  batches: readonly DoubtfulBatch[],
  listing: Listing,
  scan: Scan | null = null,
  recency = recent,
): Verdict | "scan-needed" {
  return judge(batches, { ...evidence, listing }, scan, recency);
}

describe("R1: other cluster, other topic", () => {
  const known = doubtful(0, [5], { clusterId: "c", topicId: "t" });
  const replace = (reason: string) => ({ kind: "replace", reason, isDataLossAtBroker: false, listed: null });

  test.each([
    ["same ids", "c", "t", "scan-needed"],
    ["another cluster", "d", "t", replace("other-cluster")],
    ["another topic", "c", "u", replace("other-topic")],
    ["both: the cluster says more", "d", "u", replace("other-cluster")],
    ["ids that the broker does not tell", null, null, "scan-needed"],
  ])("%s", (_, clusterId, topicId, expected) => {
    expect(judge(known, { ...evidence, clusterId, topicId }, null, recent)).toEqual(expected as Verdict);
  });

  test("ids that the journal does not have prove nothing", () => {
    expect(judge(doubtful(0, [5]), { ...evidence, clusterId: "d", topicId: "u" }, null, recent)).toBe(
      "scan-needed",
    );
  });

  test("one batch of another topic takes all along", () => {
    const mixed = [known[0]!, ...doubtful(5, [5], { clusterId: "c", topicId: "u" })];
    expect(judge(mixed, evidence, null, recent)).toEqual(replace("other-topic") as Verdict);
  });
});

describe("R2: the producer is listed", () => {
  const written = (writtenCount: number) => ({
    kind: "written",
    writtenCount,
    by: "listed",
    isReplicated: true,
    provenOffset: 130,
    leaderEpoch: 4,
    isRestUnwritten: true,
  });
  const unwritten = { kind: "unwritten", by: "listed", logEndOffset: 130 };
  const lost = (epoch: number, lastSequence: number) => ({
    kind: "replace",
    reason: "broker-lost-acked",
    isDataLossAtBroker: true,
    listed: { epoch, lastSequence, lastTimestampMs: TIME_MS },
  });
  const inside = { kind: "undecidable", reason: expect.stringContaining("inside a batch") };

  test.each([
    ["just before the first", 99, unwritten],
    ["the end of the first", 109, written(1)],
    ["the end of the last", 129, written(2)],
    ["the first record of the first", 100, inside],
    ["all but one record of the first", 108, inside],
    ["the first record of the second", 110, inside],
    ["all but one record of the second", 128, inside],
    ["one before what was acknowledged", 98, lost(0, 98)],
    ["the first of all", 0, lost(0, 0)],
    ["half a turn behind", 99 - 0x4000_0000 + 0x8000_0000, lost(0, 99 - 0x4000_0000 + 0x8000_0000)],
    ["one after the last", 130, "scan-needed"],
    ["just less than half a turn ahead", 99 + 0x3fff_ffff, "scan-needed"],
  ])("last sequence is %s (%d)", (_, lastSequence, expected) => {
    expect(judged(two, listed(lastSequence as number))).toEqual(expected as Verdict);
  });

  test.each([
    [[10], 0x7fff_fffe, 0x7fff_fffd, unwritten],
    [[10], 0x7fff_fffe, 7, written(1)],
    [[10], 0x7fff_fffe, 0x7fff_ffff, inside],
    [[10], 0x7fff_fffe, 0, inside],
    [[2, 10], 0x7fff_fffe, 0x7fff_ffff, written(1)],
    [[2, 10], 0x7fff_fffe, 9, written(2)],
    [[2, 10], 0x7fff_fffe, 10, "scan-needed"],
    [[2, 10], 0x7fff_fffe, 0x7fff_fffc, lost(0, 0x7fff_fffc)],
    [[5], 0, 0x7fff_ffff, unwritten],
    [[5], 3, 1, lost(0, 1)],
    [[5], 3, 0x7fff_ffff, lost(0, 0x7fff_ffff)],
  ])("across 2^31: %j records from %d, last %d", (counts, first, last, expected) => {
    expect(judged(doubtful(first as number, counts as number[]), listed(last as number))).toEqual(
      expected as Verdict,
    );
  });

  test("no batch is remembered: before sequence 0 that says all, later nothing", () => {
    expect(judged(doubtful(0, [5]), listed(-1))).toEqual(unwritten as Verdict);
    expect(judged(two, listed(-1))).toBe("scan-needed");
    expect(judged(two, listed(-1), nothing)).toMatchObject({ kind: "unwritten", by: "scanned" });
  });

  test("a lower epoch: nothing was written yet under ours, or it is lost", () => {
    expect(judged(doubtful(0, [5], { epoch: 3 }), listed(400, 2))).toEqual(unwritten as Verdict);
    expect(judged(doubtful(100, [5], { epoch: 3 }), listed(104, 2))).toEqual(lost(2, 104) as Verdict);
  });

  test("replication is proven by the high watermark only", () => {
    const late = { ...evidence, listing: listed(129), highWatermark: 129 };
    expect(judge(two, late, null, recent)).toMatchObject({ isReplicated: false, provenOffset: 130 });
    const unknown = { ...evidence, listing: listed(129), logEndOffset: null };
    expect(judge(two, unknown, null, recent)).toMatchObject({ isReplicated: false, provenOffset: -1 });
    const before = { ...evidence, listing: listed(99), logEndOffset: null };
    expect(judge(two, before, null, recent)).toMatchObject({ kind: "unwritten", logEndOffset: -1 });
  });

  test("what the clock says does not matter", () => {
    for (const recency of [recent, old, { ...recent, hasClockJumped: true }]) {
      expect(judged(two, listed(109), null, recency)).toEqual(written(1) as Verdict);
    }
  });
});

describe("R2: the broker has newer batches", () => {
  const behind = (
    reason: string,
    lastSequence: number,
    epoch: number,
    writtenCount: number,
    by: string,
    isRestUnwritten: boolean,
  ) => ({
    kind: "journal-behind",
    reason,
    listed: { epoch, lastSequence, lastTimestampMs: TIME_MS },
    writtenCount,
    by,
    isRestUnwritten,
  });
  const first = { ...nothing, endOffsets: [50, -1] };
  const both = { ...nothing, endOffsets: [50, 70] };
  const onlySecond = { ...nothing, endOffsets: [-1, 70] };

  test.each<[string, Scan, number, string, boolean]>([
    ["both found", both, 2, "scanned", true],
    ["the second found proves the first", onlySecond, 2, "scanned", true],
    ["the first found, and nothing was overlooked", first, 1, "scanned", true],
    ["the first found, some of the log is gone", { ...first, isComplete: false }, 2, "listed", true],
    ["none, and nothing was overlooked", nothing, 0, "scanned", true],
    ["none, some of the log is gone", inconclusive, 2, "listed", true],
    ["others under our numbers", { ...inconclusive, isNumberTaken: true }, 0, "scanned", true],
    ["no READ right any more", "denied", 2, "listed", true],
  ])("a later sequence, %s", (_, scan, count, by, isRestUnwritten) => {
    expect(judged(two, listed(999), scan)).toEqual(
      behind("sequence-ahead", 999, 0, count, by, isRestUnwritten) as Verdict,
    );
  });

  test.each<[string, Scan, number, boolean]>([
    ["both found", both, 2, true],
    ["the first found, and nothing was overlooked", first, 1, true],
    ["the first found, some of the log is gone", { ...first, isComplete: false }, 1, false],
    ["none, and nothing was overlooked", nothing, 0, true],
    ["none, some of the log is gone", inconclusive, 0, false],
    ["others under our numbers", { ...inconclusive, isNumberTaken: true }, 0, true],
    ["no READ right any more", "denied", 0, false],
  ])("a higher epoch, %s", (_, scan, count, isRestUnwritten) => {
    expect(judged(two, listed(3, 1))).toBe("scan-needed");
    expect(judged(two, listed(3, 1), scan)).toEqual(
      behind("epoch-ahead", 3, 1, count, "scanned", isRestUnwritten) as Verdict,
    );
  });
});

describe("R3 and R4: no entry", () => {
  const absent: Listing = { kind: "absent" };
  const found = (writtenCount: number, provenOffset: number, isRestUnwritten: boolean) => ({
    kind: "written",
    writtenCount,
    by: "scanned",
    isReplicated: true,
    provenOffset,
    leaderEpoch: 4,
    isRestUnwritten,
  });
  const taken = { kind: "replace", reason: "numbers-taken", isDataLossAtBroker: false, listed: null };
  const undecidable = { kind: "undecidable", reason: "the log was compacted" };

  test.each<[string, Scan, unknown]>([
    ["nothing found, nothing overlooked", nothing, { kind: "unwritten", by: "scanned", logEndOffset: 130 }],
    ["the first found", { ...nothing, endOffsets: [50, -1] }, found(1, 50, true)],
    ["both found", { ...nothing, endOffsets: [50, 70] }, found(2, 70, true)],
    ["the second found proves the first", { ...nothing, endOffsets: [-1, 70] }, found(2, 70, true)],
    [
      "the first found, some of the log is gone",
      { ...inconclusive, endOffsets: [50, -1] },
      found(1, 50, false),
    ],
    [
      "the last found, some of the log is gone",
      { ...inconclusive, endOffsets: [-1, 70] },
      found(2, 70, true),
    ],
    ["others under our numbers", { ...nothing, isNumberTaken: true }, taken],
    ["others under our numbers, some is gone", { ...inconclusive, isNumberTaken: true }, taken],
    [
      "the first found, others after it",
      { ...nothing, endOffsets: [50, -1], isNumberTaken: true },
      found(1, 50, false),
    ],
    ["nothing found, some of the log is gone", inconclusive, undecidable],
  ])("%s", (_, scan, expected) => {
    expect(judged(two, absent)).toBe("scan-needed");
    for (const recency of [recent, old]) {
      expect(judged(two, absent, scan, recency)).toEqual(expected as Verdict);
    }
  });

  test.each<[string, Listing["kind"], Scan, string]>([
    ["without READ right", "denied", "denied", "resend"],
    ["a broker before 2.8 without READ right", "unsupported", "denied", "resend"],
    ["a broker before 2.8 with a compacted log", "unsupported", inconclusive, "resend"],
    ["READ right taken away meanwhile", "absent", "denied", "resend"],
  ])("within half the window the broker decides: %s", (_, kind, scan, expected) => {
    const listing = { kind } as Listing;
    expect(judged(two, listing, scan, recent)).toMatchObject({ kind: expected });
    expect(judged(two, listing, scan, old)).toMatchObject({ kind: "undecidable" });
    expect(judged(two, listing, scan, { ...recent, hasClockJumped: true })).toMatchObject({
      kind: "undecidable",
    });
    const slightlyBack = { ...recent, nowMs: TIME_MS - 10_000 };
    expect(judged(two, listing, scan, slightlyBack)).toMatchObject({ kind: expected });
    const future = { ...recent, nowMs: TIME_MS - 10_001 };
    expect(judged(two, listing, scan, future)).toMatchObject({ kind: "undecidable" });
    const oneOld = [{ ...two[0]!, sentMs: TIME_MS - 11 * HOUR_MS }, two[1]!];
    expect(judged(oneOld, listing, scan, recent)).toMatchObject({ kind: "undecidable" });
  });

  test("without READ right no scan is asked for", () => {
    expect(judged(two, { kind: "denied" })).toMatchObject({ kind: "resend" });
    expect(judged(two, { kind: "unsupported" })).toBe("scan-needed");
  });
});

test("every last sequence within half a turn: none, some, all or inside, as a list of sequences says", () => {
  const counts = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 4 });
  const first = fc.oneof(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 0x7fff_ffe0, max: 0x7fff_ffff }));
  fc.assert(fc.property(counts, first, fc.integer({ min: -20, max: 60 }), (sizes, base, distance) => {
    const batches = doubtful(base, sizes);
    const last = (base - 1 + distance + 2 ** 31) % 2 ** 31;
    const total = sizes.reduce((sum, size) => sum + size, 0);
    const verdict = judged(batches, listed(last));
    let end = 0;
    const boundary = [0, ...sizes.map((size) => end += size)].indexOf(distance);
    if (distance < 0) expect(verdict).toMatchObject({ reason: "broker-lost-acked" });
    else if (distance > total) expect(verdict).toBe("scan-needed");
    else if (boundary < 0) expect(verdict).toMatchObject({ kind: "undecidable" });
    else if (boundary === 0) expect(verdict).toMatchObject({ kind: "unwritten" });
    else expect(verdict).toMatchObject({ kind: "written", writtenCount: boundary });
  }));
});

test("lists that are none are refused", () => {
  const [a, b] = doubtful(100, [10, 20]) as [DoubtfulBatch, DoubtfulBatch];
  expect(() => checkBatches([a, b])).not.toThrow();
  expect(() => checkBatches(doubtful(0x7fff_fffe, [2, 5]))).not.toThrow();
  expect(() => checkBatches([])).toThrow("empty");
  for (
    const wrong of [
      [b, a],
      [a, a],
      [a, ...doubtful(110, [1], { epoch: 1 })],
      [a, ...doubtful(110, [1], { producerIdLow: 9 })],
      [a, ...doubtful(111, [1])],
      [{ ...a, count: 0 }],
    ]
  ) expect(() => checkBatches(wrong)).toThrow("do not follow");
});
