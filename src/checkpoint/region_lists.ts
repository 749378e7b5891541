import { Region, type RegionInfo, type RegionOwner } from "./region.ts";

/** What is left of neighbours that are complete: its lines are not known any more. */
export function spanOf(
  owner: RegionOwner,
  startOffset: number,
  endOffset: number,
  startsInsideCutLine: boolean,
  endsInsideCutLine: boolean,
): Region {
  return new Region(
    owner,
    { startOffset, endOffset, crc32: 0, lineCount: 0, startsInsideCutLine, endsInsideCutLine },
    true,
  );
}

/** The same regions, with neighbours that are complete joined to spans. */
export function joinComplete(entries: readonly Region[], owner: RegionOwner): Region[] {
  const joined: Region[] = [];
  for (const entry of entries) {
    const last = joined.at(-1);
    if (
      last === undefined || !last.isComplete || !entry.isComplete || last.endOffset !== entry.startOffset
    ) {
      joined.push(entry);
      continue;
    }
    joined[joined.length - 1] = spanOf(
      owner,
      last.startOffset,
      entry.endOffset,
      last.startsInsideCutLine,
      entry.endsInsideCutLine,
    );
  }
  return joined;
}

/** Bytes from `cursor` up to `end` that these regions leave out or do not cover whole, and in how many pieces: neighbours are one. */
export function holesIn(
  entries: readonly Region[],
  cursor: number,
  end: number,
): { readonly count: number; readonly bytes: number } {
  let bytes = 0;
  let count = 0;
  let at = cursor;
  let holeEnd = -1;
  const add = (from: number, to: number) => {
    if (to <= from) return;
    bytes += to - from;
    if (from !== holeEnd) count++;
    holeEnd = to;
  };
  for (const entry of entries) {
    if (entry.startOffset >= end) break;
    if (entry.endOffset <= cursor) continue;
    add(at, entry.startOffset);
    if (!entry.isCovered) add(entry.startOffset, entry.endOffset);
    at = entry.endOffset;
  }
  return { count, bytes };
}

export function isSameRegion(a: RegionInfo, b: RegionInfo): boolean {
  return a.startOffset === b.startOffset && a.endOffset === b.endOffset && a.lineCount === b.lineCount &&
    a.crc32 === b.crc32;
}
