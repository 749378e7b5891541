import { randomBytes } from "node:crypto";
import type { KafkaSinkConfig } from "../config/config.ts";
import type { TopicMetadata } from "../kafka/protocol/metadata.ts";
import { Template, TOPIC_BYTES_MAX } from "../shape/template.ts";
import { TopicPolicy } from "../shape/topic_policy.ts";

/** Topics that are looked at of those that match a template; the rest is left out, which is said. */
export const TEMPLATE_TOPICS_MAX = 500;
/** Beginnings of names whose rights are asked for. */
export const PREFIXES_MAX = 20;

/** What this user may do with topics that begin alike. */
export interface PrefixRights {
  /** "": any name. */
  readonly prefix: string;
  /** Of a name that is not there: the brokers say that it is not, or that they may not say. */
  readonly errorCode: number;
  /** Bits of rights; null: the brokers do not tell. */
  readonly operations: number | null;
}

/** The topics that lines may name, as far as they can be known beforehand. */
export interface TemplateTopics {
  /** Those that are there and that this user may see, in order; `TEMPLATE_TOPICS_MAX` at most. */
  readonly matching: readonly string[];
  readonly leftOutCount: number;
  /** Whole names in `allowed_topics` that are not there. */
  readonly absent: readonly string[];
  readonly prefixes: readonly PrefixRights[];
}

/** What a sink whose `topic` is a template may write to: what to ask the cluster for, and what its answers say. */
export class TemplateScope {
  readonly #template: Template;
  readonly #policy: TopicPolicy;
  readonly #allowed: readonly string[];
  /** Made-up name by beginning. */
  readonly #probes = new Map<string, string>();
  #found: Omit<TemplateTopics, "prefixes"> = { matching: [], leftOutCount: 0, absent: [] };

  constructor({ topic, topicPolicy }: Pick<KafkaSinkConfig, "topic" | "topicPolicy">) {
    this.#template = new Template(topic);
    const { literalPrefix } = this.#template;
    this.#policy = new TopicPolicy(topicPolicy, literalPrefix);
    this.#allowed = topicPolicy.allowed ?? [];
    const beginnings = topicPolicy.allowed === null
      ? [literalPrefix]
      : this.#allowed.flatMap((pattern) => beginningOf(pattern, literalPrefix));
    for (const prefix of new Set(beginnings)) {
      const name = `${prefix}shipper-check-${randomBytes(6).toString("hex")}`;
      if (name.length <= TOPIC_BYTES_MAX && this.#probes.size < PREFIXES_MAX) this.#probes.set(prefix, name);
    }
  }

  /** Names that nobody has, one for each beginning. */
  get probes(): readonly string[] {
    return [...this.#probes.values()];
  }

  /** Of all topics of the cluster, those to look at. */
  choose(topics: readonly string[]): readonly string[] {
    const fits = (name: string) => this.#template.matches(name) && this.#policy.allows(name);
    const all = topics.filter(fits).sort();
    const there = new Set(all);
    const absent = this.#allowed.filter((name) => !name.includes("*") && fits(name) && !there.has(name));
    const matching = all.slice(0, TEMPLATE_TOPICS_MAX);
    this.#found = { matching, leftOutCount: all.length - matching.length, absent };
    return matching;
  }

  /** What was chosen, with what the cluster says of the made-up names. */
  read(topics: readonly TopicMetadata[]): TemplateTopics {
    const prefixes = [...this.#probes].flatMap(([prefix, probe]) => {
      const answer = topics.find(({ name }) => name === probe);
      if (answer === undefined) return [];
      return [{ prefix, errorCode: answer.errorCode, operations: answer.operations }];
    });
    return { ...this.#found, prefixes };
  }
}

/** What topics of the template begin with that this pattern allows; none for a whole name, and where the two go together for no name. */
function beginningOf(pattern: string, literalPrefix: string): readonly string[] {
  if (!pattern.includes("*")) return [];
  const head = pattern.slice(0, pattern.indexOf("*"));
  if (head.startsWith(literalPrefix)) return [head];
  return literalPrefix.startsWith(head) ? [literalPrefix] : [];
}
