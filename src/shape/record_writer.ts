import type { BufferPool } from "../event/pooled_buffer.ts";
import { type PooledNumbers, type PooledTimes, takeNumbers, takeTimes } from "../event/pooled_numbers.ts";
import { ColumnWriter, type RecordColumns } from "./columns.ts";
import { fieldAt, type FieldPath } from "./fields.ts";
import type { Fields } from "./json_fields.ts";
import { KEY_ESTIMATE_BYTES, type KeySource } from "./key_source.ts";
import { partitionNumber } from "./partition_numbers.ts";
import { HEADERS_ESTIMATE_BYTES, type HeaderTemplates } from "./record_headers.ts";
import { parseRfc3339 } from "./timestamp.ts";

/** What stands around the value of an event in its record, compiled. */
export interface RecordPlan {
  /** Null: there are no keys. */
  readonly key: KeySource | null;
  /** Field that holds the number of the partition. */
  readonly partitionPath: FieldPath | null;
  /** Null: there are none. */
  readonly headers: HeaderTemplates | null;
  /** Records carry the time of their event. */
  readonly hasTimes: boolean;
  readonly pool: BufferPool;
}

/** Something around the value comes from fields of the event. */
export function takesFields({ key, partitionPath, headers, hasTimes }: RecordPlan): boolean {
  return hasTimes || (key !== null && !key.isConstant) || partitionPath !== null ||
    headers?.isConstant === false;
}

/** The event's own time, where it has one that can be read. */
export function eventMs(fields: Fields, receivedMs: number): number {
  return parseRfc3339(fields["timestamp"]) ?? receivedMs;
}

/** As a record can carry it: whole milliseconds, and none before 1970. */
export function recordTimeMs(timeMs: number): number {
  return timeMs >= 0 ? Math.trunc(timeMs) : 0;
}

/** Writes what stands around the values, event by event. */
export class RecordWriter {
  readonly #plan: RecordPlan;
  readonly #usesTime: boolean;
  readonly #keys: ColumnWriter | null;
  readonly #headers: ColumnWriter | null;
  readonly #partitions: PooledNumbers | null;
  readonly #times: PooledTimes | null;
  #count = 0;

  constructor(plan: RecordPlan, eventsMax: number) {
    const { key, headers, partitionPath, hasTimes, pool } = plan;
    this.#plan = plan;
    this.#usesTime = hasTimes || key?.usesTime === true || headers?.usesTime === true;
    this.#times = hasTimes ? takeTimes(pool, eventsMax) : null;
    this.#keys = key === null ? null : new ColumnWriter(pool, eventsMax, eventsMax * KEY_ESTIMATE_BYTES);
    this.#headers = headers === null
      ? null
      : new ColumnWriter(pool, eventsMax, eventsMax * HEADERS_ESTIMATE_BYTES);
    this.#partitions = partitionPath === null ? null : takeNumbers(pool, eventsMax);
  }

  /** The next event: fields are looked up in its own, then in `defaults`. */
  add(fields: Fields, defaults: Fields, receivedMs: number): void {
    const { key, headers, partitionPath } = this.#plan;
    const timeMs = this.#usesTime ? eventMs(fields, receivedMs) : receivedMs;
    if (this.#keys !== null) key!.write(this.#keys, fields, defaults, timeMs);
    if (this.#headers !== null) {
      headers!.write(this.#headers.bytes, fields, defaults, timeMs);
      this.#headers.endEvent();
    }
    if (this.#partitions !== null) {
      const own = Object.hasOwn(fields, partitionPath![0]!) ? fields : defaults;
      this.#partitions.numbers[this.#count] = partitionNumber(fieldAt(own, partitionPath!));
    }
    if (this.#times !== null) this.#times.times[this.#count] = recordTimeMs(timeMs);
    this.#count++;
  }

  /** The columns. The writer must not be used afterwards. */
  finish(): RecordColumns {
    const { numbers, owner } = this.#partitions ?? NO_NUMBERS;
    const times = this.#times === null
      ? null
      : { times: this.#times.times.subarray(0, this.#count), owner: this.#times.owner };
    return {
      times,
      keys: this.#keys?.finish() ?? null,
      headers: this.#headers?.finish() ?? null,
      partitions: this.#partitions === null ? null : { numbers: numbers.subarray(0, this.#count), owner },
    };
  }
}

const NO_NUMBERS: PooledNumbers = { numbers: new Uint32Array(0), owner: null };
