import type { PartitionSender } from "../partition_sender.ts";
import type { ProduceBatch } from "../produce_batch.ts";
import type { TransactionPartition } from "../protocol/add_partitions_to_txn.ts";
import type { ProduceResult } from "../protocol/produce.ts";
import type { TransactionFailure } from "./transaction_failure.ts";

export interface TransactionMember {
  readonly queue: PartitionSender;
  readonly batch: ProduceBatch;
}

/** A batch that the broker will never take as it is. */
export interface RefusedBatch extends TransactionMember {
  readonly result: ProduceResult;
  readonly nodeId: number;
}

/**
 * The batches of one transaction: they join in the order of sealing until it is closed, are sent, and are acknowledged. Nothing else is known
 * of them until it is committed.
 */
export class Transaction {
  /** By the clock that is never set, and by the wall clock, which goes on while a machine sleeps. */
  readonly beganMs: number;
  readonly beganWallMs: number;
  /** When it is closed at the latest. */
  readonly closeAtMs: number;
  /** When it is given up: the brokers would abort it a little later. */
  readonly giveUpAtMs: number;
  readonly joined = new Set<ProduceBatch>();
  readonly acknowledged: TransactionMember[] = [];
  readonly refused: RefusedBatch[] = [];
  /** Partitions that the coordinator knows to be part of it. */
  readonly added = new Set<PartitionSender>();
  /** Partitions that a batch of it was sent to. */
  readonly sentTo = new Set<PartitionSender>();
  /** Memory of its batches. */
  bytes = 0;
  /** Nothing joins any more. */
  isClosed = false;
  /** Positions are being written: nothing else is sent. */
  isEnding = false;
  failure: TransactionFailure | null = null;
  readonly #done = Promise.withResolvers<void>();

  constructor(nowMs: number, wallMs: number, limits: { intervalMs: number; timeoutMs: number }) {
    this.beganMs = nowMs;
    this.beganWallMs = wallMs;
    this.closeAtMs = nowMs + limits.intervalMs;
    this.giveUpAtMs = nowMs + limits.timeoutMs / 2;
  }

  /** Resolves when all that joined is acknowledged and nothing joins any more, or when it failed and nothing of it is on its way. */
  get done(): Promise<void> {
    return this.#done.promise;
  }

  /** Where it may have written. */
  get partitions(): TransactionPartition[] {
    return [...this.sentTo].map(({ topic, id }) => ({ topic, partition: id }));
  }

  /** Where it has. */
  get certainPartitions(): TransactionPartition[] {
    return this.acknowledged.map(({ queue }) => ({ topic: queue.topic, partition: queue.id }));
  }

  /** How long ago it began, by whichever clock says more. */
  ageMs(nowMs: number, wallMs: number): number {
    return Math.max(nowMs - this.beganMs, wallMs - this.beganWallMs);
  }

  join(batch: ProduceBatch): void {
    this.joined.add(batch);
    this.bytes += batch.capacityBytes;
  }

  close(): void {
    this.isClosed = true;
    this.#look();
  }

  /** A batch of it is not in flight any more. */
  answered(): void {
    this.#look();
  }

  /** The first reason counts, but for being fenced, which matters more than any. */
  fail(failure: TransactionFailure): void {
    if (this.failure === null || failure.kind === "fenced") this.failure = failure;
    this.#look();
  }

  /** The process ends. */
  leave(): void {
    this.#done.resolve();
  }

  #look(): void {
    if (this.failure === null) {
      if (this.isClosed && this.acknowledged.length === this.joined.size) this.#done.resolve();
      return;
    }
    for (const batch of this.joined) if (batch.isInFlight) return;
    this.#done.resolve();
  }
}

/** The batch is not committed after all: its lines are taken out of the account of what was delivered. */
export function uncount(batch: ProduceBatch): void {
  if (!batch.isCounted) return;
  for (const { region, count } of batch.members.heldLines()) region.countDelivered(-count);
  batch.isCounted = false;
}
