import { Delivery } from "../../src/event/delivery.ts";
import type { BatchStatus } from "../../src/event/delivery.ts";
import type { ByteColumn, EventBatch } from "../../src/event/event_batch.ts";
import { unpooled } from "../../src/event/pooled_buffer.ts";
import { encodeHeaders, type RecordHeader } from "../../src/event/record_headers.ts";
import type { Stream } from "../../src/event/stream.ts";

export const testStream: Stream = {
  id: "1:2:3",
  source: "app",
  sourceType: "file",
  path: "/var/log/app.log",
};

/** Columns of the given texts, with a gap of one byte between them. */
export function column(texts: readonly (string | Buffer)[]): ByteColumn {
  const parts = texts.map((text) => Buffer.from(text as string));
  const starts = new Uint32Array(parts.length);
  const ends = new Uint32Array(parts.length);
  let at = 0;
  for (let i = 0; i < parts.length; i++) {
    starts[i] = at;
    ends[i] = at + parts[i]!.length;
    at = ends[i]! + 1;
  }
  const data = Buffer.alloc(at, 0x0a);
  for (let i = 0; i < parts.length; i++) parts[i]!.copy(data, starts[i]);
  return { data, starts, ends };
}

export interface TestBatchOptions {
  /** Null: an event has none. */
  readonly keys?: readonly (string | null)[];
  /** Of each event. */
  readonly headers?: readonly (readonly RecordHeader[])[];
  readonly partitions?: readonly number[];
  readonly timestamps?: readonly number[];
  readonly topics?: readonly string[];
  readonly topicIndexes?: readonly number[];
  readonly offset?: number;
  readonly stream?: Stream;
  /** Default: 1,000. */
  readonly receivedMs?: number;
}

/** An event batch of these values, as a shaper would make it. */
export function eventBatch(values: readonly (string | Buffer)[], options: TestBatchOptions = {}): EventBatch {
  const valueColumn = column(values);
  const keys = options.keys === undefined ? null : column(options.keys.map((key) => key ?? ""));
  let byteSize = 0;
  for (const part of keys === null ? [valueColumn] : [valueColumn, keys]) {
    for (let i = 0; i < values.length; i++) byteSize += part.ends[i]! - part.starts[i]!;
  }
  options.keys?.forEach((key, i) => {
    if (key === null) keys!.starts[i] = keys!.ends[i]! + 1;
  });
  const startOffset = options.offset ?? 0;
  return {
    count: values.length,
    values: valueColumn,
    keys,
    timestamps: options.timestamps === undefined ? null : Float64Array.from(options.timestamps),
    partitions: options.partitions === undefined ? null : Uint32Array.from(options.partitions),
    headers: options.headers === undefined ? null : column(options.headers.map(encodeHeaders)),
    topics: options.topics ?? ["logs"],
    topicIndexes: options.topicIndexes === undefined ? null : Uint16Array.from(options.topicIndexes),
    receivedMs: options.receivedMs ?? 1_000,
    origin: {
      stream: options.stream ?? testStream,
      startOffset,
      endOffset: startOffset + valueColumn.data.length,
    },
    rawEnds: Uint32Array.from(valueColumn.ends, (end) => end + 1),
    rawEndsOwner: null,
    lineNumbers: null,
    byteSize,
    pinnedBytes: valueColumn.data.length,
    owners: [unpooled(valueColumn.data)],
  };
}

/** A delivery whose statuses are collected in `statuses`, and given to `onSettled`. */
export function delivery(
  values: readonly (string | Buffer)[],
  options: TestBatchOptions = {},
  onSettled: (status: BatchStatus) => void = () => {},
): { delivery: Delivery; statuses: BatchStatus[] } {
  const statuses: BatchStatus[] = [];
  const settled = (status: BatchStatus): void => {
    statuses.push(status);
    onSettled(status);
  };
  return { delivery: new Delivery(eventBatch(values, options), settled), statuses };
}
