import { checkCreatable } from "../kafka/cluster_health.ts";
import { newPositionTopic } from "../kafka/transaction/position_topic.ts";
import { ErrorCode, errorInfo } from "../kafka/protocol/error_codes.ts";
import type { PartitionMetadata, TopicMetadata } from "../kafka/protocol/metadata.ts";
import { countOf, nounOf } from "../telemetry/format.ts";
import { type CheckPlace, type CheckResult, found, passed, placeOf } from "./check_result.ts";
import type { ClusterView, NamedTopic } from "./cluster_view.ts";
import { checkTemplate } from "./template_checks.ts";
import type { TopicSettings } from "./topic_settings.ts";

/** Partition numbers that one line names. */
const IDS_MAX = 10;

/** Whether the sink's topics are there, lead, and have the replicas that `acks = "all"` asks for. */
export async function checkTopics(
  view: ClusterView,
  settings: ReadonlyMap<string, TopicSettings>,
  signal: AbortSignal,
): Promise<readonly CheckResult[]> {
  const results: CheckResult[] = [];
  if (view.template !== null) results.push(...checkTemplate(view.config, view.template));
  for (const topic of view.named) results.push(...await checkTopic(view, topic, settings, signal));
  return results;
}

async function checkTopic(
  view: ClusterView,
  { name, purpose }: NamedTopic,
  settings: ReadonlyMap<string, TopicSettings>,
  signal: AbortSignal,
): Promise<readonly CheckResult[]> {
  const place = placeOf("topic.exists", { sink: view.config.name, target: name });
  const topic = view.topics.get(name);
  const what = purpose === "lines" ? `Topic "${name}"` : `Topic "${name}" for ${purpose}`;
  if (topic === undefined || topic.errorCode === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION) {
    return [await missing(view, place, what, purpose, signal)];
  }
  if (topic.errorCode !== ErrorCode.NONE && topic.errorCode !== ErrorCode.LEADER_NOT_AVAILABLE) {
    const { name: code, hint } = errorInfo(topic.errorCode);
    return [found("failed", place, code, `${what} cannot be used: the cluster answers ${code}`, hint)];
  }
  const { partitions } = topic;
  const count = countOf(partitions.length, "partition");
  const leaders = { ...place, check: "topic.leaders" };
  const leaderless = partitions.filter(({ leader }) => leader < 0);
  return [
    passed(place, `${what} is there, with ${count}`),
    leaderless.length === 0 && partitions.length > 0
      ? passed(leaders, `Every partition of topic "${name}" has a leader`)
      : found(
        "failed",
        leaders,
        "leader-unknown",
        partitions.length === 0
          ? `Topic "${name}" has no partitions yet`
          : `No leader for ${ids(leaderless)} of topic "${name}"`,
        "Start the brokers that hold its replicas",
      ),
    checkReplicas(view, { ...place, check: "topic.replicas" }, topic, settings.get(name) ?? null),
  ];
}

async function missing(
  { config, cluster }: ClusterView,
  place: CheckPlace,
  what: string,
  purpose: NamedTopic["purpose"],
  signal: AbortSignal,
): Promise<CheckResult> {
  if (!config.topicsAutocreate && purpose !== "positions") {
    return found(
      "failed",
      place,
      "topic-unknown",
      `${what} is not there`,
      `Create it (kafka-topics --create --topic ${place.target}), correct its name, or set topics_autocreate = true`,
    );
  }
  const name = place.target!;
  const { autocreatePartitions: partitions, autocreateReplicationFactor: replicationFactor } = config;
  const wanted = purpose === "positions" ? newPositionTopic(name) : { name, partitions, replicationFactor };
  const failure = await checkCreatable(cluster, wanted, signal);
  if (failure !== null) return found("failed", place, failure.code, failure.message, failure.hint);
  return passed(place, `${what} is not there yet; this user may create it`);
}

function checkReplicas(
  { config }: ClusterView,
  place: CheckPlace,
  { name, partitions }: TopicMetadata,
  settings: TopicSettings | null,
): CheckResult {
  const minimum = settings?.minInsyncReplicas ?? null;
  const isAll = config.acks === "all";
  const short = partitions.filter(({ isr }) => minimum !== null && isr.length < minimum);
  const fewest = Math.min(...partitions.map(({ isr }) => isr.length));
  if (isAll && short.length > 0) {
    return found(
      "failed",
      place,
      "not-enough-replicas",
      `${
        ids(short)
      } of topic "${name}" has fewer replicas in sync than min.insync.replicas = ${minimum}: nothing can be written to it with acks = "all"`,
      "Start the brokers that hold its replicas",
    );
  }
  const behind = partitions.filter(({ isr, replicas }) => isr.length < replicas.length);
  if (behind.length > 0) {
    return found(
      "warning",
      place,
      "under-replicated",
      `Under-replicated: ${ids(behind)} of topic "${name}"`,
      "Look at the brokers that hold its replicas",
    );
  }
  const inSync = `${countOf(fewest, "replica")} in sync`;
  if (minimum === null) return passed(place, `Every partition of topic "${name}" has ${inSync}`);
  if (isAll && minimum > 1 && fewest === minimum) {
    return found(
      "warning",
      place,
      "no-spare-replica",
      `Topic "${name}" has as many replicas as min.insync.replicas asks for (${minimum}): when one of its brokers stops, delivery waits`,
      `Give it ${minimum + 1} replicas, or lower min.insync.replicas`,
    );
  }
  return passed(
    place,
    `Every partition of topic "${name}" has ${inSync}, min.insync.replicas = ${minimum}`,
  );
}

function ids(partitions: readonly PartitionMetadata[]): string {
  const list = partitions.slice(0, IDS_MAX).map(({ id }) => id).join(", ");
  const more = partitions.length > IDS_MAX ? ` and ${partitions.length - IDS_MAX} more` : "";
  return `${nounOf(partitions.length, "partition")} ${list}${more}`;
}
