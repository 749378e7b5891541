import { WireReader, WireWriter } from "./wire.ts";

/**
 * AddPartitionsToTxn (API 24), versions 1 to 3 (flexible). Later ones are for brokers alone; under transaction.version 2 (KIP-890) the broker
 * adds a partition when it takes the first batch, and nobody sends this.
 */
export const ADD_PARTITIONS_TO_TXN_VERSION_MIN = 1;
export const ADD_PARTITIONS_TO_TXN_VERSION_MAX = 3;

export interface TransactionPartition {
  readonly topic: string;
  readonly partition: number;
}

/** The producer of a transaction, as the coordinator knows it. */
export interface TransactionProducer {
  readonly transactionalId: string;
  /** The int64 as 8 bytes, big endian. */
  readonly producerId: Buffer;
  readonly producerEpoch: number;
}

export interface AddPartitionsToTxnResponse {
  readonly throttleMs: number;
  readonly partitions: readonly (TransactionPartition & { readonly errorCode: number })[];
}

/** transactional id | int64 producer id | int16 epoch | topics[ name | partitions[int32] | tags ] | tags */
export function encodeAddPartitionsToTxn(
  producer: TransactionProducer,
  partitions: readonly TransactionPartition[],
  apiVersion: number,
): Buffer[] {
  const writer = new WireWriter(apiVersion >= 3);
  writer.string(producer.transactionalId).raw(producer.producerId).int16(producer.producerEpoch);
  const topics = new Map<string, number[]>();
  for (const { topic, partition } of partitions) {
    const ids = topics.get(topic);
    if (ids === undefined) topics.set(topic, [partition]);
    else ids.push(partition);
  }
  writer.arrayLength(topics.size);
  for (const [topic, ids] of topics) {
    writer.string(topic).arrayLength(ids.length);
    for (const id of ids) writer.int32(id);
    writer.tags();
  }
  return [writer.tags().slice()];
}

/** int32 throttle | topics[ name | partitions[ int32 index | int16 error | tags ] | tags ] | tags */
export function decodeAddPartitionsToTxnResponse(
  payload: Buffer,
  apiVersion: number,
): AddPartitionsToTxnResponse {
  const reader = new WireReader(payload, apiVersion >= 3);
  const throttleMs = reader.int32();
  const partitions: (TransactionPartition & { errorCode: number })[] = [];
  const topicCount = reader.arrayLength(3);
  for (let t = 0; t < topicCount; t++) {
    const topic = reader.string();
    const count = reader.arrayLength(6);
    for (let i = 0; i < count; i++) {
      partitions.push({ topic, partition: reader.int32(), errorCode: reader.int16() });
      reader.tags();
    }
    reader.tags();
  }
  reader.tags();
  return { throttleMs, partitions };
}
