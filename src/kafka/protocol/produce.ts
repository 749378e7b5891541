import { ProtocolError, WireReader, WireWriter } from "./wire.ts";

/**
 * Produce (API 0), versions 3 (record batches v2, KIP-98) to 10. v8: errors by record (KIP-467). v9: flexible (KIP-482).
 * v10: the new leader in the answer (KIP-951). v11 and v12 (KIP-890) look the same and concern transactions only: with v12 the broker adds the
 * partition to the transaction, which transaction.version 2 asks for.
 */
export const PRODUCE_VERSION_MIN = 3;
export const PRODUCE_VERSION_MAX = 10;
/** The newest for a transaction whose partitions were added by AddPartitionsToTxn. */
export const PRODUCE_VERSION_MAX_TV1 = 11;
/** For transaction.version 2, and nothing else. */
export const PRODUCE_VERSION_TV2 = 12;

export interface ProducePartition {
  readonly partition: number;
  /** The parts of one record batch, in order. Not copied and not changed. */
  readonly records: readonly Buffer[];
}

export interface ProduceTopic {
  readonly name: string;
  /** Each partition once: a request carries at most one batch for it. */
  readonly partitions: readonly ProducePartition[];
}

export interface ProduceRequest {
  readonly transactionalId: string | null;
  /** -1: all in-sync replicas, 1: the leader, 0: no answer at all. */
  readonly acks: -1 | 0 | 1;
  /** How long the broker may wait for the replicas. */
  readonly timeoutMs: number;
  readonly topics: readonly ProduceTopic[];
}

/**
 * Body of a request as chunks: small frames written here, between them the callers' record batches.
 *
 *   transactional id (nullable) | int16 acks | int32 timeout | topics[ name | partitions[ int32 index | records | tags ] | tags ] | tags
 *                                                                                          ^ length, then the batch's own Buffers
 */
export function encodeProduce(request: ProduceRequest, apiVersion: number): Buffer[] {
  const writer = new WireWriter(apiVersion >= 9, frameBytes(request));
  // Frames are cut out at the end: the writer may grow, and what was cut before would be in its old memory.
  const cuts: { end: number; records: readonly Buffer[] }[] = [];
  writer.string(request.transactionalId).int16(request.acks).int32(request.timeoutMs);
  writer.arrayLength(request.topics.length);
  for (const topic of request.topics) {
    writer.string(topic.name).arrayLength(topic.partitions.length);
    for (const { partition, records } of topic.partitions) {
      let sizeBytes = 0;
      for (const part of records) sizeBytes += part.length;
      writer.int32(partition).bytesLength(sizeBytes);
      cuts.push({ end: writer.length, records });
      writer.tags();
    }
    writer.tags();
  }
  writer.tags();
  const chunks: Buffer[] = [];
  let start = 0;
  for (const { end, records } of cuts) {
    chunks.push(writer.slice(start, end));
    for (const part of records) if (part.length > 0) chunks.push(part);
    start = end;
  }
  if (writer.length > start) chunks.push(writer.slice(start));
  return chunks;
}

function frameBytes(request: ProduceRequest): number {
  let bytes = 32;
  for (const topic of request.topics) bytes += topic.name.length * 3 + 16 + topic.partitions.length * 16;
  return bytes;
}

export interface RecordError {
  /** Index of the record in its batch. */
  readonly index: number;
  readonly message: string | null;
}

export interface ProduceResult {
  readonly topic: string;
  readonly partition: number;
  readonly errorCode: number;
  /** Offset of the batch's first record; -1 when refused. */
  readonly baseOffset: number;
  /** The broker's time for the batch when the topic uses LogAppendTime, else -1. */
  readonly logAppendTimeMs: number;
  /** First offset of the partition's log; -1 before v5. */
  readonly logStartOffset: number;
  /** The records that made the broker refuse the batch, where it says so (v8). */
  readonly recordErrors: readonly RecordError[];
  readonly errorMessage: string | null;
  /** Who leads the partition now, with NOT_LEADER_OR_FOLLOWER from v10 on. */
  readonly currentLeader: { readonly leaderId: number; readonly leaderEpoch: number } | null;
}

export interface ProduceResponse {
  /** How long the client is asked to hold back its next requests (KIP-219). */
  readonly throttleMs: number;
  readonly partitions: readonly ProduceResult[];
}

/**
 *   responses[ name | partitions[ int32 index | int16 error | int64 base offset | int64 append time | int64 log start (v5)
 *     | record errors[ int32 index | message | tags ] (v8) | message (v8) | tags: 0 = current leader (v10) ] | tags ]
 *   | int32 throttle | tags: 0 = node endpoints (v10)
 */
export function decodeProduceResponse(payload: Buffer, apiVersion: number): ProduceResponse {
  const reader = new WireReader(payload, apiVersion >= 9);
  const partitions: ProduceResult[] = [];
  const topicCount = reader.arrayLength(2);
  for (let t = 0; t < topicCount; t++) {
    const topic = reader.string();
    const partitionCount = reader.arrayLength(22);
    for (let p = 0; p < partitionCount; p++) partitions.push(readPartition(reader, topic, apiVersion));
    reader.tags();
  }
  const throttleMs = reader.int32();
  reader.tags();
  if (reader.remaining > 0) throw new ProtocolError(`Produce answer has ${reader.remaining} bytes too many`);
  return { throttleMs, partitions };
}

function readPartition(reader: WireReader, topic: string, apiVersion: number): ProduceResult {
  const partition = reader.int32();
  const errorCode = reader.int16();
  const baseOffset = reader.int64();
  const logAppendTimeMs = reader.int64();
  const logStartOffset = apiVersion >= 5 ? reader.int64() : -1;
  const recordErrors: RecordError[] = [];
  let errorMessage: string | null = null;
  if (apiVersion >= 8) {
    const count = reader.arrayLength(5);
    for (let i = 0; i < count; i++) {
      const index = reader.int32();
      recordErrors.push({ index, message: reader.nullableString() });
      reader.tags();
    }
    errorMessage = reader.nullableString();
  }
  let currentLeader: ProduceResult["currentLeader"] = null;
  reader.tags((tag, field) => {
    if (tag === 0 && apiVersion >= 10) {
      currentLeader = { leaderId: field.int32(), leaderEpoch: field.int32() };
    }
  });
  return {
    topic,
    partition,
    errorCode,
    baseOffset,
    logAppendTimeMs,
    logStartOffset,
    recordErrors,
    errorMessage,
    currentLeader,
  };
}
