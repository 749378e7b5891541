/**
 * Numbers and texts as bytes, for what is stored in frames:
 *
 *     uint8, uint32   big endian
 *     varint          unsigned, groups of seven bits, least significant first, up to 2^53 - 1 (LEB128)
 *     text            varint length, UTF-8
 */
const START_BYTES = 1_024;

export class ByteEncoder {
  #buffer = Buffer.allocUnsafeSlow(START_BYTES);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** What was written since the last `reset`: a view, valid until the next write. */
  bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  reset(): this {
    this.#length = 0;
    return this;
  }

  uint8(value: number): this {
    this.#reserve(1);
    this.#buffer[this.#length++] = value;
    return this;
  }

  uint32(value: number): this {
    this.#reserve(4);
    this.#length = this.#buffer.writeUInt32BE(value >>> 0, this.#length);
    return this;
  }

  varint(value: number): this {
    // Most are small: with keys there is one for each line.
    if ((value & 0x7f) === value && this.#length < this.#buffer.length) {
      this.#buffer[this.#length++] = value;
      return this;
    }
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`Cannot store ${value} as a varint`);
    this.#reserve(8);
    let rest = value;
    while (rest >= 0x80) {
      this.#buffer[this.#length++] = (rest % 0x80) | 0x80;
      rest = rest < 0x8000_0000 ? rest >>> 7 : Math.floor(rest / 0x80);
    }
    this.#buffer[this.#length++] = rest;
    return this;
  }

  text(value: string): this {
    const sizeBytes = Buffer.byteLength(value);
    this.varint(sizeBytes);
    this.#reserve(sizeBytes);
    this.#length += this.#buffer.write(value, this.#length, "utf8");
    return this;
  }

  /** `value` without its length. */
  raw(value: Buffer): this {
    this.#reserve(value.length);
    this.#length += value.copy(this.#buffer, this.#length);
    return this;
  }

  #reserve(sizeBytes: number): void {
    if (this.#length + sizeBytes <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#buffer.length * 2, this.#length + sizeBytes));
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }
}

/** What was read is not what `ByteEncoder` writes. */
export class CodecError extends Error {
  override readonly name = "CodecError";
}

/** Reads what `ByteEncoder` wrote. Every method throws `CodecError` when the bytes end too early or mean nothing. */
export class ByteDecoder {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  uint8(): number {
    this.#require(1);
    return this.#bytes[this.#at++]!;
  }

  uint32(): number {
    this.#require(4);
    this.#at += 4;
    return this.#bytes.readUInt32BE(this.#at - 4);
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 8; i++) {
      const byte = this.uint8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (!Number.isSafeInteger(value)) break;
        return value;
      }
      scale *= 0x80;
    }
    throw new CodecError(`A number ends nowhere at byte ${this.#at}`);
  }

  text(): string {
    const sizeBytes = this.varint();
    return this.raw(sizeBytes).toString("utf8");
  }

  /** A view of the next bytes. */
  raw(sizeBytes: number): Buffer {
    this.#require(sizeBytes);
    this.#at += sizeBytes;
    return this.#bytes.subarray(this.#at - sizeBytes, this.#at);
  }

  #require(sizeBytes: number): void {
    if (this.#at + sizeBytes > this.#bytes.length) {
      throw new CodecError(
        `${sizeBytes} bytes are wanted at byte ${this.#at} of ${this.#bytes.length}`,
      );
    }
  }
}
