import type { Accumulator } from "../batch/accumulator.ts";
import { crashPoint } from "../telemetry/crash_point.ts";
import type { Log } from "../telemetry/log.ts";
import type { SinkMetrics } from "../telemetry/metrics.ts";
import { type ProducerNumbers, sequenceAfter } from "./batch_header.ts";
import type { Cluster } from "./cluster.ts";
import type { GoneEvents, IntentLog, NewIntent } from "./intent_log.ts";
import { LogEnds } from "./log_ends.ts";
import { EPOCH_MAX, type PartitionSender, type ProducerIdentity } from "./partition_sender.ts";
import type { ProduceBatch } from "./produce_batch.ts";

/** Batches of a partition that are in the journal at most, where there are keys: one in flight, one ready to follow. */
const JOURNALLED_MAX = 2;

/** An intent waits no longer for others to share its group. */
const SAVE_DELAY_MS = 5;
/** From so many partitions with events on, half of them with a batch in flight, intents are collected. */
const BUSY_PARTITIONS_MIN = 12;

interface Unsaved {
  readonly queue: PartitionSender;
  readonly batch: ProduceBatch;
  readonly intentId: number;
}

export interface ExactlyOnceOptions {
  readonly intents: IntentLog;
  readonly accumulator: Accumulator<ProduceBatch, PartitionSender>;
  /** Events with a key go to its partition, now and after a restart. */
  readonly hasKeys: boolean;
  readonly cluster: Cluster;
  readonly metrics: SinkMetrics;
  readonly log: Log;
  /** Wall clock, milliseconds. */
  readonly now: () => number;
  /** Null while there is none. */
  readonly identity: () => ProducerIdentity | null;
  /** The epochs of this identity are used up: what is numbered from now on needs another one. */
  readonly renewIdentity: (spent: ProducerIdentity) => void;
  readonly onAcknowledged: (queue: PartitionSender) => void;
  /** Something can be sent that could not be before. */
  readonly onReady: () => void;
}

/**
 * Numbers batches and writes their intents: no batch is sent before the journal can tell a restart what was sent. All renumbering goes
 * through one atomic frame.
 *
 *     sealed -> numbered and journalled (in the order of sealing) -> durable -> sent -> acknowledged
 *                                   ^                                   |
 *                                   +---------- replaced <-- refused ---+
 */
export class ExactlyOnce {
  readonly #options: ExactlyOnceOptions;
  readonly #logEnds: LogEnds;
  readonly #journalledMax: number;
  /** Journalled, and not asked to be made durable yet. */
  #unsaved: Unsaved[] = [];
  #saveTimer: ReturnType<typeof setTimeout> | null = null;

  constructor(options: ExactlyOnceOptions) {
    this.#options = options;
    // Without keys the accumulator lets few batches wait, and all have to be journalled in the order of the file: a line that is read again
    // may go to any partition, so nothing behind it may be in one.
    this.#journalledMax = options.hasKeys ? JOURNALLED_MAX : Infinity;
    this.#logEnds = new LogEnds(options.cluster, options.log, options.onReady);
  }

  /** A topic has become known, or is another one of the same name. */
  topicKnown(topic: string): void {
    this.#logEnds.want(topic);
  }

  /** A producer id was obtained. */
  identityObtained(identity: ProducerIdentity): void {
    const { producerIdHigh, producerIdLow, epoch } = identity;
    this.#options.intents.startRun(this.#options.cluster.clusterId, {
      producerIdHigh,
      producerIdLow,
      epoch,
      baseSequence: 0,
    });
  }

  /** Journals what may be journalled now. Called before each round of sending. */
  journalSealed(): void {
    const identity = this.#options.identity();
    if (identity === null) return;
    const due: { queue: PartitionSender; batch: ProduceBatch }[] = [];
    for (const queue of this.#options.accumulator.active) {
      if (queue.divertedFor !== null) continue;
      if (queue.replacement !== null) this.#performReplacement(queue, identity);
      // Where nothing can be sent, runs that end before it can would leave more and more behind. Without keys the order needs it.
      if (queue.isInDoubt && this.#options.hasKeys) continue;
      for (let i = 0; i < queue.sealed.length && i < this.#journalledMax; i++) {
        const batch = queue.sealed[i]!;
        if (!batch.isNumbered) due.push({ queue, batch });
      }
    }
    // In the order of the file, so that what a crash leaves to be read again comes before nothing that is journalled.
    due.sort((a, b) => a.batch.sealNumber - b.batch.sealNumber);
    for (const { queue, batch } of due) {
      if (!this.#options.intents.hasRoom()) break;
      if (queue.logEndOffset < 0 && this.#logEnds.isPending(queue.topic)) break;
      this.#number(queue, batch, identity);
      if (!batch.members.isStored) batch.isDurable = true;
      else {
        batch.intentId = this.#options.intents.append(this.#intentOf(queue, batch));
        batch.place ||= batch.intentId;
        this.#unsaved.push({ queue, batch, intentId: batch.intentId });
      }
    }
    this.#saveIfWanted();
  }

  /** No timer runs afterwards. */
  close(): void {
    if (this.#saveTimer !== null) clearTimeout(this.#saveTimer);
    this.#saveTimer = null;
  }

  /** The batch is acknowledged. */
  acknowledged(queue: PartitionSender, batch: ProduceBatch): void {
    this.#options.onAcknowledged(queue);
    if (batch.intentId === null) return;
    crashPoint("after_ack");
    this.#options.intents.acknowledge(batch.intentId);
    batch.intentId = null;
    crashPoint("before_ack_frame");
  }

  /**
   * `parts`, which are in the queue, take the place of `cancelled`, which are not any more; `gone` is given up. They get new numbers with the
   * next round, and all journalled batches behind them.
   */
  replace(
    queue: PartitionSender,
    cancelled: readonly ProduceBatch[],
    gone: readonly GoneEvents[],
    reason: string,
  ): void {
    const ids = cancelled.map((batch) => batch.intentId).filter((id) => id !== null);
    for (const batch of cancelled) ids.push(...this.#releaseFollowers(queue, batch));
    this.replaceIds(queue, ids, gone, reason);
  }

  replaceIds(
    queue: PartitionSender,
    ids: readonly number[],
    gone: readonly GoneEvents[],
    reason: string,
  ): void {
    this.#options.metrics.replaced.add(reason);
    queue.replacement ??= { cancelledIds: [], gone: [] };
    queue.replacement.cancelledIds.push(...ids);
    queue.replacement.gone.push(...gone);
    // A partition without batches takes part as well: what is given up has to be written.
    this.#options.accumulator.active.add(queue);
    this.#options.onReady();
  }

  /** These batches keep their place and get new numbers. */
  renumber(queue: PartitionSender, batches: readonly ProduceBatch[], reason: string): void {
    const ids = batches.map((batch) => batch.intentId).filter((id) => id !== null);
    for (const batch of batches) {
      if (reason !== "undecidable") ids.push(...this.#releaseFollowers(queue, batch));
      else batch.isSuspected = true;
      batch.clearNumbers();
    }
    this.replaceIds(queue, ids, [], reason);
  }

  /**
   * Batches of an earlier run behind one of the same producer that was certainly not written: they were to be sent after it, so they were not
   * written either, and their sequences would leave a hole. They keep their place; returns their intents.
   */
  #releaseFollowers(queue: PartitionSender, batch: ProduceBatch): number[] {
    const { numbers, isRecovered } = batch;
    if (!isRecovered || numbers === null) return [];
    const ids: number[] = [];
    for (const each of queue.sealed) {
      if (
        each === batch || !each.isRecovered || each.intentId === null ||
        !isSameProducer(each.numbers, numbers)
      ) continue;
      ids.push(each.intentId);
      each.clearNumbers();
    }
    return ids;
  }

  #performReplacement(queue: PartitionSender, identity: ProducerIdentity): void {
    const isUsed = queue.identity === identity && queue.hasNumbered;
    if (isUsed && queue.epoch >= EPOCH_MAX) return this.#options.renewIdentity(identity);
    const { cancelledIds, gone } = queue.replacement!;
    queue.replacement = null;
    // Batches of this run that were journalled behind them come along: their sequences would leave a hole.
    const moved = queue.sealed.filter((batch) => !batch.isNumbered || !batch.isRecovered);
    const later = moved.filter((batch) => batch.isNumbered);
    for (const batch of later) {
      if (batch.intentId !== null) cancelledIds.push(batch.intentId);
      batch.clearNumbers();
    }
    if (isUsed) queue.bumpEpoch();
    const wanted = this.#wantedOf(moved, later);
    crashPoint("before_replace");
    for (const batch of wanted) this.#number(queue, batch, identity);
    const stored = wanted.filter((batch) => batch.members.isStored);
    const ids = this.#options.intents.replace(
      cancelledIds,
      gone,
      stored.map((batch) => this.#intentOf(queue, batch)),
    );
    stored.forEach((batch, i) => {
      batch.intentId = ids[i]!;
      batch.place ||= ids[i]!;
    });
    for (const batch of wanted) if (!batch.members.isStored) batch.isDurable = true;
    for (const batch of stored) this.#unsaved.push({ queue, batch, intentId: batch.intentId! });
    crashPoint("after_replace");
    if (queue.isEmpty) {
      this.#options.accumulator.active.delete(queue);
      this.#options.onReady(); // whoever waits for the last of it
    }
    if (stored.length === 0) {
      this.#options.intents.durable().catch((error: unknown) => this.#tellClosed(error));
    }
  }

  /**
   * Lines that an intent covered must stay in one: all batches up to the last that had one. Not one more: batches that no intent covers are
   * journalled in the order of the file, over all partitions.
   */
  #wantedOf(moved: readonly ProduceBatch[], later: readonly ProduceBatch[]): ProduceBatch[] {
    let last = 0;
    moved.forEach((batch, i) => {
      if (later.includes(batch) || batch.isCovered) last = Math.max(last, i + 1);
    });
    return moved.slice(0, last);
  }

  #number(queue: PartitionSender, batch: ProduceBatch, identity: ProducerIdentity): void {
    const { cluster, now } = this.#options;
    const topicId = cluster.topic(queue.topic)?.topicId ?? null;
    // Another topic of this name has other offsets.
    if (queue.topicId !== topicId) queue.logEndOffset = -1;
    queue.topicId = topicId;
    const numbers = queue.nextNumbers(identity);
    queue.nextSequence = sequenceAfter(numbers.baseSequence, batch.count);
    queue.hasNumbered = true;
    batch.number(numbers, now());
    batch.topicId = topicId;
    batch.clusterId = cluster.clusterId;
    batch.hintOffset = queue.logEndOffset >= 0
      ? queue.logEndOffset
      : this.#logEnds.endOf(queue.topic, topicId, queue.id);
    batch.isCovered = true;
  }

  #intentOf(queue: PartitionSender, batch: ProduceBatch): NewIntent {
    return {
      topic: queue.topic,
      topicId: batch.topicId,
      partition: queue.id,
      producer: batch.numbers!,
      count: batch.count,
      place: batch.place,
      hintOffset: batch.hintOffset,
      baseTimestampMs: batch.timestampMs,
      members: batch.members,
    };
  }

  /**
   * Has what was journalled made durable: at once when a batch waits for nothing else, a little later when each is behind one in flight, so
   * that more of them share a group.
   */
  #saveIfWanted(): void {
    if (this.#unsaved.length === 0) return;
    const isAwaited = this.#unsaved.some(({ queue, batch }) => queue.sealed[0] === batch && !queue.isInDoubt);
    if (isAwaited && !this.#isBusy()) this.#save();
    else this.#saveTimer ??= setTimeout(() => this.#save(), SAVE_DELAY_MS);
  }

  /** Many partitions have something to do: one that waits a little holds nothing up, and a group of its own would be mostly padding. */
  #isBusy(): boolean {
    const { active } = this.#options.accumulator;
    if (active.size < BUSY_PARTITIONS_MIN) return false;
    let inFlightCount = 0;
    for (const queue of active) if (queue.sealed[0]?.isInFlight === true) inFlightCount++;
    return inFlightCount >= BUSY_PARTITIONS_MIN / 2;
  }

  #save(): void {
    if (this.#saveTimer !== null) clearTimeout(this.#saveTimer);
    this.#saveTimer = null;
    const saved = this.#unsaved;
    this.#unsaved = [];
    crashPoint("after_intent_write");
    this.#options.intents.durable().then(() => {
      crashPoint("after_intent_fsync");
      // One that was replaced meanwhile has another intent, which is not durable by this.
      for (const { batch, intentId } of saved) if (batch.intentId === intentId) batch.isDurable = true;
      this.#options.onReady();
    }, (error: unknown) => this.#tellClosed(error));
  }

  #tellClosed(error: unknown): void {
    this.#options.log.debug(`The journal was closed meanwhile: ${error}`);
  }
}

function isSameProducer(a: ProducerNumbers | null, b: ProducerNumbers): boolean {
  return a !== null && a.producerIdHigh === b.producerIdHigh && a.producerIdLow === b.producerIdLow &&
    a.epoch === b.epoch;
}
