/**
 * A reader of DER, and of the BER that some programs write into PKCS#12 files (X.690): one-byte tags, definite and indefinite lengths,
 * octet strings in pieces. Own code: it is small, and node:crypto takes DER only where it knows what is in it.
 *
 *     30 82 05 22 ...   tag, length in one byte (< 80) or in the number of bytes that follow (82: two), content
 *     30 80 ... 00 00   indefinite: values up to an empty one with tag 0
 */
export interface DerValue {
  /** The whole byte: class, "constructed", number. */
  readonly tag: number;
  readonly content: Buffer;
  /** With tag and length. */
  readonly whole: Buffer;
}

/** The bytes are not what they should be: cut, damaged, or something else. */
export class DerError extends Error {
  override readonly name = "DerError";
}

export const Tag = {
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OCTET_STRING: 0x04,
  OBJECT: 0x06,
  SEQUENCE: 0x30,
  SET: 0x31,
  CONTEXT_0: 0xa0,
} as const;

const CONSTRUCTED = 0x20;
const INDEFINITE = 0x80;
const LENGTH_BYTES_MAX = 4;
const DEPTH_MAX = 32;
/** Values in one container. */
const VALUES_MAX = 10_000;

/** The value that begins at `at`. Throws DerError. */
export function readDer(bytes: Buffer, at = 0, depth = 0): DerValue {
  const tag = byteAt(bytes, at);
  if ((tag & 0x1f) === 0x1f) throw new DerError("a tag of several bytes");
  if (depth > DEPTH_MAX) throw new DerError("values are nested too deeply");
  const first = byteAt(bytes, at + 1);
  let start = at + 2;
  if (first === INDEFINITE) return readIndefinite(bytes, at, start, depth);
  let length = first;
  if (first > INDEFINITE) {
    const lengthBytes = first - INDEFINITE;
    if (lengthBytes > LENGTH_BYTES_MAX) throw new DerError("a length that no file has");
    length = 0;
    for (let i = 0; i < lengthBytes; i++) length = length * 256 + byteAt(bytes, start + i);
    start += lengthBytes;
  }
  if (start + length > bytes.length) throw new DerError("it ends too early");
  return { tag, content: bytes.subarray(start, start + length), whole: bytes.subarray(at, start + length) };
}

function readIndefinite(bytes: Buffer, at: number, start: number, depth: number): DerValue {
  const tag = byteAt(bytes, at);
  if ((tag & CONSTRUCTED) === 0) throw new DerError("a plain value without a length");
  let next = start;
  for (let count = 0; count < VALUES_MAX; count++) {
    if (byteAt(bytes, next) === 0 && byteAt(bytes, next + 1) === 0) {
      return { tag, content: bytes.subarray(start, next), whole: bytes.subarray(at, next + 2) };
    }
    next += readDer(bytes, next, depth + 1).whole.length;
  }
  throw new DerError("too many values");
}

function byteAt(bytes: Buffer, at: number): number {
  if (at >= bytes.length) throw new DerError("it ends too early");
  return bytes[at]!;
}

/** The values in a row, up to the end of `bytes`. */
export function readValues(bytes: Buffer): DerValue[] {
  const values: DerValue[] = [];
  for (let at = 0; at < bytes.length;) {
    if (values.length === VALUES_MAX) throw new DerError("too many values");
    const value = readDer(bytes, at);
    values.push(value);
    at += value.whole.length;
  }
  return values;
}

/** What is in a sequence (or in another container, by its tag). */
export function inside(value: DerValue | undefined, tag: number = Tag.SEQUENCE): DerValue[] {
  if (value?.tag !== tag) throw new DerError("a value is of another kind than expected");
  return readValues(value.content);
}

/** The bytes of an octet string, whole or in pieces; `implicit` when its tag is another one (as [0] in a PKCS#7). */
export function octets(value: DerValue | undefined, implicitTag: number = Tag.OCTET_STRING): Buffer {
  if (value === undefined || (value.tag & ~CONSTRUCTED) !== (implicitTag & ~CONSTRUCTED)) {
    throw new DerError("a value is of another kind than expected");
  }
  if ((value.tag & CONSTRUCTED) === 0) return value.content;
  return Buffer.concat(readValues(value.content).map((piece) => octets(piece)));
}

/** A number that is neither negative nor larger than 2^31. */
export function smallInteger(value: DerValue | undefined): number {
  if (value?.tag !== Tag.INTEGER || value.content.length === 0 || value.content.length > 4) {
    throw new DerError("a number is missing");
  }
  const number = value.content.readIntBE(0, value.content.length);
  if (number < 0) throw new DerError("a number is negative");
  return number;
}

/** "1.2.840.113549.1.7.1" */
export function objectId(value: DerValue | undefined): string {
  if (value?.tag !== Tag.OBJECT || value.content.length === 0) throw new DerError("a name is missing");
  const numbers: number[] = [];
  let number = 0;
  for (const byte of value.content) {
    number = number * 128 + (byte & 0x7f);
    if ((byte & 0x80) !== 0) continue;
    numbers.push(number);
    number = 0;
  }
  const [first, ...rest] = numbers;
  const top = Math.min(2, Math.floor(first! / 40));
  return [top, first! - top * 40, ...rest].join(".");
}
