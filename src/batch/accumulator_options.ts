import type { Membership } from "./membership.ts";
import type { PartitionChoiceOptions } from "./partition_choice.ts";
import type { OpenBatch, PartitionQueue } from "./partition_queue.ts";

export interface AccumulatorOptions<B extends OpenBatch, Q extends PartitionQueue<B>>
  extends PartitionChoiceOptions {
  readonly newBatch: (queue: Q) => B;
  readonly newQueue: (topic: string, partition: number) => Q;
  /** Called when a batch is full; its queue holds it in `sealed`. */
  readonly onSealed: (queue: Q, batch: B) => void;
  /** Memory of all batches together. Passed by at most one batch. */
  readonly memoryMaxBytes: number;
  /** Events of an unknown topic step aside for others' (topic templates); otherwise they hold everything behind them. */
  readonly canPark: boolean;
  /** Events of a topic that was given up: their bytes were taken, and they have to be settled. */
  readonly onGivenUp: (topic: string, members: Membership) => void;
}
