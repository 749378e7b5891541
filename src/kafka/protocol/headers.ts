import { ApiKey, isFlexible } from "./api_keys.ts";
import { WireReader, WireWriter } from "./wire.ts";

/**
 * Request header v1, and v2 (KIP-482) for flexible versions, with the size that stands in front of a request:
 *
 *   int32 size of what follows | int16 api key | int16 api version | int32 correlation id | int16 length + client id | tags (v2)
 *
 * The client id keeps its int16 length in v2. `bodyBytes` is what the caller writes after these bytes.
 */
export function encodeRequestHeader(
  apiKey: number,
  apiVersion: number,
  correlationId: number,
  clientId: string | null,
  bodyBytes: number,
): Buffer {
  const writer = new WireWriter(false, 64);
  writer.int32(0).int16(apiKey).int16(apiVersion).int32(correlationId).string(clientId);
  if (isFlexible(apiKey, apiVersion)) writer.int8(0);
  const header = writer.slice();
  header.writeInt32BE(header.length - 4 + bodyBytes, 0);
  return header;
}

/** Correlation id of an answer: the first four bytes of its header in every version. */
export function decodeCorrelationId(frame: Buffer): number {
  return new WireReader(frame, false).int32();
}

/**
 * What follows the response header: v0 is the correlation id, v1 (KIP-482) adds tags. ApiVersions answers with v0 in all
 * versions, so that a client that guessed the version wrong can read it (KIP-511).
 */
export function responseBody(frame: Buffer, apiKey: number, apiVersion: number): Buffer {
  const flexible = apiKey !== ApiKey.ApiVersions && isFlexible(apiKey, apiVersion);
  const reader = new WireReader(frame, flexible);
  reader.int32();
  reader.tags();
  return frame.subarray(frame.length - reader.remaining);
}
