/** A UTF-8 character has this many bytes behind its first at most. */
const CONTINUATION_BYTES_MAX = 3;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const LETTER_U = 0x75;

/** Content of a string of a JSON text, without its quotes. */
interface StringRange {
  readonly start: number;
  readonly end: number;
}

/**
 * The value without at least `excessBytes`, cut at the end of a UTF-8 character; bytes that are not UTF-8 are cut anywhere. Null when there is
 * not that much.
 */
export function truncateText(value: Buffer, excessBytes: number): Buffer | null {
  if (excessBytes > value.length) return null;
  return value.subarray(0, characterStart(value, value.length - excessBytes, 0));
}

/**
 * The same for a JSON text, which stays one: the longest string in it loses its end, wherever it stands (names of fields are left alone); when it
 * is not long enough it becomes empty, and the next longest is cut. No other byte changes. Null when the strings are not that long together.
 */
export function truncateJson(value: Buffer, excessBytes: number): Buffer | null {
  const strings = stringsOf(value).sort((a, b) => (b.end - b.start) - (a.end - a.start));
  const cuts: StringRange[] = [];
  let left = excessBytes;
  for (const each of strings) {
    if (left <= 0) break;
    const keepEnd = Math.max(each.start, each.end - left);
    const start = partStart(value, each, characterStart(value, keepEnd, each.start));
    cuts.push({ start, end: each.end });
    left -= each.end - start;
  }
  if (left > 0) return null;
  cuts.sort((a, b) => a.start - b.start);
  const parts: Buffer[] = [];
  let at = 0;
  for (const { start, end } of cuts) {
    parts.push(value.subarray(at, start));
    at = end;
  }
  parts.push(value.subarray(at));
  return Buffer.concat(parts);
}

/** The last start of a character that is not behind `at`. */
function characterStart(value: Buffer, at: number, min: number): number {
  for (let back = 0; back <= CONTINUATION_BYTES_MAX && at - back >= min; back++) {
    if (at - back >= value.length || (value[at - back]! & 0xc0) !== 0x80) return at - back;
  }
  return at;
}

/** The last place not behind `at` that is in no escape (a surrogate pair is one). */
function partStart(value: Buffer, { start }: StringRange, at: number): number {
  let place = start;
  while (place < at) {
    const next = place + partBytes(value, place);
    if (next > at) return place;
    place = next;
  }
  return at;
}

function partBytes(value: Buffer, at: number): number {
  if (value[at] !== BACKSLASH) return 1;
  if (value[at + 1] !== LETTER_U) return 2;
  const isHighSurrogate = /^d[89ab]/iu.test(value.toString("latin1", at + 2, at + 6));
  return isHighSurrogate && value[at + 6] === BACKSLASH && value[at + 7] === LETTER_U ? 12 : 6;
}

/** The strings of a JSON text that are values, in order. */
function stringsOf(value: Buffer): StringRange[] {
  const found: StringRange[] = [];
  for (let at = value.indexOf(QUOTE); at >= 0; at = value.indexOf(QUOTE, at)) {
    const start = at + 1;
    let end = start;
    while (end < value.length && value[end] !== QUOTE) end += value[end] === BACKSLASH ? 2 : 1;
    at = end + 1;
    let next = at;
    while (next < value.length && value[next]! <= 0x20) next++;
    if (value[next] !== COLON && end <= value.length) found.push({ start, end });
    if (at >= value.length) break;
  }
  return found;
}
