import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { LineSplitter } from "../../src/decode/line_splitter.ts";
import { releaseBatch } from "../../src/event/event_batch.ts";
import { SourceMetrics } from "../../src/telemetry/metrics.ts";
import { chunkOf } from "../decode/chunks.ts";
import { CountedBuffer, CountedPool, shape, shaperOf } from "./shape_text.ts";

describe("memory", () => {
  const codecs = fc.constantFrom("text" as const, "json" as const, "raw" as const);
  const lines = fc.array(
    fc.oneof(
      fc.constantFrom(
        "",
        "text",
        '{"t":"a"}',
        '{"t":"b","message":"m"}',
        '{"t":"/"}',
        "{}",
        "\0".repeat(3000),
      ),
      fc.string({ maxLength: 20 }).map((text) => text.replaceAll("\n", "")),
    ),
    { maxLength: 30 },
  );

  test("everything is held until the release, and released once, whatever the options", () => {
    // Enough lines for pooled positions, too.
    const options = fc.record({
      repeat: fc.constantFrom(1, 1, 1, 60),
      decode: fc.constantFrom("text" as const, "json" as const),
      codec: codecs,
      topic: fc.constantFrom("fixed", "t-{{t}}", "{{message}}", "{{host}}", "{{absent}}"),
      keyField: fc.constantFrom(null, "message", "t", "host"),
      key: fc.constantFrom(null, "{{uuid}}", "{{t}}-{{message}}", "{{absent}}", "%Y"),
      timestampSource: fc.constantFrom("ship" as const, "event" as const),
      partitionField: fc.constantFrom(null, "t", "host"),
      headers: fc.subarray([
        { name: "fixed", value: "x" },
        { name: "host", value: "{{host}}" },
        { name: "t", value: "{{t}}" },
        { name: "message", value: "{{message}} %Y" },
      ]),
      exceptFields: fc.constantFrom(null, ["message"], ["t", "host"]),
    });
    fc.assert(
      fc.property(options, lines, fc.nat(2000), (options, few, spareBytes) => {
        const { keyField, key, partitionField, repeat, ...setup } = options;
        const texts = Array.from({ length: repeat }, () => few).flat();
        const pool = new CountedPool();
        const text = texts.map((line) => line + "\n").join("");
        const owner = new CountedBuffer(Buffer.alloc(Buffer.byteLength(text) + spareBytes));
        const end = owner.data.write(text);
        const shaper = shaperOf({
          ...setup,
          ...(keyField === null ? key === null ? {} : { key } : { keyField }),
          ...(partitionField === null ? {} : { partitionField }),
          pool,
        });
        const { batch, droppedCount } = shape(shaper, chunkOf(owner.data.subarray(0, end), { owner }));
        expect((batch?.count ?? 0) + droppedCount).toBe(texts.length);
        const held = [owner, ...pool.taken].reduce((sum, buffer) => sum + buffer.owners, 0);
        expect(held).toBe(1 + (batch?.owners.length ?? 0) + (batch?.rawEndsOwner ? 1 : 0));
        if (batch !== null) {
          expect(new Set(batch.owners).size).toBe(batch.owners.length);
          const memory = batch.owners.reduce((sum, { data }) => sum + data.length, 0);
          const rawEndsBytes = batch.rawEndsOwner?.data.length ?? 4 * batch.count;
          expect(batch.pinnedBytes).toBeGreaterThanOrEqual(memory + rawEndsBytes);
          releaseBatch(batch);
          batch.rawEndsOwner?.release();
        }
        expect([owner.owners, ...pool.taken.map((buffer) => buffer.owners)]).toEqual([
          1,
          ...pool.taken.map(() => 0),
        ]);
      }),
      { numRuns: 500 },
    );
  });

  test("what a batch pins is at most four times what it holds, and its columns", () => {
    fc.assert(fc.property(codecs, lines, fc.nat(100_000), (codec, texts, spareBytes) => {
      const text = texts.map((line) => line + "\n").join("");
      const owner = new CountedBuffer(Buffer.alloc(Buffer.byteLength(text) + spareBytes));
      const end = owner.data.write(text);
      const { batch } = shape(shaperOf({ codec }), chunkOf(owner.data.subarray(0, end), { owner }));
      if (batch !== null) {
        expect(batch.pinnedBytes).toBeLessThanOrEqual(4 * batch.byteSize + 12 * batch.count);
      }
    }));
  });

  test("lines that were cut hold no half of a sequence, so nothing is replaced", () => {
    const text = fc.string({ unit: fc.constantFrom("a", "é", "€", "\u{1f600}", "\n", "\r"), maxLength: 200 });
    fc.assert(fc.property(text, fc.integer({ min: 1, max: 12 }), (whole, maxLineBytes) => {
      const metrics = new SourceMetrics();
      const splitter = new LineSplitter({ maxLineBytes });
      const chunk = chunkOf(whole, { isFinal: true });
      const { batch } = shaperOf({ codec: "json", onlyFields: ["message"], metrics }).shape(
        splitter.split(chunk, Infinity),
      );
      expect(metrics.invalidUtf8Count).toBe(0);
      for (let i = 0; i < (batch?.count ?? 0); i++) {
        const { message } = JSON.parse(
          batch!.values.data.toString("utf8", batch!.values.starts[i], batch!.values.ends[i]),
        );
        expect(message).not.toContain("\ufffd");
        expect(Buffer.byteLength(message)).toBeLessThanOrEqual(maxLineBytes);
        expect(whole).toContain(message);
      }
    }));
  });
});
