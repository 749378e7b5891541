import { consistentPartition, fnv1aPartition, fnv1aReferencePartition } from "./key_hashes.ts";
import { murmur2Partition } from "./murmur2.ts";

/** How the partition of an event is chosen. */
export type PartitionerName =
  | "sticky"
  | "round_robin"
  | "least_bytes"
  | "fnv1a"
  | "fnv1a_consistent"
  | "fnv1a_reference"
  | "consistent"
  | "consistent_random"
  | "murmur2"
  | "murmur2_random"
  | "field";

/** The partition of a key, `data[start .. end)`, of `partitionCount`. */
export type KeyPartition = (data: Buffer, start: number, end: number, partitionCount: number) => number;

/** A partitioner that goes by the key. */
export interface KeyPartitioner {
  readonly partition: KeyPartition;
  /** Keys that are no reason for any partition: those events are spread in whole batches, as without a key. */
  readonly spreads: "none" | "absent" | "absent_or_empty";
}

/**
 * Each is bit for bit what it is named after, for absent and empty keys too; where the reference takes any partition, whole batches go to one
 * after the other.
 *
 * | here | segmentio/kafka-go | librdkafka | Java |
 * |---|---|---|---|
 * | fnv1a | Hash | fnv1a_random | |
 * | fnv1a_consistent | | fnv1a | |
 * | fnv1a_reference | ReferenceHash | | |
 * | consistent | CRC32Balancer, Consistent | consistent | |
 * | consistent_random | CRC32Balancer | consistent_random | |
 * | murmur2 | Murmur2Balancer, Consistent | murmur2 | |
 * | murmur2_random | Murmur2Balancer | murmur2_random | what it does for a record with a key |
 */
const BY_KEY: { readonly [name in PartitionerName]?: KeyPartitioner } = {
  fnv1a: { partition: fnv1aPartition, spreads: "absent" },
  fnv1a_consistent: { partition: fnv1aPartition, spreads: "none" },
  fnv1a_reference: { partition: fnv1aReferencePartition, spreads: "absent" },
  consistent: { partition: consistentPartition, spreads: "none" },
  consistent_random: { partition: consistentPartition, spreads: "absent_or_empty" },
  murmur2: { partition: murmur2Partition, spreads: "none" },
  murmur2_random: { partition: murmur2Partition, spreads: "absent" },
};

/** Null: it does not go by the key. */
export function keyPartitioner(name: PartitionerName): KeyPartitioner | null {
  return BY_KEY[name] ?? null;
}

/** What says whether events of a sink are tied to a partition of their own. */
export interface PartitionedSink {
  readonly partitioner: PartitionerName;
  readonly keyField: string | null;
  readonly key: string | null;
}

/**
 * Events go to partitions one by one, so that a partition that cannot be written to holds its own alone. False: whole batches go to any, in
 * the order of the file.
 */
export function areEventsTied({ partitioner, keyField, key }: PartitionedSink): boolean {
  if (partitioner === "sticky") return false;
  return keyPartitioner(partitioner) === null || keyField !== null || key !== null;
}
