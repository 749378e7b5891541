/** Zigzag varints of Kafka's records: a number n >= 0 is written as 2n, -1 as 1, in groups of seven bits, the lowest first. */

/** Bytes that the varint of a non-negative number takes, after zigzag. */
export function varintBytes(value: number): number {
  return value < 0x40 ? 1 : value < 0x2000 ? 2 : value < 0x100000 ? 3 : value < 0x8000000 ? 4 : 5;
}

/** Writes a non-negative number as a zigzag varint at `at`; returns where it ends. Two bytes reach to 8,191, which most lines fit in. */
export function writeVarint(target: Buffer, at: number, value: number): number {
  if (value < 0x40) {
    target[at] = value << 1;
    return at + 1;
  }
  if (value < 0x2000) {
    target[at] = (value << 1) & 0x7f | 0x80;
    target[at + 1] = value >> 6;
    return at + 2;
  }
  let rest = value * 2;
  while (rest > 0x7f) {
    target[at++] = (rest & 0x7f) | 0x80;
    rest = Math.floor(rest / 128);
  }
  target[at] = rest;
  return at + 1;
}

/** Bytes that the varint of any whole number takes. */
export function varlongBytes(value: number): number {
  let bytes = 1;
  for (let rest = zigzag(value); rest > 0x7f; rest = Math.floor(rest / 128)) bytes++;
  return bytes;
}

/** Writes any whole number of up to 52 bits as a zigzag varint at `at`; returns where it ends. */
export function writeVarlong(target: Buffer, at: number, value: number): number {
  let rest = zigzag(value);
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) target[at++] = (rest % 128) | 0x80;
  target[at] = rest;
  return at + 1;
}

function zigzag(value: number): number {
  return value < 0 ? -2 * value - 1 : 2 * value;
}

/** Reads a zigzag varint that was written here. A time that does not fit into 53 bits loses its last ones. */
export function readVarint(source: Buffer, start: number): { value: number; at: number } {
  let at = start;
  let raw = 0;
  let scale = 1;
  for (;;) {
    const byte = source[at++]!;
    raw += (byte & 0x7f) * scale;
    if (byte < 0x80) return { value: raw % 2 === 0 ? raw / 2 : -(raw + 1) / 2, at };
    scale *= 128;
  }
}
