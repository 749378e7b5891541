/**
 * The primitives of Kafka's wire format: big-endian integers, strings and arrays with a length in front, and from the "flexible" versions of
 * each API on (KIP-482) compact lengths (unsigned varint of length + 1) and tagged fields. Both classes know which of the two they
 * are at, so that a message is written down once for all its versions.
 *
 *              before KIP-482              flexible
 *   string     int16 length, UTF-8         uvarint length + 1, UTF-8      (null: -1 / 0)
 *   bytes      int32 length, bytes         uvarint length + 1, bytes      (null: -1 / 0)
 *   array      int32 count, elements       uvarint count + 1, elements    (null: -1 / 0)
 *   tags       nothing                     uvarint count, (uvarint tag, uvarint size, bytes) each
 */

/** An answer that does not follow the protocol: cut short, or with lengths that cannot be. The connection it came from is not to be used. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}

const TWO_POW_32 = 0x1_0000_0000;
/** Longest string in the format without compact lengths. */
const STRING_BYTES_MAX = 0x7fff;

/** Writes into a Buffer that grows. */
export class WireWriter {
  readonly flexible: boolean;
  #buffer: Buffer;
  #length = 0;

  constructor(flexible: boolean, sizeHintBytes = 256) {
    this.flexible = flexible;
    this.#buffer = Buffer.allocUnsafe(Math.max(16, sizeHintBytes));
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#length;
  }

  /** What was written from `start` to now. Shares memory with the writer: valid until the next write. */
  slice(start = 0, end = this.#length): Buffer {
    return this.#buffer.subarray(start, end);
  }

  #reserve(byteCount: number): number {
    const at = this.#length;
    this.#length = at + byteCount;
    if (this.#length > this.#buffer.length) {
      const grown = Buffer.allocUnsafe(Math.max(this.#length, this.#buffer.length * 2));
      this.#buffer.copy(grown, 0, 0, at);
      this.#buffer = grown;
    }
    return at;
  }

  boolean(value: boolean): this {
    return this.int8(value ? 1 : 0);
  }

  int8(value: number): this {
    const at = this.#reserve(1);
    this.#buffer.writeInt8(value, at);
    return this;
  }

  int16(value: number): this {
    const at = this.#reserve(2);
    this.#buffer.writeInt16BE(value, at);
    return this;
  }

  int32(value: number): this {
    const at = this.#reserve(4);
    this.#buffer.writeInt32BE(value, at);
    return this;
  }

  /** A whole number within plus or minus 2^53 - 1, as int64. */
  int64(value: number): this {
    if (!Number.isSafeInteger(value)) throw new RangeError(`Cannot write ${value} as an int64`);
    const at = this.#reserve(8);
    const high = Math.floor(value / TWO_POW_32);
    this.#buffer.writeInt32BE(high, at);
    this.#buffer.writeUInt32BE(value - high * TWO_POW_32, at + 4);
    return this;
  }

  /** Bytes as they are, with no length in front: an int64 that was kept as 8 bytes, a UUID. */
  raw(bytes: Buffer): this {
    const at = this.#reserve(bytes.length);
    bytes.copy(this.#buffer, at);
    return this;
  }

  /** An unsigned varint: 7 bits a byte, lowest first. */
  uvarint(value: number): this {
    if (!Number.isInteger(value) || value < 0 || value >= TWO_POW_32) {
      throw new RangeError(`Cannot write ${value} as an unsigned varint`);
    }
    let rest = value;
    while (rest > 127) {
      const at = this.#reserve(1);
      this.#buffer[at] = (rest & 127) | 128;
      rest = Math.floor(rest / 128);
    }
    const at = this.#reserve(1);
    this.#buffer[at] = rest;
    return this;
  }

  string(value: string | null): this {
    if (value === null) return this.flexible ? this.uvarint(0) : this.int16(-1);
    const byteCount = Buffer.byteLength(value, "utf8");
    if (this.flexible) {
      this.uvarint(byteCount + 1);
    } else {
      if (byteCount > STRING_BYTES_MAX) {
        throw new RangeError(
          `Cannot write a string of ${byteCount} bytes: the protocol ends at ${STRING_BYTES_MAX}`,
        );
      }
      this.int16(byteCount);
    }
    const at = this.#reserve(byteCount);
    this.#buffer.write(value, at, byteCount, "utf8");
    return this;
  }

  /** The length in front of bytes that the caller adds on its own. */
  bytesLength(byteCount: number): this {
    return this.flexible ? this.uvarint(byteCount + 1) : this.int32(byteCount);
  }

  /** The count in front of an array; null for a null array. */
  arrayLength(count: number | null): this {
    if (this.flexible) return this.uvarint(count === null ? 0 : count + 1);
    return this.int32(count ?? -1);
  }

  /** No tagged fields; nothing at all before KIP-482. */
  tags(): this {
    return this.flexible ? this.uvarint(0) : this;
  }
}

/** Reads a message. Every read checks bounds and throws ProtocolError; nothing is allocated by a length that was only claimed. */
export class WireReader {
  readonly flexible: boolean;
  readonly #buffer: Buffer;
  #offset = 0;
  #end: number;

  constructor(buffer: Buffer, flexible: boolean) {
    this.#buffer = buffer;
    this.#end = buffer.length;
    this.flexible = flexible;
  }

  /** Bytes that were not read yet. */
  get remaining(): number {
    return this.#end - this.#offset;
  }

  #take(byteCount: number, what: string): number {
    const at = this.#offset;
    if (byteCount > this.#end - at) {
      throw new ProtocolError(
        `Answer is cut short: ${what} at byte ${at} needs ${byteCount} bytes, ${this.#end - at} are left`,
      );
    }
    this.#offset = at + byteCount;
    return at;
  }

  boolean(): boolean {
    return this.int8() !== 0;
  }

  int8(): number {
    return this.#buffer.readInt8(this.#take(1, "int8"));
  }

  int16(): number {
    return this.#buffer.readInt16BE(this.#take(2, "int16"));
  }

  int32(): number {
    return this.#buffer.readInt32BE(this.#take(4, "int32"));
  }

  /** An int64 as a number; ProtocolError beyond plus or minus 2^53 - 1, which no offset or time of a real broker reaches. */
  int64(): number {
    const at = this.#take(8, "int64");
    const value = this.#buffer.readInt32BE(at) * TWO_POW_32 + this.#buffer.readUInt32BE(at + 4);
    if (!Number.isSafeInteger(value)) {
      throw new ProtocolError(`Answer holds an int64 at byte ${at} that is out of range: about ${value}`);
    }
    return value;
  }

  /** An int64 as the nearest number: for what another client may have set to anything, such as a time in nanoseconds. */
  anyInt64(): number {
    const at = this.#take(8, "int64");
    return this.#buffer.readInt32BE(at) * TWO_POW_32 + this.#buffer.readUInt32BE(at + 4);
  }

  /** The next bytes as they are, copied, so that they may outlive the answer. */
  raw(byteCount: number): Buffer {
    const at = this.#take(byteCount, "bytes");
    return Buffer.from(this.#buffer.subarray(at, at + byteCount));
  }

  uvarint(): number {
    let value = 0;
    let factor = 1;
    const start = this.#offset;
    for (let i = 0; i < 5; i++) {
      const byte = this.#buffer[this.#take(1, "varint")]!;
      value += (byte & 127) * factor;
      if (byte < 128) {
        if (value >= TWO_POW_32) break;
        return value;
      }
      factor *= 128;
    }
    throw new ProtocolError(`Answer holds a varint at byte ${start} that is longer than 32 bits`);
  }

  nullableString(): string | null {
    const length = this.flexible ? this.uvarint() - 1 : this.int16();
    if (length < 0) return this.#nullOf(length, "string");
    const at = this.#take(length, "string");
    return this.#buffer.toString("utf8", at, at + length);
  }

  string(): string {
    const at = this.#offset;
    const value = this.nullableString();
    if (value === null) throw new ProtocolError(`Answer holds null at byte ${at} where a string must be`);
    return value;
  }

  /** Bytes with their length in front: a view into the answer, not a copy. */
  nullableBytes(): Buffer | null {
    const length = this.flexible ? this.uvarint() - 1 : this.int32();
    if (length < 0) return this.#nullOf(length, "bytes");
    const at = this.#take(length, "bytes");
    return this.#buffer.subarray(at, at + length);
  }

  /** Count of an array, -1 for null. More elements than could be in what is left (each at least `elementBytesMin`) is an error. */
  nullableArrayLength(elementBytesMin: number): number {
    const at = this.#offset;
    const count = this.flexible ? this.uvarint() - 1 : this.int32();
    if (count < 0) {
      this.#nullOf(count, "array");
      return -1;
    }
    if (count * Math.max(1, elementBytesMin) > this.remaining) {
      throw new ProtocolError(
        `Answer claims an array of ${count} at byte ${at}, ${this.remaining} bytes are left`,
      );
    }
    return count;
  }

  /** Count of an array; null counts as empty. */
  arrayLength(elementBytesMin: number): number {
    return Math.max(0, this.nullableArrayLength(elementBytesMin));
  }

  /** 16 bytes in Kafka's own notation (URL-safe base64, as its tools print it), or null when all are zero. */
  uuid(): string | null {
    const at = this.#take(16, "UUID");
    const bytes = this.#buffer.subarray(at, at + 16);
    return bytes.every((byte) => byte === 0) ? null : bytes.toString("base64url");
  }

  /** An array of int32, used for lists of node ids. */
  int32Array(): number[] {
    const count = this.arrayLength(4);
    const values: number[] = [];
    for (let i = 0; i < count; i++) values.push(this.int32());
    return values;
  }

  /**
   * Reads tagged fields where the format has them: `onTag` gets a tag and a reader that ends with that field; what it does not read
   * is skipped.
   */
  tags(onTag?: (tag: number, field: WireReader) => void): void {
    if (!this.flexible) return;
    const count = this.uvarint();
    if (count * 2 > this.remaining) {
      throw new ProtocolError(`Answer claims ${count} tagged fields, ${this.remaining} bytes are left`);
    }
    for (let i = 0; i < count; i++) {
      const tag = this.uvarint();
      const size = this.uvarint();
      const at = this.#take(size, "tagged field");
      if (onTag === undefined) continue;
      onTag(tag, new WireReader(this.#buffer.subarray(at, at + size), true));
    }
  }

  #nullOf(length: number, what: string): null {
    if (length < -1) {
      throw new ProtocolError(`Answer claims a length of ${length} for a ${what} at byte ${this.#offset}`);
    }
    return null;
  }
}
