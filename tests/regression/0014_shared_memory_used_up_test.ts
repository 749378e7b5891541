import { expect, test } from "bun:test";
import { createCompressor } from "../../src/kafka/compression.ts";
import { SHARED_MEMORY_MAX_BYTES } from "../../src/kafka/kernels.ts";
import { ProducerHarness } from "../kafka/producer_harness.ts";
import { silentLog } from "../kafka/support.ts";
import { FakeKafka } from "../support/fake_kafka.ts";

// All sinks share the memory of the kernels. When many of them stood still with full batches it was used up, and that ended the process.

test("a sink that gets no shared memory any more goes on, and compresses again when there is some", async () => {
  const compressor = createCompressor("lz4", null, silentLog);
  const taken: Buffer[] = [];
  // Pages that nobody touches cost nothing.
  for (let size = 32 << 20; size >= 512; size >>= 1) {
    for (let i = 0; i * size < SHARED_MEMORY_MAX_BYTES; i++) {
      const arena = compressor.allocateArena(size);
      taken.push(arena);
      if (arena.buffer instanceof ArrayBuffer) break;
    }
  }
  await using kafka = await FakeKafka.start(1, { logs: 1 });
  await using harness = new ProducerHarness(kafka, { compressor });
  const lines = Array.from({ length: 100 }, (_, i) => `a line like the others ${i}`);
  await harness.send(lines);
  await harness.producer.flush();
  expect(kafka.attempts.map((attempt) => attempt.header.attributes & 7)).toEqual([0]);
  expect(kafka.values()).toEqual(lines);
  expect(harness.log.texts("warn")[0]).toContain("sent uncompressed");
  for (const arena of taken) compressor.releaseArena(arena);
  const again = compressor.allocateArena(1_000);
  again.fill("x");
  const compressed = await compressor.compress(again, 61);
  expect(compressed.buffer.length).toBeLessThan(200);
  compressed.release();
  compressor.releaseArena(again);
  compressor.close();
});
