import { MemoryBuffer } from "../../src/buffer/memory_buffer.ts";
import { type BatchStatus, Delivery } from "../../src/event/delivery.ts";
import { unpooled } from "../../src/event/pooled_buffer.ts";
import type { Stream } from "../../src/event/stream.ts";
import type { SinkMetrics } from "../../src/telemetry/metrics.ts";

const stream: Stream = { id: "1", source: "app", sourceType: "file", path: "/var/log/app.log" };

/** What became of a delivery; null while it is open. */
export interface Outcome {
  status: BatchStatus | null;
}

/** A delivery of these values, and what becomes of it. Every value has a gap of one byte before it. */
export function deliveryOf(values: readonly (string | Buffer)[]): { delivery: Delivery; outcome: Outcome } {
  const parts = values.map((value) => Buffer.from(value as string));
  const starts = new Uint32Array(parts.length);
  const ends = new Uint32Array(parts.length);
  let at = 0;
  parts.forEach((part, i) => {
    starts[i] = at + 1;
    at = ends[i] = at + 1 + part.length;
  });
  const data = Buffer.concat(parts.flatMap((part) => [Buffer.from("#"), part]));
  const outcome: Outcome = { status: null };
  const delivery = new Delivery({
    count: parts.length,
    values: { data, starts, ends },
    keys: null,
    headers: null,
    partitions: null,
    timestamps: null,
    topics: [""],
    topicIndexes: null,
    receivedMs: 1_000,
    origin: { stream, startOffset: 0, endOffset: at },
    rawEnds: ends,
    byteSize: at - parts.length,
    pinnedBytes: data.length,
    rawEndsOwner: null,
    lineNumbers: null,
    owners: [unpooled(data)],
  }, (status) => outcome.status = status);
  return { delivery, outcome };
}

export function bufferFor(metrics: SinkMetrics): MemoryBuffer {
  return new MemoryBuffer({ maxEvents: 1_000_000, maxSizeBytes: 1 << 30, metrics });
}
