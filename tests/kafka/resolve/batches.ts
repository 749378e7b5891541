import { type ProducerNumbers, sequenceAfter, writeBatchHeader } from "../../../src/kafka/batch_header.ts";
import type { BrokerConnection } from "../../../src/kafka/broker_connection.ts";
import { ApiKey } from "../../../src/kafka/protocol/api_keys.ts";
import { decodeProduceResponse, encodeProduce } from "../../../src/kafka/protocol/produce.ts";
import type { DoubtfulBatch } from "../../../src/kafka/resolve/verdict.ts";

/** 2023-11-14: an even time that needs both halves of an int64. */
export const TIME_MS = 1_700_000_000_000;

/** Batches of producer 7001 that follow each other from sequence `first` on, with these numbers of records. */
export function doubtful(
  first: number,
  counts: readonly number[],
  overrides: Partial<DoubtfulBatch> & { readonly epoch?: number; readonly producerIdLow?: number } = {},
): DoubtfulBatch[] {
  const { epoch = 0, producerIdLow = 7_001, ...rest } = overrides;
  let baseSequence = first;
  return counts.map((count) => {
    const producer = { producerIdHigh: 0, producerIdLow, epoch, baseSequence };
    baseSequence = sequenceAfter(baseSequence, count);
    return {
      producer,
      count,
      baseTimestampMs: TIME_MS,
      hintOffset: 0,
      clusterId: null,
      topicId: null,
      sentMs: TIME_MS,
      ...rest,
    };
  });
}

/** A record batch with small records, as it is sent. */
export function batchBytes(
  producer: ProducerNumbers,
  count: number,
  timestampMs = TIME_MS,
  valueBytes = 8,
): Buffer {
  const records: Buffer[] = [];
  for (let i = 0; i < count; i++) {
    const value = Buffer.alloc(valueBytes, `${producer.baseSequence + i}.`);
    const body = Buffer.concat([
      Buffer.from([0, 0]),
      varint(i),
      varint(-1),
      varint(valueBytes),
      value,
      varint(0),
    ]);
    records.push(varint(body.length), body);
  }
  const bytes = Buffer.concat([Buffer.alloc(61), ...records]);
  writeBatchHeader(bytes, { recordCount: count, codecId: 0, timestampMs, producer });
  return bytes;
}

/** The bytes of a batch in doubt. */
export function bytesOf(batch: DoubtfulBatch, valueBytes = 8): Buffer {
  return batchBytes(batch.producer, batch.count, batch.baseTimestampMs, valueBytes);
}

/** A batch as it lies in a log. */
export function atOffset(bytes: Buffer, baseOffset: number): Buffer {
  const stored = Buffer.from(bytes);
  stored.writeBigInt64BE(BigInt(baseOffset), 0);
  return stored;
}

/** Sends a batch and returns the error code and offset of the answer. */
export async function produce(
  connection: BrokerConnection,
  topic: string,
  bytes: Buffer,
): Promise<{ errorCode: number; baseOffset: number }> {
  const request = {
    transactionalId: null,
    acks: -1 as const,
    timeoutMs: 5_000,
    topics: [{ name: topic, partitions: [{ partition: 0, records: [bytes] }] }],
  };
  const payload = await connection.request(ApiKey.Produce, 9, encodeProduce(request, 9), {
    timeoutMs: 10_000,
  });
  const { errorCode, baseOffset } = decodeProduceResponse(payload, 9).partitions[0]!;
  return { errorCode, baseOffset };
}

/** Zigzag, 7 bits a byte. */
function varint(value: number): Buffer {
  let rest = value >= 0 ? value * 2 : -value * 2 - 1;
  const bytes: number[] = [];
  while (rest > 127) {
    bytes.push((rest & 127) | 128);
    rest >>>= 7;
  }
  return Buffer.from([...bytes, rest]);
}
