import type { Delivery } from "../event/delivery.ts";
import type { HeldLines } from "../event/tracked_region.ts";
import type { Membership } from "../batch/membership.ts";
import type { ProducerNumbers } from "./batch_header.ts";

/** Where a batch goes and under which numbers: what has to be known to send it again, or to find it in the log. */
export interface BatchPlace {
  readonly topic: string;
  /** Kafka's notation; null where brokers are too old to tell. */
  readonly topicId: string | null;
  readonly partition: number;
  readonly producer: ProducerNumbers;
  readonly count: number;
  /**
   * Its place in the order in which batches of its partition go out: the id of the first intent that held its lines. 0: it had none yet. What
   * takes the place of a batch keeps it; of those with the same one the lower id goes first.
   */
  readonly place: number;
  /** A log end offset at or before the place of the batch; -1 unknown. */
  readonly hintOffset: number;
  /** Time of its records, milliseconds since the epoch; its age counts from it. */
  readonly baseTimestampMs: number;
}

/** A batch that is about to be journalled. */
export interface NewIntent extends BatchPlace {
  readonly members: Membership;
}

/** A batch whose fate an earlier run left open, as the journal has it. */
export interface RecoveredIntent extends BatchPlace {
  readonly id: number;
  /** The cluster that its producer id came from. */
  readonly clusterId: string | null;
  /** All its events came from files: it can be made again. Otherwise some came from stdin and are nowhere any more. */
  readonly isWhole: boolean;
  /** About how many bytes its events have: what it takes to make it again. */
  readonly sizeBytes: number;
  /** Reads its lines again and shapes them. Rejects when reading fails for now. */
  rebuild(): Promise<RebuiltEvents>;
  /** All lines that it holds, as far as their stream is known. */
  heldLines(): readonly HeldLines[];
  /** Where it came from, for messages: the first byte range. */
  describe(): string;
}

/** What is left of a batch of an earlier run. */
export interface RebuiltEvents {
  /** In the order of the batch; they settle their lines. */
  readonly deliveries: readonly Delivery[];
  /** Lines whose bytes are not there any more, or are not the same. */
  readonly gone: readonly HeldLines[];
}

/** Lines that are given up, and why. */
export interface GoneEvents {
  readonly kind: "dropped" | "lost";
  readonly reason: string;
  readonly lines: readonly HeldLines[];
}

/**
 * The journal, as the producer of one sink sees it. Everything is synchronous and in memory until `durable`.
 *
 * An intent covers its lines: a restart does not read them again but asks the broker what became of the batch.
 */
export interface IntentLog {
  /** False while the intents that are not acknowledged take all the room there is: batches have to wait. */
  hasRoom(): boolean;
  /** A producer id was obtained from this cluster: intents name it from now on. */
  startRun(clusterId: string | null, producer: ProducerNumbers): void;
  /** Returns the intent's id. */
  append(intent: NewIntent): number;
  /** One atomic frame: these intents are cancelled, these lines are given up, these intents take their place. Returns the new ids. */
  replace(
    cancelledIds: readonly number[],
    gone: readonly GoneEvents[],
    intents: readonly NewIntent[],
  ): number[];
  /** The batch is in the log of all replicas in sync. */
  acknowledge(id: number): void;
  /** Resolves when all that was appended is as durable as was asked for. */
  durable(): Promise<void>;
  /** What an earlier run left open, oldest first. The same list for every call. */
  readonly recovered: readonly RecoveredIntent[];
}
