// AssemblyScript, not TypeScript: see README.md in this folder.

/*
 * CRC-32C without tables for all but the last 1.7 kB. The polynomial divides
 *
 *   Q(x) = x^209 + x^144 + x^54 + x^39 + x^14 + 1,
 *
 * its multiple of lowest degree with six terms, and so it divides Q(x^64) = Q(x)^64 too (squaring is linear over GF(2)). Modulo Q(x^64) a
 * word of 64 bits is worth the same as its copies 65, 155, 170, 195 and 209 words later: five exclusive-ors move a word forward, and no
 * bit has to be shifted. Words are eliminated from the front until 209 are left, and only those go through tables.
 */
const WINDOW: usize = 209 * 8;

/** Bytes from which folding pays: below, tables alone are faster. */
const FOLD_MIN: usize = 2 * WINDOW;

/** Bytes that are folded before the window moves back to the start of the work area. */
const PIECE: usize = 8192;

/** Bytes of `work`: eight tables, a window of history, a piece. */
const TABLES: usize = 8192;

/** Fills the tables at the start of `work` (8192 + 1672 + 8192 bytes). Called once for each `work`. */
export function crc32cPrepare(work: usize): void {
  for (let i: u32 = 0; i < 256; i++) {
    let crc = i;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82F63B78 : crc >>> 1;
    store<u32>(work + (i << 2), crc);
  }
  for (let i: usize = 0; i < 256; i++) {
    let crc = load<u32>(work + (i << 2));
    for (let table: usize = 1; table < 8; table++) {
      crc = (crc >>> 8) ^ load<u32>(work + ((crc & 255) << 2));
      store<u32>(work + (table << 10) + (i << 2), crc);
    }
  }
}

function entry(work: usize, table: usize, index: u64): u32 {
  return load<u32>(work + (table << 10) + (<usize> (index & 255) << 2));
}

/** The register after `length` more bytes, by tables. */
function byTables(work: usize, source: usize, length: usize, register: u32): u32 {
  const end = source + length;
  for (; source + 8 <= end; source += 8) {
    const word = load<u64>(source) ^ <u64> register;
    register = entry(work, 7, word) ^ entry(work, 6, word >> 8) ^ entry(work, 5, word >> 16) ^
      entry(work, 4, word >> 24) ^ entry(work, 3, word >> 32) ^ entry(work, 2, word >> 40) ^
      entry(work, 1, word >> 48) ^ entry(work, 0, word >> 56);
  }
  for (; source < end; source++) register = (register >>> 8) ^ entry(work, 0, register ^ load<u8>(source));
  return register;
}

function history(at: usize): u64 {
  return load<u64>(at - 65 * 8) ^ load<u64>(at - 155 * 8) ^ load<u64>(at - 170 * 8) ^
    load<u64>(at - 195 * 8) ^
    load<u64>(at - 209 * 8);
}

/**
 * CRC-32C of `length` bytes after bytes whose CRC-32C is `seed` (0 for none). `work` was filled by `crc32cPrepare` and is used by nobody
 * else meanwhile.
 */
export function crc32c(source: usize, length: usize, seed: u32, work: usize): u32 {
  if (length < FOLD_MIN) return ~byTables(work, source, length, ~seed);
  const start = work + TABLES + WINDOW;
  memory.fill(start - WINDOW, 0, WINDOW);
  let left = (length - WINDOW) & ~7;
  const rest = length - left;
  let first = <u64> ~seed;
  while (left > 0) {
    const piece = min(left, PIECE);
    const stop = start + piece;
    store<u64>(start, load<u64>(source) ^ first ^ history(start));
    first = 0;
    source += 8;
    for (let at = start + 8; at < stop; at += 8, source += 8) {
      store<u64>(at, load<u64>(source) ^ history(at));
    }
    memory.copy(start - WINDOW, stop - WINDOW, WINDOW);
    left -= piece;
  }
  // What is left stays: only the words in front of it are moved into it.
  memory.fill(start, 0, WINDOW);
  const moved = start + WINDOW;
  for (let at: usize = 0; at < WINDOW; at += 8) {
    store<u64>(moved + at, load<u64>(source + at) ^ history(start + at));
  }
  const register = byTables(work, moved, WINDOW, 0);
  return ~byTables(work, source + WINDOW, rest - WINDOW, register);
}
