import type { PartitionMetadata, TopicMetadata } from "./protocol/metadata.ts";

/** Topics that are remembered; a templated topic can name any number. */
export const CACHED_TOPICS_MAX = 10_000;

/** What the cluster last said about the topics that were asked for. */
export class TopicCache {
  readonly #topics = new Map<string, TopicMetadata | null>();
  readonly #topicsMax: number;

  constructor(topicsMax = CACHED_TOPICS_MAX) {
    this.#topicsMax = topicsMax;
  }

  get size(): number {
    return this.#topics.size;
  }

  /** All that were asked for, answered or not. */
  names(): string[] {
    return [...this.#topics.keys()];
  }

  get(name: string): TopicMetadata | undefined {
    return this.#topics.get(name) ?? undefined;
  }

  /** Remembers a name from the moment that it is asked for. Beyond the limit, those that were asked for longest ago are forgotten. */
  remember(name: string): void {
    const known = this.#topics.get(name) ?? null;
    this.#topics.delete(name);
    this.#topics.set(name, known);
    if (this.#topics.size <= this.#topicsMax) return;
    for (const oldest of this.#topics.keys()) {
      this.#topics.delete(oldest);
      return;
    }
  }

  /** What was said of them means nothing any more. They stay remembered. */
  forgetAnswers(): void {
    for (const name of this.#topics.keys()) this.#topics.set(name, null);
  }

  /**
   * Takes an answer over; true when it says anything new that delivery goes by, which replicas in sync are not. Topics that were forgotten meanwhile are
   * left out.
   */
  update(answered: readonly TopicMetadata[]): boolean {
    let changed = false;
    for (const topic of answered) {
      const known = this.#topics.get(topic.name);
      if (known === undefined) continue;
      const merged = known === null ? topic : withoutGoingBack(known, topic);
      this.#topics.set(topic.name, merged);
      if (known === null || !isSame(known, merged)) changed = true;
    }
    return changed;
  }
}

/** A broker that lags behind names old leaders: of each partition the higher leader epoch counts (KIP-320), within one topic id. */
function withoutGoingBack(known: TopicMetadata, answered: TopicMetadata): TopicMetadata {
  if (known.topicId !== answered.topicId || answered.partitions.length === 0) return answered;
  const partitions = answered.partitions.map((partition): PartitionMetadata => {
    const before = findPartition(known, partition.id);
    return before !== null && before.leaderEpoch > partition.leaderEpoch && partition.leaderEpoch >= 0
      ? before
      : partition;
  });
  return { ...answered, partitions };
}

/** By id; the usual answer has them all, in order. */
export function findPartition(topic: TopicMetadata, id: number): PartitionMetadata | null {
  const expected = topic.partitions[id];
  if (expected?.id === id) return expected;
  return topic.partitions.find((partition) => partition.id === id) ?? null;
}

function isSame(a: TopicMetadata, b: TopicMetadata): boolean {
  if (a.errorCode !== b.errorCode || a.topicId !== b.topicId || a.partitions.length !== b.partitions.length) {
    return false;
  }
  for (let i = 0; i < a.partitions.length; i++) {
    const before = a.partitions[i]!;
    const after = b.partitions[i]!;
    if (
      before.id !== after.id || before.leader !== after.leader || before.leaderEpoch !== after.leaderEpoch ||
      before.errorCode !== after.errorCode
    ) return false;
  }
  return true;
}
