import type { KafkaSinkConfig } from "../config/config.ts";
import { ErrorCode } from "../kafka/protocol/error_codes.ts";
import {
  OPERATION_CREATE,
  OPERATION_DESCRIBE,
  OPERATION_READ,
  OPERATION_WRITE,
} from "../kafka/protocol/metadata.ts";
import { aclUser } from "./acl_user.ts";
import { type CheckPlace, type CheckResult, found, passed, placeOf, someOf } from "./check_result.ts";
import type { ClusterView } from "./cluster_view.ts";
import { type PrefixRights, TEMPLATE_TOPICS_MAX, type TemplateTopics } from "./template_scope.ts";

/** Lines of one check about topics that match a template; the others are counted. */
export const LISTED_MAX = 10;

const LATER = "those that only lines will name are not known";

/** Which topics are there that lines may name. */
export function checkTemplate(config: KafkaSinkConfig, template: TemplateTopics): readonly CheckResult[] {
  const { matching, leftOutCount, absent } = template;
  const place = placeOf("topic.template", { sink: config.name, target: config.topic });
  const hint = config.topicsAutocreate
    ? null
    : "Create the topics that lines name, or set topics_autocreate = true";
  const results: CheckResult[] = [];
  if (matching.length > 0) {
    const count = matching.length + leftOutCount;
    const topics = count === 1 ? "1 topic matches" : `${count} topics match`;
    results.push(passed(place, `${topics} "${config.topic}": ${someOf(matching)}; ${LATER}`));
  } else if (config.topicsAutocreate) {
    results.push(
      passed(
        place,
        `No topic that this user may see matches "${config.topic}" yet: they are created; ${LATER}`,
      ),
    );
  } else {
    const message =
      `No topic that this user may see matches "${config.topic}": events wait until there is one`;
    results.push(found("warning", place, "no-topic", message, hint));
  }
  if (leftOutCount > 0) {
    const message = `${leftOutCount} more topics are not looked at: ${TEMPLATE_TOPICS_MAX} are the most`;
    results.push(found("skipped", place, "too-many", message));
  }
  if (absent.length > 0 && !config.topicsAutocreate) {
    const message = `Not there, or not to be seen by this user, though allowed_topics names them: ${
      someOf(absent)
    }`;
    results.push(found("warning", place, "topic-unknown", message, hint));
  }
  return results;
}

/** What this user may do with topics that are not there yet. The brokers tell it of any name, also of one that nobody has. */
export function checkPrefixRights(view: ClusterView, template: TemplateTopics): readonly CheckResult[] {
  const results = template.prefixes.map((rights) => checkPrefix(view, rights));
  if (view.config.topicsAutocreate) results.push(checkCreation(view, template));
  return results;
}

function checkPrefix({ config }: ClusterView, { prefix, errorCode, operations }: PrefixRights): CheckResult {
  const place = placeOf("rights.prefix", { sink: config.name, target: prefix });
  const topics = namesOf(prefix);
  const wanted: readonly [name: string, bit: number][] = [
    ["Write", OPERATION_WRITE],
    ["Describe", OPERATION_DESCRIBE],
    ...(config.delivery === "exactly_once" ? [["Read", OPERATION_READ] as [string, number]] : []),
  ];
  const isRefused = errorCode === ErrorCode.TOPIC_AUTHORIZATION_FAILED;
  if (!isRefused && errorCode !== ErrorCode.UNKNOWN_TOPIC_OR_PARTITION && errorCode !== ErrorCode.NONE) {
    const message =
      `What this user may do with ${topics} is not known: the cluster answers with error ${errorCode}`;
    return found("skipped", place, "not-told", message);
  }
  if (!isRefused && operations === null) {
    const message = `This user may describe ${topics}; whether it may write to them the broker does not tell`;
    return found("skipped", place, "not-told", message);
  }
  const absent = wanted.filter(([, bit]) => isRefused || (operations! & bit) === 0).map(([name]) => name);
  if (absent.length === 0) {
    return passed(place, `This user has ${listOf(wanted.map(([name]) => name))} on ${topics}`);
  }
  const isReadAlone = absent.length === 1 && absent[0] === "Read";
  return found(
    "warning",
    place,
    isReadAlone ? "no-read" : "TOPIC_AUTHORIZATION_FAILED",
    isReadAlone
      ? `This user has no right to READ ${topics}: nobody can look there what became of a batch after a crash`
      : `This user has no right to ${
        listOf(absent)
      } on ${topics} as such: events wait for each one that it has no right of its own to`,
    aclHint(config, absent, prefix),
  );
}

function checkCreation(
  { config, clusterOperations }: ClusterView,
  { prefixes }: TemplateTopics,
): CheckResult {
  const place = placeOf("rights.create", { sink: config.name });
  if (clusterOperations !== null && (clusterOperations & OPERATION_CREATE) !== 0) {
    return passed(place, "This user has CREATE on the cluster");
  }
  const told = prefixes.filter(({ operations, errorCode }) =>
    operations !== null && errorCode !== ErrorCode.TOPIC_AUTHORIZATION_FAILED
  );
  const without = told.filter(({ operations }) => (operations! & OPERATION_CREATE) === 0);
  if (told.length === 0 || told.length < prefixes.length && without.length === 0) {
    const message =
      "Whether this user may create the topics of the template is not known: it has no CREATE on the cluster, and the brokers do not tell of topics";
    return found("skipped", place, "not-told", message);
  }
  if (without.length === 0) {
    return passed(place, `This user has CREATE on ${told.map(({ prefix }) => namesOf(prefix)).join(", ")}`);
  }
  const { prefix } = without[0]!;
  return found(
    "warning",
    place,
    "TOPIC_AUTHORIZATION_FAILED",
    `This user has no right to CREATE ${
      without.map((each) => namesOf(each.prefix)).join(", ")
    } as such, nor on the cluster: topics that lines name are ` +
      "not created, and their events wait",
    aclHint(config, ["Create"], prefix),
  );
}

/**
 * The lines about topics that match a template, with one line for all of which a check has nothing to say, and `LISTED_MAX` of the others. Other
 * lines are left as they are.
 */
export function condense(view: ClusterView, results: readonly CheckResult[]): readonly CheckResult[] {
  if (view.template === null || view.template.matching.length < 2) return results;
  const matching = new Set(view.template.matching);
  const isOne = ({ check, target }: CheckResult) =>
    target !== null && matching.has(target) && check in SAYINGS;
  const kept: CheckResult[] = [];
  const done = new Set<string>();
  for (const result of results) {
    if (!isOne(result)) kept.push(result);
    else if (!done.has(result.check)) {
      done.add(result.check);
      kept.push(...condenseCheck(view, results.filter((each) => isOne(each) && each.check === result.check)));
    }
  }
  return kept;
}

/** What is said of topics that a check has nothing against; "": nothing, another line has them. */
const SAYINGS: Readonly<Record<string, string>> = {
  "topic.exists": "",
  "topic.leaders": "Every partition has a leader",
  "topic.replicas": "Every partition has the replicas that it needs",
  "topic.limits": "What this sink sends fits",
  "topic.cleanup_policy": "",
  "rights.topic": "This user has the rights that it needs",
};

function condenseCheck({ config }: ClusterView, results: readonly CheckResult[]): readonly CheckResult[] {
  const { check } = results[0]!;
  const place: CheckPlace = placeOf(check, { sink: config.name, target: config.topic });
  const others = results.filter(({ status }) => status !== "ok");
  const okCount = results.length - others.length;
  const lines: CheckResult[] = [];
  if (okCount > 0 && SAYINGS[check] !== "") {
    const which = others.length === 0 ? `all ${okCount}` : `${okCount} of ${results.length}`;
    lines.push(passed(place, `${SAYINGS[check]}, in ${which} topics that match "${config.topic}"`));
  }
  lines.push(...others.slice(0, LISTED_MAX));
  const left = others.slice(LISTED_MAX);
  const worst = left.find(({ status }) => status === "failed") ??
    left.find(({ status }) => status === "warning") ??
    left[0];
  if (worst !== undefined) {
    lines.push({
      ...worst,
      ...place,
      message: `The same, or the like, of ${left.length} more: ${someOf(left.map(({ target }) => target!))}`,
    });
  }
  return lines;
}

function namesOf(prefix: string): string {
  return prefix === "" ? "topics of any name" : `topics that begin with "${prefix}"`;
}

function listOf(rights: readonly string[]): string {
  return rights.map((each) => each.toUpperCase()).join(", ");
}

function aclHint({ sasl }: KafkaSinkConfig, operations: readonly string[], prefix: string): string {
  const where = prefix === "" ? "--topic '*'" : `--topic ${prefix} --resource-pattern-type prefixed`;
  return `kafka-acls --add --allow-principal ${aclUser(sasl)} ${
    operations.map((each) => `--operation ${each}`).join(" ")
  } ${where}`;
}
