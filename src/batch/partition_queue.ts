import type { Delivery } from "../event/delivery.ts";
import type { Membership } from "./membership.ts";

/** A record batch while it is filled. How records are encoded is the sink's business. */
export interface OpenBatch {
  readonly members: Membership;
  readonly count: number;
  /** Memory that it holds, for the accumulator's limit; grows with appends. */
  readonly capacityBytes: number;
  /** Takes events `[from, to)` without keys until full; returns the index after the last one taken. */
  appendRange(delivery: Delivery, from: number, to: number): number;
  /** Takes one event, with its key if it has one; false when full. */
  appendOne(delivery: Delivery, index: number): boolean;
}

/**
 * The batches of one partition, oldest first: `sealed[0]` is the next to be sent (or in flight), `open` is being filled. Order in a
 * partition is the order in here.
 */
export class PartitionQueue<B extends OpenBatch> {
  readonly topic: string;
  readonly id: number;
  open: B | null = null;
  /** When the first event of `open` came, milliseconds. */
  openedMs = 0;
  readonly sealed: B[] = [];

  constructor(topic: string, id: number) {
    this.topic = topic;
    this.id = id;
  }

  get isEmpty(): boolean {
    return this.open === null && this.sealed.length === 0;
  }
}
