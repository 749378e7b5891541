import type { Chunk } from "../event/chunk.ts";
import type { ByteColumn, EventBatch } from "../event/event_batch.ts";
import type { LineBatch } from "../event/line_batch.ts";
import type { BufferPool, PooledBuffer } from "../event/pooled_buffer.ts";
import { type PooledNumbers, type PooledTimes, takeNumbers } from "../event/pooled_numbers.ts";
import { ByteWriter, USED_SHARE_MIN } from "./byte_writer.ts";

/** The lines that stay, after those without a topic were dropped, and where they go. The arrays may be the splitter's. */
export interface KeptLines {
  readonly chunk: Chunk;
  readonly count: number;
  readonly starts: Uint32Array;
  readonly ends: Uint32Array;
  readonly nexts: Uint32Array;
  /** Number of each line in its region; null: line `i` is number `i`. Belongs to the batch. */
  readonly lineNumbers: Uint32Array | null;
  readonly topics: readonly string[];
  readonly topicIndexes: Uint16Array | null;
}

/** A column and the memory that it keeps alive. */
export interface OwnedColumn {
  readonly column: ByteColumn;
  /** Sum of the lengths. */
  readonly byteSize: number;
  /** To be released with the batch: of the bytes and of their positions. What is not here is the garbage collector's. */
  readonly owners: readonly PooledBuffer[];
  /** Memory behind it, `starts` and `ends` included. */
  readonly pinnedBytes: number;
}

/**
 * The lines themselves, without a copy of their bytes: the chunk's memory is retained. Where they are less than `USED_SHARE_MIN` of that
 * memory they are copied instead.
 */
export function lineColumn(lines: KeptLines, pool: BufferPool): OwnedColumn {
  const { chunk, count } = lines;
  const positions = takeNumbers(pool, 2 * count);
  const starts = positions.numbers.subarray(0, count);
  const ends = positions.numbers.subarray(count);
  starts.set(lines.starts.subarray(0, count));
  ends.set(lines.ends.subarray(0, count));
  let byteSize = 0;
  for (let i = 0; i < count; i++) byteSize += ends[i]! - starts[i]!;
  const owner = chunk.owner;
  if (byteSize >= owner.data.length * USED_SHARE_MIN) {
    owner.retain();
    return owned({ data: chunk.data, starts, ends }, byteSize, owner, positions.owner);
  }
  const copy = pool.takeExact(byteSize);
  const { data } = copy;
  let at = 0;
  for (let i = 0; i < count; i++) {
    const start = at;
    at += chunk.data.copy(data, at, starts[i]!, ends[i]!);
    starts[i] = start;
    ends[i] = at;
  }
  return owned({ data, starts, ends }, byteSize, copy, positions.owner);
}

/** The same bytes for every event, held once. */
export function constantColumn(data: Buffer, count: number): OwnedColumn {
  return owned(
    { data, starts: new Uint32Array(count), ends: new Uint32Array(count).fill(data.length) },
    data.length * count,
    null,
    null,
  );
}

/** No event has any, which is something else than empty ones. */
export function absentColumn(count: number): OwnedColumn {
  return owned(
    { data: Buffer.alloc(0), starts: new Uint32Array(count).fill(1), ends: new Uint32Array(count) },
    0,
    null,
    null,
  );
}

/** Writes a column event by event: append to `bytes`, then `endEvent`. */
export class ColumnWriter {
  readonly bytes: ByteWriter;
  readonly #positions: PooledNumbers;
  readonly #starts: Uint32Array;
  readonly #ends: Uint32Array;
  #count = 0;

  constructor(pool: BufferPool, eventsMax: number, estimateBytes: number) {
    this.bytes = new ByteWriter(pool, estimateBytes);
    this.#positions = takeNumbers(pool, 2 * eventsMax);
    this.#starts = this.#positions.numbers.subarray(0, eventsMax);
    this.#ends = this.#positions.numbers.subarray(eventsMax);
  }

  /** What was appended since the last call is the next event. */
  endEvent(): void {
    this.#starts[this.#count] = this.#count === 0 ? 0 : this.#ends[this.#count - 1]!;
    this.#ends[this.#count++] = this.bytes.length;
  }

  /** The next event has none, which is something else than an empty one. */
  endAbsent(): void {
    this.#starts[this.#count] = this.bytes.length + 1;
    this.#ends[this.#count++] = this.bytes.length;
  }

  /** The column. The writer must not be used afterwards. */
  finish(): OwnedColumn {
    const byteSize = this.bytes.length;
    const { data, owner } = this.bytes.finish();
    const starts = this.#starts.subarray(0, this.#count);
    const column = { data, starts, ends: this.#ends.subarray(0, this.#count) };
    return owned(column, byteSize, owner, this.#positions.owner);
  }
}

/** What stands around the values in their records. */
export interface RecordColumns {
  readonly keys: OwnedColumn | null;
  readonly headers: OwnedColumn | null;
  readonly partitions: PooledNumbers | null;
  readonly times: PooledTimes | null;
}

/** Joins columns to a batch that stands for everything the lines were taken from. */
export function joinBatch(
  lines: LineBatch,
  kept: KeptLines,
  values: OwnedColumn,
  { keys, headers, partitions, times }: RecordColumns,
  pool: BufferPool,
): EventBatch {
  const owners: PooledBuffer[] = [];
  const { numbers: rawEnds, owner: rawEndsOwner } = takeNumbers(pool, kept.count);
  rawEnds.set(kept.nexts.subarray(0, kept.count));
  let pinnedBytes = (rawEndsOwner?.data.length ?? rawEnds.byteLength) + (kept.topicIndexes?.byteLength ?? 0);
  for (const column of new Set([values, keys, headers])) {
    if (column === null) continue;
    pinnedBytes += column.pinnedBytes;
    owners.push(...column.owners);
  }
  if (partitions !== null) pinnedBytes += partitions.owner?.data.length ?? partitions.numbers.byteLength;
  if (times !== null) pinnedBytes += times.owner?.data.length ?? times.times.byteLength;
  for (const owner of [partitions?.owner, times?.owner]) if (owner) owners.push(owner);
  const { stream, offset, receivedMs } = lines.chunk;
  return {
    count: kept.count,
    values: values.column,
    keys: keys?.column ?? null,
    headers: headers?.column ?? null,
    partitions: partitions?.numbers ?? null,
    timestamps: times?.times ?? null,
    topics: kept.topics,
    topicIndexes: kept.topicIndexes,
    receivedMs,
    origin: { stream, startOffset: offset, endOffset: offset + lines.takenBytes },
    rawEnds,
    rawStarts: kept.lineNumbers === null ? null : kept.starts.slice(0, kept.count),
    rawEndsOwner,
    lineNumbers: kept.lineNumbers,
    byteSize: values.byteSize + (keys?.byteSize ?? 0),
    pinnedBytes,
    owners,
  };
}

/** A column with the figures that follow from it. `bytesOwner` and `positionsOwner` are null where the garbage collector has the memory. */
export function owned(
  column: ByteColumn,
  byteSize: number,
  bytesOwner: PooledBuffer | null,
  positionsOwner: PooledBuffer | null,
): OwnedColumn {
  const pinnedBytes = (bytesOwner?.data.length ?? column.data.length) +
    (positionsOwner?.data.length ?? 2 * column.starts.byteLength);
  return {
    column,
    byteSize,
    owners: [bytesOwner, positionsOwner].filter((owner) => owner !== null),
    pinnedBytes,
  };
}

/** Gives a column's memory back; for one that did not become part of a batch. */
export function releaseColumn(column: OwnedColumn): void {
  for (const owner of column.owners) owner.release();
}

/** As `releaseColumn`, for all around the values. */
export function releaseColumns({ keys, headers, partitions, times }: RecordColumns): void {
  if (keys !== null) releaseColumn(keys);
  if (headers !== null) releaseColumn(headers);
  partitions?.owner?.release();
  times?.owner?.release();
}
