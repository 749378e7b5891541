import type { PooledBuffer } from "./pooled_buffer.ts";
import type { Stream } from "./stream.ts";

/**
 * Bytes of `count` things: thing `i` is `data[starts[i] .. ends[i])`. Gaps are allowed: trimming a field moves numbers, not bytes. A start behind
 * its end says that the thing is absent, where that is something else than empty.
 */
export interface ByteColumn {
  readonly data: Buffer;
  readonly starts: Uint32Array;
  readonly ends: Uint32Array;
}

/** The column of a single event; what is made by hand. */
export function column(data: Buffer): ByteColumn {
  return { data, starts: Uint32Array.of(0), ends: Uint32Array.of(data.length) };
}

/** The number of no partition: there are never so many. */
export const NO_PARTITION = 0xffffffff;

/** The raw bytes that a batch came from, which can be read again. */
export interface Origin {
  readonly stream: Stream;
  readonly startOffset: number;
  readonly endOffset: number;
}

/**
 * Shaped events, ready for a sink: columns of bytes, not one object an event (an object, a promise or a BigInt per event costs more than
 * everything else together). Immutable after it was made, but for `release`.
 */
export interface EventBatch {
  readonly count: number;
  /** Record values, already encoded. An empty value is empty, not null. */
  readonly values: ByteColumn;
  /** Record keys; null when the sink has none. A missing field gives an absent key: its record has an empty one, and it ties to no partition. */
  readonly keys: ByteColumn | null;
  /**
   * Record headers, each event's encoded as its record will hold them (`record_headers.ts`); an event without any has no bytes. Null: none has
   * any, which costs nothing.
   */
  readonly headers: ByteColumn | null;
  /** Number of the partition that each event wants; `NO_PARTITION`: it names none. Null: nothing is wanted. */
  readonly partitions: Uint32Array | null;
  /**
   * The event's own time, whole milliseconds since the epoch, from 0 on, where its record is to carry it. Null: records carry the time at which
   * they are sent.
   */
  readonly timestamps: Float64Array | null;
  /** The distinct topics of this batch; one element when the topic is fixed. */
  readonly topics: readonly string[];
  /** `topics[topicIndexes[i]]` is the topic of event `i`; null when all events have `topics[0]`. */
  readonly topicIndexes: Uint16Array | null;
  /** Time of reading, milliseconds since the epoch; latency is measured from it. */
  readonly receivedMs: number;
  readonly origin: Origin;
  /** Raw end of each event relative to `origin.startOffset`, delimiter included; what names a record's place in its file. */
  readonly rawEnds: Uint32Array;
  /** Raw start of each event in the same way, where events were left out between them; else each starts where the one before it ends. */
  readonly rawStarts?: Uint32Array | null;
  /** Memory of `rawEnds`, which outlives the columns: a record is named by it until it is settled. Released by `Delivery`. */
  readonly rawEndsOwner: PooledBuffer | null;
  /** Number of each event's line in its region; null: event `i` is line `i`. */
  readonly lineNumbers: Uint32Array | null;
  /** Sum of value and key lengths. */
  readonly byteSize: number;
  /** Memory that is kept alive by this batch, for the buffer's limit. */
  readonly pinnedBytes: number;
  /** Every buffer that the columns point into; released once by `release`. */
  readonly owners: readonly PooledBuffer[];
}

/** Gives the memory of the batch's columns back. Called by `Delivery.take` after the last event; by hand only for a batch that never got a delivery. */
export function releaseBatch(batch: EventBatch): void {
  for (const owner of batch.owners) owner.release();
}

/** Offset in the stream where event `index` starts. */
export function eventOffset(batch: EventBatch, index: number): number {
  const { origin: { startOffset }, rawStarts = null, rawEnds } = batch;
  if (rawStarts !== null) return startOffset + rawStarts[index]!;
  return startOffset + (index === 0 ? 0 : rawEnds[index - 1]!);
}
