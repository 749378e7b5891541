import { WireReader, WireWriter } from "./wire.ts";

/** CreateTopics (API 19), versions 2 to 7. v4: -1 = the broker's defaults (KIP-464). v5: flexible. v7: topic ids (KIP-516). */
export const CREATE_TOPICS_VERSION_MIN = 2;
export const CREATE_TOPICS_VERSION_MAX = 7;

export interface NewTopic {
  readonly name: string;
  /** -1: the broker's default (v4). */
  readonly partitions: number;
  /** -1: the broker's default (v4). */
  readonly replicationFactor: number;
  /** Settings of the topic, by name. */
  readonly configs?: Readonly<Record<string, string>>;
}

export interface CreateTopicResult {
  readonly name: string;
  readonly errorCode: number;
  readonly errorMessage: string | null;
}

export interface CreateTopicsResponse {
  readonly throttleMs: number;
  readonly topics: readonly CreateTopicResult[];
}

/**
 *   topics[ name | int32 partitions | int16 replication factor | assignments[]
 *     | configs[ name | value | tags ] | tags ] | int32 timeout | bool validate only | tags
 */
export function encodeCreateTopics(
  topics: readonly NewTopic[],
  timeoutMs: number,
  validateOnly: boolean,
  apiVersion: number,
): Buffer[] {
  const writer = new WireWriter(apiVersion >= 5);
  writer.arrayLength(topics.length);
  for (const topic of topics) {
    writer.string(topic.name).int32(topic.partitions).int16(topic.replicationFactor);
    const configs = Object.entries(topic.configs ?? {});
    writer.arrayLength(0).arrayLength(configs.length);
    for (const [name, value] of configs) writer.string(name).string(value).tags();
    writer.tags();
  }
  return [writer.int32(timeoutMs).boolean(validateOnly).tags().slice()];
}

/**
 *   int32 throttle | topics[ name | topic id (v7) | int16 error | message
 *     | int32 partitions, int16 replication factor, configs[ name | value | bool | int8 | bool | tags ] (v5) | tags ] | tags
 */
export function decodeCreateTopicsResponse(payload: Buffer, apiVersion: number): CreateTopicsResponse {
  const reader = new WireReader(payload, apiVersion >= 5);
  const throttleMs = reader.int32();
  const topics: CreateTopicResult[] = [];
  const count = reader.arrayLength(4);
  for (let i = 0; i < count; i++) {
    const name = reader.string();
    if (apiVersion >= 7) reader.uuid();
    const errorCode = reader.int16();
    const errorMessage = reader.nullableString();
    if (apiVersion >= 5) skipTopicConfigs(reader);
    reader.tags();
    topics.push({ name, errorCode, errorMessage });
  }
  reader.tags();
  return { throttleMs, topics };
}

function skipTopicConfigs(reader: WireReader): void {
  reader.int32();
  reader.int16();
  const count = reader.arrayLength(6);
  for (let i = 0; i < count; i++) {
    reader.string();
    reader.nullableString();
    reader.boolean();
    reader.int8();
    reader.boolean();
    reader.tags();
  }
}
