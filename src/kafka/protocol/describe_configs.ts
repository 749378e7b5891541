import { WireReader, WireWriter } from "./wire.ts";

/** DescribeConfigs (API 32), versions 1 to 4. v1: synonyms. v3: type and documentation (not asked for). v4: flexible. */
export const DESCRIBE_CONFIGS_VERSION_MIN = 1;
export const DESCRIBE_CONFIGS_VERSION_MAX = 4;

const RESOURCE_TOPIC = 2;

export interface TopicConfigs {
  readonly topic: string;
  readonly errorCode: number;
  readonly errorMessage: string | null;
  /** The values that were asked for and that the broker knows. */
  readonly values: ReadonlyMap<string, string | null>;
}

export interface DescribeConfigsResponse {
  readonly throttleMs: number;
  readonly topics: readonly TopicConfigs[];
}

/** resources[ int8 type | name | keys[ name ] | tags ] | bool synonyms | bool documentation (v3) | tags */
export function encodeDescribeTopicConfigs(
  topics: readonly string[],
  keys: readonly string[],
  apiVersion: number,
): Buffer[] {
  const writer = new WireWriter(apiVersion >= 4);
  writer.arrayLength(topics.length);
  for (const topic of topics) {
    writer.int8(RESOURCE_TOPIC).string(topic).arrayLength(keys.length);
    for (const key of keys) writer.string(key);
    writer.tags();
  }
  writer.boolean(false);
  if (apiVersion >= 3) writer.boolean(false);
  return [writer.tags().slice()];
}

/**
 *   int32 throttle | results[ int16 error | message | int8 type | name | configs | tags ] | tags
 *   configs[ name | value | bool read-only | int8 source | bool sensitive | synonyms[ name | value | int8 source | tags ]
 *     | int8 type (v3) | documentation (v3) | tags ]
 */
export function decodeDescribeTopicConfigsResponse(
  payload: Buffer,
  apiVersion: number,
): DescribeConfigsResponse {
  const reader = new WireReader(payload, apiVersion >= 4);
  const throttleMs = reader.int32();
  const topics: TopicConfigs[] = [];
  const count = reader.arrayLength(5);
  for (let i = 0; i < count; i++) {
    const errorCode = reader.int16();
    const errorMessage = reader.nullableString();
    reader.int8();
    const topic = reader.string();
    const values = readConfigs(reader, apiVersion);
    reader.tags();
    topics.push({ topic, errorCode, errorMessage, values });
  }
  reader.tags();
  return { throttleMs, topics };
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
