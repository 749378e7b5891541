import type { Accumulator } from "../batch/accumulator.ts";
import { Membership } from "../batch/membership.ts";
import type { KafkaSinkConfig } from "../config/config.ts";
import type { Delivery } from "../event/delivery.ts";
import { countOf } from "../telemetry/format.ts";
import type { Log } from "../telemetry/log.ts";
import { EventAges } from "./event_ages.ts";
import type { PartitionSender } from "./partition_sender.ts";
import type { ProduceBatch } from "./produce_batch.ts";
import type { RefusedRecords } from "./refused_records.ts";

/** Of `message_timeout_ms`: how far apart in time the events of a batch may be that waits, and how often it is looked for late ones. */
const SHARE = 10;
/** Late events are looked for no less often than the one, and by a timer no more often than the other. */
const SWEEP_MAX_MS = 1_000;
const SWEEP_MIN_MS = 10;

export const MESSAGE_TIMEOUT = "message_timeout";

export interface ExpiryOptions {
  readonly config: KafkaSinkConfig;
  readonly accumulator: Accumulator<ProduceBatch, PartitionSender>;
  readonly refused: RefusedRecords;
  /** Intents are written: what is numbered has to be cancelled in the journal. */
  readonly isExact: () => boolean;
  /** The batch belongs to something that is not ended yet: a transaction. */
  readonly isHeld: (batch: ProduceBatch) => boolean;
  readonly log: Log;
  readonly now: () => number;
  readonly monotonic: () => number;
}

/**
 * Drops events that are older than `message_timeout_ms`, wherever they wait: in batches, for their topic, or in front of the accumulator. A
 * batch goes as a whole, when the youngest of its events is too old; while something holds its partition, no batch takes up events for
 * longer than a tenth of the time.
 *
 * A batch that may have been written stays. So does one under exactly-once delivery that was numbered behind it: without it there would be a
 * hole in the sequence, and closing it needs new numbers for all.
 */
export class Expiry {
  readonly #options: ExpiryOptions;
  readonly #ages: EventAges;
  readonly #timeoutMs: number;
  readonly #spanMs: number;
  readonly #intervalMs: number;
  #nextMs = 0;

  /** Null where events are waited for however long it takes. */
  static for(options: ExpiryOptions): Expiry | null {
    return options.config.messageTimeoutMs === 0 ? null : new Expiry(options);
  }

  constructor(options: ExpiryOptions) {
    this.#options = options;
    const { messageTimeoutMs, batchTimeoutMs } = options.config;
    this.#ages = new EventAges(options.now, options.monotonic);
    this.#timeoutMs = messageTimeoutMs;
    this.#spanMs = Math.max(batchTimeoutMs, messageTimeoutMs / SHARE);
    this.#intervalMs = Math.min(Math.max(messageTimeoutMs / SHARE, SWEEP_MIN_MS), SWEEP_MAX_MS);
  }

  /** Drops what is too old. To be called before each round of sending; returns when to come back, by the monotonic clock. */
  sweep(nowMs: number): number {
    this.#ages.look();
    const { accumulator } = this.#options;
    for (const queue of accumulator.active) {
      if (queue.open !== null && queue.openedMs + this.#spanMs <= nowMs) accumulator.seal(queue);
      if (queue.sealed.some((batch) => this.#isLate(batch.youngestMs()))) this.#sweepQueue(queue);
    }
    if (nowMs < this.#nextMs) return this.#nextMs;
    this.#nextMs = nowMs + this.#intervalMs;
    accumulator.dropParked((delivery, indexes) => {
      if (!this.#isLate(delivery.batch.receivedMs)) return false;
      const members = new Membership();
      for (const index of indexes) members.addRange(delivery, index, index + 1);
      this.#dropEvents(delivery, members);
      return true;
    });
    return this.#nextMs;
  }

  /** Drops the events of a delivery from index `from` on that nobody has taken, if they are too old: true. */
  dropLate(delivery: Delivery, from: number): boolean {
    this.#ages.look();
    if (!this.#isLate(delivery.batch.receivedMs)) return false;
    const members = new Membership();
    members.addRange(delivery, from, delivery.batch.count);
    this.#dropEvents(delivery, members);
    return true;
  }

  #isLate(receivedMs: number): boolean {
    return this.#ages.ageMs(receivedMs) >= this.#timeoutMs;
  }

  #sweepQueue(queue: PartitionSender): void {
    // New numbers are on their way for all that is here: it is clear what is to be cancelled once they are given.
    if (queue.replacement !== null) return;
    const { refused, isHeld } = this.#options;
    const isExact = this.#options.isExact();
    const isOpen = isExact && (queue.isInDoubt || queue.sealed.some((batch) => batch.mayBeWritten));
    let droppedCount = 0;
    for (const batch of [...queue.sealed]) {
      // One that is not ready is in the hands of the compressor.
      if (!batch.isReady || batch.mayBeWritten || batch.isMadeAgain || isHeld(batch)) continue;
      // Its records become dead letters, which takes a moment.
      if (batch.hold !== null) continue;
      // The positions in memory say already that its transaction is committed.
      if (!isExact && batch.isCovered) continue;
      if (isOpen && batch.isNumbered) continue;
      if (!this.#isLate(batch.youngestMs())) continue;
      droppedCount += batch.count;
      refused.drop(queue, batch, MESSAGE_TIMEOUT);
    }
    this.#tell(droppedCount, `partition ${queue.id} of topic "${queue.topic}"`);
  }

  #dropEvents(delivery: Delivery, members: Membership): void {
    delivery.take(members.count);
    this.#options.refused.dropMembers(members, MESSAGE_TIMEOUT);
    const { topics } = delivery.batch;
    this.#tell(members.count, topics.length === 1 ? `topic "${topics[0]}"` : `${topics.length} topics`);
  }

  #tell(count: number, where: string): void {
    if (count === 0) return;
    this.#options.log.error(
      `Cannot deliver ${
        countOf(count, "event")
      } to ${where} within message_timeout_ms = ${this.#timeoutMs}: dropped and counted`,
      { reason: MESSAGE_TIMEOUT, hint: "message_timeout_ms = 0 keeps events for as long as it takes" },
    );
  }
}
