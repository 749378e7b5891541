import { WireReader, WireWriter } from "./wire.ts";

/** ListOffsets (API 2), versions 2 to 6. v2: isolation level (KIP-98). v4: leader epochs (KIP-320). v6: flexible. */
export const LIST_OFFSETS_VERSION_MIN = 2;
export const LIST_OFFSETS_VERSION_MAX = 6;

/** Asks for the log end (high watermark, or last stable offset under read_committed). */
export const LATEST_TIMESTAMP = -1;
/** Asks for the log start. */
export const EARLIEST_TIMESTAMP = -2;

export interface ListOffsetsTopic {
  readonly name: string;
  readonly partitions: readonly {
    readonly partition: number;
    readonly timestampMs: number;
    /** The leader refuses any other than its own (v4); default -1: not checked. */
    readonly leaderEpoch?: number;
  }[];
}

export interface ListedOffset {
  readonly topic: string;
  readonly partition: number;
  readonly errorCode: number;
  readonly timestampMs: number;
  /** -1 when no record is that young. */
  readonly offset: number;
  /** -1 before v4 and when not known. */
  readonly leaderEpoch: number;
}

export interface ListOffsetsResponse {
  readonly throttleMs: number;
  readonly offsets: readonly ListedOffset[];
}

/** int32 replica (-1) | int8 isolation | topics[ name | partitions[ int32 index | int32 epoch (v4) | int64 timestamp | tags ] | tags ] | tags */
export function encodeListOffsets(
  topics: readonly ListOffsetsTopic[],
  isolation: "read_uncommitted" | "read_committed",
  apiVersion: number,
): Buffer[] {
  const writer = new WireWriter(apiVersion >= 6);
  writer.int32(-1).int8(isolation === "read_committed" ? 1 : 0).arrayLength(topics.length);
  for (const topic of topics) {
    writer.string(topic.name).arrayLength(topic.partitions.length);
    for (const { partition, timestampMs, leaderEpoch = -1 } of topic.partitions) {
      writer.int32(partition);
      if (apiVersion >= 4) writer.int32(leaderEpoch);
      writer.int64(timestampMs).tags();
    }
    writer.tags();
  }
  return [writer.tags().slice()];
}

/** int32 throttle | topics[ name | partitions[ int32 index | int16 error | int64 timestamp | int64 offset | int32 epoch (v4) | tags ] | tags ] | tags */
export function decodeListOffsetsResponse(payload: Buffer, apiVersion: number): ListOffsetsResponse {
  const reader = new WireReader(payload, apiVersion >= 6);
  const throttleMs = reader.int32();
  const offsets: ListedOffset[] = [];
  const topicCount = reader.arrayLength(2);
  for (let t = 0; t < topicCount; t++) {
    const topic = reader.string();
    const partitionCount = reader.arrayLength(22);
    for (let p = 0; p < partitionCount; p++) {
      const partition = reader.int32();
      const errorCode = reader.int16();
      const timestampMs = reader.int64();
      const offset = reader.int64();
      const leaderEpoch = apiVersion >= 4 ? reader.int32() : -1;
      reader.tags();
      offsets.push({ topic, partition, errorCode, timestampMs, offset, leaderEpoch });
    }
    reader.tags();
  }
  reader.tags();
  return { throttleMs, offsets };
}
