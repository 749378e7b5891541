import type { EncodingConfig, HeaderConfig, TopicPolicyConfig } from "../../src/config/config.ts";
import { LineSplitter } from "../../src/decode/line_splitter.ts";
import type { Chunk } from "../../src/event/chunk.ts";
import { type EventBatch, releaseBatch } from "../../src/event/event_batch.ts";
import { BufferPool, type PooledBuffer } from "../../src/event/pooled_buffer.ts";
import { areHeaders, decodeHeaders } from "../../src/event/record_headers.ts";
import type { Shaper, ShapeResult } from "../../src/shape/shape_result.ts";
import { createShaper, type ShaperOptions } from "../../src/shape/shaper.ts";
import { SourceMetrics } from "../../src/telemetry/metrics.ts";
import { chunkOf } from "../decode/chunks.ts";

/** Options of a shaper in a flat form. */
export interface ShapeSetup extends Partial<EncodingConfig> {
  readonly decode?: "text" | "json";
  readonly keyField?: string;
  readonly key?: string;
  readonly partitionField?: string;
  readonly timestampSource?: "ship" | "event";
  readonly headers?: readonly HeaderConfig[];
  readonly topic?: string;
  readonly topicPolicy?: TopicPolicyConfig;
  readonly metrics?: SourceMetrics;
  readonly pool?: BufferPool;
}

export function shaperOf(setup: ShapeSetup = {}): Shaper {
  const options: ShaperOptions = {
    decoding: { codec: setup.decode ?? "text" },
    encoding: {
      codec: setup.codec ?? "text",
      onlyFields: setup.onlyFields ?? null,
      exceptFields: setup.exceptFields ?? null,
      timestampFormat: setup.timestampFormat ?? "rfc3339",
    },
    keyField: setup.keyField ?? null,
    key: setup.key ?? null,
    partitionField: setup.partitionField ?? null,
    timestampSource: setup.timestampSource ?? "ship",
    headers: setup.headers ?? [],
    topic: setup.topic ?? "logs",
    topicPolicy: setup.topicPolicy,
    hostname: "web-1",
    pool: setup.pool ?? new BufferPool(),
    metrics: setup.metrics ?? new SourceMetrics(),
  };
  return createShaper(options);
}

/** Splits and shapes all of a chunk. */
export function shape(shaper: Shaper, chunk: Chunk): ShapeResult & { readonly droppedCount: number } {
  const result = shaper.shape(new LineSplitter({ maxLineBytes: 1_000_000 }).split(chunk, Infinity));
  return { ...result, droppedCount: result.refused.reduce((sum, { lines }) => sum + lines.length, 0) };
}

/** What a batch holds, as text, one element an event. */
export interface SeenBatch {
  readonly values: string[];
  /** Of each event; null where it is absent. */
  readonly keys: (string | null)[] | null;
  /** Not there: null, as they mostly are. */
  readonly partitions?: number[];
  readonly timestamps?: number[];
  /** Not there: null, as they mostly are. */
  readonly headers?: [name: string, value: string][][];
  readonly topics: string[];
  readonly rawEnds: number[];
}

/** Copies a batch, checks its sums, and gives its memory back. */
export function seenOf(batch: EventBatch): SeenBatch {
  const texts = ({ data, starts, ends }: EventBatch["values"]) =>
    Array.from({ length: batch.count }, (_, i) => data.toString("utf8", starts[i], ends[i]));
  let byteSize = 0;
  for (let i = 0; i < batch.count; i++) {
    byteSize += batch.values.ends[i]! - batch.values.starts[i]!;
    if (batch.keys !== null) byteSize += Math.max(0, batch.keys.ends[i]! - batch.keys.starts[i]!);
  }
  if (byteSize !== batch.byteSize) {
    throw new Error(`byteSize is ${batch.byteSize}, the columns hold ${byteSize}`);
  }
  const seen = {
    values: texts(batch.values),
    keys: keysOf(batch, texts),
    ...(batch.partitions === null ? {} : { partitions: [...batch.partitions] }),
    ...(batch.timestamps === null ? {} : { timestamps: [...batch.timestamps] }),
    ...headersOf(batch),
    topics: Array.from({ length: batch.count }, (_, i) => batch.topics[batch.topicIndexes?.[i] ?? 0]!),
    rawEnds: [...batch.rawEnds.subarray(0, batch.count)],
  };
  releaseBatch(batch);
  return seen;
}

function keysOf({ keys }: EventBatch, texts: (column: EventBatch["values"]) => string[]) {
  if (keys === null) return null;
  return texts(keys).map((text, i) => keys.starts[i]! > keys.ends[i]! ? null : text);
}

function headersOf({ headers, count }: EventBatch): Pick<SeenBatch, "headers"> {
  if (headers === null) return {};
  return {
    headers: Array.from({ length: count }, (_, i) => {
      const { data, starts, ends } = headers;
      const bytes = Buffer.from(data.subarray(starts[i], ends[i]));
      if (!areHeaders(bytes, 0, bytes.length)) throw new Error("What is in the column is no header");
      return decodeHeaders(bytes).map(([name, value]): [string, string] => [name, value.toString()]);
    }),
  };
}

/** Shapes a text whose events are all kept. */
export function shapeText(setup: ShapeSetup, text: string | Buffer, more: Partial<Chunk> = {}): SeenBatch {
  const { batch, droppedCount } = shape(shaperOf(setup), chunkOf(text, { isFinal: true, ...more }));
  if (batch === null || droppedCount > 0) throw new Error(`${droppedCount} events were dropped`);
  return seenOf(batch);
}

/** Memory that counts its owners. */
export class CountedBuffer implements PooledBuffer {
  readonly data: Buffer;
  owners = 1;

  constructor(data: Buffer) {
    this.data = data;
  }

  retain(): void {
    this.owners++;
  }

  release(): void {
    if (this.owners-- === 0) throw new Error("Released too often");
  }
}

/** A pool whose memory counts its owners. */
export class CountedPool extends BufferPool {
  readonly taken: CountedBuffer[] = [];

  override take(sizeBytes: number): CountedBuffer {
    const buffer = new CountedBuffer(super.take(sizeBytes).data);
    this.taken.push(buffer);
    return buffer;
  }

  override takeExact(sizeBytes: number): CountedBuffer {
    const buffer = new CountedBuffer(super.takeExact(sizeBytes).data);
    this.taken.push(buffer);
    return buffer;
  }
}
