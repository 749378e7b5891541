import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { BATCH_HEADER_BYTES } from "../../src/kafka/record_batch.ts";
import { ErrorCode } from "../../src/kafka/protocol/error_codes.ts";
import { ProducerHarness } from "../kafka/producer_harness.ts";
import { FakeKafka } from "../support/fake_kafka.ts";

const LIMIT_BYTES = 700;
/** Length, attributes, time, offset, key, value length, headers. */
const AROUND_BYTES = BATCH_HEADER_BYTES + 2 + 3 + 1 + 2 + 1;

// Bytes that no codec makes smaller are larger when they are compressed. A record that its topic takes as it is was compressed, refused for it, and dropped as
// too large.
for (const compression of ["none", "gzip", "snappy", "lz4", "zstd"] as const) {
  for (const isLimitTold of [true, false]) {
    test(`a record of exactly max.message.bytes arrives (${compression}, limit ${isLimitTold ? "told" : "unknown"})`, async () => {
      await using kafka = await FakeKafka.start(1, { logs: 1 });
      if (isLimitTold) kafka.maxMessageBytes = LIMIT_BYTES;
      kafka.refuse = ({ bytes }) =>
        bytes.length > LIMIT_BYTES ? { errorCode: ErrorCode.MESSAGE_TOO_LARGE } : undefined;
      await using harness = new ProducerHarness(kafka, { config: { compression, batchTimeoutMs: 0 } });
      const noise = Buffer.concat(
        Array.from({ length: 30 }, (_, i) => createHash("sha256").update(`${i}`).digest()),
      );
      const fits = noise.subarray(0, LIMIT_BYTES - AROUND_BYTES);
      const tooLarge = noise.subarray(0, fits.length + 1);
      await harness.send([fits, tooLarge, fits]);
      await harness.producer.flush();
      expect(harness.audit()).toEqual({ in: 3, delivered: 2, dropped: 1, inFlight: 0 });
      const sizes = kafka.attempts.map(({ bytes }) => bytes.length);
      expect(sizes.filter((bytes) => bytes === LIMIT_BYTES)).toHaveLength(2);
      expect(kafka.values()).toEqual([fits, fits].map(String));
    });
  }
}
