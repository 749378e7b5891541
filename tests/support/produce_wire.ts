import { WireReader, WireWriter } from "../../src/kafka/protocol/wire.ts";

/** One partition's record batch in a Produce request. */
export interface SentBatch {
  readonly topic: string;
  readonly partition: number;
  /** The whole batch, header included. */
  readonly bytes: Buffer;
}

export interface SentProduce {
  readonly transactionalId: string | null;
  readonly acks: number;
  readonly timeoutMs: number;
  readonly batches: readonly SentBatch[];
}

/** Reads the body of a Produce request, versions 3 to 12. */
export function readProduce(body: Buffer, apiVersion: number): SentProduce {
  const reader = new WireReader(body, apiVersion >= 9);
  const transactionalId = reader.nullableString();
  const acks = reader.int16();
  const timeoutMs = reader.int32();
  const batches: SentBatch[] = [];
  const topicCount = reader.arrayLength(1);
  for (let t = 0; t < topicCount; t++) {
    const topic = reader.string();
    const partitionCount = reader.arrayLength(1);
    for (let p = 0; p < partitionCount; p++) {
      const partition = reader.int32();
      batches.push({ topic, partition, bytes: Buffer.from(reader.nullableBytes()!) });
      reader.tags();
    }
    reader.tags();
  }
  reader.tags();
  if (reader.remaining > 0) throw new Error(`${reader.remaining} bytes behind the request`);
  return { transactionalId, acks, timeoutMs, batches };
}

export interface PartitionAnswer {
  readonly topic: string;
  readonly partition: number;
  readonly errorCode: number;
  readonly baseOffset: number;
  readonly recordErrors?: readonly { readonly index: number; readonly message: string | null }[] | undefined;
  readonly message?: string;
}

/** Body of a Produce answer, versions 3 to 10. */
export function produceAnswer(
  partitions: readonly PartitionAnswer[],
  apiVersion: number,
  throttleMs = 0,
): Buffer {
  const writer = new WireWriter(apiVersion >= 9);
  const topics = [...new Set(partitions.map((each) => each.topic))];
  writer.arrayLength(topics.length);
  for (const topic of topics) {
    const own = partitions.filter((each) => each.topic === topic);
    writer.string(topic).arrayLength(own.length);
    for (const { partition, errorCode, baseOffset, recordErrors = [], message } of own) {
      writer.int32(partition).int16(errorCode).int64(baseOffset).int64(-1);
      if (apiVersion >= 5) writer.int64(0);
      if (apiVersion >= 8) {
        writer.arrayLength(recordErrors.length);
        for (const error of recordErrors) writer.int32(error.index).string(error.message).tags();
        writer.string(message ?? null);
      }
      writer.tags();
    }
    writer.tags();
  }
  return Buffer.from(writer.int32(throttleMs).tags().slice());
}
