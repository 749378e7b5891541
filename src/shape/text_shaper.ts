import type { Fields } from "./json_fields.ts";
import type { LineBatch } from "../event/line_batch.ts";
import { type PooledNumbers, type PooledTimes, takeNumbers, takeTimes } from "../event/pooled_numbers.ts";
import { ByteWriter, exactCopy } from "./byte_writer.ts";
import {
  absentColumn,
  ColumnWriter,
  constantColumn,
  joinBatch,
  type KeptLines,
  lineColumn,
  type OwnedColumn,
  releaseColumn,
} from "./columns.ts";
import { envelopeOf, type EventFields } from "./event_fields.ts";
import { fieldAt } from "./fields.ts";
import { KEY_ESTIMATE_BYTES } from "./key_source.ts";
import { LineEncoder } from "./line_encoder.ts";
import { partitionNumber } from "./partition_numbers.ts";
import { HEADERS_ESTIMATE_BYTES } from "./record_headers.ts";
import { recordTimeMs } from "./record_writer.ts";
import { NO_EVENTS, type ShapePlan, type Shaper, type ShapeResult } from "./shape_result.ts";
import { keepAll, LineSelection, NONE_REFUSED, refuseAll, type RefusedLines } from "./topics.ts";

const NO_BYTES = Buffer.alloc(0);
const NO_FIELDS: Fields = {};

/**
 * Events whose field `message` is the line. Nothing is made per event, unless the topic, the key or a header holds `{{message}}`: values and
 * keys are the lines themselves, constants, or envelopes written bytes to bytes.
 */
export class TextShaper implements Shaper {
  readonly #plan: ShapePlan;
  readonly #encoder: LineEncoder;

  constructor(plan: ShapePlan) {
    this.#plan = plan;
    this.#encoder = new LineEncoder(plan.pool);
  }

  shape(lines: LineBatch): ShapeResult {
    if (lines.count === 0) return NO_EVENTS;
    const { topics, pool } = this.#plan;
    const fields = this.#plan.eventFields.of(lines.chunk);
    const { kept, refused } = this.#keep(lines, fields);
    if (kept === null) return { ...NO_EVENTS, refused };
    const values = this.#values(kept, fields);
    const columns = {
      keys: this.#keys(kept, fields, values),
      headers: this.#headers(kept, fields),
      partitions: this.#partitions(kept, fields),
      times: this.#times(kept),
    };
    return {
      batch: joinBatch(lines, kept, values, columns, pool),
      refused,
      fallbacks: topics.takeFallbacks(),
    };
  }

  /** The lines that have a topic, at least one; null: none has. */
  #keep(
    lines: LineBatch,
    fields: EventFields,
  ): { readonly kept: KeptLines | null; readonly refused: readonly RefusedLines[] } {
    const { topics } = this.#plan;
    const { template } = topics;
    if (template.constant !== null) return { kept: keepAll(lines, template.constant), refused: NONE_REFUSED };
    const { data, receivedMs } = lines.chunk;
    if (!template.fieldNames.has("message")) {
      const topic = topics.name(NO_FIELDS, fields.values, receivedMs);
      if (topic === null) return { kept: null, refused: refuseAll(lines, topics.problem) };
      topics.repeat(lines.count - 1);
      return { kept: keepAll(lines, topic), refused: NONE_REFUSED };
    }
    const selection = new LineSelection(lines);
    for (let i = 0; i < lines.count; i++) {
      const message = data.toString("utf8", lines.starts[i]!, lines.ends[i]!);
      selection.add(i, topics.name({ message }, fields.values, receivedMs), topics.problem);
    }
    const kept = selection.finish();
    return { kept: kept.count === 0 ? null : kept, refused: selection.refused };
  }

  #values(kept: KeptLines, fields: EventFields): OwnedColumn {
    const { codec, filter, metrics } = this.#plan;
    const hasMessage = filter?.keeps("message") ?? true;
    if (codec === "raw" || (codec === "text" && hasMessage)) return lineColumn(kept, this.#plan.pool);
    if (codec === "text") return constantColumn(NO_BYTES, kept.count);
    const { head, tail } = envelopeOf(fields, filter);
    if (head === null) return constantColumn(tail, kept.count);
    const { column, invalidUtf8Count } = this.#encoder.encode(kept, { head, tail });
    metrics.invalidUtf8Count += invalidUtf8Count;
    return column;
  }

  #keys(kept: KeptLines, fields: EventFields, values: OwnedColumn): OwnedColumn | null {
    const { codec, key, pool } = this.#plan;
    if (key === null) return null;
    if (key.isLine) {
      // The same memory again: a second column of it would count it twice.
      return codec === "raw" || values.column.data === kept.chunk.data ? values : lineColumn(kept, pool);
    }
    const { receivedMs } = kept.chunk;
    const count = key.isEachOwn ? kept.count : 1;
    const column = new ColumnWriter(pool, count, count * KEY_ESTIMATE_BYTES);
    const hasLine = key.template?.fieldNames.has("message") === true;
    for (let i = 0; i < count; i++) {
      key.write(column, hasLine ? { message: textOf(kept, i) } : NO_FIELDS, fields.values, receivedMs);
    }
    const written = column.finish();
    return key.isEachOwn ? written : sameForAll(written, kept.count);
  }

  #partitions(kept: KeptLines, fields: EventFields): PooledNumbers | null {
    const { partitionPath, pool } = this.#plan;
    if (partitionPath === null) return null;
    const wanted = takeNumbers(pool, kept.count);
    const isLine = partitionPath.length === 1 && partitionPath[0] === "message";
    if (!isLine) wanted.numbers.fill(partitionNumber(fieldAt(fields.values, partitionPath)));
    else for (let i = 0; i < kept.count; i++) wanted.numbers[i] = partitionNumber(textOf(kept, i));
    return wanted;
  }

  /** A line of text has no time of its own but that of reading. */
  #times(kept: KeptLines): PooledTimes | null {
    if (!this.#plan.hasTimes) return null;
    const taken = takeTimes(this.#plan.pool, kept.count);
    taken.times.fill(recordTimeMs(kept.chunk.receivedMs));
    return taken;
  }

  #headers(kept: KeptLines, fields: EventFields): OwnedColumn | null {
    const { headers, pool } = this.#plan;
    if (headers === null) return null;
    const { receivedMs } = kept.chunk;
    if (!headers.fieldNames.has("message")) {
      const bytes = new ByteWriter(pool, HEADERS_ESTIMATE_BYTES);
      headers.write(bytes, NO_FIELDS, fields.values, receivedMs);
      const same = exactCopy(bytes.data, 0, bytes.length);
      bytes.finish().owner?.release();
      return same.length === 0 ? null : constantColumn(same, kept.count);
    }
    const column = new ColumnWriter(pool, kept.count, kept.count * HEADERS_ESTIMATE_BYTES);
    for (let i = 0; i < kept.count; i++) {
      headers.write(column.bytes, { message: textOf(kept, i) }, fields.values, receivedMs);
      column.endEvent();
    }
    return column.finish();
  }
}

function textOf({ chunk, starts, ends }: KeptLines, line: number): string {
  return chunk.data.toString("utf8", starts[line]!, ends[line]!);
}

/** What one event has, for all. */
function sameForAll(one: OwnedColumn, count: number): OwnedColumn {
  const { data, starts, ends } = one.column;
  const isAbsent = starts[0]! > ends[0]!;
  const column = isAbsent
    ? absentColumn(count)
    : constantColumn(exactCopy(data, starts[0]!, ends[0]!), count);
  releaseColumn(one);
  return column;
}
