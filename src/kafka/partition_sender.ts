import { firstSequence } from "../telemetry/test_knobs.ts";
import { PartitionQueue } from "../batch/partition_queue.ts";
import type { ProducerNumbers } from "./batch_header.ts";
import type { GoneEvents } from "./intent_log.ts";
import type { ProduceBatch } from "./produce_batch.ts";

/** Epochs are 16 bits; a partition that used them all up needs a fresh producer id. */
export const EPOCH_MAX = 0x7fff;

/** A producer id as the cluster gave it out (InitProducerId). */
export interface ProducerIdentity {
  readonly producerIdHigh: number;
  readonly producerIdLow: number;
  readonly epoch: number;
}

/** Batches that get new numbers, in place of others. */
export interface Replacement {
  readonly cancelledIds: number[];
  readonly gone: GoneEvents[];
}

/** A partition as the producer sees it: its queue, its sequence numbers, and when it may be tried again. */
export class PartitionSender extends PartitionQueue<ProduceBatch> {
  /** Producer id that `epoch` and `nextSequence` belong to; null before the first batch. */
  identity: ProducerIdentity | null = null;
  /** Producer epoch used on this partition; the broker keeps its state by partition, so a bump concerns this one alone. */
  epoch = 0;
  nextSequence = 0;
  /** Something was numbered under `identity`. */
  hasNumbered = false;
  /** Failures in a row. */
  failureCount = 0;
  /** Not before this time of the monotonic clock, milliseconds; 0: at once. */
  retryAtMs = 0;
  /** Leader that the last attempt failed at, -1 none: another leader is tried at once. */
  failedLeader = -1;
  /** A broker last answered for it then, whatever it said, by the monotonic clock; -Infinity: never. */
  answeredMs = -Infinity;
  /** What became of batches of this partition is being found out: nothing is sent meanwhile. */
  isInDoubt = false;
  /** A replacement that waits for a producer id. */
  replacement: Replacement | null = null;
  /** The partition's log ended there, or behind, when that was last heard; -1: never. */
  logEndOffset = -1;
  /** Of the topic that `logEndOffset` belongs to. */
  topicId: string | null = null;

  /**
   * Not null: no partition of the cluster. Its batches are not journalled and never sent; they are dead letters for this reason, or dropped, as soon
   * as they are sealed.
   */
  divertedFor: string | null = null;

  /** Numbers for the next batch of this partition under `identity`; a new identity starts at sequence 0. */
  nextNumbers(identity: ProducerIdentity): ProducerNumbers {
    if (this.identity !== identity) {
      this.identity = identity;
      this.epoch = identity.epoch;
      this.nextSequence = firstSequence();
      this.hasNumbered = false;
    }
    return {
      producerIdHigh: identity.producerIdHigh,
      producerIdLow: identity.producerIdLow,
      epoch: this.epoch,
      baseSequence: this.nextSequence,
    };
  }

  /** Starts over with sequence 0 under the next epoch, which the broker takes without being asked (KIP-360). */
  bumpEpoch(): void {
    this.epoch++;
    this.nextSequence = 0;
  }

  succeeded(): void {
    this.failureCount = 0;
    this.retryAtMs = 0;
    this.failedLeader = -1;
  }
}
