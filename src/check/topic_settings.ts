import { aclUser } from "./acl_user.ts";
import { ApiKey } from "../kafka/protocol/api_keys.ts";
import {
  decodeDescribeConfigsResponse,
  DESCRIBE_CONFIGS_VERSION_MAX,
  DESCRIBE_CONFIGS_VERSION_MIN,
  encodeDescribeTopicConfigs,
  type ResourceConfigs,
} from "../kafka/protocol/describe_configs.ts";
import { ErrorCode, errorInfo } from "../kafka/protocol/error_codes.ts";
import { type CheckPlace, type CheckResult, found, passed, placeOf } from "./check_result.ts";
import type { ClusterView } from "./cluster_view.ts";

const KEYS = ["max.message.bytes", "min.insync.replicas", "cleanup.policy"];

/** What is set for a topic; null: the broker did not tell. */
export interface TopicSettings {
  readonly maxMessageBytes: number | null;
  readonly minInsyncReplicas: number | null;
  readonly cleanupPolicy: string | null;
}

export interface AskedSettings {
  readonly settings: ReadonlyMap<string, TopicSettings>;
  /** Why there are none of a topic, by its name: the broker's error. */
  readonly refusals: ReadonlyMap<string, string>;
}

/** Asks what is set for the topics that are there. Rejects with KafkaError when no broker answers. */
export async function askSettings({ cluster, topics, config }: ClusterView): Promise<AskedSettings> {
  const names = [...topics.values()].filter(({ errorCode }) => errorCode === ErrorCode.NONE)
    .map(({ name }) => name);
  const settings = new Map<string, TopicSettings>();
  const refusals = new Map<string, string>();
  if (names.length === 0) return { settings, refusals };
  const resources = await cluster.ask(async (connection): Promise<readonly ResourceConfigs[] | null> => {
    const version = connection.highestVersion(
      ApiKey.DescribeConfigs,
      DESCRIBE_CONFIGS_VERSION_MIN,
      DESCRIBE_CONFIGS_VERSION_MAX,
    );
    if (version === null) return null;
    const payload = await connection.request(
      ApiKey.DescribeConfigs,
      version,
      encodeDescribeTopicConfigs(names, KEYS, version),
      { timeoutMs: config.requestTimeoutMs },
    );
    return decodeDescribeConfigsResponse(payload, version).resources;
  });
  for (const name of names) {
    const resource = resources?.find((each) => each.name === name);
    if (resource === undefined) refusals.set(name, "the broker does not offer DescribeConfigs");
    else if (resource.errorCode !== ErrorCode.NONE) {
      refusals.set(name, `the broker answers ${errorInfo(resource.errorCode).name}`);
    } else {
      settings.set(name, {
        maxMessageBytes: numberIn(resource, "max.message.bytes"),
        minInsyncReplicas: numberIn(resource, "min.insync.replicas"),
        cleanupPolicy: resource.values.get("cleanup.policy") ?? null,
      });
    }
  }
  return { settings, refusals };
}

function numberIn({ values }: ResourceConfigs, key: string): number | null {
  const value = Number(values.get(key) ?? NaN);
  return Number.isSafeInteger(value) && value > 0 ? value : null;
}

/** Whether what the topics of lines allow goes together with what the sink sends. */
export function checkLimits(
  { config, named, topics }: ClusterView,
  { settings, refusals }: AskedSettings,
): readonly CheckResult[] {
  const results: CheckResult[] = [];
  for (const { name, purpose } of named) {
    if (!purpose.startsWith("lines") || topics.get(name)?.errorCode !== ErrorCode.NONE) continue;
    const place = placeOf("topic.limits", { sink: config.name, target: name });
    const known = settings.get(name);
    if (known === undefined) {
      results.push(found(
        "skipped",
        place,
        "not-told",
        `Limits of topic "${name}" are not known: ${refusals.get(name) ?? "no broker told them"}`,
        `With the right to DESCRIBE_CONFIGS they are: kafka-acls --add --allow-principal ${
          aclUser(config.sasl)
        } --operation DescribeConfigs --topic ${name}`,
      ));
      continue;
    }
    results.push(checkSizes(place, known, config));
    const isCompacted = known.cleanupPolicy?.split(",").some((each) => each.trim() === "compact") ?? false;
    if (isCompacted && config.keyField === null) {
      results.push(found(
        "failed",
        { ...place, check: "topic.cleanup_policy" },
        "compacted-topic",
        `Topic "${name}" is compacted, and the records of this sink have no key: the broker refuses every one`,
        "Set key_field, or cleanup.policy=delete for the topic",
      ));
    }
  }
  return results;
}

function checkSizes(
  place: CheckPlace,
  { maxMessageBytes: limit }: TopicSettings,
  { batchMaxBytes, maxMessageBytes }: ClusterView["config"],
): CheckResult {
  const topic = `topic "${place.target}"`;
  if (limit === null) {
    return found("skipped", place, "not-told", `The broker does not tell max.message.bytes of ${topic}`);
  }
  const holds = `max.message.bytes of ${topic} is ${limit}`;
  if (limit < maxMessageBytes) {
    return found(
      "warning",
      place,
      "topic-limit-lower",
      `${holds}, and max_message_bytes is ${maxMessageBytes}: records between the two are too large for the topic (on_too_large says what becomes of them)`,
      `Set max.message.bytes of the topic to ${maxMessageBytes} or more, or max_message_bytes to ${limit} or less`,
    );
  }
  const batchBytes = Math.min(batchMaxBytes, maxMessageBytes);
  return passed(place, `${holds}: records up to ${maxMessageBytes} and batches up to ${batchBytes} fit`);
}
