import type { DecodingConfig, EncodingConfig, HeaderConfig } from "../config/config.ts";
import type { EventBatch } from "../event/event_batch.ts";
import type { LineBatch } from "../event/line_batch.ts";
import type { BufferPool } from "../event/pooled_buffer.ts";
import type { SourceMetrics } from "../telemetry/metrics.ts";
import { createFieldFilter, type FieldFilter, type FieldPath, parseFieldPath } from "./fields.ts";
import { EventFieldsMaker } from "./event_fields.ts";
import { ObjectShaper } from "./object_shaper.ts";
import { HeaderTemplates } from "./record_headers.ts";
import { Template } from "./template.ts";
import { TextShaper } from "./text_shaper.ts";
import { TopicNames } from "./topics.ts";

/** Makes events of the lines that one sink gets from one source. */
export interface Shaper {
  /**
   * Synchronous; the lines' arrays may be reused afterwards. The caller owns the batch's memory (`releaseBatch`); the chunk's owner is
   * retained as far as the batch needs it.
   */
  shape(lines: LineBatch): ShapeResult;
}

export interface ShapeResult {
  /** Null when no event is left (all dropped, or no lines): the caller lets the position pass the lines' `takenBytes` itself. */
  readonly batch: EventBatch | null;
  /** Events that have no topic (reason "template_error"). */
  readonly droppedCount: number;
}

export interface ShaperOptions {
  readonly decoding: DecodingConfig;
  readonly encoding: EncodingConfig;
  /** Dotted path of the field that becomes the key; null: no key. */
  readonly keyField: string | null;
  /** Of every record; none where there are none. */
  readonly headers?: readonly HeaderConfig[];
  /** Template. A text without fields and times is taken as it is; "" where the sink knows no topics. */
  readonly topic: string;
  readonly hostname: string;
  /** Memory for what is encoded. */
  readonly pool: BufferPool;
  readonly metrics: SourceMetrics;
}

/** The options, compiled: what both kinds of shaper work with. */
export interface ShapePlan {
  readonly codec: EncodingConfig["codec"];
  readonly filter: FieldFilter | null;
  readonly keyPath: FieldPath | null;
  /** Null: there are none. */
  readonly headers: HeaderTemplates | null;
  readonly topics: TopicNames;
  readonly eventFields: EventFieldsMaker;
  readonly pool: BufferPool;
  readonly metrics: SourceMetrics;
}

/** Throws a `TypeError` when a template or a field path cannot be read. */
export function createShaper(options: ShaperOptions): Shaper {
  const { encoding, hostname, keyField, headers = [], pool, metrics } = options;
  const { codec, timestampFormat } = encoding;
  const topics = new TopicNames(new Template(options.topic));
  const plan: ShapePlan = {
    codec,
    filter: createFieldFilter(encoding),
    keyPath: keyField === null ? null : parseFieldPath(keyField),
    headers: headers.length === 0 ? null : new HeaderTemplates(headers),
    topics,
    eventFields: new EventFieldsMaker({ hostname, timestampFormat }),
    pool,
    metrics,
  };
  const needsFields = codec !== "raw" || keyField !== null || topics.template.constant === null ||
    plan.headers?.isConstant === false;
  return options.decoding.codec === "json" && needsFields ? new ObjectShaper(plan) : new TextShaper(plan);
}
