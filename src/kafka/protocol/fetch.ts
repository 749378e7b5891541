import { WireReader, WireWriter } from "./wire.ts";

/**
 * Fetch (API 1), versions 4 to 10, without a session (KIP-227). v4: the least that Kafka 4 knows. v5: log start.
 * v7: sessions. v9: leader epoch (KIP-320). v10: the first that partitions compressed by zstd may be read with. From v11 on a broker may
 * answer with the name of a nearer replica instead of records (KIP-392), and what is asked here only the leader knows.
 */
export const FETCH_VERSION_MIN = 4;
export const FETCH_VERSION_MAX = 10;

export interface FetchRequest {
  readonly topic: string;
  readonly partition: number;
  /** -1: not checked. */
  readonly leaderEpoch: number;
  readonly offset: number;
  /** A first batch that is larger comes whole all the same. */
  readonly sizeBytesMax: number;
  /** How long the broker waits for one byte. */
  readonly waitMs: number;
  /** "read_committed": nothing from the first open transaction on. Default: "read_uncommitted". */
  readonly isolation?: "read_uncommitted" | "read_committed";
}

/** Transactional records of this producer from this offset on are void, up to its next marker. */
export interface AbortedTransaction {
  /** The int64 as 8 bytes, big endian. */
  readonly producerId: Buffer;
  readonly firstOffset: number;
}

export interface FetchedPartition {
  readonly topic: string;
  readonly partition: number;
  readonly errorCode: number;
  /** End of what is replicated; -1 with an error. */
  readonly highWatermark: number;
  /** First offset of an open transaction, or the high watermark; -1 with an error. */
  readonly lastStableOffset: number;
  /** -1 before v5 and with an error. */
  readonly logStartOffset: number;
  /** Of the transactions in `records`, those that were aborted; only under "read_committed". */
  readonly aborted: readonly AbortedTransaction[];
  /** Batches as they lie on disk, the last one possibly cut, from the one that holds the offset on: a view into the answer. */
  readonly records: Buffer;
}

export interface FetchResponse {
  readonly throttleMs: number;
  /** Of the whole request (v7). */
  readonly errorCode: number;
  readonly partitions: readonly FetchedPartition[];
}

const NO_SESSION_ID = 0;
/** With id 0: no session, and none is wanted. */
const NO_SESSION_EPOCH = -1;
const NO_RECORDS = Buffer.alloc(0);

/**
 *   int32 replica (-1) | int32 wait | int32 bytes min | int32 bytes max | int8 isolation | int32 session, int32 session epoch (v7)
 *   | topics[ name | partitions[ int32 index | int32 leader epoch (v9) | int64 offset | int64 log start (v5) | int32 bytes max ] ]
 *   | forgotten[] (v7)
 */
export function encodeFetch(request: FetchRequest, apiVersion: number): Buffer[] {
  const writer = new WireWriter(false);
  writer.int32(-1).int32(request.waitMs).int32(1).int32(request.sizeBytesMax).int8(
    request.isolation === "read_committed" ? 1 : 0,
  );
  if (apiVersion >= 7) writer.int32(NO_SESSION_ID).int32(NO_SESSION_EPOCH);
  writer.arrayLength(1).string(request.topic).arrayLength(1).int32(request.partition);
  if (apiVersion >= 9) writer.int32(request.leaderEpoch);
  writer.int64(request.offset);
  if (apiVersion >= 5) writer.int64(-1);
  writer.int32(request.sizeBytesMax);
  if (apiVersion >= 7) writer.arrayLength(0);
  return [writer.slice()];
}

/**
 *   int32 throttle | int16 error, int32 session (v7) | topics[ name | partitions[ int32 index | int16 error | int64 high watermark
 *     | int64 last stable | int64 log start (v5) | aborted[ int64 producer | int64 offset ] | records ] ]
 */
export function decodeFetchResponse(payload: Buffer, apiVersion: number): FetchResponse {
  const reader = new WireReader(payload, false);
  const throttleMs = reader.int32();
  const errorCode = apiVersion >= 7 ? reader.int16() : 0;
  if (apiVersion >= 7) reader.int32();
  const partitions: FetchedPartition[] = [];
  const topicCount = reader.arrayLength(6);
  for (let t = 0; t < topicCount; t++) {
    const topic = reader.string();
    const partitionCount = reader.arrayLength(30);
    for (let p = 0; p < partitionCount; p++) {
      const partition = reader.int32();
      const partitionError = reader.int16();
      const highWatermark = reader.int64();
      const lastStableOffset = reader.int64();
      const logStartOffset = apiVersion >= 5 ? reader.int64() : -1;
      const abortedCount = reader.arrayLength(16);
      const aborted: AbortedTransaction[] = [];
      for (let a = 0; a < abortedCount; a++) {
        aborted.push({ producerId: reader.raw(8), firstOffset: reader.int64() });
      }
      const records = reader.nullableBytes() ?? NO_RECORDS;
      partitions.push({
        topic,
        partition,
        errorCode: partitionError,
        highWatermark,
        lastStableOffset,
        logStartOffset,
        aborted,
        records,
      });
    }
  }
  return { throttleMs, errorCode, partitions };
}
