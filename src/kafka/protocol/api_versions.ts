import { WireReader, WireWriter } from "./wire.ts";

/** ApiVersions (API 18), versions 0 to 3. v1: throttle time. v3: flexible, name and version of the client (KIP-511). */
export const API_VERSIONS_VERSION_MAX = 3;

/** Version range of one API. */
export interface ApiVersionRange {
  readonly min: number;
  readonly max: number;
}

export interface ApiVersionsResponse {
  readonly errorCode: number;
  readonly apis: ReadonlyMap<number, ApiVersionRange>;
  /** What the cluster has agreed on (KIP-584), by the feature's name: its level. Empty before v3 and on older brokers. */
  readonly features: ReadonlyMap<string, number>;
}

const FINALIZED_FEATURES_TAG = 2;

/** v0 to v2: nothing. v3: software name | software version | tags. */
export function encodeApiVersions(
  softwareName: string,
  softwareVersion: string,
  apiVersion: number,
): Buffer[] {
  if (apiVersion < 3) return [];
  return [new WireWriter(true, 64).string(softwareName).string(softwareVersion).tags().slice()];
}

/**
 *   int16 error | apis[ int16 key | int16 min | int16 max | tags ] | int32 throttle (v1)
 *     | tags: 2 = finalized features[ name | int16 max level | int16 min level | tags ]
 *
 * A broker that does not know the version that was asked for answers with error 35 in the form of v0.
 */
export function decodeApiVersionsResponse(payload: Buffer, apiVersion: number): ApiVersionsResponse {
  const errorCode = new WireReader(payload, false).int16();
  const reader = new WireReader(payload.subarray(2), apiVersion >= 3 && errorCode !== 35);
  const apis = new Map<number, ApiVersionRange>();
  // A broker before 2.4 may leave the list out of that error.
  const count = reader.remaining === 0 ? 0 : reader.arrayLength(6);
  for (let i = 0; i < count; i++) {
    const key = reader.int16();
    apis.set(key, { min: reader.int16(), max: reader.int16() });
    reader.tags();
  }
  const features = new Map<string, number>();
  if (apiVersion >= 1 && reader.remaining >= 4) {
    reader.int32();
    reader.tags((tag, field) => {
      if (tag === FINALIZED_FEATURES_TAG) readFeatures(field, features);
    });
  }
  return { errorCode, apis, features };
}

function readFeatures(reader: WireReader, features: Map<string, number>): void {
  const count = reader.arrayLength(6);
  for (let i = 0; i < count; i++) {
    const name = reader.string();
    features.set(name, reader.int16());
    reader.int16();
    reader.tags();
  }
}
