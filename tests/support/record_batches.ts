/** A reader of record batches (format v2) that shares no code with the writer under test. */

export interface ReadRecord {
  readonly offsetDelta: number;
  readonly timestampDelta: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly (readonly [name: string, value: Buffer | null])[];
}

export interface ReadBatch {
  readonly baseOffset: bigint;
  readonly batchLength: number;
  readonly magic: number;
  readonly crc: number;
  readonly attributes: number;
  readonly lastOffsetDelta: number;
  readonly baseTimestamp: bigint;
  readonly maxTimestamp: bigint;
  readonly producerId: bigint;
  readonly producerEpoch: number;
  readonly baseSequence: number;
  readonly recordCount: number;
  readonly payload: Buffer;
}

export function readBatchHeader(bytes: Buffer): ReadBatch {
  return {
    baseOffset: bytes.readBigInt64BE(0),
    batchLength: bytes.readInt32BE(8),
    magic: bytes.readInt8(16),
    crc: bytes.readUInt32BE(17),
    attributes: bytes.readInt16BE(21),
    lastOffsetDelta: bytes.readInt32BE(23),
    baseTimestamp: bytes.readBigInt64BE(27),
    maxTimestamp: bytes.readBigInt64BE(35),
    producerId: bytes.readBigInt64BE(43),
    producerEpoch: bytes.readInt16BE(51),
    baseSequence: bytes.readInt32BE(53),
    recordCount: bytes.readInt32BE(57),
    payload: bytes.subarray(61),
  };
}

/** Reads uncompressed records; throws when a length does not add up. */
export function readRecords(payload: Buffer, count: number): ReadRecord[] {
  let at = 0;
  const varint = (): number => {
    let raw = 0n;
    for (let shift = 0n;; shift += 7n) {
      const byte = payload[at++];
      if (byte === undefined) throw new Error("record ends in a varint");
      raw |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return Number((raw >> 1n) ^ -(raw & 1n));
    }
  };
  const bytes = (length: number): Buffer | null => {
    if (length < 0) return null;
    if (at + length > payload.length) throw new Error("record passes the end");
    at += length;
    return payload.subarray(at - length, at);
  };
  const records: ReadRecord[] = [];
  for (let i = 0; i < count; i++) {
    const length = varint();
    const end = at + length;
    if (payload[at++] !== 0) throw new Error("record attributes are not 0");
    const timestampDelta = varint();
    const offsetDelta = varint();
    const key = bytes(varint());
    const value = bytes(varint());
    const headers: [string, Buffer | null][] = [];
    for (let left = varint(); left > 0; left--) headers.push([bytes(varint())!.toString(), bytes(varint())]);
    if (at !== end) throw new Error(`record ${i} is ${at - end} bytes off its length`);
    records.push({ offsetDelta, timestampDelta, key, value, headers });
  }
  if (at !== payload.length) throw new Error(`${payload.length - at} bytes behind the last record`);
  return records;
}
