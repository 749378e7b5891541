import type { Accumulator } from "../../batch/accumulator.ts";
import { areEventsTied } from "../../batch/partitioners.ts";
import type { KafkaSinkConfig } from "../../config/config.ts";
import type { Cluster } from "../cluster.ts";
import type { PartitionSender } from "../partition_sender.ts";
import type { ProduceBatch } from "../produce_batch.ts";
import type { Transaction } from "./transaction.ts";

export interface JoinRulesOptions {
  readonly config: KafkaSinkConfig;
  readonly cluster: Cluster;
  readonly accumulator: Accumulator<ProduceBatch, PartitionSender>;
  readonly partitionCount: (topic: string) => number | null;
  readonly wantMetadata: (topic: string) => void;
  /** Nothing may be written to the partition now. */
  readonly isBlocked: (topic: string, partition: number) => boolean;
}

/** Whether a transaction can begin. */
export interface JoinLook {
  /** At least one batch could join it. */
  readonly canJoin: boolean;
  /** None may begin: lines that are covered by the positions in memory could not be sent in it. */
  readonly isHeld: boolean;
  /** When a partition may be tried again, by the monotonic clock. */
  readonly wakeAtMs: number;
}

/**
 * Which batches go into a transaction. Without keys a line that is read again after a crash may go to any partition of its topic, so nothing
 * behind it in the file may be committed: batches of a topic join in the order of sealing, and one that cannot be sent holds its topic. With
 * keys a line's partition is always the same one, and a partition that cannot be written to holds itself alone.
 */
export class JoinRules {
  readonly #options: JoinRulesOptions;
  readonly #isKeyed: boolean;

  constructor(options: JoinRulesOptions) {
    this.#options = options;
    this.#isKeyed = areEventsTied(options.config);
  }

  /** Between two transactions. Batches of partitions that cannot take them any more are given to others. */
  look(nowMs: number): JoinLook {
    this.#moveAway();
    const blocked = new Set<PartitionSender | string>();
    let wakeAtMs = Infinity;
    let isHeld = false;
    let hasSealed = false;
    for (const queue of this.#options.accumulator.active) {
      if (!hasAny(queue)) {
        // What becomes a dead letter is in no transaction, and none can be committed before it is gone.
        isHeld ||= queue.sealed.some((batch) => batch.isCovered);
        continue;
      }
      hasSealed = true;
      if (this.#isUsable(queue, nowMs)) continue;
      blocked.add(this.#unit(queue));
      isHeld ||= queue.sealed.some((batch) => batch.isCovered);
      if (queue.retryAtMs > nowMs) wakeAtMs = Math.min(wakeAtMs, queue.retryAtMs);
    }
    if (!hasSealed || blocked.size === 0) return { canJoin: hasSealed, isHeld, wakeAtMs };
    let canJoin = false;
    for (const queue of this.#options.accumulator.active) {
      if (!hasAny(queue)) continue;
      if (!blocked.has(this.#unit(queue))) canJoin = true;
      // In its topic another partition is held.
      else isHeld ||= queue.sealed.some((batch) => batch.isCovered);
    }
    return { canJoin, isHeld, wakeAtMs };
  }

  /** Has all batches join that may, in the order of sealing, up to `bytesMax`; those whose lines are covered in any case. */
  join(transaction: Transaction, nowMs: number, bytesMax: number): void {
    const due: ProduceBatch[] = [];
    const blocked = new Set<PartitionSender | string>();
    for (const queue of this.#options.accumulator.active) {
      const isIn = queue.sealed[0] !== undefined && transaction.joined.has(queue.sealed[0]);
      if (hasAny(queue) && !isIn && !this.#isUsable(queue, nowMs)) blocked.add(this.#unit(queue));
    }
    for (const queue of this.#options.accumulator.active) {
      if (!hasAny(queue) || blocked.has(this.#unit(queue))) continue;
      for (const batch of queue.sealed) {
        // Nothing behind it is sent before its dead letters are safe.
        if (batch.hold !== null) break;
        if (!transaction.joined.has(batch)) due.push(batch);
      }
    }
    due.sort((a, b) => a.sealNumber - b.sealNumber);
    for (const batch of due) {
      if (transaction.bytes >= bytesMax && !batch.isCovered) continue;
      transaction.join(batch);
    }
  }

  /** A batch whose lines are covered waits here: positions must not be committed without it. */
  get hasCoveredLeft(): boolean {
    for (const { sealed } of this.#options.accumulator.active) {
      if (sealed.some((batch) => batch.isCovered)) return true;
    }
    return false;
  }

  #unit(queue: PartitionSender): PartitionSender | string {
    return this.#isKeyed ? queue : queue.topic;
  }

  #isUsable(queue: PartitionSender, nowMs: number): boolean {
    const { cluster, wantMetadata } = this.#options;
    const leader = cluster.leaderOf(queue.topic, queue.id);
    if (leader < 0) wantMetadata(queue.topic);
    if (this.#options.isBlocked(queue.topic, queue.id)) return false;
    // What is behind a batch that is held waits with it.
    if (queue.sealed.some(({ hold }) => hold !== null)) return false;
    const isWaiting = queue.retryAtMs > nowMs && (queue.failedLeader < 0 || queue.failedLeader === leader);
    return leader >= 0 && !isWaiting;
  }

  /** Nothing that waits is in the topic: a partition without a leader, or one that the topic does not have any more, can be left. */
  #moveAway(): void {
    const { accumulator, cluster, partitionCount } = this.#options;
    for (const queue of [...accumulator.active]) {
      if (!hasAny(queue) || cluster.leaderOf(queue.topic, queue.id) >= 0) continue;
      const isGone = queue.id >= (partitionCount(queue.topic) ?? Infinity);
      const target = isGone
        ? accumulator.heirOf(queue)
        : this.#isKeyed
        ? null
        : accumulator.availableBeside(queue);
      if (target === null) continue;
      accumulator.moveAway(queue, target);
      target.sealed.sort((a, b) => a.sealNumber - b.sealNumber);
    }
  }
}

/** Something is there to be sent now: what becomes a dead letter never is, and holds what is behind it. */
function hasAny({ sealed, divertedFor }: PartitionSender): boolean {
  return sealed.length > 0 && divertedFor === null && sealed[0]!.hold === null;
}
