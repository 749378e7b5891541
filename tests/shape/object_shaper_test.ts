import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { NESTING_MAX } from "../../src/shape/json_fields.ts";
import { SourceMetrics } from "../../src/telemetry/metrics.ts";
import { chunkOf, FILE, STDIN } from "../decode/chunks.ts";
import { CountedBuffer, seenOf, shape, shaperOf, shapeText } from "./shape_text.ts";

const TIMESTAMP = "2026-01-31T09:05:07.123Z";
const ADDED = `"timestamp":"${TIMESTAMP}","host":"web-1","file":"/var/log/app.log","source_type":"file"`;
const json = (text: string | Buffer, setup: object = {}, more = {}) =>
  shapeText({ decode: "json", codec: "json", ...setup }, text, more).values;

describe("json to json", () => {
  test("a line keeps its bytes and gets the fields that it lacks", () => {
    expect(json('{"b": 1.50, "a":[ ],"b":12345678901234567890}\n')).toEqual([
      `{"b": 1.50, "a":[ ],"b":12345678901234567890,${ADDED}}`,
    ]);
    expect(json(' {} \r\n{ }\n\t{"a":{} }\t\n')).toEqual([`{${ADDED}}`, `{${ADDED}}`, `{"a":{},${ADDED}}`]);
  });

  test("its own fields win", () => {
    expect(json('{"host":null,"timestamp":5,"source_type":"x","file":""}\n')).toEqual([
      '{"host":null,"timestamp":5,"source_type":"x","file":""}',
    ]);
    expect(json('{"host":1}\n{"file":2}\n')).toEqual([
      `{"host":1,"timestamp":"${TIMESTAMP}","file":"/var/log/app.log","source_type":"file"}`,
      `{"file":2,"timestamp":"${TIMESTAMP}","host":"web-1","source_type":"file"}`,
    ]);
    expect(json("{}\n", {}, { stream: STDIN })).toEqual([
      `{"timestamp":"${TIMESTAMP}","host":"web-1","source_type":"stdin"}`,
    ]);
  });

  test("a line that is no object is kept as text and counted", () => {
    const metrics = new SourceMetrics();
    const values = json('plain "text"\n[1]\n\n{"a":1}\n"\n', { metrics });
    expect(values.map((value) => JSON.parse(value).message)).toEqual([
      'plain "text"',
      "[1]",
      "",
      undefined,
      '"',
    ]);
    expect(values[1]).toBe(`{"message":"[1]",${ADDED}}`);
    expect(metrics.decodeErrorsCount).toBe(4);
  });

  test("field lists with paths, and numbers of 64 bits", () => {
    const line = '{"id":12345678901234567890,"user":{"name":"x","id":1},"host":"own"}\n';
    expect(json(line, { onlyFields: ["id", "user.id", "source_type"] })).toEqual([
      '{"id":12345678901234567890,"user":{"id":1},"source_type":"file"}',
    ]);
    expect(json(line, { exceptFields: ["user.name", "timestamp", "file"] })).toEqual([
      '{"id":12345678901234567890,"user":{"id":1},"host":"own","source_type":"file"}',
    ]);
    expect(json("text\n", { onlyFields: ["host"] })).toEqual(['{"host":"web-1"}']);
  });

  test("bytes that are not UTF-8 are replaced and counted", () => {
    const metrics = new SourceMetrics();
    const data = Buffer.from('{"a":"\xff"}\n{"a":"ok"}\n\xfe\n', "latin1");
    const values = json(data, { metrics, exceptFields: null }).map((value) => JSON.parse(value));
    expect([values[0].a, values[1].a, values[2].message]).toEqual(["\ufffd", "ok", "\ufffd"]);
    expect(values[0].host).toBe("web-1");
    expect([metrics.invalidUtf8Count, metrics.decodeErrorsCount]).toEqual([2, 1]);
  });

  test("an object that is nested too deep is kept as text", () => {
    const deep = `{"a":${'{"a":'.repeat(NESTING_MAX)}1${"}".repeat(NESTING_MAX)}}`;
    const metrics = new SourceMetrics();
    const [value] = json(`${deep}\n`, { onlyFields: ["a", "message"], metrics });
    expect(JSON.parse(value!)).toEqual({ message: deep });
    expect(metrics.decodeErrorsCount).toBe(1);
  });

  test("equals merging the objects, with and without lists", () => {
    const names = fc.constantFrom("a", "host", "file", "message", "timestamp", "b", "c");
    const objects = fc.dictionary(names, fc.jsonValue({ maxDepth: 2 }), { noNullPrototype: true });
    fc.assert(
      fc.property(
        fc.array(objects, { minLength: 1 }),
        fc.array(names),
        fc.boolean(),
        (events, list, isOnly) => {
          const text =
            events.map((event, i) => JSON.stringify(event, null, i % 2).replaceAll("\n", " ")).join("\n") +
            "\n";
          const added = { timestamp: TIMESTAMP, host: "web-1", file: FILE.path, source_type: "file" };
          const plain = events.map((event) => ({ ...added, ...JSON.parse(JSON.stringify(event)) }));
          expect(json(text).map((value) => JSON.parse(value))).toEqual(plain);
          const filtered = json(text, isOnly ? { onlyFields: list } : { exceptFields: list });
          const kept = (fields: object) =>
            Object.entries(fields).filter(([name]) => list.includes(name as "a") === isOnly);
          expect(filtered.map((value) => JSON.parse(value))).toEqual(
            plain.map((event) => Object.fromEntries(kept(event))),
          );
        },
      ),
    );
  });
});

describe("json to text and raw", () => {
  test("text is the field message, empty and counted where there is none", () => {
    const metrics = new SourceMetrics();
    const lines =
      '{"message":"a\\n\\u00e9"}\n{"message":5}\n{"message":{"a":1}}\n{"a":1}\n{"message":null}\nno object\n';
    const { values } = shapeText({ decode: "json", codec: "text", metrics }, lines);
    expect(values).toEqual(["a\né", "5", '{"a":1}', "", "", "no object"]);
    expect([metrics.missingMessageCount, metrics.decodeErrorsCount]).toEqual([2, 1]);
  });

  test("text of a line that is no object passes any bytes", () => {
    const metrics = new SourceMetrics();
    const { batch } = shape(
      shaperOf({ decode: "json", codec: "text", metrics }),
      chunkOf(Buffer.from([0xff, 0, 10])),
    );
    expect([...batch!.values.data.subarray(batch!.values.starts[0], batch!.values.ends[0])]).toEqual([
      0xff,
      0,
    ]);
    expect(metrics.invalidUtf8Count).toBe(0);
    seenOf(batch!);
  });

  test("text without the field message is empty", () => {
    expect(
      shapeText({ decode: "json", codec: "text", exceptFields: ["message"] }, '{"message":"a"}\nb\n').values,
    )
      .toEqual(["", ""]);
  });

  test("raw is the line; it is read only where a key or a topic wants it", () => {
    const metrics = new SourceMetrics();
    const lines = ' {"a":"x"}\nno object\n';
    expect(shapeText({ decode: "json", codec: "raw", metrics }, lines).values).toEqual([
      ' {"a":"x"}',
      "no object",
    ]);
    expect(metrics.decodeErrorsCount).toBe(0);
    const keyed = shapeText({ decode: "json", codec: "raw", keyField: "a", metrics }, lines);
    expect(keyed).toMatchObject({ values: [' {"a":"x"}', "no object"], keys: ["x", null] });
    expect(metrics.decodeErrorsCount).toBe(1);
  });
});

describe("keys", () => {
  test("the text of a field, JSON of what is none, empty where it is missing", () => {
    const keyed = (keyField: string, lines: string) =>
      shapeText({ decode: "json", codec: "json", keyField, exceptFields: ["k", "host"] }, lines).keys;
    expect(keyed("k", '{"k":"é"}\n{"k":5}\n{"k":true}\n{"k":{"a":1}}\n{"k":null}\n{}\ntext\n')).toEqual(
      ["é", "5", "true", '{"a":1}', null, null, null],
    );
    expect(keyed("k.a", '{"k":{"a":9007199254740993}}\n{"k":1}\n')).toEqual(["9007199254740993", null]);
    expect(keyed("host", '{"host":"own"}\n{}\n')).toEqual(["own", "web-1"]);
    expect(keyed("message", "text\n")).toEqual(["text"]);
  });
});

describe("topics", () => {
  test("by field; events without a valid name are dropped, ranges stay right", () => {
    const lines = '{"t":"a"}\n{"t":"b/c"}\n{}\n{"t":"b"}\ntext\n{"t":"a"}\n';
    for (const codec of ["json", "raw", "text"] as const) {
      const shaper = shaperOf({
        decode: "json",
        codec,
        topic: "logs-{{t}}",
        keyField: "t",
        onlyFields: ["t"],
      });
      const { batch, droppedCount } = shape(shaper, chunkOf(lines, { offset: 50 }));
      expect(droppedCount).toBe(3);
      expect(batch!.origin).toMatchObject({ startOffset: 50, endOffset: 50 + lines.length });
      expect(batch!.topics).toEqual(["logs-a", "logs-b"]);
      const seen = seenOf(batch!);
      expect(seen).toMatchObject({
        topics: ["logs-a", "logs-b", "logs-a"],
        keys: ["a", "b", "a"],
        rawEnds: [10, 35, 50],
      });
      if (codec !== "text") expect(seen.values).toEqual(['{"t":"a"}', '{"t":"b"}', '{"t":"a"}']);
    }
  });

  test("by the time that the line names, else by the time of reading", () => {
    const lines = '{"timestamp":"2020-02-29T23:59:59+00:00"}\n{"timestamp":"yesterday"}\n{}\ntext\n';
    const { topics } = shapeText({ decode: "json", topic: "logs-%Y-%m-%d" }, lines);
    expect(topics).toEqual(["logs-2020-02-29", "logs-2026-01-31", "logs-2026-01-31", "logs-2026-01-31"]);
  });

  test("one topic for all needs no indexes", () => {
    const { batch } = shape(shaperOf({ decode: "json", topic: "{{t}}" }), chunkOf('{"t":"a"}\n{"t":"a"}\n'));
    expect([batch!.topics, batch!.topicIndexes]).toEqual([["a"], null]);
    seenOf(batch!);
  });

  test("when all are dropped there is no batch, and nothing is held", () => {
    const owner = new CountedBuffer(Buffer.from('{"a":1}\n{"a":2}\n'));
    for (const codec of ["json", "raw", "text"] as const) {
      const shaper = shaperOf({ decode: "json", codec, topic: "{{t}}", keyField: "a" });
      expect(shape(shaper, chunkOf(owner.data, { owner }))).toMatchObject({ batch: null, droppedCount: 2 });
    }
    expect(owner.owners).toBe(1);
  });

  test("text lines: by host and time, by the line, or by a field that there is not", () => {
    expect(shapeText({ topic: "{{host}}-{{source_type}}-%j" }, "x\ny\n").topics).toEqual(
      Array(2).fill("web-1-file-031"),
    );
    const byLine = shape(shaperOf({ topic: "t-{{message}}" }), chunkOf("a\nb b\nc\na\n"));
    expect(byLine.droppedCount).toBe(1);
    expect(seenOf(byLine.batch!)).toEqual({
      values: ["a", "c", "a"],
      keys: null,
      topics: ["t-a", "t-c", "t-a"],
      rawEnds: [2, 8, 10],
    });
    for (const topic of ["{{file}}", "{{absent}}"]) {
      expect(shape(shaperOf({ topic }), chunkOf("a\nb\n"))).toMatchObject({ batch: null, droppedCount: 2 });
    }
  });
});
