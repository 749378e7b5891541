/** Hashes by which other clients choose the partition of a key. All take `data[start .. end)`. */

const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/** FNV-1a of 32 bits as a signed number: http://www.isthe.com/chongo/tech/comp/fnv/ */
export function fnv1a(data: Buffer, start: number, end: number): number {
  let hash = FNV_OFFSET | 0;
  for (let at = start; at < end; at++) hash = Math.imul(hash ^ data[at]!, FNV_PRIME);
  return hash;
}

/** segmentio/kafka-go's Hash, Sarama's NewHashPartitioner, librdkafka's fnv1a: the signed hash, modulo, without its sign. */
export function fnv1aPartition(data: Buffer, start: number, end: number, partitionCount: number): number {
  return Math.abs(fnv1a(data, start, end) % partitionCount);
}

/** segmentio/kafka-go's ReferenceHash, Sarama's NewReferenceHashPartitioner: the hash without its sign bit, modulo. */
export function fnv1aReferencePartition(
  data: Buffer,
  start: number,
  end: number,
  partitionCount: number,
): number {
  return (fnv1a(data, start, end) & 0x7fffffff) % partitionCount;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) === 0 ? 0 : 0xedb88320);
  return crc;
});

/** librdkafka's consistent, segmentio/kafka-go's CRC32Balancer: CRC-32 (the one of zlib) as an unsigned number, modulo. */
export function consistentPartition(
  data: Buffer,
  start: number,
  end: number,
  partitionCount: number,
): number {
  let crc = -1;
  for (let at = start; at < end; at++) crc = (crc >>> 8) ^ CRC_TABLE[(crc ^ data[at]!) & 0xff]!;
  return (~crc >>> 0) % partitionCount;
}
