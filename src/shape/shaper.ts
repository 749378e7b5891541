import type { DecodingConfig, EncodingConfig, HeaderConfig, TopicPolicyConfig } from "../config/config.ts";
import type { BufferPool } from "../event/pooled_buffer.ts";
import type { SourceMetrics } from "../telemetry/metrics.ts";
import { createFieldFilter, parseFieldPath } from "./fields.ts";
import { EventFieldsMaker } from "./event_fields.ts";
import { KeySource } from "./key_source.ts";
import { ObjectShaper } from "./object_shaper.ts";
import { HeaderTemplates } from "./record_headers.ts";
import { takesFields } from "./record_writer.ts";
import type { ShapePlan, Shaper } from "./shape_result.ts";
import { Template } from "./template.ts";
import { TextShaper } from "./text_shaper.ts";
import { TopicNames } from "./topics.ts";

export interface ShaperOptions {
  readonly decoding: DecodingConfig;
  readonly encoding: EncodingConfig;
  /** Dotted path of the field that becomes the key; null: `key` does, if that is there. */
  readonly keyField: string | null;
  /** Template of the key. */
  readonly key?: string | null;
  /** Dotted path of the field that holds the number of the partition; null: none does. */
  readonly partitionField?: string | null;
  /** Of every record; none where there are none. */
  readonly headers?: readonly HeaderConfig[];
  /** "event": records carry the time of their event; "ship", the default: that of sending. */
  readonly timestampSource?: "ship" | "event";
  /** Template. A text without fields and times is taken as it is; "" where the sink knows no topics. */
  readonly topic: string;
  /** Which topics the template may name; undefined: any, and events without one are dropped. */
  readonly topicPolicy?: TopicPolicyConfig | undefined;
  readonly hostname: string;
  /** Memory for what is encoded. */
  readonly pool: BufferPool;
  readonly metrics: SourceMetrics;
}

/** Throws a `TypeError` when a template or a field path cannot be read. */
export function createShaper(options: ShaperOptions): Shaper {
  const { encoding, hostname, keyField, partitionField = null, headers = [], pool, metrics } = options;
  const { codec, timestampFormat } = encoding;
  const topics = new TopicNames(new Template(options.topic), options.topicPolicy);
  const plan: ShapePlan = {
    codec,
    filter: createFieldFilter(encoding),
    key: KeySource.of(keyField, options.key ?? null),
    partitionPath: partitionField === null ? null : parseFieldPath(partitionField),
    hasTimes: options.timestampSource === "event",
    headers: headers.length === 0 ? null : new HeaderTemplates(headers),
    topics,
    eventFields: new EventFieldsMaker({ hostname, timestampFormat }),
    pool,
    metrics,
  };
  const needsFields = codec !== "raw" || topics.template.constant === null || takesFields(plan);
  return options.decoding.codec === "json" && needsFields ? new ObjectShaper(plan) : new TextShaper(plan);
}
