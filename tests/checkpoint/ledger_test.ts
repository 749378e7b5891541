import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Ledger } from "../../src/checkpoint/ledger.ts";
import { readLedger, writeLedger } from "../../src/checkpoint/ledger_snapshot.ts";
import { MARKS_MAX } from "../../src/checkpoint/marks.ts";
import type { RegionInfo } from "../../src/checkpoint/region.ts";
import { ByteDecoder, ByteEncoder } from "../../src/storage/byte_codec.ts";
import { regionInfo, streamOf } from "./journaled_positions.ts";

const stream = streamOf("x");

function newLedger(startOffset = 0, isCut = false): Ledger {
  return new Ledger(stream, 1, startOffset, () => {}, isCut);
}

/** What a restart has of it. */
function stored(ledger: Ledger): Ledger {
  const out = new ByteEncoder();
  writeLedger(out, ledger);
  const input = new ByteDecoder(Buffer.from(out.bytes()));
  const found = readLedger(input, newLedger);
  expect(input.isAtEnd).toBe(true);
  return found;
}

interface CaseRegion {
  readonly sizeBytes: number;
  readonly lineCount: number;
  readonly endsInsideCutLine: boolean;
  /** By line: "unread", in a batch in "doubt", or "done". */
  readonly lines: readonly string[];
}

const caseRegion: fc.Arbitrary<CaseRegion> = fc.record({
  sizeBytes: fc.integer({ min: 1, max: 50 }),
  lines: fc.oneof(
    fc.array(fc.constantFrom("unread", "doubt", "done"), { maxLength: 12 }),
    fc.array(fc.constant("done"), { maxLength: 5 }),
    fc.array(fc.constant("unread"), { maxLength: 5 }),
    fc.array(fc.constant("doubt"), { maxLength: 5 }),
  ),
  endsInsideCutLine: fc.boolean(),
}).map(({ lines, ...rest }) => ({ ...rest, lines, lineCount: lines.length }));

/** Regions that follow each other. */
function infosOf(regions: readonly CaseRegion[]): RegionInfo[] {
  let startOffset = 0;
  let startsInsideCutLine = false;
  return regions.map(({ sizeBytes, lineCount, endsInsideCutLine }, i) => {
    const info = {
      startOffset,
      endOffset: startOffset + sizeBytes,
      crc32: 1_000 + i,
      lineCount,
      startsInsideCutLine,
      endsInsideCutLine,
    };
    startOffset = info.endOffset;
    startsInsideCutLine = endsInsideCutLine;
    return info;
  });
}

/** Lines that a restart reads, as "region:line", in the order of the file. A gap is read in the regions that it was. */
function readAgain(ledger: Ledger, infos: readonly RegionInfo[]): string[] {
  const found: string[] = [];
  const end = infos.at(-1)?.endOffset ?? 0;
  let offset = ledger.cursor;
  let isAfterRead = false;
  while (offset < end) {
    const index = infos.findIndex((info) => info.startOffset === offset);
    const piece = ledger.pieceAt(offset);
    if (piece?.kind === "skip") {
      offset = piece.endOffset;
      isAfterRead = false;
      continue;
    }
    expect(index).toBeGreaterThanOrEqual(0);
    const info = infos[index]!;
    // Who reads on knows it anyway.
    if (!isAfterRead) {
      expect([offset, ledger.isInsideCutLine(offset)]).toEqual([offset, info.startsInsideCutLine]);
    }
    isAfterRead = true;
    if (piece?.kind === "region") {
      const { region } = piece;
      expect([region.startOffset, region.endOffset, region.crc32]).toEqual([
        info.startOffset,
        info.endOffset,
        info.crc32,
      ]);
    } else if (piece !== null) expect(piece.endOffset).toBeGreaterThanOrEqual(info.endOffset);
    for (let line = 0; line < info.lineCount; line++) {
      if (piece?.kind !== "region" || !piece.region.isLineCovered(line)) found.push(`${index}:${line}`);
    }
    offset = info.endOffset;
  }
  return found;
}

describe("a ledger after a restart", () => {
  test("reads the lines that nobody has, knows where a cut line goes on, and counts what is in doubt", () => {
    fc.assert(
      fc.property(fc.array(caseRegion, { maxLength: 12 }), fc.boolean(), (regions, isCompact) => {
        const infos = infosOf(regions);
        const before = newLedger();
        infos.forEach((info, i) => {
          const region = before.track(info);
          const lines = regions[i]!.lines;
          lines.forEach((state, line) => state !== "unread" && region.cover(line, 1));
          if (isCompact) region.settle(lines.filter((state) => state === "done").length);
        });
        const after = stored(before);
        after.finishRestore();
        const unread = regions.flatMap(({ lines }, i) =>
          lines.flatMap((state, line) => state === "unread" ? [`${i}:${line}`] : [])
        );
        expect(readAgain(after, infos)).toEqual(unread);
        const doubts = infos.map((info, i) => {
          const count = regions[i]!.lines.filter((state) => state === "doubt").length;
          return count === 0 ? null : { region: after.reopen(info, count), count };
        });
        expect(readAgain(after, infos)).toEqual(unread);
        // A batch in doubt holds the position back; settled, it lets it go.
        for (const doubt of doubts) doubt?.region.settle(doubt.count);
        const firstUnread = infos.findIndex((_, i) => regions[i]!.lines.includes("unread"));
        if (firstUnread >= 0) expect(after.position).toBe(infos[firstUnread]!.startOffset);
        expect(after.totals.coveredCount).toBe(before.totals.coveredCount);
      }),
      { numRuns: 1_000 },
    );
  });

  test("what is stored of it can be stored again, and says the same", () => {
    fc.assert(
      fc.property(fc.array(caseRegion, { maxLength: 12 }), (regions) => {
        const infos = infosOf(regions);
        const before = newLedger();
        infos.forEach((info, i) => {
          const region = before.track(info);
          regions[i]!.lines.forEach((state, line) => state !== "unread" && region.cover(line, 1));
        });
        before.totals.drop("a", 3);
        before.totals.lose("b", 4);
        before.totals.loseBytes("c", 5);
        const first = stored(before);
        const out = [first, stored(first)].map((ledger) => {
          const bytes = new ByteEncoder();
          writeLedger(bytes, ledger);
          return Buffer.from(bytes.bytes()).toString("hex");
        });
        expect(out[1]).toBe(out[0]!);
        expect(first.totals).toEqual(before.totals);
      }),
      { numRuns: 300 },
    );
  });

  test("a line that is cut at the end of what was delivered goes on behind it, also with an older batch in doubt", () => {
    const before = newLedger();
    const first = before.track(regionInfo(0, 20));
    const cut = before.track(regionInfo(20, 61, 1, true));
    const later = before.track({ ...regionInfo(70, 90), startsInsideCutLine: false });
    for (const region of [first, cut, later]) region.cover(0, 1);
    const after = stored(before);
    after.finishRestore();
    expect(after.pieceAt(61)).toEqual({ kind: "gap", endOffset: 70 });
    expect(after.isInsideCutLine(61)).toBe(true);
    after.reopen(regionInfo(0, 20), 1);
    expect(after.isInsideCutLine(61)).toBe(true);
  });
});

describe("rewinding", () => {
  test("forgets what is behind, keeps what is before, and lets what is on its way be delivered without a trace", () => {
    const ledger = newLedger();
    const regions = [0, 10, 20, 30].map((start) =>
      ledger.track({ ...regionInfo(start, start + 10), crc32: start })
    );
    regions[0]!.cover(0, 1);
    regions[1]!.cover(0, 1);
    regions[2]!.cover(0, 1);
    ledger.rewind(20);
    expect([ledger.trackedEnd, ledger.cursor, ledger.position]).toEqual([20, 0, 0]);
    expect(regions.map(({ streamNumber }) => streamNumber)).toEqual([1, 1, 0, 0]);
    regions[3]!.cover(0, 1);
    for (const region of regions) region.settle(1);
    expect(ledger.position).toBe(20);
    expect(ledger.knownRegions().map(({ endOffset }) => endOffset)).toEqual([10, 20]);
    const other = ledger.track({ ...regionInfo(20, 25), crc32: 7 });
    other.cover(0, 1);
    expect(ledger.marks.all.map(({ endOffset, crc32 }) => [endOffset, crc32])).toEqual([[10, 0], [20, 10], [
      25,
      7,
    ]]);
  });

  test("nobody goes on from what was seen of a line behind it", () => {
    const ledger = newLedger();
    ledger.track(regionInfo(0, 10));
    ledger.rewind(10);
    expect([ledger.rewindCount, ledger.trackedEnd]).toEqual([1, 10]);
  });
});

test("marks are bounded, and so is what is kept of a region that was long delivered", () => {
  const ledger = newLedger();
  for (let i = 0; i < 10_000; i++) {
    const region = ledger.track(regionInfo(i * 10, i * 10 + 10, 3));
    region.cover(0, 3);
    // The first one stays open for ever.
    if (i > 0) region.settle(3);
  }
  expect(ledger.marks.all.length).toBeLessThanOrEqual(2 * MARKS_MAX);
  expect(ledger.entries().length).toBeLessThan(200);
  expect([ledger.position, ledger.frontier]).toEqual([0, 100_000]);
  expect(stored(ledger).marks.all).toHaveLength(MARKS_MAX);
});

test("overlaps, and lines that are not there, are bugs and throw", () => {
  const ledger = newLedger();
  const region = ledger.track(regionInfo(0, 10, 2));
  expect(() => ledger.track(regionInfo(5, 15))).toThrow(
    "Cannot track bytes 5 to 15: they are tracked already",
  );
  expect(() => region.cover(1, 2)).toThrow("Cannot cover lines 1 to 3 of a region of 2");
  expect(() => region.settle(3)).toThrow("Cannot settle 3 more lines of a region of 2: 0 are settled");
});
