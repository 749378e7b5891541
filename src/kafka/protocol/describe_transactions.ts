import { WireReader, WireWriter } from "./wire.ts";

/** DescribeTransactions (API 65), version 0 (KIP-664), flexible. Answered by the coordinator; needs DESCRIBE on the transactional id. */
export const DESCRIBE_TRANSACTIONS_VERSION = 0;

export interface TransactionDescription {
  readonly transactionalId: string;
  readonly errorCode: number;
  /** "Ongoing", "PrepareCommit", "CompleteCommit", "PrepareAbort", "CompleteAbort", "Empty", ... */
  readonly state: string;
  /** The int64 as 8 bytes, big endian. */
  readonly producerId: Buffer;
  readonly producerEpoch: number;
}

export interface DescribeTransactionsResponse {
  readonly throttleMs: number;
  readonly transactions: readonly TransactionDescription[];
}

/** transactional ids[ string ] | tags */
export function encodeDescribeTransactions(transactionalIds: readonly string[]): Buffer[] {
  const writer = new WireWriter(true, 64);
  writer.arrayLength(transactionalIds.length);
  for (const id of transactionalIds) writer.string(id);
  return [writer.tags().slice()];
}

/**
 *   int32 throttle | transactions[ int16 error | id | state | int32 timeout | int64 start time | int64 producer id | int16 epoch | topics | tags ] | tags
 *   topics[ name | partitions[ int32 ] | tags ]
 */
export function decodeDescribeTransactionsResponse(payload: Buffer): DescribeTransactionsResponse {
  const reader = new WireReader(payload, true);
  const throttleMs = reader.int32();
  const transactions: TransactionDescription[] = [];
  const count = reader.arrayLength(28);
  for (let i = 0; i < count; i++) {
    const errorCode = reader.int16();
    const transactionalId = reader.string();
    const state = reader.string();
    reader.int32();
    reader.int64();
    const producerId = reader.raw(8);
    const producerEpoch = reader.int16();
    const topicCount = reader.arrayLength(3);
    for (let t = 0; t < topicCount; t++) {
      reader.string();
      reader.int32Array();
      reader.tags();
    }
    reader.tags();
    transactions.push({ transactionalId, errorCode, state, producerId, producerEpoch });
  }
  reader.tags();
  return { throttleMs, transactions };
}
