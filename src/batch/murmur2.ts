/**
 * Kafka's murmur2 (seed 0x9747b28c), bit for bit that of the Java client's Utils.murmur2, so that a key lands on the same partition
 * whichever client wrote it. 32-bit arithmetic by Math.imul.
 *
 * Returns a signed 32-bit integer.
 */
export function murmur2(data: Buffer, start: number, end: number): number {
  const multiplier = 0x5bd1e995;
  const length = end - start;
  let hash = 0x9747b28c ^ length;
  let at = start;
  for (const wordsEnd = start + (length & ~3); at < wordsEnd; at += 4) {
    let word = data[at]! | (data[at + 1]! << 8) | (data[at + 2]! << 16) | (data[at + 3]! << 24);
    word = Math.imul(word, multiplier);
    word ^= word >>> 24;
    word = Math.imul(word, multiplier);
    hash = Math.imul(hash, multiplier) ^ word;
  }
  const restBytes = end - at;
  if (restBytes > 2) hash ^= data[at + 2]! << 16;
  if (restBytes > 1) hash ^= data[at + 1]! << 8;
  if (restBytes > 0) hash = Math.imul(hash ^ data[at]!, multiplier);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, multiplier);
  return hash ^ (hash >>> 15);
}

/** The Java client's choice for a keyed record: the positive hash, modulo the number of partitions. */
export function murmur2Partition(data: Buffer, start: number, end: number, partitionCount: number): number {
  return (murmur2(data, start, end) & 0x7fffffff) % partitionCount;
}
