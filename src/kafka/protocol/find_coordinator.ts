import { WireReader, WireWriter } from "./wire.ts";

/** FindCoordinator (API 10), versions 1 (kinds of keys, KIP-98) to 3 (flexible). v4 asks for several keys at once. */
export const FIND_COORDINATOR_VERSION_MIN = 1;
export const FIND_COORDINATOR_VERSION_MAX = 3;

const KEY_TYPE_TRANSACTION = 1;

export interface FindCoordinatorResponse {
  readonly throttleMs: number;
  readonly errorCode: number;
  readonly errorMessage: string | null;
  /** -1 with an error. */
  readonly nodeId: number;
}

/** Asks for the coordinator of a transactional id: key | int8 key type | tags */
export function encodeFindTransactionCoordinator(transactionalId: string, apiVersion: number): Buffer[] {
  const writer = new WireWriter(apiVersion >= 3, 64);
  return [writer.string(transactionalId).int8(KEY_TYPE_TRANSACTION).tags().slice()];
}

/** int32 throttle | int16 error | message (nullable) | int32 node | host | int32 port | tags */
export function decodeFindCoordinatorResponse(payload: Buffer, apiVersion: number): FindCoordinatorResponse {
  const reader = new WireReader(payload, apiVersion >= 3);
  const throttleMs = reader.int32();
  const errorCode = reader.int16();
  const errorMessage = reader.nullableString();
  const nodeId = reader.int32();
  reader.string();
  reader.int32();
  reader.tags();
  return { throttleMs, errorCode, errorMessage, nodeId };
}
