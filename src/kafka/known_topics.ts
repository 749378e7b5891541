import type { Cluster } from "./cluster.ts";

export interface KnownTopicsOptions {
  readonly cluster: Cluster;
  /** Asks for metadata until the topic can be used. */
  readonly want: (topic: string) => void;
  /** `isNew`: heard of for the first time, or another topic under the same name. */
  readonly onKnown: (topic: string, partitionCount: number, isNew: boolean) => void;
  /** What the topic takes may be something else than before, or was never asked for. */
  readonly wantLimits: (topic: string) => void;
}

interface KnownTopic {
  readonly partitionCount: number;
  /** Null where brokers are too old to tell. */
  readonly topicId: string | null;
  /** The cluster said meanwhile that there is none: whatever is there next may be another one. */
  readonly wasMissing: boolean;
}

/** The topics that events go to: how many partitions each has, and whether it is still the same one. */
export class KnownTopics {
  readonly #options: KnownTopicsOptions;
  readonly #known = new Map<string, KnownTopic>();

  constructor(options: KnownTopicsOptions) {
    this.#options = options;
  }

  /** Of a topic that is known; null: it is not. */
  partitionCount(topic: string): number | null {
    return this.#known.get(topic)?.partitionCount ?? null;
  }

  /** Something waits for the topic. */
  use(topic: string): void {
    const metadata = this.#options.cluster.topic(topic);
    if (metadata !== undefined && metadata.errorCode === 0 && metadata.partitions.length > 0) {
      this.told(topic, metadata.partitions.length);
    } else this.#options.want(topic);
  }

  /** The cluster says that there is no such topic. */
  missing(topic: string): void {
    const before = this.#known.get(topic);
    if (before !== undefined) this.#known.set(topic, { ...before, wasMissing: true });
  }

  /** Metadata tells its partitions (again). */
  told(topic: string, count: number): void {
    const topicId = this.#options.cluster.topic(topic)?.topicId ?? null;
    const before = this.#known.get(topic);
    // A broker that lags behind tells fewer partitions; there are fewer only where the topic was deleted and made again.
    const isSame = before !== undefined &&
      (topicId === null ? !before.wasMissing : topicId === before.topicId);
    const partitionCount = isSame ? Math.max(count, before.partitionCount) : count;
    if (!isSame) this.#options.wantLimits(topic);
    this.#known.set(topic, { partitionCount, topicId, wasMissing: false });
    this.#options.onKnown(topic, partitionCount, !isSame);
  }

  /** Metadata brought something new. */
  refresh(): void {
    for (const [name, before] of this.#known) {
      const topic = this.#options.cluster.topic(name);
      const count = topic?.partitions.length ?? 0;
      if (count > before.partitionCount || (count > 0 && topic!.topicId !== before.topicId)) {
        this.told(name, count);
      }
    }
  }
}
