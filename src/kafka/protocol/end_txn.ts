import type { TransactionProducer } from "./add_partitions_to_txn.ts";
import { WireReader, WireWriter } from "./wire.ts";

/**
 * EndTxn (API 26), versions 1 to 5. v3: flexible. v5 is for transaction.version 2 alone (KIP-890): the answer holds the producer id and epoch
 * of the next transaction.
 */
export const END_TXN_VERSION_MIN = 1;
/** The newest without a new epoch for each transaction. */
export const END_TXN_VERSION_MAX_TV1 = 4;
export const END_TXN_VERSION_TV2 = 5;

export interface EndTxnResponse {
  readonly throttleMs: number;
  readonly errorCode: number;
  /** Of the next transaction (v5); null before. */
  readonly next: { readonly producerId: Buffer; readonly producerEpoch: number } | null;
}

/** transactional id | int64 producer id | int16 epoch | bool committed | tags */
export function encodeEndTxn(
  producer: TransactionProducer,
  isCommitted: boolean,
  apiVersion: number,
): Buffer[] {
  const writer = new WireWriter(apiVersion >= 3, 64);
  writer.string(producer.transactionalId).raw(producer.producerId).int16(producer.producerEpoch);
  return [writer.boolean(isCommitted).tags().slice()];
}

/** int32 throttle | int16 error | int64 producer id (v5) | int16 epoch (v5) | tags */
export function decodeEndTxnResponse(payload: Buffer, apiVersion: number): EndTxnResponse {
  const reader = new WireReader(payload, apiVersion >= 3);
  const throttleMs = reader.int32();
  const errorCode = reader.int16();
  const next = apiVersion < 5 ? null : { producerId: reader.raw(8), producerEpoch: reader.int16() };
  reader.tags();
  return { throttleMs, errorCode, next };
}
