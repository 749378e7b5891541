// AssemblyScript, not TypeScript: see README.md in this folder.
import { copyWild, hash5, HASH_BITS, matchEnd } from "./bytes";

const MIN_MATCH: usize = 4;
/** No match starts in the last bytes of a block, so that eight bytes can be read everywhere. */
const MATCH_START_LIMIT: usize = 15;
const OFFSET_MAX: usize = 65535;
const SKIP_TRIGGER: usize = 32;

function putLiterals(to: usize, from: usize, length: usize): usize {
  const n = <u32> length - 1;
  if (n < 60) {
    store<u8>(to++, <u8> (n << 2));
  } else if (n < 0x100) {
    store<u8>(to, 60 << 2);
    store<u8>(to + 1, <u8> n);
    to += 2;
  } else if (n < 0x10000) {
    store<u8>(to, 61 << 2);
    store<u16>(to + 1, <u16> n);
    to += 3;
  } else {
    // Three bytes: blocks are smaller than 16 MiB.
    store<u8>(to, 62 << 2);
    store<u32>(to + 1, n);
    to += 4;
  }
  copyWild(to, from, to + length);
  return to + length;
}

function putCopy(to: usize, offset: usize, length: usize): usize {
  // A copy holds at most 64 bytes; what is left for the last one must be at least 4.
  while (length >= 68) {
    store<u8>(to, (63 << 2) | 2);
    store<u16>(to + 1, <u16> offset);
    to += 3;
    length -= 64;
  }
  if (length > 64) {
    store<u8>(to, (59 << 2) | 2);
    store<u16>(to + 1, <u16> offset);
    to += 3;
    length -= 60;
  }
  if (length < 12 && offset < 2048) {
    store<u8>(to, <u8> (1 | ((length - 4) << 2) | ((offset >> 8) << 5)));
    store<u8>(to + 1, <u8> offset);
    return to + 2;
  }
  store<u8>(to, <u8> (2 | ((length - 1) << 2)));
  store<u16>(to + 1, <u16> offset);
  return to + 3;
}

/** Compresses `length` bytes (at least 1) as one raw snappy block and returns its size, at most `length + length / 6 + 32`. */
function putBlock(source: usize, length: usize, target: usize, table: usize): usize {
  let to = target;
  let rest = <u32> length;
  while (rest >= 0x80) {
    store<u8>(to++, <u8> (rest | 0x80));
    rest >>= 7;
  }
  store<u8>(to++, <u8> rest);
  const end = source + length;
  let anchor = source;
  if (length > MATCH_START_LIMIT) {
    const bits = HASH_BITS;
    const shift = 64 - bits;
    memory.fill(table, 0, <usize> 4 << <usize> bits);
    const startLimit = end - MATCH_START_LIMIT;
    let at = source + 1;
    let nextHash = hash5(load<u64>(at), shift);
    let isDone = false;
    while (true) {
      let match: usize = 0;
      let next = at;
      let step: usize = 1;
      let searches = SKIP_TRIGGER;
      do {
        const slot = table + (nextHash << 2);
        at = next;
        next += step;
        step = searches++ / SKIP_TRIGGER;
        if (next > startLimit) {
          isDone = true;
          break;
        }
        match = source + load<u32>(slot);
        nextHash = hash5(load<u64>(next), shift);
        store<u32>(slot, <u32> (at - source));
      } while (load<u32>(match) !== load<u32>(at) || at - match > OFFSET_MAX);
      if (isDone) break;
      while (at > anchor && match > source && load<u8>(at - 1) === load<u8>(match - 1)) {
        at--;
        match--;
      }
      if (at > anchor) to = putLiterals(to, anchor, at - anchor);
      while (true) {
        const stop = matchEnd(at + MIN_MATCH, match + MIN_MATCH, end);
        to = putCopy(to, at - match, stop - at);
        at = stop;
        anchor = stop;
        if (at > startLimit) {
          isDone = true;
          break;
        }
        store<u32>(table + (hash5(load<u64>(at - 2), shift) << 2), <u32> (at - 2 - source));
        const slot = table + (hash5(load<u64>(at), shift) << 2);
        match = source + load<u32>(slot);
        store<u32>(slot, <u32> (at - source));
        if (load<u32>(match) !== load<u32>(at) || at - match > OFFSET_MAX) break;
      }
      if (isDone) break;
      at++;
      nextHash = hash5(load<u64>(at), shift);
    }
  }
  if (end > anchor) to = putLiterals(to, anchor, end - anchor);
  return to - target;
}

/**
 * Compresses `length` bytes in the framing of snappy-java (xerial): 16 bytes of header, then raw blocks of 256 KiB, each behind its size
 * as a big-endian number. Returns the size of the whole. `table` holds 16 KiB.
 */
export function snappyXerial(source: usize, length: usize, target: usize, table: usize): usize {
  const blockBytes: usize = 262144;
  let to = target;
  // 0x82 "SNAPPY" 0x00, version 1, compatible with version 1.
  store<u64>(to, 0x0059505041_4E5382);
  store<u64>(to + 8, 0x0100000001000000);
  to += 16;
  const end = source + length;
  while (source < end) {
    const take = min(blockBytes, end - source);
    const size = putBlock(source, take, to + 4, table);
    store<u32>(to, bswap<u32>(<u32> size));
    to += 4 + size;
    source += take;
  }
  return to - target;
}
