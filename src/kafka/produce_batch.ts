import type { OpenBatch } from "../batch/partition_queue.ts";
import type { Delivery } from "../event/delivery.ts";
import type { ArenaPool } from "./arena_pool.ts";
import { BATCH_HEADER_BYTES, RecordBatchBuilder, type RecordBatchLimits } from "./record_batch.ts";
import { NO_PRODUCER, type ProducerNumbers, writeBatchHeader } from "./batch_header.ts";

/** Compressed bytes with room in front for the batch header; `release` gives the memory back. */
export interface CompressedBytes {
  readonly buffer: Buffer;
  release(): void;
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
  #codecId = 0;
  /** Ready to be sent: compressed, or not to be. */
  isReady = false;
  /** The request that carries it is not answered. */
  isInFlight = false;
  /** Times it was sent. */
  attemptCount = 0;

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

  /** True once its header is written: from then on its bytes do not change. */
  get isNumbered(): boolean {
    return this.#isNumbered;
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
    this.isReady = true;
  }

  /** The batch as it goes over the wire; valid until `release`. */
  wireBytes(): Buffer {
    return this.#compressed === null ? this.#records.bytes : this.#compressed.buffer;
  }

  /** Gives the batch its numbers and its time, and writes its header. Only before the first attempt, or after a definite refusal. */
  number(numbers: ProducerNumbers | null, timestampMs: number): void {
    this.#numbers = numbers;
    this.#isNumbered = true;
    writeBatchHeader(this.wireBytes(), {
      recordCount: this.count,
      codecId: this.#codecId,
      timestampMs,
      producer: numbers ?? NO_PRODUCER,
    });
  }

  /** Allows new numbers. Only when the broker said for certain that it will not take the old ones. */
  clearNumbers(): void {
    this.#numbers = null;
    this.#isNumbered = false;
  }

  /** Records `[from, to)` as a batch of its own, neither compressed nor numbered. */
  copyRecords(from: number, to: number, pool: ArenaPool): ProduceBatch {
    return new ProduceBatch(pool, this.#limits, this.#records.copyRecords(from, to));
  }

  /** Gives all memory back. */
  release(): void {
    this.#records.release();
    this.#compressed?.release();
    this.#compressed = null;
  }
}
