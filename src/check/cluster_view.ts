import type { KafkaSinkConfig } from "../config/config.ts";
import type { BrokerConnection } from "../kafka/broker_connection.ts";
import type { Cluster } from "../kafka/cluster.ts";
import { ApiKey } from "../kafka/protocol/api_keys.ts";
import {
  type BrokerNode,
  decodeMetadataResponse,
  encodeMetadata,
  METADATA_VERSION_MAX,
  METADATA_VERSION_MIN,
  type MetadataResponse,
  type TopicMetadata,
} from "../kafka/protocol/metadata.ts";
import { Template } from "../shape/template.ts";
import { TemplateScope, type TemplateTopics } from "./template_scope.ts";

/** The last version of Metadata that tells what a user may do with the cluster. */
const CLUSTER_OPERATIONS_VERSION_MAX = 10;

/** A sink's topics that are known by name, or that lines may name, with what they are for. */
export interface NamedTopic {
  readonly name: string;
  readonly purpose: "lines" | "lines without a topic" | "dead letters" | "gap markers" | "positions";
}

/** What the cluster says of itself and of the topics of a sink. */
export interface ClusterView {
  readonly config: KafkaSinkConfig;
  readonly cluster: Cluster;
  readonly brokers: readonly BrokerNode[];
  /** By name; errors are in `errorCode`. */
  readonly topics: ReadonlyMap<string, TopicMetadata>;
  readonly named: readonly NamedTopic[];
  /** What `topic` may name; null where it is no template. */
  readonly template: TemplateTopics | null;
  /** Bits of the rights on the cluster; null: this user may not know them. */
  readonly clusterOperations: number | null;
  /** Brokers of Kafka 2.8 and later; there WRITE on a topic is enough for idempotent writes (KIP-679). */
  readonly isNew: boolean;
}

/** Asks the cluster, as a sink would. Rejects with KafkaError when no broker answers. */
export async function viewCluster(config: KafkaSinkConfig, cluster: Cluster): Promise<ClusterView> {
  const named = namedTopics(config);
  // So that the cluster knows the brokers' addresses.
  await cluster.refresh(named.map(({ name }) => name), "check");
  const scope = named.some(({ purpose }) => purpose === "lines") ? null : new TemplateScope(config);
  if (scope !== null) {
    const { answer } = await cluster.ask((connection) => askMetadata(connection, config, null));
    const lines = scope.choose(answer.topics.map(({ name }) => name));
    for (const name of lines) add(named, name, "lines");
  }
  const names = [...named.map(({ name }) => name), ...scope?.probes ?? []];
  const { answer, isNew } = await cluster.ask((connection) => askMetadata(connection, config, names));
  return {
    config,
    cluster,
    brokers: [...answer.brokers].sort((a, b) => a.id - b.id),
    topics: new Map(answer.topics.map((topic) => [topic.name, topic])),
    named,
    template: scope?.read(answer.topics) ?? null,
    clusterOperations: answer.clusterOperations,
    isNew,
  };
}

/** Metadata with rights, which costs the broker a little more than without; of all topics (null) without. */
async function askMetadata(
  connection: BrokerConnection,
  { requestTimeoutMs }: KafkaSinkConfig,
  names: readonly string[] | null,
): Promise<{ answer: MetadataResponse; isNew: boolean }> {
  const highest = connection.versionFor(ApiKey.Metadata, METADATA_VERSION_MIN, METADATA_VERSION_MAX);
  const version = Math.min(highest, CLUSTER_OPERATIONS_VERSION_MAX);
  const body = encodeMetadata(names, version, names !== null, names !== null);
  const payload = await connection.request(ApiKey.Metadata, version, body, { timeoutMs: requestTimeoutMs });
  const isNew = connection.highestVersion(ApiKey.DescribeProducers, 0, 0) !== null;
  return { answer: decodeMetadataResponse(payload, version), isNew };
}

function namedTopics(config: KafkaSinkConfig): NamedTopic[] {
  const named: NamedTopic[] = [];
  const fixed = new Template(config.topic).constant;
  if (fixed !== null) add(named, fixed, "lines");
  const markers = config.gapMarkersTopic === null ? null : new Template(config.gapMarkersTopic).constant;
  if (markers !== null) add(named, markers, "gap markers");
  const { topicPolicy: { fallback }, deadLetter } = config;
  if (fallback !== null) add(named, fallback, "lines without a topic");
  if (deadLetter?.kind === "topic") add(named, deadLetter.topic, "dead letters");
  if (config.delivery === "transactional") add(named, config.positionTopic, "positions");
  return named;
}

/** The first purpose of a topic counts. */
function add(named: NamedTopic[], name: string, purpose: NamedTopic["purpose"]): void {
  if (!named.some((each) => each.name === name)) named.push({ name, purpose });
}
