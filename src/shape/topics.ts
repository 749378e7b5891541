import type { TopicPolicyConfig } from "../config/config.ts";
import type { Fields } from "./json_fields.ts";
import type { LineBatch } from "../event/line_batch.ts";
import type { KeptLines } from "./columns.ts";
import { isTopicName, type Template, TOPIC_BYTES_MAX } from "./template.ts";
import { TopicPolicy } from "./topic_policy.ts";

/** Distinct topics in one batch; events beyond are dropped. */
export const BATCH_TOPICS_MAX = 65_535;
/** Names that are remembered as valid, so that batches share one string. Above this the memory starts afresh. */
export const REMEMBERED_TOPICS_MAX = 10_000;

/**
 * Why an event has no topic. "template_error": a field of the template is missing, or is no text, number or boolean. "topic_invalid": Kafka
 * allows no such name. "topic_not_allowed": the sink may not write to it. They are the reasons of drops.
 */
export type TopicProblem = "template_error" | "topic_invalid" | "topic_not_allowed";

/** Lines that became no events. */
export interface RefusedLines {
  readonly reason: TopicProblem;
  /** Numbers in their region, ascending. */
  readonly lines: readonly number[];
}

/** Events that went to the fallback topic. */
export interface Fallback {
  readonly reason: TopicProblem;
  readonly count: number;
}

/**
 * Names of the topics that a template gives, checked against Kafka's rules and what the sink may write to. What a line holds never names
 * another topic.
 */
export class TopicNames {
  readonly template: Template;
  readonly #policy: TopicPolicy;
  readonly #known = new Map<string, string>();
  readonly #fallbacks = new Map<TopicProblem, number>();
  /** Why the last event has no name of its own. */
  #problem: TopicProblem = "template_error";
  /** It went to the fallback topic. */
  #isFallback = false;

  constructor(template: Template, policy: TopicPolicyConfig = ANY_TOPIC) {
    this.template = template;
    this.#policy = new TopicPolicy(policy, template.literalPrefix);
  }

  /** Why `name` gave null. */
  get problem(): TopicProblem {
    return this.#problem;
  }

  /** The topic of an event; null: it has none. */
  name(fields: Fields, defaults: Fields, timeMs: number): string | null {
    const name = this.#ownName(fields, defaults, timeMs);
    const { fallback } = this.#policy;
    this.#isFallback = name === null && fallback !== null;
    this.repeat(1);
    return name ?? fallback;
  }

  /** So many events have the same topic as the last one, for the same reason. */
  repeat(count: number): void {
    if (!this.#isFallback || count === 0) return;
    this.#fallbacks.set(this.#problem, (this.#fallbacks.get(this.#problem) ?? 0) + count);
  }

  /** What went to the fallback topic since the last call. */
  takeFallbacks(): readonly Fallback[] {
    if (this.#fallbacks.size === 0) return NO_FALLBACKS;
    const taken = [...this.#fallbacks].map(([reason, count]) => ({ reason, count }));
    this.#fallbacks.clear();
    return taken;
  }

  #ownName(fields: Fields, defaults: Fields, timeMs: number): string | null {
    const rendered = this.template.render(fields, defaults, timeMs);
    if (rendered === null) return this.#refuse("template_error");
    if (rendered.length > TOPIC_BYTES_MAX) return this.#refuse("topic_invalid");
    const known = this.#known.get(rendered);
    if (known !== undefined) return known;
    if (!isTopicName(rendered)) return this.#refuse("topic_invalid");
    if (!this.#policy.allows(rendered)) return this.#refuse("topic_not_allowed");
    if (this.#known.size >= REMEMBERED_TOPICS_MAX) this.#known.clear();
    this.#known.set(rendered, rendered);
    return rendered;
  }

  #refuse(problem: TopicProblem): null {
    this.#problem = problem;
    return null;
  }
}

const NO_FALLBACKS: readonly Fallback[] = [];
const ANY_TOPIC: TopicPolicyConfig = { allowed: null, fallback: null, reserved: [] };

/** Collects the lines that have a topic. */
export class LineSelection {
  readonly #lines: LineBatch;
  readonly #starts: Uint32Array;
  readonly #ends: Uint32Array;
  readonly #nexts: Uint32Array;
  readonly #lineNumbers: Uint32Array;
  readonly #topicIndexes: Uint16Array;
  readonly #topics: string[] = [];
  readonly #indexes = new Map<string, number>();
  readonly #refused = new Map<TopicProblem, number[]>();
  #count = 0;

  constructor(lines: LineBatch) {
    this.#lines = lines;
    this.#starts = new Uint32Array(lines.count);
    this.#ends = new Uint32Array(lines.count);
    this.#nexts = new Uint32Array(lines.count);
    this.#lineNumbers = new Uint32Array(lines.count);
    this.#topicIndexes = new Uint16Array(lines.count);
  }

  /** Keeps line `index` if it has a topic that fits; false: it becomes no event, because of `problem` or of too many topics. */
  add(index: number, topic: string | null, problem: TopicProblem): boolean {
    if (topic === null) return this.#refuse(index, problem);
    let topicIndex = this.#indexes.get(topic);
    if (topicIndex === undefined) {
      topicIndex = this.#topics.length;
      if (topicIndex === BATCH_TOPICS_MAX) return this.#refuse(index, "template_error");
      this.#topics.push(topic);
      this.#indexes.set(topic, topicIndex);
    }
    this.#topicIndexes[this.#count] = topicIndex;
    this.#starts[this.#count] = this.#lines.starts[index]!;
    this.#ends[this.#count] = this.#lines.ends[index]!;
    this.#nexts[this.#count] = this.#lines.nexts[index]!;
    this.#lineNumbers[this.#count] = this.#lines.lineNumbers?.[index] ?? index;
    this.#count++;
    return true;
  }

  finish(): KeptLines {
    const count = this.#count;
    return {
      chunk: this.#lines.chunk,
      count,
      starts: this.#starts,
      ends: this.#ends,
      nexts: this.#nexts,
      lineNumbers: this.#isWhole() ? null : this.#lineNumbers.subarray(0, count),
      topics: this.#topics,
      topicIndexes: this.#topics.length > 1 ? this.#topicIndexes.subarray(0, count) : null,
    };
  }

  /** The lines that were not kept. */
  get refused(): readonly RefusedLines[] {
    return this.#refused.size === 0
      ? NONE_REFUSED
      : [...this.#refused].map(([reason, lines]) => ({ reason, lines }));
  }

  #refuse(index: number, reason: TopicProblem): false {
    const number = this.#lines.lineNumbers?.[index] ?? index;
    const lines = this.#refused.get(reason);
    if (lines === undefined) this.#refused.set(reason, [number]);
    else lines.push(number);
    return false;
  }

  /** Nothing was left out, here or before: each line has its own number. */
  #isWhole(): boolean {
    return this.#count === this.#lines.count && this.#lines.lineNumbers === null;
  }
}

export const NONE_REFUSED: readonly RefusedLines[] = [];

/** All lines, none of which has a topic. */
export function refuseAll(lines: LineBatch, reason: TopicProblem): RefusedLines[] {
  const numbers = Array.from({ length: lines.count }, (_, i) => lines.lineNumbers?.[i] ?? i);
  return [{ reason, lines: numbers }];
}

/** All lines, for one topic. */
export function keepAll(lines: LineBatch, topic: string): KeptLines {
  const { chunk, count, starts, ends, nexts } = lines;
  const lineNumbers = lines.lineNumbers?.slice(0, count) ?? null;
  return { chunk, count, starts, ends, nexts, lineNumbers, topics: [topic], topicIndexes: null };
}
