import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { BufferPool } from "../../src/event/pooled_buffer.ts";
import { releaseBatch } from "../../src/event/event_batch.ts";
import { SourceMetrics } from "../../src/telemetry/metrics.ts";
import { chunkOf, FILE, RECEIVED_MS, STDIN } from "../decode/chunks.ts";
import { CountedBuffer, seenOf, shape, shaperOf, shapeText } from "./shape_text.ts";

const TIMESTAMP = "2026-01-31T09:05:07.123Z";

describe("text and raw", () => {
  for (const codec of ["text", "raw"] as const) {
    test(`${codec}: values are the lines, byte for byte`, () => {
      const data = Buffer.from([97, 0, 0xff, 13, 10, 10, 34, 92, 10]);
      const { batch } = shape(shaperOf({ codec }), chunkOf(data, { offset: 1000 }));
      expect(batch!.values.data).toBe(data);
      expect([...batch!.values.starts]).toEqual([0, 5, 6]);
      expect([...batch!.values.ends]).toEqual([3, 5, 8]);
      expect([...batch!.rawEnds]).toEqual([5, 6, 9]);
      expect(batch!.origin).toEqual({ stream: FILE, startOffset: 1000, endOffset: 1009 });
      expect(batch!.topics).toEqual(["logs"]);
      expect([batch!.count, batch!.byteSize, batch!.keys, batch!.topicIndexes]).toEqual([3, 5, null, null]);
      expect(batch!.receivedMs).toBe(RECEIVED_MS);
    });
  }

  test("the batch retains the chunk's memory until it is released", () => {
    const owner = new CountedBuffer(Buffer.from("abcdefgh\n"));
    const { batch } = shape(shaperOf(), chunkOf(owner.data, { owner }));
    expect(owner.owners).toBe(2);
    expect(batch!.pinnedBytes).toBeGreaterThanOrEqual(9);
    releaseBatch(batch!);
    expect(owner.owners).toBe(1);
  });

  test("a small part of a large buffer is copied, so that it does not pin it", () => {
    const owner = new CountedBuffer(Buffer.alloc(4096));
    owner.data.write("abc\r\n\nde\n", 100);
    const { batch } = shape(shaperOf(), chunkOf(owner.data.subarray(100, 109), { owner }));
    expect(owner.owners).toBe(1);
    expect(batch!.values.data.toString()).toBe("abcde");
    expect(batch!.pinnedBytes).toBeLessThan(100);
    owner.data.fill(0);
    expect(seenOf(batch!)).toMatchObject({ values: ["abc", "", "de"], rawEnds: [5, 6, 9] });
  });

  test("what was shaped outlives the splitter's arrays", () => {
    const shaper = shaperOf();
    const first = shape(shaper, chunkOf("one\ntwo\n")).batch!;
    shape(shaper, chunkOf("a long line\nand\nothers\n"));
    expect(seenOf(first)).toMatchObject({ values: ["one", "two"], rawEnds: [4, 8] });
  });

  test("no lines give no batch", () => {
    const owner = new CountedBuffer(Buffer.from("partial"));
    for (const decode of ["text", "json"] as const) {
      expect(shape(shaperOf({ decode }), chunkOf(owner.data, { owner }))).toMatchObject({
        batch: null,
        droppedCount: 0,
      });
    }
    expect(owner.owners).toBe(1);
  });

  test("without the field message, text has an empty value and raw does not care", () => {
    expect(shapeText({ codec: "text", exceptFields: ["message"] }, "a\nb\n").values).toEqual(["", ""]);
    expect(shapeText({ codec: "text", onlyFields: ["host"] }, "a\n").values).toEqual([""]);
    expect(shapeText({ codec: "raw", onlyFields: ["host"] }, "a\n").values).toEqual(["a"]);
  });
});

describe("json", () => {
  test("fields and their order", () => {
    expect(shapeText({ codec: "json" }, 'GET "/a\\b"\n').values).toEqual([
      `{"message":"GET \\"/a\\\\b\\"","timestamp":"${TIMESTAMP}","host":"web-1","file":"/var/log/app.log","source_type":"file"}`,
    ]);
    expect(shapeText({ codec: "json" }, "a\n", { stream: STDIN }).values).toEqual([
      `{"message":"a","timestamp":"${TIMESTAMP}","host":"web-1","source_type":"stdin"}`,
    ]);
  });

  test("only_fields and except_fields", () => {
    const of = (setup: object) => shapeText({ codec: "json", ...setup }, "a\nb\n").values;
    expect(of({ onlyFields: ["host", "message", "absent", "message.inner"] })[1]).toBe(
      '{"message":"b","host":"web-1"}',
    );
    expect(of({ onlyFields: ["file"] })).toEqual(Array(2).fill('{"file":"/var/log/app.log"}'));
    expect(of({ onlyFields: ["absent"] })).toEqual(["{}", "{}"]);
    expect(of({ exceptFields: ["timestamp", "file", "host.name"] })[0]).toBe(
      '{"message":"a","host":"web-1","source_type":"file"}',
    );
    expect(of({ onlyFields: ["message"] })).toEqual(['{"message":"a"}', '{"message":"b"}']);
  });

  test("timestamp formats", () => {
    const of = (timestampFormat: "rfc3339" | "unix" | "unix_ms" | "unix_ns") =>
      shapeText({ codec: "json", timestampFormat, onlyFields: ["timestamp"] }, "a\n").values[0];
    expect(of("rfc3339")).toBe(`{"timestamp":"${TIMESTAMP}"}`);
    expect(of("unix")).toBe('{"timestamp":1769850307}');
    expect(of("unix_ms")).toBe('{"timestamp":1769850307123}');
    expect(of("unix_ns")).toBe('{"timestamp":1769850307123000000}');
  });

  test("a renamed file and a later time are seen", () => {
    const shaper = shaperOf({ codec: "json", onlyFields: ["file", "timestamp"] });
    const stream = { ...FILE };
    const at = (receivedMs: number) =>
      seenOf(shape(shaper, chunkOf("a\n", { stream, receivedMs })).batch!).values[0];
    expect(at(0)).toContain('"1970-01-01T00:00:00.000Z","file":"/var/log/app.log"');
    stream.path = '/var/log/"1".log';
    expect(at(0)).toContain('"file":"/var/log/\\"1\\".log"');
    expect(at(1)).toContain('"1970-01-01T00:00:00.001Z"');
  });

  const line = fc.oneof(
    fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
    fc.string({ unit: "binary", maxLength: 40 }).map((text) => Buffer.from(text)),
    fc.string({ maxLength: 200 }).map((text) => Buffer.from(text)),
    fc.array(fc.constantFrom('"', "\\", "\t", "\0", "\x1f", "a", "é", "\u2028", "\x7f"), { maxLength: 40 })
      .map((parts) => Buffer.from(parts.join(""))),
  ).map((bytes) => Buffer.from(bytes.filter((byte) => byte !== 10)));

  test("equals JSON.stringify for any bytes, and counts what is not UTF-8", () => {
    fc.assert(
      fc.property(fc.array(line, { minLength: 1, maxLength: 20 }), fc.nat(20), (lines, pad) => {
        const metrics = new SourceMetrics();
        const data = Buffer.concat([
          Buffer.alloc(pad),
          ...lines.flatMap((bytes) => [bytes, Buffer.from("\n")]),
        ]);
        const chunk = chunkOf(data.subarray(pad), { offset: 9 });
        const { values } = seenOf(shape(shaperOf({ codec: "json", metrics }), chunk).batch!);
        const contents = lines.map((bytes) => bytes.at(-1) === 13 ? bytes.subarray(0, -1) : bytes);
        expect(values).toEqual(contents.map((bytes) =>
          JSON.stringify({
            message: bytes.toString("utf8"),
            timestamp: TIMESTAMP,
            host: "web-1",
            file: FILE.path,
            source_type: "file",
          })
        ));
        const invalid = contents.filter((bytes) => !Buffer.from(bytes.toString("utf8")).equals(bytes));
        expect(metrics.invalidUtf8Count).toBe(invalid.length);
      }),
      { numRuns: 500 },
    );
  });

  test("grows when everything has to be escaped, and gives the memory back once", () => {
    const pool = new BufferPool();
    const { values } = shapeText(
      { codec: "json", onlyFields: ["message"], pool },
      ("\0".repeat(5000) + "\n").repeat(60),
    );
    expect(values).toEqual(Array(60).fill(JSON.stringify({ message: "\0".repeat(5000) })));
  });

  test("does not pin the chunk", () => {
    const owner = new CountedBuffer(Buffer.from("abcdefgh\n"));
    const { batch } = shape(shaperOf({ codec: "json" }), chunkOf(owner.data, { owner }));
    expect(owner.owners).toBe(1);
    expect(batch!.pinnedBytes).toBeLessThan(300);
  });
});

describe("keys", () => {
  test("the line, a constant field, or empty", () => {
    expect(shapeText({ keyField: "message" }, "a\nbc\n").keys).toEqual(["a", "bc"]);
    expect(shapeText({ keyField: "message", codec: "json" }, "a\nbc\n").keys).toEqual(["a", "bc"]);
    expect(shapeText({ keyField: "host" }, "a\nbc\n").keys).toEqual(["web-1", "web-1"]);
    expect(shapeText({ keyField: "timestamp", timestampFormat: "unix_ns" }, "a\n").keys).toEqual([
      "1769850307123000000",
    ]);
    expect(shapeText({ keyField: "absent" }, "a\nb\n").keys).toEqual([null, null]);
    expect(shapeText({ keyField: "file" }, "a\n", { stream: STDIN }).keys).toEqual([null]);
  });

  test("key and value that are the same line share one hold on the memory", () => {
    const owner = new CountedBuffer(Buffer.from("abcdefgh\n"));
    const { batch } = shape(shaperOf({ keyField: "message" }), chunkOf(owner.data, { owner }));
    expect([owner.owners, batch!.owners.length, batch!.byteSize]).toEqual([2, 1, 16]);
    expect(batch!.pinnedBytes).toBeLessThan(30);
  });
});
