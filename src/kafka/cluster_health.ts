import type { KafkaSinkConfig } from "../config/config.ts";
import type { HealthFailure } from "../sink/sink.ts";
import type { Cluster } from "./cluster.ts";
import { KafkaError } from "./errors.ts";
import { missingRightHint, missingRightText } from "./missing_right.ts";
import { ErrorCode, errorInfo } from "./protocol/error_codes.ts";
import { ApiKey } from "./protocol/api_keys.ts";
import type { NewTopic } from "./protocol/create_topics.ts";
import {
  decodeMetadataResponse,
  encodeMetadata,
  METADATA_VERSION_MAX,
  OPERATION_WRITE,
  type TopicMetadata,
} from "./protocol/metadata.ts";

/** A topic that was created just now has no leaders for a moment. */
const LEADER_WAIT_MS = 3_000;
const LEADER_POLL_MS = 200;
/** First version of Metadata that tells rights. */
const OPERATIONS_VERSION_MIN = 8;

/** The sink ended before its check had an answer, which says nothing of what is behind it: neither passed nor failed. */
export const CHECK_CUT_SHORT: HealthFailure = {
  code: "ended",
  message: "Cannot tell whether it works: the sink ended first",
  hint: null,
};

/** Whether missing topics are created, and as what; true: with the brokers' defaults. */
export type Autocreate = boolean | Pick<NewTopic, "partitions" | "replicationFactor">;

export function autocreateOf(config: KafkaSinkConfig): Autocreate {
  const { topicsAutocreate, autocreatePartitions: partitions, autocreateReplicationFactor } = config;
  return topicsAutocreate && { partitions, replicationFactor: autocreateReplicationFactor };
}

/**
 * Tries what delivery needs: reach a broker, authenticate, know the topics and their leaders (or be able to create them), reach each leader
 * at the address that the cluster gives, be allowed to write. Null when all is well, else the first thing that is not, as one sentence with a hint.
 */
export async function diagnoseCluster(
  cluster: Cluster,
  topics: readonly string[],
  options: { readonly autocreate: Autocreate },
  signal: AbortSignal,
): Promise<HealthFailure | null> {
  try {
    const leaders = new Set<number>();
    const deadlineMs = performance.now() + LEADER_WAIT_MS;
    for (let first = true;; first = false) {
      await cluster.refresh(topics, first ? "health check" : "health check: a partition has no leader");
      const failure = await checkTopics(cluster, topics, options.autocreate, leaders, signal);
      if (failure === null) break;
      if (failure.code !== "leader-unknown" || performance.now() > deadlineMs || signal.aborted) {
        return failure;
      }
      await Bun.sleep(LEADER_POLL_MS);
    }
    for (const leader of leaders) await cluster.connectionTo(leader);
    return await checkRights(
      cluster,
      topics.filter((name) => cluster.topic(name)?.errorCode === ErrorCode.NONE),
    );
  } catch (error) {
    if (error instanceof KafkaError) return { code: error.code, message: error.message, hint: error.hint };
    throw error;
  }
}

async function checkTopics(
  cluster: Cluster,
  topics: readonly string[],
  autocreate: Autocreate,
  leaders: Set<number>,
  signal: AbortSignal,
): Promise<HealthFailure | null> {
  leaders.clear();
  for (const name of topics) {
    const topic = cluster.topic(name);
    if (topic === undefined) {
      return {
        code: "topic-unknown",
        message: `Cannot find topic "${name}": no broker said anything about it`,
        hint: null,
      };
    }
    if (topic.errorCode === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION && autocreate !== false) {
      const shape = autocreate === true ? { partitions: -1, replicationFactor: -1 } : autocreate;
      const failure = await checkCreatable(cluster, { name, ...shape }, signal);
      if (failure !== null) return failure;
      continue;
    }
    const failure = checkTopic(cluster, topic);
    if (failure !== null) return failure;
    for (const partition of topic.partitions) leaders.add(partition.leader);
  }
  return null;
}

function checkTopic(cluster: Cluster, topic: TopicMetadata): HealthFailure | null {
  const { name, errorCode, partitions } = topic;
  if (errorCode === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION) {
    return {
      code: "topic-unknown",
      message: `Cannot find topic "${name}": the cluster does not know it`,
      hint: "Create the topic, correct its name, or set topics_autocreate = true",
    };
  }
  if (errorCode === ErrorCode.TOPIC_AUTHORIZATION_FAILED) {
    const resource = { kind: "topic" as const, name };
    return {
      code: errorInfo(errorCode).name,
      message: `Cannot use topic "${name}": ${
        missingRightText(cluster.options, resource, ["WRITE", "DESCRIBE"])
      }`,
      hint: missingRightHint(cluster.options, resource, ["WRITE", "DESCRIBE"]),
    };
  }
  if (errorCode !== ErrorCode.NONE && errorCode !== ErrorCode.LEADER_NOT_AVAILABLE) {
    const info = errorInfo(errorCode);
    return {
      code: info.name,
      message: `Cannot use topic "${name}": the cluster answers ${info.name}`,
      hint: info.hint,
    };
  }
  const without = partitions.filter((partition) => partition.leader < 0);
  if (partitions.length > 0 && without.length === 0) return null;
  const ids = without.slice(0, 10).map((partition) => partition.id).join(", ");
  const which = without.length === 0 ? "it has no partitions yet" : `no leader for partition ${ids}`;
  return {
    code: "leader-unknown",
    message: `Cannot send to topic "${name}": ${which}${without.length > 10 ? ", ..." : ""}`,
    hint: "Start the brokers that hold its replicas",
  };
}

/** Tells at start what the first Produce request would tell. */
async function checkRights(cluster: Cluster, topics: readonly string[]): Promise<HealthFailure | null> {
  const answer = await cluster.ask(async (connection) => {
    const version = connection.highestVersion(ApiKey.Metadata, OPERATIONS_VERSION_MIN, METADATA_VERSION_MAX);
    if (version === null || topics.length === 0) return null;
    const payload = await connection.request(
      ApiKey.Metadata,
      version,
      encodeMetadata(topics, version, true),
      {
        timeoutMs: cluster.options.requestTimeoutMs,
      },
    );
    return decodeMetadataResponse(payload, version);
  });
  for (const { name, errorCode, operations } of answer?.topics ?? []) {
    if (errorCode !== ErrorCode.NONE || operations === null || (operations & OPERATION_WRITE) !== 0) continue;
    const { name: code } = errorInfo(ErrorCode.TOPIC_AUTHORIZATION_FAILED);
    const resource = { kind: "topic" as const, name };
    return {
      code,
      message: `Cannot write to topic "${name}": ${missingRightText(cluster.options, resource, ["WRITE"])}`,
      hint: missingRightHint(cluster.options, resource, ["WRITE"]),
    };
  }
  return null;
}

/**
 * Whether this user may create the topic, by a request that is checked and not carried out. Null: yes, or it cannot be tried. Controllers of
 * Kafka 3.0 in KRaft mode create it all the same: so it is asked for as it is wanted.
 */
export async function checkCreatable(
  cluster: Cluster,
  wanted: NewTopic,
  signal: AbortSignal,
): Promise<HealthFailure | null> {
  const [answer] = await cluster.createTopics([wanted], signal, true).catch((error: unknown) => {
    // Before Kafka 2.4 the defaults can't be asked for, so it can't be tried out.
    if (error instanceof KafkaError && error.code === "unsupported-version") return [];
    throw error;
  });
  if (answer === undefined) return null;
  if (answer.errorCode === ErrorCode.NONE || answer.errorCode === ErrorCode.TOPIC_ALREADY_EXISTS) return null;
  const info = errorInfo(answer.errorCode);
  const said = answer.errorMessage === null ? "" : ` (${answer.errorMessage})`;
  return {
    code: "topic-not-creatable",
    message: `Cannot create topic "${wanted.name}": the cluster answers ${info.name}${said}`,
    hint: info.hint,
  };
}
