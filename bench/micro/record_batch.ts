/**
 * Encoding of 176-byte lines into record batches: `bun bench/micro/record_batch.ts`. Prints million records a second for each round; the
 * first rounds are the compiler warming up.
 */
import { Delivery } from "../../src/event/delivery.ts";
import type { EventBatch } from "../../src/event/event_batch.ts";
import { ArenaPool } from "../../src/kafka/arena_pool.ts";
import { createCompressor } from "../../src/kafka/compression.ts";
import { RecordBatchBuilder } from "../../src/kafka/record_batch.ts";

const LINE_BYTES = 176;
const COUNT = 1_489;
const limits = { batchMaxBytes: 1_000_000, batchMaxEvents: 50_000 };
const silent = { debug() {}, info() {}, warn() {}, error() {} };
const compressor = createCompressor("none", null, silent);
const pool = new ArenaPool(compressor);

const data = Buffer.alloc(262_144, "x");
const starts = Uint32Array.from({ length: COUNT }, (_, i) => i * LINE_BYTES);
const ends = Uint32Array.from({ length: COUNT }, (_, i) => (i + 1) * LINE_BYTES - 1);
const stream = { id: "1", source: "app", sourceType: "file" as const, path: "app.log" };
const batch: EventBatch = {
  count: COUNT,
  values: { data, starts, ends },
  keys: null,
  headers: null,
  partitions: null,
  timestamps: null,
  topics: ["logs"],
  topicIndexes: null,
  receivedMs: 0,
  origin: { stream, startOffset: 0, endOffset: data.length },
  rawEnds: ends,
  rawEndsOwner: null,
  lineNumbers: null,
  byteSize: data.length,
  pinnedBytes: data.length,
  owners: [],
};

for (let round = 0; round < 8; round++) {
  const startedMs = performance.now();
  let count = 0;
  while (count < 1_000_000) {
    const builder = new RecordBatchBuilder(pool, 1_048_576);
    for (;;) {
      const delivery = new Delivery(batch, () => {});
      const next = builder.appendRange(delivery, 0, COUNT, limits);
      count += next;
      if (next < COUNT) break;
    }
    builder.release();
  }
  console.log(`${(count / (performance.now() - startedMs) / 1000).toFixed(1)} M records/s`);
}
