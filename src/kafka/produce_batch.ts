import type { OpenBatch } from "../batch/partition_queue.ts";
import type { Delivery } from "../event/delivery.ts";
import type { ArenaPool } from "./arena_pool.ts";
import type { TimeLimits } from "./record_times.ts";
import { BATCH_HEADER_BYTES, RecordBatchBuilder, type RecordBatchLimits } from "./record_batch.ts";
import type { EncodedRecord } from "./encoded_records.ts";
import { NO_PRODUCER, type ProducerNumbers, writeBatchHeader } from "./batch_header.ts";

/** Compressed bytes with room in front for the batch header; `release` gives the memory back. */
export interface CompressedBytes {
  readonly buffer: Buffer;
  release(): void;
}

/** Why a batch is held, and how many of its dead letters are not safe yet. */
export interface BatchHold {
  readonly reason: string;
  readonly why: string;
  waitingCount: number;
}

/** Arena that a new batch starts with; it grows while the batch does. */
export const ARENA_START_BYTES = 16_384;

/**
 * A record batch on its way: filled, sealed, compressed, numbered, sent, answered. Its bytes and numbers stay the same over every retry,
 * which is what lets the broker recognise a repeat.
 */
export class ProduceBatch implements OpenBatch {
  readonly #records: RecordBatchBuilder;
  readonly #limits: RecordBatchLimits;
  #compressed: CompressedBytes | null = null;
  #numbers: ProducerNumbers | null = null;
  #isNumbered = false;
  #timestampMs = 0;
  #isHeaderWritten = false;
  #isTransactional = false;
  #codecId = 0;
  /** Ready to be sent: compressed, or not to be. */
  isReady = false;
  /** The request that carries it is not answered. */
  isInFlight = false;
  /** Times it was sent. */
  attemptCount = 0;
  /** It may have been written without our knowing: an attempt was not answered, or not with certainty. */
  isInDoubt = false;
  /** The journal's name for it; null while it has none, and for events that cannot be read again. */
  intentId: number | null = null;
  /** What has to be in the journal before it is sent is there. */
  isDurable = false;
  /** Its lines are in an intent, this one or one that it takes the place of: a restart will not read them again. */
  isCovered = false;
  /** Its lines are in the account of what was delivered, though its transaction may not be committed yet. */
  isCounted = false;
  /** An earlier run made it, and it has its numbers of then. */
  isRecovered = false;
  /** An earlier run made it, whatever numbers it has: it is sent, however old. */
  isMadeAgain = false;
  /** Its fate could not be found out, and `on_undecidable` has it sent once more: a refusal of its numbers settles the matter. */
  isLastTry = false;
  /** Times that its numbers were refused although it was found not to be written. */
  refusedCount = 0;
  /** It is not sent, nor is anything behind it, until its records are safe as dead letters; then it is given up. */
  hold: BatchHold | null = null;
  /** The value of its record was cut so that it fits. */
  isTruncated = false;
  /** New numbers were given although it could not be found out whether it was written under the old ones. */
  isSuspected = false;
  /** Answers that refused it for now, under whatever numbers. */
  failedCount = 0;
  #youngestMs = -1;
  /** In the order of sealing over all partitions. */
  sealNumber = 0;
  /** See `BatchPlace.place`; 0 before its first intent. */
  place = 0;
  /** Topic, log end and leader epoch when it was numbered or first sent; null and -1 where they were not known. */
  topicId: string | null = null;
  clusterId: string | null = null;
  hintOffset = -1;
  leaderEpoch = -1;
  /** First attempt, by the wall clock and by one that never jumps; 0 before it. */
  firstSentMs = 0;
  firstSentMonotonicMs = 0;

  constructor(pool: ArenaPool, limits: RecordBatchLimits, records?: RecordBatchBuilder) {
    this.#records = records ?? new RecordBatchBuilder(pool, ARENA_START_BYTES);
    this.#limits = limits;
  }

  get members(): RecordBatchBuilder["members"] {
    return this.#records.members;
  }

  get count(): number {
    return this.#records.count;
  }

  get capacityBytes(): number {
    return this.#records.capacityBytes;
  }

  /** Header and records before compression. */
  get sizeBytes(): number {
    return this.#records.sizeBytes;
  }

  /** Key and value bytes of its events. */
  get payloadBytes(): number {
    return this.#records.payloadBytes;
  }

  /** Sequence numbers that it was given; null before the first attempt, and for a producer that is not idempotent. */
  get numbers(): ProducerNumbers | null {
    return this.#numbers;
  }

  /** True once it has its numbers and its time: from then on its bytes do not change. */
  get isNumbered(): boolean {
    return this.#isNumbered;
  }

  /** It may be in the log, by all that is known. */
  get mayBeWritten(): boolean {
    return this.isInFlight || this.isInDoubt || this.isRecovered || this.isSuspected;
  }

  /** When the last of its events was read, milliseconds since the epoch. To be asked once it is sealed. */
  youngestMs(): number {
    if (this.#youngestMs < 0) {
      this.members.forEachRun(({ batch }) => this.#youngestMs = Math.max(this.#youngestMs, batch.receivedMs));
    }
    return this.#youngestMs;
  }

  /** Time of its records, or of the first where they have those of their events; milliseconds since the epoch. */
  get timestampMs(): number {
    return this.#timestampMs;
  }

  /** Its records have the times of their events: brokers remember it by these. */
  get hasOwnTimes(): boolean {
    return this.#records.times !== null;
  }

  /** Records that have another time than their event, because their topic does not take that. */
  get redatedCount(): number {
    return this.#records.times?.replacedCount ?? 0;
  }

  appendRange(delivery: Delivery, from: number, to: number): number {
    return this.#records.appendRange(delivery, from, to, this.#limits);
  }

  appendOne(delivery: Delivery, index: number): boolean {
    return this.#records.appendOne(delivery, index, this.#limits);
  }

  /** The records alone, for the compressor. Must not be written to. */
  recordBytes(): Buffer {
    return this.#records.bytes.subarray(BATCH_HEADER_BYTES);
  }

  /** Takes ownership of the compressed records. */
  setCompressed(compressed: CompressedBytes, codecId: number): void {
    this.#compressed = compressed;
    this.#codecId = codecId;
    this.#isHeaderWritten = false;
    this.isReady = true;
  }

  /**
   * The batch as it goes over the wire; valid until `release`. The header is written once it has its numbers and is ready, which may come in
   * either order: a batch is journalled while it is compressed.
   */
  wireBytes(): Buffer {
    const bytes = this.#compressed === null ? this.#records.bytes : this.#compressed.buffer;
    if (this.#isNumbered && !this.#isHeaderWritten) {
      this.#isHeaderWritten = true;
      writeBatchHeader(bytes, {
        recordCount: this.count,
        codecId: this.#codecId,
        timestampMs: this.#timestampMs,
        maxTimestampMs: this.#records.times?.maxMs ?? this.#timestampMs,
        producer: this.#numbers ?? NO_PRODUCER,
        isTransactional: this.#isTransactional,
      });
    }
    return bytes;
  }

  /** Gives the batch its numbers and its time, unless its records have times of their own. Only before the first attempt, or after a definite refusal. */
  number(numbers: ProducerNumbers | null, timestampMs: number, isTransactional = false): void {
    this.#isTransactional = isTransactional;
    this.#numbers = numbers;
    this.#timestampMs = this.#records.times?.baseMs ?? timestampMs;
    this.#isNumbered = true;
    this.#isHeaderWritten = false;
  }

  /** Allows new numbers. Only when it is certain that the broker has not taken it, and will not, under the old ones. */
  clearNumbers(): void {
    this.#numbers = null;
    this.#isNumbered = false;
    this.intentId = null;
    this.isDurable = false;
    this.isInDoubt = false;
    this.isRecovered = false;
    this.isLastTry = false;
    this.refusedCount = 0;
    this.attemptCount = 0;
    this.firstSentMs = 0;
    this.leaderEpoch = -1;
  }

  /** It goes to the topic with this id, in place of the one of its name that it got its numbers for. Undefined: it is the same one. */
  adoptTopic(topicId: string | undefined): void {
    if (topicId === undefined) return;
    this.topicId = topicId;
    this.hintOffset = -1;
  }

  /** Records `[from, to)` as a batch of its own, neither compressed nor numbered. */
  copyRecords(from: number, to: number, pool: ArenaPool): ProduceBatch {
    return new ProduceBatch(pool, this.#limits, this.#records.copyRecords(from, to));
  }

  /** Its records within these times, as a batch of its own, neither compressed nor numbered. Only where they have times of their own. */
  withTimes(limits: TimeLimits, pool: ArenaPool): ProduceBatch {
    return new ProduceBatch(pool, this.#limits, this.#records.copyRecords(0, this.count, limits));
  }

  /** The one record of this batch with another value, as a batch of its own, neither compressed nor numbered. */
  withValue(record: EncodedRecord, value: Buffer, pool: ArenaPool): ProduceBatch {
    const made = new ProduceBatch(pool, this.#limits, this.#records.withValue(record, value));
    made.isTruncated = true;
    return made;
  }

  /** Gives all memory back. */
  release(): void {
    this.#records.release();
    this.#compressed?.release();
    this.#compressed = null;
  }
}
