import { WireReader, WireWriter } from "./wire.ts";

/**
 * DescribeQuorum (API 55), version 1 (KIP-836), flexible: how far each voter of the controllers' log has come. Any broker passes it on to the active
 * controller. Needs DESCRIBE on the cluster; clusters with ZooKeeper do not have it.
 */
export const DESCRIBE_QUORUM_VERSION = 1;

const METADATA_LOG = "__cluster_metadata";

export interface QuorumReplica {
  readonly id: number;
  /** By the clock of the active controller, milliseconds; -1 when not known. Of the active controller itself: its time now. */
  readonly lastCaughtUpMs: number;
}

export interface DescribeQuorumResponse {
  readonly errorCode: number;
  /** Node id of the active controller; -1 with an error. */
  readonly leader: number;
  readonly voters: readonly QuorumReplica[];
}

/** topics[ name | partitions[ int32 | tags ] | tags ] | tags */
export function encodeDescribeQuorum(): Buffer[] {
  const writer = new WireWriter(true, 64);
  writer.arrayLength(1).string(METADATA_LOG).arrayLength(1).int32(0).tags().tags();
  return [writer.tags().slice()];
}

/**
 *   int16 error | topics[ name | partitions[ int32 index | int16 error | int32 leader | int32 epoch | int64 high watermark
 *     | voters[] | observers[] | tags ] | tags ] | tags
 *   voter[ int32 id | int64 log end | int64 last fetch | int64 last caught up | tags ]
 */
export function decodeDescribeQuorumResponse(payload: Buffer): DescribeQuorumResponse {
  const reader = new WireReader(payload, true);
  const topError = reader.int16();
  const topicCount = reader.arrayLength(3);
  if (topicCount === 0) return { errorCode: topError, leader: -1, voters: [] };
  reader.string();
  const partitionCount = reader.arrayLength(24);
  if (partitionCount === 0) return { errorCode: topError, leader: -1, voters: [] };
  reader.int32();
  const partitionError = reader.int16();
  const leader = reader.int32();
  reader.int32();
  reader.int64();
  const voters = readReplicas(reader);
  return { errorCode: topError === 0 ? partitionError : topError, leader, voters };
}

function readReplicas(reader: WireReader): QuorumReplica[] {
  const count = reader.arrayLength(29);
  const replicas: QuorumReplica[] = [];
  for (let i = 0; i < count; i++) {
    const id = reader.int32();
    reader.int64();
    reader.int64();
    replicas.push({ id, lastCaughtUpMs: reader.int64() });
    reader.tags();
  }
  return replicas;
}
