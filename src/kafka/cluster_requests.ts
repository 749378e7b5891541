import { backoffMs } from "./backoff.ts";
import type { BrokerConnection } from "./broker_connection.ts";
import { brokerRefusal, KafkaError, RequestError } from "./errors.ts";
import { ApiKey } from "./protocol/api_keys.ts";
import {
  CREATE_TOPICS_VERSION_MAX,
  CREATE_TOPICS_VERSION_MIN,
  type CreateTopicResult,
  decodeCreateTopicsResponse,
  encodeCreateTopics,
  type NewTopic,
} from "./protocol/create_topics.ts";
import {
  decodeDescribeConfigsResponse,
  DESCRIBE_CONFIGS_VERSION_MAX,
  DESCRIBE_CONFIGS_VERSION_MIN,
  encodeDescribeTopicConfigs,
} from "./protocol/describe_configs.ts";
import { ErrorCode, errorInfo } from "./protocol/error_codes.ts";
import {
  decodeInitProducerIdResponse,
  encodeInitProducerId,
  INIT_PRODUCER_ID_VERSION_MAX,
  INIT_PRODUCER_ID_VERSION_MIN,
} from "./protocol/init_producer_id.ts";
import {
  decodeMetadataResponse,
  encodeMetadata,
  METADATA_VERSION_MAX,
  METADATA_VERSION_MIN,
  type MetadataResponse,
} from "./protocol/metadata.ts";

/** What the functions below need of a cluster. */
export interface ClusterRequests {
  readonly options: {
    readonly requestTimeoutMs: number;
    readonly retryIntervalMs: number;
    readonly retryMaxIntervalMs: number;
  };
  readonly controllerId: number;
  ask<T>(attempt: (connection: BrokerConnection) => Promise<T>): Promise<T>;
  connectionTo(nodeId: number): Promise<BrokerConnection>;
  refresh(topics: readonly string[], reason: string): Promise<void>;
}

/** Identity of an idempotent producer. */
export interface ProducerId {
  /** The int64 as 8 bytes, big endian: ready for a record batch's header. */
  readonly id: Buffer;
  /** The same in decimal, for logs. */
  readonly idText: string;
  readonly epoch: number;
}

/** Answers come this much later than the broker's own timeout at most. */
const ANSWER_MARGIN_MS = 5_000;
/** Milliseconds; irrelevant without transactional id, but the broker wants a number. */
const TRANSACTION_TIMEOUT_MS = 60_000;

/** What one broker says of the cluster and of these topics. Rejects as the connection's requests do, with ProtocolError for an answer that is none. */
export async function metadataOf(
  connection: BrokerConnection,
  topics: readonly string[],
  timeoutMs: number,
): Promise<MetadataResponse> {
  const version = connection.versionFor(ApiKey.Metadata, METADATA_VERSION_MIN, METADATA_VERSION_MAX);
  const payload = await connection.request(ApiKey.Metadata, version, encodeMetadata(topics, version), {
    timeoutMs,
  });
  const answer = decodeMetadataResponse(payload, version);
  connection.throttle(answer.throttleMs);
  if (answer.brokers.length > 0) return answer;
  // A broker that has just started and knows nothing yet.
  throw new RequestError("no-brokers", `Broker "${connection.broker}" knows no brokers yet`, {
    broker: connection.broker,
  });
}

export async function initProducerIdBy(
  cluster: ClusterRequests,
  signal: AbortSignal,
  random: () => number,
): Promise<ProducerId> {
  const { retryIntervalMs, retryMaxIntervalMs } = cluster.options;
  for (let failureCount = 1;; failureCount++) {
    if (signal.aborted) throw abortedError("get a producer id");
    try {
      return await unlessAborted(cluster.ask((connection) => askProducerId(cluster, connection)), signal);
    } catch (error) {
      if (!(error instanceof KafkaError) || isFinal(error) || signal.aborted) throw error;
    }
    const pauseMs = backoffMs(failureCount, retryIntervalMs, retryMaxIntervalMs, random());
    await unlessAborted(Bun.sleep(pauseMs), signal);
  }
}

async function askProducerId(cluster: ClusterRequests, connection: BrokerConnection): Promise<ProducerId> {
  const version = connection.versionFor(
    ApiKey.InitProducerId,
    INIT_PRODUCER_ID_VERSION_MIN,
    INIT_PRODUCER_ID_VERSION_MAX,
  );
  const body = encodeInitProducerId(null, TRANSACTION_TIMEOUT_MS, version);
  const payload = await connection.request(ApiKey.InitProducerId, version, body, {
    timeoutMs: cluster.options.requestTimeoutMs,
  });
  const answer = decodeInitProducerIdResponse(payload, version);
  connection.throttle(answer.throttleMs);
  if (answer.errorCode !== ErrorCode.NONE) {
    throw brokerRefusal(answer.errorCode, "get a producer id", connection.broker, null);
  }
  return {
    id: answer.producerId,
    idText: answer.producerId.readBigInt64BE(0).toString(),
    epoch: answer.producerEpoch,
  };
}

/** A refusal that the same request will meet again. */
function isFinal(error: KafkaError): boolean {
  if (!(error instanceof RequestError)) return false;
  if (error.code === "unsupported-version" || error.code === "closed" && error.broker === null) return true;
  return error.errorCode !== null && !errorInfo(error.errorCode).retriable &&
    error.errorCode !== ErrorCode.UNKNOWN_SERVER_ERROR && error.errorCode !== ErrorCode.BROKER_NOT_AVAILABLE;
}

export async function createTopicsBy(
  cluster: ClusterRequests,
  topics: readonly NewTopic[],
  validateOnly: boolean,
  signal: AbortSignal,
): Promise<readonly CreateTopicResult[]> {
  const first = await unlessAborted(createOnce(cluster, topics, validateOnly), signal);
  const moved = first.filter((topic) => topic.errorCode === ErrorCode.NOT_CONTROLLER).map((topic) =>
    topic.name
  );
  if (moved.length === 0) return first;
  await unlessAborted(cluster.refresh([], "the controller has moved"), signal);
  const again = topics.filter((topic) => moved.includes(topic.name));
  const second = await unlessAborted(createOnce(cluster, again, validateOnly), signal);
  return [...first.filter((topic) => topic.errorCode !== ErrorCode.NOT_CONTROLLER), ...second];
}

async function createOnce(
  cluster: ClusterRequests,
  topics: readonly NewTopic[],
  validateOnly: boolean,
): Promise<readonly CreateTopicResult[]> {
  if (cluster.controllerId < 0) await cluster.refresh([], "the controller is not known");
  const connection = await cluster.connectionTo(cluster.controllerId);
  const version = connection.versionFor(
    ApiKey.CreateTopics,
    CREATE_TOPICS_VERSION_MIN,
    CREATE_TOPICS_VERSION_MAX,
  );
  if (version < 4 && topics.some((topic) => topic.partitions < 1 || topic.replicationFactor < 1)) {
    throw new RequestError(
      "unsupported-version",
      `Cannot create topic "${
        topics[0]!.name
      }" with the broker's defaults: broker "${connection.broker}" is older than Kafka 2.4`,
      { broker: connection.broker, hint: "Set autocreate.partitions and autocreate.replication_factor" },
    );
  }
  const { requestTimeoutMs } = cluster.options;
  const body = encodeCreateTopics(topics, requestTimeoutMs, validateOnly, version);
  const payload = await connection.request(ApiKey.CreateTopics, version, body, {
    timeoutMs: requestTimeoutMs + ANSWER_MARGIN_MS,
  });
  const answer = decodeCreateTopicsResponse(payload, version);
  connection.throttle(answer.throttleMs);
  return answer.topics;
}

/** A setting of a topic, by its name; null when this user may not see it. */
export async function topicConfigBy(
  cluster: ClusterRequests,
  topic: string,
  key: string,
  signal: AbortSignal,
): Promise<string | null> {
  return (await topicConfigsBy(cluster, [topic], [key], signal)).get(topic)?.get(key) ?? null;
}

/** Settings of topics, by topic and name. Topics of which this user may see nothing are not in the result; nor is anything from brokers that cannot tell. */
export function topicConfigsBy(
  cluster: ClusterRequests,
  topics: readonly string[],
  keys: readonly string[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, ReadonlyMap<string, string | null>>> {
  const asked = cluster.ask(async (connection) => {
    const found = new Map<string, ReadonlyMap<string, string | null>>();
    const version = connection.highestVersion(
      ApiKey.DescribeConfigs,
      DESCRIBE_CONFIGS_VERSION_MIN,
      DESCRIBE_CONFIGS_VERSION_MAX,
    );
    if (version === null) return found;
    const payload = await connection.request(
      ApiKey.DescribeConfigs,
      version,
      encodeDescribeTopicConfigs(topics, keys, version),
      { timeoutMs: cluster.options.requestTimeoutMs },
    );
    const answer = decodeDescribeConfigsResponse(payload, version);
    connection.throttle(answer.throttleMs);
    for (const { name, errorCode, values } of answer.resources) {
      if (errorCode === ErrorCode.NONE) found.set(name, values);
    }
    return found;
  });
  return unlessAborted(asked, signal);
}

/** Rejects with "aborted" when `signal` aborts first. `work` is left to itself. */
export function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const onAbort = () => reject(abortedError("wait for a broker"));
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

/** For work that `signal` ended; "Cannot " and `what` begin the message. */
export function abortedError(what: string): KafkaError {
  return new KafkaError("aborted", `Cannot ${what}: given up at shutdown`);
}
