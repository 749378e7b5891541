import type { ByteDecoder, ByteEncoder } from "../storage/byte_codec.ts";
import { CodecError } from "../storage/byte_codec.ts";
import type { Ledger } from "./ledger.ts";
import { MARKS_MAX } from "./marks.ts";
import type { Region } from "./region.ts";
import type { Totals } from "./totals.ts";

/*
 * A ledger as it is stored:
 *
 *     base         varint   everything in front of it is covered
 *     flags        uint8    1: `base` lies inside a line that was cut
 *     entries      { kind uint8 (1 span, 2 region) | gap varint, from the end of the one before | length varint
 *                    | flags uint8 (1 starts, 2 ends inside a cut line)
 *                    | region only: crc32 uint32 | lines varint | runs { not covered varint | covered varint > 0 } 0 0 }
 *     end          uint8 0
 *     marks        varint count { start varint | length varint | crc32 uint32 }
 *     totals       covered varint | delivered varint | dropped, lost, lost bytes: varint count { text | varint }
 *     rewinds      { event varint | offset varint } up to the end
 *
 * Lines that are not covered are what a restart reads again; how much of what is covered was also delivered is not in here: that is what the
 * live intents tell.
 */
const SPAN = 1;
const REGION = 2;
const LABELS_STORED_MAX = 1_000;

/** Appends the ledger's coverage, marks and totals. */
export function writeLedger(out: ByteEncoder, ledger: Ledger): void {
  const entries = ledger.entries();
  let end = ledger.position;
  let first = 0;
  while (first < entries.length && entries[first]!.startOffset === end && entries[first]!.isCovered) {
    end = entries[first++]!.endOffset;
  }
  out.varint(end).uint8(ledger.isInsideCutLine(end) ? 1 : 0);
  for (let i = first; i < entries.length; i++) {
    const entry = entries[i]!;
    // One without lines (the rest of a line that was cut) says nothing where what comes before it is read again.
    const isAlone = entry.lineCount === 0 && !entry.isSpan && entry.startOffset !== end;
    if (isAlone || (!entry.isCovered && entry.coveredCount === 0)) continue;
    let last = entry;
    while (
      entry.isCovered && i + 1 < entries.length && entries[i + 1]!.isCovered &&
      entries[i + 1]!.startOffset === last.endOffset
    ) last = entries[++i]!;
    out.uint8(entry.isCovered ? SPAN : REGION).varint(entry.startOffset - end)
      .varint(last.endOffset - entry.startOffset)
      .uint8((entry.startsInsideCutLine ? 1 : 0) | (last.endsInsideCutLine ? 2 : 0));
    if (!entry.isCovered) writeRegion(out, entry);
    end = last.endOffset;
  }
  out.uint8(0);
  writeMarks(out, ledger);
  writeTotals(out, ledger.totals);
  ledger.rewinds.write(out);
}

function writeRegion(out: ByteEncoder, region: Region): void {
  out.uint32(region.crc32).varint(region.lineCount);
  region.forEachCoveredRun((gap, run) => out.varint(gap).varint(run));
  out.varint(0).varint(0);
}

function writeMarks(out: ByteEncoder, ledger: Ledger): void {
  const marks = ledger.marks.all.slice(-MARKS_MAX);
  out.varint(marks.length);
  for (const { startOffset, endOffset, crc32 } of marks) {
    out.varint(startOffset).varint(endOffset - startOffset).uint32(crc32);
  }
}

function writeTotals(out: ByteEncoder, totals: Totals): void {
  out.varint(totals.coveredCount).varint(totals.deliveredCount);
  for (const counts of [totals.dropped, totals.lost, totals.lostBytes]) {
    const kept = [...counts].slice(0, LABELS_STORED_MAX);
    out.varint(kept.length);
    for (const [label, count] of kept) out.text(label).varint(count);
  }
}

/**
 * Reads what `writeLedger` wrote into the ledger that `make` gives for the base. `finishRestore` is left to the caller, after all frames were
 * read. Throws `CodecError`.
 */
export function readLedger(
  input: ByteDecoder,
  make: (startOffset: number, startsInsideCutLine: boolean) => Ledger,
): Ledger {
  let end = input.varint();
  const ledger = make(end, (input.uint8() & 1) !== 0);
  for (;;) {
    const kind = input.uint8();
    if (kind === 0) break;
    if (kind !== SPAN && kind !== REGION) throw new CodecError(`A ledger has no entry of kind ${kind}`);
    const startOffset = end + input.varint();
    end = startOffset + input.varint();
    const flags = input.uint8();
    const info = {
      startOffset,
      endOffset: end,
      crc32: kind === REGION ? input.uint32() : 0,
      lineCount: kind === REGION ? input.varint() : 0,
      startsInsideCutLine: (flags & 1) !== 0,
      endsInsideCutLine: (flags & 2) !== 0,
    };
    const region = ledger.restoreEntry(info, kind === SPAN);
    if (kind === REGION) readRuns(input, region);
  }
  for (let left = input.varint(); left > 0; left--) {
    const startOffset = input.varint();
    ledger.marks.add({ startOffset, endOffset: startOffset + input.varint(), crc32: input.uint32() });
  }
  readTotals(input, ledger.totals);
  ledger.rewinds.read(input);
  ledger.endRestoreEntries();
  return ledger;
}

function readRuns(input: ByteDecoder, region: Region): void {
  for (let line = 0;;) {
    line += input.varint();
    const run = input.varint();
    if (run === 0) return;
    if (line + run > region.lineCount) throw new CodecError("A region has fewer lines than are covered");
    region.cover(line, run);
    line += run;
  }
}

function readTotals(input: ByteDecoder, totals: Totals): void {
  totals.coveredCount = input.varint();
  totals.deliveredCount = input.varint();
  for (const counts of [totals.dropped, totals.lost, totals.lostBytes]) {
    counts.clear();
    for (let left = input.varint(); left > 0; left--) counts.set(input.text(), input.varint());
  }
}
