import { Accumulator } from "../../src/batch/accumulator.ts";
import { Membership } from "../../src/batch/membership.ts";
import { type OpenBatch, PartitionQueue } from "../../src/batch/partition_queue.ts";
import type { PartitionerName } from "../../src/batch/partitioners.ts";
import type { Delivery } from "../../src/event/delivery.ts";

export const BATCH_EVENTS = 4;

/** Keeps values as texts instead of encoding them. */
export class TextBatch implements OpenBatch {
  readonly members = new Membership();
  readonly texts: string[] = [];

  get count(): number {
    return this.texts.length;
  }

  get capacityBytes(): number {
    return 100 + this.texts.length;
  }

  appendRange(from: Delivery, start: number, end: number): number {
    let index = start;
    while (index < end && this.count < BATCH_EVENTS) this.#add(from, index++);
    return index;
  }

  appendOne(from: Delivery, index: number): boolean {
    if (this.count >= BATCH_EVENTS) return false;
    this.#add(from, index);
    return true;
  }

  #add(from: Delivery, index: number): void {
    const { values } = from.batch;
    this.texts.push(values.data.toString("utf8", values.starts[index], values.ends[index]));
    this.members.addRange(from, index, index + 1);
  }
}

export type Queue = PartitionQueue<TextBatch>;

/** An accumulator of such batches. */
export function accumulator(
  options: {
    canPark?: boolean;
    memoryMaxBytes?: number;
    unavailable?: number[];
    partitioner?: PartitionerName;
  } = {},
) {
  return new Accumulator<TextBatch, Queue>({
    newBatch: () => new TextBatch(),
    newQueue: (topic, partition) => new PartitionQueue<TextBatch>(topic, partition),
    onSealed: () => {},
    onGivenUp: (_topic, members) => members.settle("rejected"),
    isAvailable: (_topic, partition) => !(options.unavailable ?? []).includes(partition),
    partitioner: options.partitioner ?? "murmur2_random",
    memoryMaxBytes: options.memoryMaxBytes ?? 1_000_000,
    canPark: options.canPark ?? false,
  });
}
