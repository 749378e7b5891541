import { WireReader, WireWriter } from "./wire.ts";

/**
 * Metadata (API 3), versions 4 to 12. v5: offline replicas. v7: leader epochs (KIP-320). v8: authorized operations (KIP-430).
 * v9: flexible. v10: topic ids (KIP-516). v12: a topic's name may be null in the answer.
 */
export const METADATA_VERSION_MIN = 4;
export const METADATA_VERSION_MAX = 12;

export interface BrokerNode {
  readonly id: number;
  readonly host: string;
  readonly port: number;
  readonly rack: string | null;
}

export interface PartitionMetadata {
  readonly id: number;
  /** Node id of the leader; -1 when there is none. */
  readonly leader: number;
  /** -1 before v7. */
  readonly leaderEpoch: number;
  readonly replicas: readonly number[];
  readonly isr: readonly number[];
  readonly errorCode: number;
}

export interface TopicMetadata {
  readonly name: string;
  /** Kafka's notation; null before v10 and for a topic that is not known. */
  readonly topicId: string | null;
  readonly errorCode: number;
  /** By ascending id. */
  readonly partitions: readonly PartitionMetadata[];
  /** What this user may do, a bit for each `AclOperation`; null when it was not asked for or is not known. */
  readonly operations: number | null;
}

/** Bits of rights in `operations`: 1 << the code of Kafka's AclOperation. */
export const OPERATION_READ = 1 << 3;
export const OPERATION_WRITE = 1 << 4;
export const OPERATION_CREATE = 1 << 5;
export const OPERATION_DESCRIBE = 1 << 8;
export const OPERATION_IDEMPOTENT_WRITE = 1 << 12;
/** The broker's way of saying nothing. */
const OPERATIONS_UNKNOWN = -0x8000_0000;

export interface MetadataResponse {
  readonly throttleMs: number;
  readonly brokers: readonly BrokerNode[];
  readonly clusterId: string | null;
  /** -1 when there is none. */
  readonly controllerId: number;
  readonly topics: readonly TopicMetadata[];
  /** What this user may do with the cluster; null when it was not asked for or this user may not know (v8 to v10 alone). */
  readonly clusterOperations: number | null;
}

const ZERO_UUID = Buffer.alloc(16);

/**
 *   topics[ topic id (v10) | name | tags ] | bool auto-create | bool cluster operations (v8 to v10) | bool topic operations (v8) | tags
 *
 * An empty list asks for brokers only, null for all topics that this user may describe: no more than a check does that. `withOperations` asks what this user may do with
 * the topics, which costs the broker a check of each right; `withClusterOperations` the same for the cluster (v8 to v10).
 */
export function encodeMetadata(
  topics: readonly string[] | null,
  apiVersion: number,
  withOperations = false,
  withClusterOperations = false,
): Buffer[] {
  const writer = new WireWriter(apiVersion >= 9);
  writer.arrayLength(topics === null ? null : topics.length);
  for (const name of topics ?? []) {
    if (apiVersion >= 10) writer.raw(ZERO_UUID);
    writer.string(name).tags();
  }
  writer.boolean(false);
  if (apiVersion >= 8 && apiVersion <= 10) writer.boolean(withClusterOperations);
  if (apiVersion >= 8) writer.boolean(withOperations);
  writer.tags();
  return [writer.slice()];
}

/**
 *   int32 throttle | brokers[ int32 id | host | int32 port | rack | tags ] | cluster id | int32 controller
 *   | topics[ int16 error | name | topic id (v10) | bool internal | partitions | int32 operations (v8) | tags ]
 *   | int32 operations (v8 to v10) | tags
 */
export function decodeMetadataResponse(payload: Buffer, apiVersion: number): MetadataResponse {
  const reader = new WireReader(payload, apiVersion >= 9);
  const throttleMs = reader.int32();
  const brokers: BrokerNode[] = [];
  const brokerCount = reader.arrayLength(10);
  for (let i = 0; i < brokerCount; i++) {
    const id = reader.int32();
    const host = reader.string();
    brokers.push({ id, host, port: reader.int32(), rack: reader.nullableString() });
    reader.tags();
  }
  const clusterId = reader.nullableString();
  const controllerId = reader.int32();
  const topics: TopicMetadata[] = [];
  const topicCount = reader.arrayLength(4);
  for (let i = 0; i < topicCount; i++) {
    const errorCode = reader.int16();
    const name = reader.nullableString();
    const topicId = apiVersion >= 10 ? reader.uuid() : null;
    reader.boolean();
    const partitions = readPartitions(reader, apiVersion);
    const bits = apiVersion >= 8 ? reader.int32() : OPERATIONS_UNKNOWN;
    const operations = bits === OPERATIONS_UNKNOWN ? null : bits;
    reader.tags();
    if (name !== null) topics.push({ name, topicId, errorCode, partitions, operations });
  }
  const clusterBits = apiVersion >= 8 && apiVersion <= 10 ? reader.int32() : OPERATIONS_UNKNOWN;
  // Who may not describe the cluster gets no bit at all.
  const clusterOperations = clusterBits === OPERATIONS_UNKNOWN || clusterBits === 0 ? null : clusterBits;
  reader.tags();
  return { throttleMs, brokers, clusterId, controllerId, topics, clusterOperations };
}

/** partitions[ int16 error | int32 id | int32 leader | int32 epoch (v7) | replicas[] | isr[] | offline[] (v5) | tags ] */
function readPartitions(reader: WireReader, apiVersion: number): PartitionMetadata[] {
  const count = reader.arrayLength(12);
  const partitions: PartitionMetadata[] = [];
  for (let i = 0; i < count; i++) {
    const errorCode = reader.int16();
    const id = reader.int32();
    const leader = reader.int32();
    const leaderEpoch = apiVersion >= 7 ? reader.int32() : -1;
    const replicas = reader.int32Array();
    const isr = reader.int32Array();
    if (apiVersion >= 5) reader.int32Array();
    reader.tags();
    partitions.push({ id, leader, leaderEpoch, replicas, isr, errorCode });
  }
  return partitions.sort((a, b) => a.id - b.id);
}
