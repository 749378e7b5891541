import { WireReader, WireWriter } from "./wire.ts";

/**
 * InitProducerId (API 22), versions 1 to 4. v2: flexible. v3: an id to go on with (KIP-360). v4: PRODUCER_FENCED.
 *
 * With a transactional id the coordinator has to be asked: it fences whoever used the id before, and ends what that one left open.
 */
export const INIT_PRODUCER_ID_VERSION_MIN = 1;
export const INIT_PRODUCER_ID_VERSION_MAX = 4;

export interface InitProducerIdResponse {
  readonly throttleMs: number;
  readonly errorCode: number;
  /** The int64 as 8 bytes, big endian: ready for a record batch's header. */
  readonly producerId: Buffer;
  readonly producerEpoch: number;
}

/** transactional id (nullable) | int32 transaction timeout | int64 producer id (v3) | int16 epoch (v3) | tags */
export function encodeInitProducerId(
  transactionalId: string | null,
  transactionTimeoutMs: number,
  apiVersion: number,
): Buffer[] {
  const writer = new WireWriter(apiVersion >= 2, 64);
  writer.string(transactionalId).int32(transactionTimeoutMs);
  if (apiVersion >= 3) writer.int64(-1).int16(-1);
  return [writer.tags().slice()];
}

/** int32 throttle | int16 error | int64 producer id | int16 epoch | tags */
export function decodeInitProducerIdResponse(payload: Buffer, apiVersion: number): InitProducerIdResponse {
  const reader = new WireReader(payload, apiVersion >= 2);
  const throttleMs = reader.int32();
  const errorCode = reader.int16();
  const producerId = reader.raw(8);
  const producerEpoch = reader.int16();
  reader.tags();
  return { throttleMs, errorCode, producerId, producerEpoch };
}
