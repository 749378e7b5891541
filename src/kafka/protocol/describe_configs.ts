import { WireReader, WireWriter } from "./wire.ts";

/** DescribeConfigs (API 32), versions 1 to 4. v1: synonyms. v3: type and documentation (not asked for). v4: flexible. */
export const DESCRIBE_CONFIGS_VERSION_MIN = 1;
export const DESCRIBE_CONFIGS_VERSION_MAX = 4;

const RESOURCE_TOPIC = 2;
const RESOURCE_BROKER = 4;

export interface ResourceConfigs {
  /** Name of the topic, or node id of the broker. */
  readonly name: string;
  readonly errorCode: number;
  readonly errorMessage: string | null;
  /** The values that were asked for and that the broker knows. */
  readonly values: ReadonlyMap<string, string | null>;
}

export interface DescribeConfigsResponse {
  readonly throttleMs: number;
  readonly resources: readonly ResourceConfigs[];
}

/** resources[ int8 type | name | keys[ name ] | tags ] | bool synonyms | bool documentation (v3) | tags */
function encode(
  type: number,
  names: readonly string[],
  keys: readonly string[],
  apiVersion: number,
): Buffer[] {
  const writer = new WireWriter(apiVersion >= 4);
  writer.arrayLength(names.length);
  for (const name of names) {
    writer.int8(type).string(name).arrayLength(keys.length);
    for (const key of keys) writer.string(key);
    writer.tags();
  }
  writer.boolean(false);
  if (apiVersion >= 3) writer.boolean(false);
  return [writer.tags().slice()];
}

export function encodeDescribeTopicConfigs(
  topics: readonly string[],
  keys: readonly string[],
  apiVersion: number,
): Buffer[] {
  return encode(RESOURCE_TOPIC, topics, keys, apiVersion);
}

/** For the broker itself that this is sent to: of another one a broker does not tell what is set there. */
export function encodeDescribeBrokerConfigs(
  nodeId: number,
  keys: readonly string[],
  apiVersion: number,
): Buffer[] {
  return encode(RESOURCE_BROKER, [String(nodeId)], keys, apiVersion);
}

/**
 *   int32 throttle | results[ int16 error | message | int8 type | name | configs | tags ] | tags
 *   configs[ name | value | bool read-only | int8 source | bool sensitive | synonyms[ name | value | int8 source | tags ]
 *     | int8 type (v3) | documentation (v3) | tags ]
 */
export function decodeDescribeConfigsResponse(
  payload: Buffer,
  apiVersion: number,
): DescribeConfigsResponse {
  const reader = new WireReader(payload, apiVersion >= 4);
  const throttleMs = reader.int32();
  const resources: ResourceConfigs[] = [];
  const count = reader.arrayLength(5);
  for (let i = 0; i < count; i++) {
    const errorCode = reader.int16();
    const errorMessage = reader.nullableString();
    reader.int8();
    const name = reader.string();
    const values = readConfigs(reader, apiVersion);
    reader.tags();
    resources.push({ name, errorCode, errorMessage, values });
  }
  reader.tags();
  return { throttleMs, resources };
}

function readConfigs(reader: WireReader, apiVersion: number): Map<string, string | null> {
  const values = new Map<string, string | null>();
  const count = reader.arrayLength(6);
  for (let i = 0; i < count; i++) {
    const name = reader.string();
    values.set(name, reader.nullableString());
    reader.boolean();
    reader.int8();
    reader.boolean();
    const synonymCount = reader.arrayLength(3);
    for (let s = 0; s < synonymCount; s++) {
      reader.string();
      reader.nullableString();
      reader.int8();
      reader.tags();
    }
    if (apiVersion >= 3) {
      reader.int8();
      reader.nullableString();
    }
    reader.tags();
  }
  return values;
}
