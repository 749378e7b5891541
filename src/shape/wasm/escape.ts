// AssemblyScript, not TypeScript: see README.md in this folder.

const ONES: u64 = 0x0101010101010101;
const HIGHS: u64 = 0x8080808080808080;
const QUOTES: u64 = 0x2222222222222222;
const BACKSLASHES: u64 = 0x5C5C5C5C5C5C5C5C;
const SPACES: u64 = 0x2020202020202020;

/** Bytes that a line may grow by when it is escaped: \u0000 for each. */
const ESCAPED_MAX: usize = 6;

/** Reading and writing is done by words, up to this many bytes too far. */
const SLACK: usize = 16;

/**
 * Writes a JSON object for each of `count` lines to `target` until `targetEnd` might not be enough, and returns how many were written.
 * Line `i` is `[source + starts[i], source + ends[i])`; `joint` is the end of an object and, behind `tailLength` bytes, the start of the
 * next: the caller has written the first start, and takes the last one away. The object's position, relative to `target` and moved by
 * `base`, replaces the line's in `starts` and `ends`.
 */
export function encodeLines(
  source: usize,
  starts: usize,
  ends: usize,
  count: usize,
  joint: usize,
  jointLength: usize,
  tailLength: usize,
  target: usize,
  targetEnd: usize,
  base: usize,
): usize {
  const headLength = jointLength - tailLength;
  let to = target + headLength;
  for (let i: usize = 0; i < count; i++) {
    const from = source + <usize> load<u32>(starts + (i << 2));
    const end = source + <usize> load<u32>(ends + (i << 2));
    if (to + (end - from) * ESCAPED_MAX + jointLength + SLACK > targetEnd) return i;
    store<u32>(starts + (i << 2), <u32> (to - headLength - target + base));
    to = escape(from, end, to);
    store<u32>(ends + (i << 2), <u32> (to + tailLength - target + base));
    copyWords(to, joint, to + jointLength);
    to += jointLength;
  }
  return count;
}

/** Copies a line as the inside of a JSON string and returns where it ends. */
function escape(from: usize, end: usize, to: usize): usize {
  while (from < end) {
    const word = load<u64>(from);
    store<u64>(to, word);
    const quotes = word ^ QUOTES;
    const backslashes = word ^ BACKSLASHES;
    // In each of the three, the lowest byte that is marked is one that is sought; marks above it may be wrong.
    const found =
      (((quotes - ONES) & ~quotes) | ((backslashes - ONES) & ~backslashes) | ((word - SPACES) & ~word)) &
      HIGHS;
    if (found === 0) {
      from += 8;
      to += 8;
      continue;
    }
    const before = <usize> (ctz<u64>(found) >> 3);
    from += before;
    to += before;
    if (from >= end) break;
    to = writeEscape(load<u8>(from), to);
    from++;
  }
  // The last word may have gone too far.
  return to - (from - end);
}

function writeEscape(byte: u8, to: usize): usize {
  let letter: u32 = byte;
  if (byte < 32) {
    if (byte === 8) letter = 0x62;
    else if (byte === 9) letter = 0x74;
    else if (byte === 10) letter = 0x6E;
    else if (byte === 12) letter = 0x66;
    else if (byte === 13) letter = 0x72;
    else {
      store<u32>(to, 0x3030755C);
      store<u8>(to + 4, hex(byte >> 4));
      store<u8>(to + 5, hex(byte & 15));
      return to + 6;
    }
  }
  store<u16>(to, <u16> (0x5C | (letter << 8)));
  return to + 2;
}

function hex(digit: u8): u8 {
  return digit < 10 ? 0x30 + digit : 0x57 + digit;
}

function copyWords(to: usize, from: usize, toEnd: usize): void {
  do {
    store<u64>(to, load<u64>(from));
    store<u64>(to + 8, load<u64>(from + 8));
    to += 16;
    from += 16;
  } while (to < toEnd);
}
