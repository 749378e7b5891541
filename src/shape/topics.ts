import type { Fields } from "./json_fields.ts";
import type { LineBatch } from "../event/line_batch.ts";
import type { KeptLines } from "./columns.ts";
import { isTopicName, type Template, TOPIC_BYTES_MAX } from "./template.ts";

/** Distinct topics in one batch; events beyond are dropped. */
export const BATCH_TOPICS_MAX = 65_535;
/** Names that are remembered as valid, so that batches share one string. Above this the memory starts afresh. */
export const REMEMBERED_TOPICS_MAX = 10_000;

/** Names of the topics that a template gives, checked against Kafka's rules. */
export class TopicNames {
  readonly template: Template;
  readonly #known = new Map<string, string>();

  constructor(template: Template) {
    this.template = template;
  }

  /** The topic of an event; null when a field is missing or the name is not allowed. */
  name(fields: Fields, defaults: Fields, timeMs: number): string | null {
    const rendered = this.template.render(fields, defaults, timeMs);
    if (rendered === null || rendered.length > TOPIC_BYTES_MAX) return null;
    const known = this.#known.get(rendered);
    if (known !== undefined) return known;
    if (!isTopicName(rendered)) return null;
    if (this.#known.size >= REMEMBERED_TOPICS_MAX) this.#known.clear();
    this.#known.set(rendered, rendered);
    return rendered;
  }
}

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
  #count = 0;

  constructor(lines: LineBatch) {
    this.#lines = lines;
    this.#starts = new Uint32Array(lines.count);
    this.#ends = new Uint32Array(lines.count);
    this.#nexts = new Uint32Array(lines.count);
    this.#lineNumbers = new Uint32Array(lines.count);
    this.#topicIndexes = new Uint16Array(lines.count);
  }

  /** Keeps line `index` if it has a topic that fits; false: it is dropped. */
  add(index: number, topic: string | null): boolean {
    if (topic === null) return false;
    let topicIndex = this.#indexes.get(topic);
    if (topicIndex === undefined) {
      topicIndex = this.#topics.length;
      if (topicIndex === BATCH_TOPICS_MAX) return false;
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

  /** Nothing was left out, here or before: each line has its own number. */
  #isWhole(): boolean {
    return this.#count === this.#lines.count && this.#lines.lineNumbers === null;
  }
}

/** All lines, for one topic. */
export function keepAll(lines: LineBatch, topic: string): KeptLines {
  const { chunk, count, starts, ends, nexts } = lines;
  const lineNumbers = lines.lineNumbers?.slice(0, count) ?? null;
  return { chunk, count, starts, ends, nexts, lineNumbers, topics: [topic], topicIndexes: null };
}
