import { beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import type { TopicRecord } from "../support/record_file.ts";
import { filesToKafka } from "../support/scenario.ts";
import { runShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";

// What the Java client reads of what the binary wrote.

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

interface Ship {
  readonly content: Buffer | string;
  readonly partitions?: number;
  readonly source?: string;
  readonly sink?: string;
  /** Default: a new topic. */
  readonly topic?: string;
  readonly code?: number;
}

/** Ships one file to its end, and gives the topic's records. */
async function ship(options: Ship): Promise<{ records: TopicRecord[]; stderr: string; path: string }> {
  await using dir = tempDir("encoding");
  const topic = options.topic ?? await kafka.createTopic({ partitions: options.partitions ?? 1 });
  writeFileSync(dir.file("app.log"), options.content);
  const { source = "", sink = "" } = options;
  const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, source, sink });
  const exit = await runShipper({ config, args: ["--once"] });
  if (options.code === undefined) expect(exit.stderr).not.toContain('"level":"error"');
  expect(exit.code).toBe(options.code ?? 0);
  const records = topic.includes("{") || topic.includes("%") ? [] : await kafka.readTopic(topic);
  return { records, stderr: exit.stderr, path: dir.file("app.log") };
}

const texts = (records: readonly TopicRecord[]) => records.map((record) => String(record.value));

/** Every kind of line that has ever broken a shipper, largest last. */
function oddLines(): Buffer[] {
  const random = (length: number, seed: number) => {
    const bytes = Buffer.alloc(length);
    let x = seed;
    for (let i = 0; i < length; i++) {
      x = Math.imul(x, 1103515245) + 12345 | 0;
      bytes[i] = x >>> 16;
      if (bytes[i] === 10 || bytes[i] === 13) bytes[i] = 0x2e;
    }
    return bytes;
  };
  return [
    Buffer.from("plain"),
    Buffer.alloc(0),
    Buffer.from(" \t "),
    Buffer.from("äöü €uro 😀 \u{1F468}\u200D\u{1F469} \u202E \u0000 nul"),
    Buffer.from([0xff, 0xfe, 0x00, 0xc3, 0x28, 0xed, 0xa0, 0x80, 0xf4, 0x90, 0x80, 0x80]),
    Buffer.from('quotes " \\ \b\f\t \u001b[31mred\u001b[0m'),
    Buffer.alloc(0),
    random(1_000, 1),
    random(65_537, 2),
    Buffer.alloc(200_000, "compressible "),
    random(262_144, 3),
    Buffer.from("last"),
  ];
}

describe("values are the lines, byte by byte, with every codec", () => {
  const lines = oddLines();
  const content = Buffer.concat(lines.flatMap((line) => [line, Buffer.from("\n")]));
  for (const codec of ["none", "gzip", "snappy", "lz4", "zstd"]) {
    test(codec, async () => {
      const { records } = await ship({ content, sink: `compression = "${codec}"` });
      expect(records).toHaveLength(lines.length);
      for (const [i, line] of lines.entries()) expect(records[i]!.value!.equals(line)).toBe(true);
      const nowMs = Date.now();
      for (const record of records) {
        expect(record.key).toBeNull();
        expect(record.headers).toEqual([]);
        expect(record.timestampType).toBe("create");
        expect(nowMs - record.timestampMs).toBeLessThan(30_000);
      }
    }, 90_000);
  }

  test("raw, with decoding that would have changed them", async () => {
    const source = 'decoding.codec = "json"';
    const { records } = await ship({ content, source, sink: 'encoding.codec = "raw"' });
    for (const [i, line] of lines.entries()) expect(records[i]!.value!.equals(line)).toBe(true);
  }, 90_000);
});

describe("json", () => {
  const lines = ['GET "/" \\ 200', "ä\u0001\t", ""];
  const content = lines.join("\n") + "\n";

  test("of text lines: every field, in an envelope", async () => {
    const { records, path } = await ship({ content, sink: 'encoding.codec = "json"' });
    const objects = texts(records).map((text) => JSON.parse(text));
    for (const [i, line] of lines.entries()) {
      expect(objects[i]).toEqual({
        message: line,
        timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
        host: hostname(),
        file: path,
        source_type: "file",
      });
    }
  });

  test("only_fields, except_fields and timestamp_format", async () => {
    const only = await ship({
      content,
      sink: 'encoding = { codec = "json", only_fields = ["message", "source_type", "absent"] }',
    });
    expect(texts(only.records)).toEqual(
      lines.map((line) => JSON.stringify({ message: line, source_type: "file" })),
    );
    const except = await ship({
      content,
      sink: 'encoding = { codec = "json", except_fields = ["host", "file"], timestamp_format = "unix" }',
    });
    for (const [i, text] of texts(except.records).entries()) {
      const { timestamp, ...rest } = JSON.parse(text);
      expect(rest).toEqual({ message: lines[i], source_type: "file" });
      expect(Number.isInteger(timestamp)).toBe(true);
      expect(Math.abs(timestamp - Date.now() / 1_000)).toBeLessThan(30);
    }
    const times = await ship({
      content: "x\n",
      sink: 'encoding = { codec = "json", only_fields = ["timestamp"], timestamp_format = "unix_ns" }',
    });
    expect(texts(times.records)[0]).toMatch(/^\{"timestamp":\d{13}000000\}$/);
  });

  test("of json lines: the line's own fields, dotted paths, long numbers, and what is no object", async () => {
    const source = 'decoding.codec = "json"';
    const bigLine = '{"id": 12345678901234567890, "user": {"name": "n", "token": "secret"}, "host": "own"}';
    const { records } = await ship({
      content: `${bigLine}\nno json\n[1]\n`,
      source,
      sink:
        'encoding = { codec = "json", except_fields = ["user.token", "timestamp", "file", "source_type"] }',
    });
    expect(texts(records)[0]).toBe('{"id":12345678901234567890,"user":{"name":"n"},"host":"own"}');
    expect(JSON.parse(texts(records)[1]!)).toEqual({ message: "no json", host: hostname() });
    expect(JSON.parse(texts(records)[2]!)).toEqual({ message: "[1]", host: hostname() });

    const text = await ship({ content: '{"message": "hello", "n": 1}\n{"n": 2}\n', source });
    expect(texts(text.records)).toEqual(["hello", ""]);
  });
});

describe("keys", () => {
  const keys = [
    "21",
    "foobar",
    "a-little-bit-long-string",
    "ключ",
    "😀",
    "k",
    "x".repeat(1_000),
    "0",
    "true",
    "7.5",
  ];

  test("land on the partition that the Java producer chooses for them", async () => {
    const topic = await kafka.createTopic({ partitions: 7 });
    const content = keys.map((key, i) => JSON.stringify({ message: `m${i}`, user: { id: key } })).join("\n") +
      "\n";
    const { records } = await ship({
      content: content.repeat(3),
      topic,
      source: 'decoding.codec = "json"',
      sink: 'key_field = "user.id"\nencoding.codec = "text"',
    });
    const reference = await kafka.createTopic({ partitions: 7 });
    await kafka.produce(reference, keys.map((key) => ({ key, value: "java" })));
    const partitionOf = new Map(
      (await kafka.readTopic(reference)).map((each) => [String(each.key), each.partition]),
    );
    expect(records).toHaveLength(keys.length * 3);
    for (const record of records) {
      expect(keys[Number(String(record.value).slice(1))]).toBe(String(record.key));
      expect(record.partition).toBe(partitionOf.get(String(record.key))!);
    }
    expect(new Set(partitionOf.values()).size).toBeGreaterThan(3);
  });

  test("are the text of the field; a missing one is empty and lands anywhere", async () => {
    const content =
      '{"k": 7, "message": "number"}\n{"k": true, "message": "boolean"}\n{"message": "missing"}\n{"k": {"a": 1}, "message": "object"}\n';
    const { records } = await ship({
      content,
      partitions: 3,
      source: 'decoding.codec = "json"',
      sink: 'key_field = "k"\npartitioner = "sticky"',
    });
    const byValue = Object.fromEntries(records.map((record) => [String(record.value), String(record.key)]));
    expect(byValue).toEqual({ number: "7", boolean: "true", missing: "", object: '{"a":1}' });
    expect(new Set(records.map((record) => record.partition)).size).toBe(1);
  });
});

describe("topic templates", () => {
  test("fields and the date, one topic each; events without a topic are dropped and counted", async () => {
    const name = `tpl-${crypto.randomUUID().slice(0, 8)}`;
    const day = new Date().toISOString().slice(0, 10);
    const units = ["web", "db", "web", "cache", "db", "web"];
    for (const unit of new Set(units)) {
      await kafka.createTopic({ name: `${name}-${unit}-${day}`, partitions: 2 });
    }
    const content = units.map((unit, i) => JSON.stringify({ unit: { name: unit }, message: `${unit} ${i}` }));
    content.splice(3, 0, '{"message": "no unit"}', '{"unit": {"name": "a/b"}, "message": "not a name"}');
    const { stderr } = await ship({
      content: content.join("\n") + "\n",
      topic: `${name}-{{unit.name}}-%Y-%m-%d`,
      source: 'decoding.codec = "json"',
      code: 1,
    });
    expect(stderr).toContain('"dropped":2');
    for (const unit of new Set(units)) {
      const records = await kafka.readTopic(`${name}-${unit}-${day}`);
      const wanted = units.flatMap((each, i) => each === unit ? [`${unit} ${i}`] : []);
      expect(texts(records)).toEqual(wanted);
    }
  });

  test("a topic that is made later holds no events of others", async () => {
    await using dir = tempDir("later");
    const name = `later-${crypto.randomUUID().slice(0, 8)}`;
    await kafka.createTopic({ name: `${name}-known` });
    writeFileSync(
      dir.file("app.log"),
      ["later", "known", "later", "known"].map((kind, i) => `{"kind":"${kind}","message":"${i}"}\n`).join(""),
    );
    const config = filesToKafka(dir, {
      bootstrap: kafka.bootstrap,
      topic: `${name}-{{kind}}`,
      source: 'decoding.codec = "json"',
    });
    const running = runShipper({ config, args: ["--once"] });
    await kafka.waitForRecords(`${name}-known`, 2);
    await kafka.createTopic({ name: `${name}-later` });
    expect(await running).toMatchObject({ code: 0 });
    expect(texts(await kafka.readTopic(`${name}-later`))).toEqual(["0", "2"]);
    expect(texts(await kafka.readTopic(`${name}-known`))).toEqual(["1", "3"]);
  });
});
