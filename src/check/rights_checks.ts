import { aclUser } from "./acl_user.ts";
import { ErrorCode } from "../kafka/protocol/error_codes.ts";
import {
  OPERATION_DESCRIBE,
  OPERATION_IDEMPOTENT_WRITE,
  OPERATION_READ,
  OPERATION_WRITE,
  type TopicMetadata,
} from "../kafka/protocol/metadata.ts";
import { type CheckResult, found, passed, placeOf } from "./check_result.ts";
import type { ClusterView, NamedTopic } from "./cluster_view.ts";
import { checkPrefixRights } from "./template_checks.ts";

/** What this user may do, by what brokers tell of it (KIP-430). Nothing is tried out. */
export function checkRights(view: ClusterView): readonly CheckResult[] {
  const { config, named, topics, template } = view;
  const results: CheckResult[] = [];
  let mayWrite = false;
  let isTold = false;
  for (const each of named) {
    const topic = topics.get(each.name);
    if (topic?.errorCode !== ErrorCode.NONE) continue;
    results.push(checkTopicRights(view, each, topic));
    if (topic.operations !== null) isTold = true;
    if (topic.operations !== null && (topic.operations & OPERATION_WRITE) !== 0) mayWrite = true;
  }
  if (config.delivery === "exactly_once") results.push(checkIdempotence(view, mayWrite, isTold));
  if (template !== null) results.push(...checkPrefixRights(view, template));
  return results;
}

function checkTopicRights(
  { config }: ClusterView,
  { name, purpose }: NamedTopic,
  { operations }: TopicMetadata,
): CheckResult {
  const place = placeOf("rights.topic", { sink: config.name, target: name });
  if (operations === null) {
    return found(
      "skipped",
      place,
      "not-told",
      `The broker does not tell what this user may do with topic "${name}": brokers of Kafka 2.3 and later do`,
    );
  }
  const needsRead = purpose === "positions";
  const wantsRead = needsRead || (purpose.startsWith("lines") && config.delivery === "exactly_once");
  const rights: readonly [name: string, bit: number][] = [
    ["Write", OPERATION_WRITE],
    ["Describe", OPERATION_DESCRIBE],
    ...(wantsRead ? [["Read", OPERATION_READ] as [string, number]] : []),
  ];
  const absent = rights.filter(([, bit]) => (operations & bit) === 0).map(([right]) => right);
  const list = (some: readonly string[]) => some.map((each) => each.toUpperCase()).join(", ");
  if (absent.length === 0) {
    return passed(place, `This user has ${list(rights.map(([right]) => right))} on topic "${name}"`);
  }
  const hint = `kafka-acls --add --allow-principal ${aclUser(config.sasl)} ${
    absent.map((each) => `--operation ${each}`).join(" ")
  } --topic ${name}`;
  if (absent.length === 1 && absent[0] === "Read" && !needsRead) {
    return found(
      "warning",
      place,
      "no-read",
      `This user has no right to READ topic "${name}": nobody can look there what became of a batch after a crash`,
      hint,
    );
  }
  return found(
    "failed",
    place,
    "TOPIC_AUTHORIZATION_FAILED",
    `This user has no right to ${list(absent)} on topic "${name}"`,
    hint,
  );
}

function checkIdempotence(
  { config, clusterOperations, isNew }: ClusterView,
  mayWrite: boolean,
  isTold: boolean,
): CheckResult {
  const place = placeOf("rights.idempotent_write", { sink: config.name });
  if (clusterOperations !== null && (clusterOperations & OPERATION_IDEMPOTENT_WRITE) !== 0) {
    return passed(place, "This user has IDEMPOTENT_WRITE on the cluster");
  }
  if (isNew && mayWrite) {
    return passed(place, "This user may write idempotently: from Kafka 2.8 on WRITE on a topic is enough");
  }
  const isKnown = clusterOperations !== null && isTold;
  return found(
    isKnown ? "failed" : "skipped",
    place,
    isKnown ? "CLUSTER_AUTHORIZATION_FAILED" : "not-told",
    isKnown
      ? "This user has no right to IDEMPOTENT_WRITE on the cluster"
      : "The brokers do not tell whether this user may write idempotently: it has no right to DESCRIBE the cluster, and WRITE on no topic that is known by name",
    isKnown
      ? `kafka-acls --add --allow-principal ${aclUser(config.sasl)} --operation IdempotentWrite --cluster`
      : null,
  );
}
