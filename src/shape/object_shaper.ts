import { isUtf8 } from "node:buffer";
import { type Fields, parseFields } from "./json_fields.ts";
import type { LineBatch } from "../event/line_batch.ts";
import { ColumnWriter, joinBatch, lineColumn, releaseColumn, releaseColumns } from "./columns.ts";
import { type Envelope, envelopeOf, type EventFields } from "./event_fields.ts";
import { fieldAt, type FieldFilter, scalarText } from "./fields.ts";
import { writeEscapedLossy } from "./json_writer.ts";
import { NO_EVENTS, type ShapePlan, type Shaper, type ShapeResult } from "./shape_result.ts";
import { eventMs, RecordWriter, takesFields } from "./record_writer.ts";
import { LineSelection } from "./topics.ts";

const SPACE = 32;
const OPEN_BRACE = 123;

/** What is the same for all lines of a call. */
interface ChunkPlan {
  readonly data: Buffer;
  readonly fields: EventFields;
  readonly envelope: Envelope;
  /** The end of an object that lacks the members of the index (bit `i`: member `i`), made when first needed. */
  readonly tails: (Buffer | undefined)[];
  /** No line holds bytes that are not UTF-8. */
  readonly isUtf8: boolean;
}

/** One line while it is worked on; a single one, used again for every line. */
interface Line {
  start: number;
  end: number;
  text: string;
  isUtf8: boolean;
  /** False: the line is not an object and was kept as `message`. */
  isDecoded: boolean;
  fields: Fields;
}

/** Events whose fields are those of the line's JSON object. `JSON.parse` per line cannot be avoided; more than that mostly can. */
export class ObjectShaper implements Shaper {
  readonly #plan: ShapePlan;
  /** False: lines are passed on as they are, and only the names of their fields matter. */
  readonly #areValuesUsed: boolean;

  constructor(plan: ShapePlan) {
    this.#plan = plan;
    const { codec, filter, topics } = plan;
    this.#areValuesUsed = codec === "text" || filter !== null || topics.template.constant === null ||
      takesFields(plan);
  }

  shape(lines: LineBatch): ShapeResult {
    const { count, chunk } = lines;
    if (count === 0) return NO_EVENTS;
    const { codec, eventFields, filter, pool, topics } = this.#plan;
    const fields = eventFields.of(chunk);
    const span = chunk.data.subarray(lines.starts[0], lines.ends[count - 1]);
    const shared: ChunkPlan = {
      data: chunk.data,
      fields,
      envelope: envelopeOf(fields, filter),
      tails: [],
      isUtf8: isUtf8(span),
    };
    const selection = new LineSelection(lines);
    const values = codec === "raw"
      ? null
      : new ColumnWriter(pool, count, codec === "text" ? span.length : span.length * 2);
    const around = new RecordWriter(this.#plan, count);
    const line: Line = { start: 0, end: 0, text: "", isUtf8: true, isDecoded: true, fields: {} };
    for (let i = 0; i < count; i++) {
      this.#decode(line, shared, lines.starts[i]!, lines.ends[i]!);
      if (!selection.add(i, this.#topic(line, shared, chunk.receivedMs), topics.problem)) continue;
      if (values !== null) {
        if (codec === "text") this.#writeText(values, line, shared);
        else this.#writeJson(values, line, shared);
        values.endEvent();
      }
      around.add(line.fields, fields.values, chunk.receivedMs);
    }
    const kept = selection.finish();
    // Finished before anything is returned: that gives memory back that was taken and not needed.
    const columns = around.finish();
    const valueColumn = values?.finish() ?? lineColumn(kept, pool);
    const { refused } = selection;
    const fallbacks = topics.takeFallbacks();
    if (kept.count > 0) {
      return { batch: joinBatch(lines, kept, valueColumn, columns, pool), refused, fallbacks };
    }
    releaseColumn(valueColumn);
    releaseColumns(columns);
    return { batch: null, refused, fallbacks };
  }

  #decode(line: Line, shared: ChunkPlan, start: number, end: number): void {
    line.start = start;
    line.end = end;
    line.isUtf8 = shared.isUtf8 || isUtf8(shared.data.subarray(start, end));
    line.text = shared.data.toString("utf8", start, end);
    const fields = parseFields(line.text, this.#areValuesUsed);
    line.isDecoded = fields !== null;
    line.fields = fields ?? { message: line.text };
    if (fields === null) this.#plan.metrics.decodeErrorsCount++;
  }

  #topic(line: Line, shared: ChunkPlan, receivedMs: number): string | null {
    const { template } = this.#plan.topics;
    if (template.constant !== null) return template.constant;
    const timeMs = template.usesTime ? eventMs(line.fields, receivedMs) : receivedMs;
    return this.#plan.topics.name(line.fields, shared.fields.values, timeMs);
  }

  /** The field `message`; empty when there is none. */
  #writeText(values: ColumnWriter, line: Line, shared: ChunkPlan): void {
    const { filter, metrics } = this.#plan;
    if (filter !== null && !filter.keeps("message")) return;
    if (!line.isDecoded) {
      values.bytes.copy(shared.data, line.start, line.end);
      return;
    }
    if (!line.isUtf8) metrics.invalidUtf8Count++;
    const message = fieldAt(line.fields, ["message"]);
    if (message === undefined || message === null) metrics.missingMessageCount++;
    else values.bytes.text(scalarText(message) ?? JSON.stringify(message));
  }

  #writeJson(values: ColumnWriter, line: Line, shared: ChunkPlan): void {
    const { filter, metrics } = this.#plan;
    if (!line.isUtf8) metrics.invalidUtf8Count++;
    if (!line.isDecoded) {
      writeEnveloped(values, line, shared);
    } else if (filter !== null) {
      values.bytes.text(JSON.stringify(filtered(line.fields, shared.fields, filter)));
    } else if (line.isUtf8) {
      writeCompleted(values, line.fields, shared, shared.data, line.start, line.end);
    } else {
      const replaced = Buffer.from(line.text);
      writeCompleted(values, line.fields, shared, replaced, 0, replaced.length);
    }
  }
}

/** Writes the object of a line that is kept as text. */
function writeEnveloped(values: ColumnWriter, line: Line, shared: ChunkPlan): void {
  const { head, tail } = shared.envelope;
  if (head !== null) {
    values.bytes.copy(head, 0, head.length);
    writeEscapedLossy(values.bytes, shared.data, line.start, line.end);
  }
  values.bytes.copy(tail, 0, tail.length);
}

/** What the filter leaves of the line's fields, and behind them what it leaves of those that the line lacks. */
function filtered(own: Fields, fields: EventFields, filter: FieldFilter): Fields {
  const left = filter.apply(own);
  for (const { name } of fields.members) {
    if (!Object.hasOwn(own, name) && filter.keeps(name)) left[name] = fields.values[name];
  }
  return left;
}

/**
 * Writes the object in `source[start .. end)` as it is and adds the members that it lacks: numbers, order and repeated names stay as the
 * line has them.
 */
function writeCompleted(
  values: ColumnWriter,
  own: Fields,
  shared: ChunkPlan,
  source: Buffer,
  start: number,
  end: number,
): void {
  while (source[start]! <= SPACE) start++;
  while (source[end - 1]! <= SPACE) end--;
  const { members } = shared.fields;
  let missing = 0;
  for (let i = 0; i < members.length; i++) if (!Object.hasOwn(own, members[i]!.name)) missing |= 1 << i;
  let bodyEnd = end - 1;
  while (source[bodyEnd - 1]! <= SPACE) bodyEnd--;
  const isEmpty = source[bodyEnd - 1] === OPEN_BRACE && bodyEnd - 1 === start;
  const tail = shared.tails[missing] ??= tailOf(shared.fields, missing);
  values.bytes.copy(source, start, bodyEnd);
  values.bytes.copy(tail, isEmpty && missing !== 0 ? 1 : 0, tail.length);
}

/** `,"host":"a"}` for the members whose bits are set. */
function tailOf(fields: EventFields, missing: number): Buffer {
  const members = fields.members.filter((_, i) => (missing & (1 << i)) !== 0);
  return Buffer.from(members.map((member) => "," + member.json).join("") + "}");
}
