import type { EventBatch } from "../event/event_batch.ts";
import { type KeyPartitioner, keyPartitioner, type PartitionerName } from "./partitioners.ts";
import type { OpenBatch, PartitionQueue } from "./partition_queue.ts";

/** Sealed batches of a partition that a keyless event still joins behind: one in flight, one ready to follow. */
export const SEALED_MAX = 2;

/** Of the memory limit, what the batches of a single partition may hold when events are tied to it. */
export const PARTITION_SHARE = 0.5;

/** The partitions of a topic, and where the next event goes. */
export interface TopicPartitions<Q> {
  readonly name: string;
  /** One queue a partition; empty while the topic is not known. */
  readonly queues: Q[];
  /** Partition that keyless events go to until its batch is sealed; -1: choose anew. */
  sticky: number;
  /** Where the search for the next partition starts. */
  nextPartition: number;
  /** Bytes of keys and values that each was given; starts anew when their number changes. */
  givenBytes: Float64Array;
}

export interface PartitionChoiceOptions {
  readonly partitioner: PartitionerName;
  /** True while the partition has a leader; events that may go anywhere avoid others. */
  readonly isAvailable: (topic: string, partition: number) => boolean;
  /** Of all batches together. */
  readonly memoryMaxBytes: number;
}

/** Chooses the partition of events, and counts what each partition was given where that matters. */
export class PartitionChoice<B extends OpenBatch, Q extends PartitionQueue<B>> {
  readonly #options: PartitionChoiceOptions;
  readonly #byKey: KeyPartitioner | null;
  /** Events are placed one by one although they have no key. */
  readonly placesKeyless: boolean;

  constructor(options: PartitionChoiceOptions) {
    this.#options = options;
    this.#byKey = keyPartitioner(options.partitioner);
    this.placesKeyless = this.#byKey === null
      ? options.partitioner !== "sticky"
      : this.#byKey.spreads === "none";
  }

  /** The queue that an event goes to; null when there is no room now. */
  ofEvent(topic: TopicPartitions<Q>, batch: EventBatch, index: number): Q | null {
    if (this.#byKey !== null) return this.#ofKey(topic, this.#byKey, batch, index);
    switch (this.#options.partitioner) {
      case "round_robin":
        return this.#next(topic);
      case "least_bytes":
        return this.#withLeast(topic);
      case "field": {
        const wanted = batch.partitions === null ? 0 : batch.partitions[index]!;
        return this.#withRoom(topic.queues[wanted < topic.queues.length ? wanted : 0]!);
      }
      default:
        return this.sticky(topic);
    }
  }

  /** The event was put into the queue that `ofEvent` gave for it. */
  taken(topic: TopicPartitions<Q>, queue: Q, { keys, values }: EventBatch, index: number): void {
    switch (this.#options.partitioner) {
      case "round_robin":
        topic.nextPartition = (queue.id + 1) % topic.queues.length;
        return;
      case "least_bytes": {
        const keyBytes = keys === null ? 0 : Math.max(0, keys.ends[index]! - keys.starts[index]!);
        topic.givenBytes[queue.id]! += keyBytes + values.ends[index]! - values.starts[index]!;
      }
    }
  }

  /**
   * The partition that keyless events of the topic go to now, or null when all have enough to do. Those without a leader get nothing
   * while there are others: what is in them moves no position and gives no memory back.
   */
  sticky(topic: TopicPartitions<Q>): Q | null {
    if (topic.sticky >= 0) return topic.queues[topic.sticky]!;
    const count = topic.queues.length;
    let best: Q | null = null;
    let bestRank = Infinity;
    let isAnyAvailable = false;
    for (let i = 0; i < count; i++) {
      const queue = topic.queues[(topic.nextPartition + i) % count]!;
      const isAvailable = this.#options.isAvailable(topic.name, queue.id);
      if (isAvailable && !isAnyAvailable) {
        isAnyAvailable = true;
        best = null;
        bestRank = Infinity;
      }
      const rank = queue.sealed.length;
      if (rank >= SEALED_MAX || rank >= bestRank || isAvailable !== isAnyAvailable) continue;
      best = queue;
      bestRank = rank;
      if (rank === 0 && isAvailable) break;
    }
    if (best !== null) {
      topic.sticky = best.id;
      topic.nextPartition = (best.id + 1) % count;
    }
    return best;
  }

  #ofKey(topic: TopicPartitions<Q>, byKey: KeyPartitioner, batch: EventBatch, index: number): Q | null {
    const { keys } = batch;
    const { partition, spreads } = byKey;
    const keyBytes = keys === null ? -1 : keys.ends[index]! - keys.starts[index]!;
    const isSpread = spreads === "absent" ? keyBytes < 0 : spreads === "absent_or_empty" && keyBytes <= 0;
    if (isSpread) return this.sticky(topic);
    const count = topic.queues.length;
    const id = keyBytes <= 0
      ? partition(NO_KEY, 0, 0, count)
      : partition(keys!.data, keys!.starts[index]!, keys!.ends[index]!, count);
    return this.#withRoom(topic.queues[id]!);
  }

  /** One event after the other; those that have no room are passed over, and those without a leader while there are others. */
  #next(topic: TopicPartitions<Q>): Q | null {
    const count = topic.queues.length;
    let fallback: Q | null = null;
    for (let i = 0; i < count; i++) {
      const queue = topic.queues[(topic.nextPartition + i) % count]!;
      if (this.#withRoom(queue) === null) continue;
      if (!this.#options.isAvailable(topic.name, queue.id)) {
        fallback ??= queue;
        continue;
      }
      fallback = queue;
      break;
    }
    return fallback;
  }

  /** As segmentio/kafka-go's LeastBytes: the first of those that were given the fewest bytes since their number last changed. */
  #withLeast(topic: TopicPartitions<Q>): Q | null {
    const { queues } = topic;
    if (topic.givenBytes.length !== queues.length) topic.givenBytes = new Float64Array(queues.length);
    const given = topic.givenBytes;
    let best = -1;
    let fallback = -1;
    for (let i = 0; i < queues.length; i++) {
      if (best >= 0 && given[i]! >= given[best]!) continue;
      if (this.#withRoom(queues[i]!) === null) continue;
      if (this.#options.isAvailable(topic.name, i)) best = i;
      else if (fallback < 0 || given[i]! < given[fallback]!) fallback = i;
    }
    return queues[best < 0 ? fallback : best] ?? null;
  }

  /** The queue, unless it holds so much that its share is used up. */
  #withRoom(queue: Q): Q | null {
    if (queue.open !== null || queue.sealed.length < SEALED_MAX) return queue;
    let heldBytes = 0;
    for (const batch of queue.sealed) heldBytes += batch.capacityBytes;
    return heldBytes < this.#options.memoryMaxBytes * PARTITION_SHARE ? queue : null;
  }
}

const NO_KEY = Buffer.alloc(0);
