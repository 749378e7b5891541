import { Membership } from "../batch/membership.ts";
import type { Delivery } from "../event/delivery.ts";
import { readVarint, varintBytes, varlongBytes, writeVarint, writeVarlong } from "../event/varint.ts";
import type { ArenaPool } from "./arena_pool.ts";
import type { EncodedRecord } from "./encoded_records.ts";
import { ANY_TIME, eventTimeMs, RecordTimes, type TimeLimits } from "./record_times.ts";

/**
 * Records of one batch, encoded as they arrive into one arena (record batch format v2, KIP-98). The batch header is written in front of
 * them later (`batch_header.ts`), so that an uncompressed batch goes to the socket without another copy.
 *
 *     arena   0 ............. 61 ................................ end
 *             | batch header  | record | record | record | ...   |
 *
 *     record  length         varint    bytes after this field
 *             attributes     int8      0
 *             timestampDelta varlong   0: all records of a batch carry its base timestamp (ship time); or from that to the event's own
 *             offsetDelta    varint    0, 1, 2 ...
 *             keyLength      varint    -1: no key
 *             key            bytes
 *             valueLength    varint
 *             value          bytes
 *             headers        as src/event/record_headers.ts draws them: a count, and each header
 */
export const BATCH_HEADER_BYTES = 61;

export interface RecordBatchLimits {
  /** Encoded size at which a batch is full, header included. A single larger record still gets a batch of its own. */
  readonly batchMaxBytes: number;
  readonly batchMaxEvents: number;
  /** Records carry the times of their events, within these; not there: that of the batch. */
  readonly times?: TimeLimits;
}

export class RecordBatchBuilder {
  readonly members: Membership;
  readonly #pool: ArenaPool;
  #arena: Buffer;
  #end = BATCH_HEADER_BYTES;
  #payloadBytes = 0;
  #times: RecordTimes | null = null;
  #isReleased = false;

  constructor(pool: ArenaPool, sizeHintBytes: number, members = new Membership()) {
    this.#pool = pool;
    this.#arena = pool.take(Math.max(sizeHintBytes, BATCH_HEADER_BYTES));
    this.members = members;
  }

  get count(): number {
    return this.members.count;
  }

  /** Header and records, uncompressed. */
  get sizeBytes(): number {
    return this.#end;
  }

  /** Key and value bytes of the records. */
  get payloadBytes(): number {
    return this.#payloadBytes;
  }

  /** Times of the records where they are their events'; null: all have that of the batch. */
  get times(): RecordTimes | null {
    return this.#times;
  }

  get capacityBytes(): number {
    return this.#arena.length;
  }

  /** The arena from its start to the end of the records; the first 61 bytes are free for the header. Valid until `release`. */
  get bytes(): Buffer {
    return this.#arena.subarray(0, this.#end);
  }

  /**
   * Encodes events `[from, to)` without keys until a limit is reached. Returns the index after the last one that was taken; `from` when
   * the batch is full. One record always fits into an empty batch.
   */
  appendRange(delivery: Delivery, from: number, to: number, limits: RecordBatchLimits): number {
    if (delivery.batch.headers !== null || limits.times !== undefined) {
      return this.#appendEach(delivery, from, to, limits);
    }
    const { data, starts, ends } = delivery.batch.values;
    const countStart = this.members.count;
    const last = Math.min(to, from + limits.batchMaxEvents - countStart);
    let arena = this.#arena;
    let at = this.#end;
    let index = from;
    let payloadBytes = 0;
    for (; index < last; index++) {
      const valueStart = starts[index]!;
      const valueEnd = ends[index]!;
      const valueBytes = valueEnd - valueStart;
      const offsetDelta = countStart + index - from;
      const bodyBytes = 4 + varintBytes(offsetDelta) + varintBytes(valueBytes) + valueBytes;
      const recordEnd = at + varintBytes(bodyBytes) + bodyBytes;
      if (recordEnd > limits.batchMaxBytes && offsetDelta > 0) break;
      if (recordEnd > arena.length) arena = this.#grow(recordEnd, at);
      at = writeVarint(arena, at, bodyBytes);
      arena[at++] = 0;
      arena[at++] = 0;
      at = writeVarint(arena, at, offsetDelta);
      arena[at++] = 1;
      at = writeVarint(arena, at, valueBytes);
      at += data.copy(arena, at, valueStart, valueEnd);
      arena[at++] = 0;
      payloadBytes += valueBytes;
    }
    this.#end = at;
    this.#payloadBytes += payloadBytes;
    this.members.addRange(delivery, from, index);
    return index;
  }

  #appendEach(delivery: Delivery, from: number, to: number, limits: RecordBatchLimits): number {
    let index = from;
    while (index < to && this.appendOne(delivery, index, limits)) index++;
    return index;
  }

  /** Encodes one event with its key and headers, if it has any. Returns false when the batch is full. */
  appendOne(delivery: Delivery, index: number, limits: RecordBatchLimits): boolean {
    const { values, keys, headers } = delivery.batch;
    const offsetDelta = this.members.count;
    if (offsetDelta >= limits.batchMaxEvents) return false;
    const valueBytes = values.ends[index]! - values.starts[index]!;
    const keyBytes = keys === null ? 0 : Math.max(0, keys.ends[index]! - keys.starts[index]!);
    const keyFieldBytes = keys === null ? 1 : varintBytes(keyBytes) + keyBytes;
    const headerBytes = headers === null ? 0 : headers.ends[index]! - headers.starts[index]!;
    const { times } = limits;
    let timeMs = 0;
    let fitMs = 0;
    let timeDelta = 0;
    if (times !== undefined) {
      this.#times ??= new RecordTimes();
      timeMs = eventTimeMs(delivery.batch, index);
      fitMs = this.#times.fit(timeMs, times);
      timeDelta = this.#times.deltaOf(fitMs, offsetDelta);
    }
    const timeBytes = timeDelta === 0 ? 1 : varlongBytes(timeDelta);
    const bodyBytes = 1 + timeBytes + varintBytes(offsetDelta) + keyFieldBytes + varintBytes(valueBytes) +
      valueBytes +
      (headerBytes || 1);
    const recordEnd = this.#end + varintBytes(bodyBytes) + bodyBytes;
    if (recordEnd > limits.batchMaxBytes && offsetDelta > 0) return false;
    const arena = recordEnd > this.#arena.length ? this.#grow(recordEnd, this.#end) : this.#arena;
    let at = writeVarint(arena, this.#end, bodyBytes);
    arena[at++] = 0;
    if (timeDelta === 0) arena[at++] = 0;
    else at = writeVarlong(arena, at, timeDelta);
    at = writeVarint(arena, at, offsetDelta);
    if (keys === null) arena[at++] = 1;
    else {
      at = writeVarint(arena, at, keyBytes);
      if (keyBytes > 0) at += keys.data.copy(arena, at, keys.starts[index]!, keys.ends[index]!);
    }
    at = writeVarint(arena, at, valueBytes);
    at += values.data.copy(arena, at, values.starts[index]!, values.ends[index]!);
    if (headerBytes === 0) arena[at++] = 0;
    else at += headers!.data.copy(arena, at, headers!.starts[index]!, headers!.ends[index]!);
    this.#end = at;
    this.#payloadBytes += keyBytes + valueBytes;
    this.#times?.added(timeMs, fitMs, offsetDelta);
    this.members.addRange(delivery, index, index + 1);
    return true;
  }

  /**
   * A new builder with records `[from, to)` of this one, numbered from 0 again, with their times within `limits`. For splitting a batch that the broker finds too large
   * and for taking single records out; off the hot path.
   */
  copyRecords(from: number, to: number, limits = ANY_TIME): RecordBatchBuilder {
    const part = new RecordBatchBuilder(this.#pool, this.#end, this.members.slice(from, to));
    if (this.#times !== null) part.#times = new RecordTimes();
    const baseMs = this.#times?.baseMs ?? 0;
    let at = BATCH_HEADER_BYTES;
    for (let record = 0; record < to; record++) {
      const body = readVarint(this.#arena, at);
      const bodyEnd = body.at + body.value;
      if (record >= from) {
        part.#appendRenumbered(this.#arena, body.at, bodyEnd, record - from, baseMs, limits);
      }
      at = bodyEnd;
    }
    return part;
  }

  /** A new builder with the one record of this one and another value. */
  withValue({ key, front, back }: EncodedRecord, value: Buffer): RecordBatchBuilder {
    const bodyBytes = front.length + varintBytes(value.length) + value.length + back.length;
    const sizeBytes = BATCH_HEADER_BYTES + varintBytes(bodyBytes) + bodyBytes;
    const made = new RecordBatchBuilder(this.#pool, sizeBytes, this.members.slice(0, 1));
    let at = writeVarint(made.#arena, BATCH_HEADER_BYTES, bodyBytes);
    at += front.copy(made.#arena, at);
    at = writeVarint(made.#arena, at, value.length);
    at += value.copy(made.#arena, at);
    at += back.copy(made.#arena, at);
    made.#end = at;
    made.#payloadBytes = (key?.length ?? 0) + value.length;
    made.#times = this.#times;
    return made;
  }

  /** Gives the arena back. Calling it twice is a bug and throws. */
  release(): void {
    if (this.#isReleased) throw new Error("Cannot release a record batch twice");
    this.#isReleased = true;
    this.#pool.give(this.#arena);
  }

  /**
   * `source[bodyStart .. bodyEnd)` is a record without its length field; its offset delta becomes `offsetDelta`, and its time, which is relative to
   * `baseMs`, relative to that of the first record here.
   */
  #appendRenumbered(
    source: Buffer,
    bodyStart: number,
    bodyEnd: number,
    offsetDelta: number,
    baseMs: number,
    limits: TimeLimits,
  ): void {
    const oldTime = readVarint(source, bodyStart + 1);
    const oldDelta = readVarint(source, oldTime.at);
    const timeMs = baseMs + oldTime.value;
    const fitMs = this.#times?.fit(timeMs, limits) ?? timeMs;
    const timeDelta = this.#times?.deltaOf(fitMs, offsetDelta) ?? 0;
    const bodyBytes = 1 + varlongBytes(timeDelta) + varintBytes(offsetDelta) + (bodyEnd - oldDelta.at);
    const recordEnd = this.#end + varintBytes(bodyBytes) + bodyBytes;
    if (recordEnd > this.#arena.length) this.#grow(recordEnd, this.#end);
    let at = writeVarint(this.#arena, this.#end, bodyBytes);
    at += source.copy(this.#arena, at, bodyStart, bodyStart + 1);
    at = writeVarlong(this.#arena, at, timeDelta);
    at = writeVarint(this.#arena, at, offsetDelta);
    at += source.copy(this.#arena, at, oldDelta.at, bodyEnd);
    this.#end = at;
    this.#times?.added(timeMs, fitMs, offsetDelta);
    const key = readVarint(source, oldDelta.at);
    const keyBytes = Math.max(key.value, 0);
    this.#payloadBytes += keyBytes + readVarint(source, key.at + keyBytes).value;
  }

  #grow(wantedBytes: number, usedBytes: number): Buffer {
    const larger = this.#pool.take(Math.max(wantedBytes, Math.min(this.#arena.length * 4, 1_048_576)));
    this.#arena.copy(larger, 0, 0, usedBytes);
    this.#pool.give(this.#arena);
    this.#arena = larger;
    return larger;
  }
}
