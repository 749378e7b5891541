import type { Delivery } from "../event/delivery.ts";
import type { AccumulatorOptions } from "./accumulator_options.ts";
import { Membership } from "./membership.ts";
import { PartitionChoice, type TopicPartitions } from "./partition_choice.ts";
import type { OpenBatch, PartitionQueue } from "./partition_queue.ts";

/** Events of templated topics that may wait for their topic to be known, over all topics. */
export const PARKED_EVENTS_MAX = 20_000;

/** Of a queue whose batches go to no partition. */
export const NO_PARTITION = -1;

interface Parked {
  readonly delivery: Delivery;
  readonly indexes: Uint32Array;
}

interface TopicState<Q> extends TopicPartitions<Q> {
  /** There is no such topic, and its events do not wait for it any more. */
  isGivenUp: boolean;
  /** Of partitions that are no more, by number. They may come back: there is one queue for each, ever. */
  readonly retired: Map<number, Q>;
  readonly parked: Parked[];
}

/**
 * Sorts events into record batches by topic and partition. Events stick to one partition until its batch is sealed, then move on (KIP-480):
 * round-robin by event would shrink batches by the number of partitions. Where a partitioner is to place each of them, `PartitionChoice` does.
 */
export class Accumulator<B extends OpenBatch, Q extends PartitionQueue<B>> {
  readonly #options: AccumulatorOptions<B, Q>;
  readonly #choice: PartitionChoice<B, Q>;
  readonly #topics = new Map<string, TopicState<Q>>();
  /** Queues that hold anything. */
  readonly active = new Set<Q>();
  /** Topics that events were offered for and whose partitions are not known. */
  readonly unknownTopics = new Set<string>();
  #memoryBytes = 0;
  #parkedEvents = 0;
  #lastTopic: TopicState<Q> | null = null;

  constructor(options: AccumulatorOptions<B, Q>) {
    this.#options = options;
    this.#choice = new PartitionChoice(options);
  }

  get memoryBytes(): number {
    return this.#memoryBytes;
  }

  get parkedEvents(): number {
    return this.#parkedEvents;
  }

  /**
   * Says how many partitions a topic has. Parked events of it are sorted in. Where there are fewer than before, what is in the queues of
   * the others stays there until `moveAway`.
   */
  setPartitionCount(name: string, count: number, nowMs: number): void {
    const topic = this.#topic(name);
    if (count > 0) {
      this.unknownTopics.delete(name);
      topic.isGivenUp = false;
    }
    const isDiverted = topic.queues[0]?.id === NO_PARTITION;
    if (isDiverted || topic.queues.length > count) this.#retire(topic, isDiverted ? 0 : count);
    while (topic.queues.length < count) {
      const queue = this.#queueBeyond(topic, topic.queues.length);
      topic.retired.delete(queue.id);
      topic.queues.push(queue);
    }
    if (count > 0 && topic.parked.length > 0) this.#unpark(topic, nowMs);
  }

  /** The queue of a partition that the topic does not have (any more): something of it is open. The same one for every call. */
  queueBeyond(name: string, partition: number): Q {
    const topic = this.#topic(name);
    const queue = topic.queues[partition];
    return queue?.id === partition ? queue : this.#queueBeyond(topic, partition);
  }

  /** Events of this topic wait no longer, nor do those that come, until it has partitions. What is in batches already stays there. */
  giveUpTopic(name: string): void {
    const topic = this.#topic(name);
    this.#retire(topic, 0);
    topic.isGivenUp = true;
    const members = new Membership();
    for (const { delivery, indexes } of topic.parked) {
      for (const index of indexes) members.addRange(delivery, index, index + 1);
      delivery.take(indexes.length);
    }
    this.#parkedEvents -= members.count;
    topic.parked.length = 0;
    if (members.count > 0) this.#options.onGivenUp(name, members);
  }

  /** Events of this topic are sorted into one queue that is no partition, until it has some. What is in other queues stays there. */
  divertTopic(name: string, nowMs: number): Q {
    const topic = this.#topic(name);
    this.#retire(topic, 0);
    this.unknownTopics.delete(name);
    const queue = this.#queueBeyond(topic, NO_PARTITION);
    topic.queues.push(queue);
    this.#unpark(topic, nowMs);
    return queue;
  }

  /** The next event of a topic that was given up waits for it anew. Queues are kept: the numbers in them must not be used again. */
  forgetTopic(name: string): void {
    const topic = this.#topics.get(name);
    if (topic === undefined || topic.queues.length > 0 && topic.queues[0]!.id !== NO_PARTITION) return;
    this.#retire(topic, 0);
    topic.isGivenUp = false;
    if (topic.retired.size > 0 || topic.parked.length > 0) {
      this.unknownTopics.add(name);
      return;
    }
    this.#topics.delete(name);
    this.unknownTopics.delete(name);
    if (this.#lastTopic?.name === name) this.#lastTopic = null;
  }

  /** Tries again to sort in what stepped aside. */
  retryParked(nowMs: number): void {
    if (this.#parkedEvents === 0) return;
    for (const topic of this.#topics.values()) {
      if (topic.parked.length > 0 && topic.queues.length > 0) this.#unpark(topic, nowMs);
    }
  }

  /**
   * Takes events of the delivery from index `from` on, as many as there is room for. Returns the index of the first one that was not
   * taken; call again with it after room was made (a batch was finished, or a topic became known).
   */
  append(delivery: Delivery, from: number, nowMs: number): number {
    const { batch } = delivery;
    if (batch.topicIndexes === null) {
      const topic = this.#topic(batch.topics[0]!);
      return this.#appendRange(topic, delivery, from, batch.count, nowMs);
    }
    let index = from;
    while (index < batch.count) {
      const topicIndex = batch.topicIndexes[index]!;
      let to = index + 1;
      while (to < batch.count && batch.topicIndexes[to] === topicIndex) to++;
      const next = this.#appendRange(this.#topic(batch.topics[topicIndex]!), delivery, index, to, nowMs);
      if (next < to) return next;
      index = to;
    }
    return index;
  }

  /** Who takes over what is in a queue whose partition is no more; null: its topic has none now. */
  heirOf(queue: Q): Q | null {
    const { queues } = this.#topic(queue.topic);
    const heir = queues[queue.id % queues.length];
    return heir === undefined || heir.id === NO_PARTITION ? null : heir;
  }

  /** Another partition of the topic that has a leader; null: there is none. */
  availableBeside(queue: Q): Q | null {
    const { name, queues } = this.#topic(queue.topic);
    return queues.find((each) => each !== queue && this.#options.isAvailable(name, each.id)) ?? null;
  }

  /** Gives the batches of a queue whose partition is no more to another of its topic. None of them may be in flight. */
  moveAway(queue: Q, target: Q): void {
    this.seal(queue);
    target.sealed.push(...queue.sealed);
    queue.sealed.length = 0;
    this.active.delete(queue);
    if (!target.isEmpty) this.active.add(target);
  }

  /** Moves the open batch of a queue behind its sealed ones. */
  seal(queue: Q): void {
    const batch = queue.open;
    if (batch === null) return;
    queue.open = null;
    queue.sealed.push(batch);
    const topic = this.#topic(queue.topic);
    if (topic.sticky === queue.id) topic.sticky = -1;
    this.#options.onSealed(queue, batch);
  }

  /** Takes a finished batch out of its queue. Its memory counts no more. */
  finish(queue: Q, batch: B): void {
    this.setAside(queue, batch);
    this.#memoryBytes -= batch.capacityBytes;
  }

  /** Takes a sealed batch out of its queue for a while: its memory counts on, and the queue has room for another one. */
  setAside(queue: Q, batch: B): void {
    const index = queue.sealed.indexOf(batch);
    if (index < 0) throw new Error("Cannot take a batch out that is not in its queue");
    queue.sealed.splice(index, 1);
    if (queue.isEmpty) this.active.delete(queue);
  }

  /** Puts batches that were set aside in front of all others of their partition. */
  putBack(queue: Q, batches: readonly B[]): void {
    queue.sealed.unshift(...batches);
    if (!queue.isEmpty) this.active.add(queue);
  }

  /** Memory that batches will need which are put in front of others later: less is taken until then. Negative: it is not needed any more. */
  reserve(sizeBytes: number): void {
    this.#memoryBytes += sizeBytes;
  }

  /** Puts batches in front of all others of a partition. */
  prepend(queue: Q, batches: readonly B[]): void {
    for (const batch of batches) this.#memoryBytes += batch.capacityBytes;
    this.putBack(queue, batches);
  }

  /** Puts `parts` where `batch` was (a split); an empty list takes it out. */
  replace(queue: Q, batch: B, parts: readonly B[]): void {
    const index = queue.sealed.indexOf(batch);
    if (index < 0) throw new Error("Cannot replace a batch that is not in its queue");
    queue.sealed.splice(index, 1, ...parts);
    this.#memoryBytes -= batch.capacityBytes;
    for (const part of parts) this.#memoryBytes += part.capacityBytes;
    if (queue.isEmpty) this.active.delete(queue);
  }

  /** Takes out what stepped aside and `isDropped` says true of; what it says true of it has taken and settled. */
  dropParked(isDropped: (delivery: Delivery, indexes: Uint32Array) => boolean): void {
    if (this.#parkedEvents === 0) return;
    for (const { parked } of this.#topics.values()) {
      const kept = parked.filter(({ delivery, indexes }) => {
        if (!isDropped(delivery, indexes)) return true;
        this.#parkedEvents -= indexes.length;
        return false;
      });
      parked.splice(0, parked.length, ...kept);
    }
  }

  /** Gives everything up; `release` is called for each batch, its events are settled as "errored". */
  abandon(release: (batch: B) => void): void {
    for (const queue of this.active) {
      const batches = queue.open === null ? queue.sealed : [...queue.sealed, queue.open];
      for (const batch of batches) {
        this.#memoryBytes -= batch.capacityBytes;
        batch.members.settle("errored");
        release(batch);
      }
      queue.sealed.length = 0;
      queue.open = null;
    }
    this.active.clear();
    for (const topic of this.#topics.values()) {
      for (const { delivery, indexes } of topic.parked) {
        delivery.take(indexes.length);
        delivery.settle(indexes.length, "errored");
      }
      topic.parked.length = 0;
    }
    this.#parkedEvents = 0;
  }

  /** Its queues from partition `count` on get no more events. */
  #retire(topic: TopicState<Q>, count: number): void {
    for (const queue of topic.queues.splice(count)) topic.retired.set(queue.id, queue);
    topic.sticky = -1;
    topic.nextPartition = 0;
  }

  #queueBeyond(topic: TopicState<Q>, partition: number): Q {
    let queue = topic.retired.get(partition);
    if (queue === undefined) {
      queue = this.#options.newQueue(topic.name, partition);
      topic.retired.set(partition, queue);
    }
    return queue;
  }

  #topic(name: string): TopicState<Q> {
    if (this.#lastTopic !== null && this.#lastTopic.name === name) return this.#lastTopic;
    let topic = this.#topics.get(name);
    if (topic === undefined) {
      const partitions = { name, queues: [], sticky: -1, nextPartition: 0, givenBytes: new Float64Array(0) };
      topic = { ...partitions, isGivenUp: false, retired: new Map(), parked: [] };
      this.#topics.set(name, topic);
      this.unknownTopics.add(name);
    }
    this.#lastTopic = topic;
    return topic;
  }

  #appendRange(topic: TopicState<Q>, delivery: Delivery, from: number, to: number, nowMs: number): number {
    if (topic.isGivenUp) return this.#giveUp(topic, delivery, from, to);
    if (topic.parked.length > 0 && topic.queues.length > 0) this.#unpark(topic, nowMs);
    if (topic.queues.length === 0 || topic.parked.length > 0) return this.#park(topic, delivery, from, to);
    return this.#appendKnown(topic, delivery, from, to, nowMs);
  }

  #appendKnown(topic: TopicState<Q>, delivery: Delivery, from: number, to: number, nowMs: number): number {
    const isByEvent = delivery.batch.keys !== null || this.#choice.placesKeyless;
    if (isByEvent && !delivery.isAlone) return this.#appendEach(topic, delivery, from, to, nowMs);
    let index = from;
    while (index < to) {
      const queue = delivery.isAlone ? this.#queueAlone(topic) : this.#choice.sticky(topic);
      if (queue === null || !this.#ensureOpen(queue, nowMs)) return index;
      const open = queue.open!;
      const capacityBytes = open.capacityBytes;
      const next = open.appendRange(delivery, index, to);
      this.#memoryBytes += open.capacityBytes - capacityBytes;
      if (next > index) delivery.take(next - index);
      if (next < to || delivery.isAlone) this.seal(queue);
      index = next;
    }
    return index;
  }

  /** A queue without an open batch, for events that share theirs with no others. Null when all have enough to do. */
  #queueAlone(topic: TopicState<Q>): Q | null {
    const queue = this.#choice.sticky(topic);
    if (queue === null || queue.open === null) return queue;
    this.seal(queue);
    const next = this.#choice.sticky(topic);
    if (next !== null) this.seal(next);
    return next;
  }

  #appendEach(topic: TopicState<Q>, delivery: Delivery, from: number, to: number, nowMs: number): number {
    for (let index = from; index < to; index++) {
      if (!this.#appendOne(topic, delivery, index, nowMs)) return index;
      delivery.take(1);
    }
    return to;
  }

  #appendOne(topic: TopicState<Q>, delivery: Delivery, index: number, nowMs: number): boolean {
    for (;;) {
      const queue = this.#choice.ofEvent(topic, delivery.batch, index);
      if (queue === null || !this.#ensureOpen(queue, nowMs)) return false;
      const open = queue.open!;
      const capacityBytes = open.capacityBytes;
      const isTaken = open.appendOne(delivery, index);
      this.#memoryBytes += open.capacityBytes - capacityBytes;
      if (isTaken) {
        this.#choice.taken(topic, queue, delivery.batch, index);
        return true;
      }
      this.seal(queue);
    }
  }

  #ensureOpen(queue: Q, nowMs: number): boolean {
    // Open batches grow too: with a thousand of them the limit would mean nothing.
    if (this.#memoryBytes >= this.#options.memoryMaxBytes) return false;
    if (queue.open !== null) return true;
    queue.open = this.#options.newBatch(queue);
    queue.openedMs = nowMs;
    this.#memoryBytes += queue.open.capacityBytes;
    this.active.add(queue);
    return true;
  }

  #giveUp(topic: TopicState<Q>, delivery: Delivery, from: number, to: number): number {
    const members = new Membership();
    members.addRange(delivery, from, to);
    delivery.take(to - from);
    this.#options.onGivenUp(topic.name, members);
    return to;
  }

  /** Events of a topic that nobody knows (yet) step aside, within limits. */
  #park(topic: TopicState<Q>, delivery: Delivery, from: number, to: number): number {
    const count = Math.min(to - from, PARKED_EVENTS_MAX - this.#parkedEvents);
    if (!this.#options.canPark || count <= 0) return from;
    const indexes = new Uint32Array(count);
    for (let i = 0; i < count; i++) indexes[i] = from + i;
    topic.parked.push({ delivery, indexes });
    this.#parkedEvents += count;
    return from + count;
  }

  #unpark(topic: TopicState<Q>, nowMs: number): void {
    while (topic.parked.length > 0) {
      const { delivery, indexes } = topic.parked[0]!;
      let done = 0;
      while (done < indexes.length) {
        const index = indexes[done]!;
        const isTaken = this.#appendKnown(topic, delivery, index, index + 1, nowMs) > index;
        if (!isTaken) break;
        done++;
      }
      this.#parkedEvents -= done;
      if (done < indexes.length) {
        topic.parked[0] = { delivery, indexes: indexes.subarray(done) };
        return;
      }
      topic.parked.shift();
    }
  }
}
