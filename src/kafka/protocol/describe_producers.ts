import { WireReader, WireWriter } from "./wire.ts";

/** DescribeProducers (API 61), version 0 (KIP-664), flexible. Answered by a partition's leader; needs READ on the topic. */
export const DESCRIBE_PRODUCERS_VERSION = 0;

export interface DescribeProducersTopic {
  readonly name: string;
  readonly partitions: readonly number[];
}

export interface ActiveProducer {
  /** The int64 as 8 bytes, big endian, as InitProducerId gave it. */
  readonly producerId: Buffer;
  readonly producerEpoch: number;
  /** Sequence of the last record that the leader has of this producer; -1 when none. */
  readonly lastSequence: number;
  /** As the producer wrote it; of others than ours it may be anything. */
  readonly lastTimestampMs: number;
  /** Where a transaction begins that has no marker in this partition yet; -1 when none. */
  readonly transactionStartOffset: number;
}

export interface PartitionProducers {
  readonly topic: string;
  readonly partition: number;
  readonly errorCode: number;
  readonly errorMessage: string | null;
  readonly producers: readonly ActiveProducer[];
}

export interface DescribeProducersResponse {
  readonly throttleMs: number;
  readonly partitions: readonly PartitionProducers[];
}

/** topics[ name | partitions[ int32 ] | tags ] | tags */
export function encodeDescribeProducers(topics: readonly DescribeProducersTopic[]): Buffer[] {
  const writer = new WireWriter(true);
  writer.arrayLength(topics.length);
  for (const topic of topics) {
    writer.string(topic.name).arrayLength(topic.partitions.length);
    for (const partition of topic.partitions) writer.int32(partition);
    writer.tags();
  }
  return [writer.tags().slice()];
}

/**
 *   int32 throttle | topics[ name | partitions[ int32 index | int16 error | message | producers | tags ] | tags ] | tags
 *   producers[ int64 id | int32 epoch | int32 last sequence | int64 last timestamp | int32 coordinator epoch | int64 transaction start | tags ]
 */
export function decodeDescribeProducersResponse(payload: Buffer): DescribeProducersResponse {
  const reader = new WireReader(payload, true);
  const throttleMs = reader.int32();
  const partitions: PartitionProducers[] = [];
  const topicCount = reader.arrayLength(3);
  for (let t = 0; t < topicCount; t++) {
    const topic = reader.string();
    const partitionCount = reader.arrayLength(9);
    for (let p = 0; p < partitionCount; p++) {
      const partition = reader.int32();
      const errorCode = reader.int16();
      const errorMessage = reader.nullableString();
      const producers = readProducers(reader);
      reader.tags();
      partitions.push({ topic, partition, errorCode, errorMessage, producers });
    }
    reader.tags();
  }
  reader.tags();
  return { throttleMs, partitions };
}

function readProducers(reader: WireReader): ActiveProducer[] {
  const count = reader.arrayLength(37);
  const producers: ActiveProducer[] = [];
  for (let i = 0; i < count; i++) {
    const producerId = reader.raw(8);
    const producerEpoch = reader.int32();
    const lastSequence = reader.int32();
    const lastTimestampMs = reader.anyInt64();
    reader.int32();
    const transactionStartOffset = reader.int64();
    reader.tags();
    producers.push({ producerId, producerEpoch, lastSequence, lastTimestampMs, transactionStartOffset });
  }
  return producers;
}
