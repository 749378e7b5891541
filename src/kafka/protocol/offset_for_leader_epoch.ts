import { WireReader, WireWriter } from "./wire.ts";

/**
 * OffsetForLeaderEpoch (API 23), versions 2 to 4. v2: current leader epoch (KIP-320). v3: for clients that may DESCRIBE the topic; before,
 * only for brokers. v4: flexible. Asked for the newest epoch, a leader answers with the end of its log, replicated or not.
 */
export const OFFSET_FOR_LEADER_EPOCH_VERSION_MIN = 2;
export const OFFSET_FOR_LEADER_EPOCH_VERSION_MAX = 4;

export interface LeaderEpochQuestion {
  readonly topic: string;
  readonly partition: number;
  /** The leader's own epoch; it refuses any other (FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH). */
  readonly currentLeaderEpoch: number;
  /** The epoch whose end is asked for. */
  readonly leaderEpoch: number;
}

export interface LeaderEpochEnd {
  readonly topic: string;
  readonly partition: number;
  readonly errorCode: number;
  /** The newest epoch up to the one that was asked for from which the leader has records; -1: none. */
  readonly leaderEpoch: number;
  /** Offset behind its last record; -1: none. */
  readonly endOffset: number;
}

export interface LeaderEpochResponse {
  readonly throttleMs: number;
  readonly ends: readonly LeaderEpochEnd[];
}

/** int32 replica (-1, v3) | topics[ name | partitions[ int32 index | int32 current epoch | int32 epoch | tags ] | tags ] | tags */
export function encodeOffsetForLeaderEpoch(question: LeaderEpochQuestion, apiVersion: number): Buffer[] {
  const writer = new WireWriter(apiVersion >= 4);
  if (apiVersion >= 3) writer.int32(-1);
  writer.arrayLength(1).string(question.topic).arrayLength(1).int32(question.partition);
  writer.int32(question.currentLeaderEpoch).int32(question.leaderEpoch);
  return [writer.tags().tags().tags().slice()];
}

/** int32 throttle | topics[ name | partitions[ int16 error | int32 index | int32 epoch | int64 end | tags ] | tags ] | tags */
export function decodeOffsetForLeaderEpochResponse(payload: Buffer, apiVersion: number): LeaderEpochResponse {
  const reader = new WireReader(payload, apiVersion >= 4);
  const throttleMs = reader.int32();
  const ends: LeaderEpochEnd[] = [];
  const topicCount = reader.arrayLength(3);
  for (let t = 0; t < topicCount; t++) {
    const topic = reader.string();
    const partitionCount = reader.arrayLength(18);
    for (let p = 0; p < partitionCount; p++) {
      const errorCode = reader.int16();
      const partition = reader.int32();
      const leaderEpoch = reader.int32();
      const endOffset = reader.int64();
      reader.tags();
      ends.push({ topic, partition, errorCode, leaderEpoch, endOffset });
    }
    reader.tags();
  }
  reader.tags();
  return { throttleMs, ends };
}
