import { describe, expect, test } from "bun:test";
import { writeRandomUuid } from "../../src/shape/random_uuid.ts";
import { KeySource } from "../../src/shape/key_source.ts";
import { RECEIVED_MS } from "../decode/chunks.ts";
import { shapeText } from "./shape_text.ts";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/u;

describe("key = a template", () => {
  test("that is one field is that field", () => {
    expect(shapeText({ key: "{{message}}" }, "a\nb\n").keys).toEqual(["a", "b"]);
    expect(shapeText({ key: "{{ host }}" }, "a\nb\n").keys).toEqual(["web-1", "web-1"]);
    expect(shapeText({ key: "{{absent}}" }, "a\n").keys).toEqual([null]);
    const lines = '{"k":{"a":1}}\n{"k":"x"}\n{}\n';
    expect(shapeText({ decode: "json", key: "{{k}}" }, lines).keys).toEqual(['{"a":1}', "x", null]);
  });

  test("of several, and of text and times", () => {
    expect(shapeText({ key: "{{host}}/%Y%%" }, "a\nb\n").keys).toEqual(["web-1/2026%", "web-1/2026%"]);
    expect(shapeText({ key: "fixed" }, "a\nb\n").keys).toEqual(["fixed", "fixed"]);
    expect(shapeText({ key: "<{{message}}>" }, "a\n\n").keys).toEqual(["<a>", "<>"]);
    expect(shapeText({ key: "{{host}}-{{absent}}" }, "a\n").keys).toEqual([null]);
    const lines = '{"a":1,"b":"x","timestamp":"2001-01-01T00:00:00Z"}\n{"a":1}\nplain\n';
    const seen = shapeText({ decode: "json", codec: "json", key: "{{a}}:{{b}}:%Y" }, lines);
    expect(seen.keys).toEqual(["1:x:2001", null, null]);
  });

  test("a constant needs no fields of a line that is passed on as it is", () => {
    expect(shapeText({ decode: "json", codec: "raw", key: "k" }, "{}\n")).toMatchObject({
      keys: ["k"],
      values: ["{}"],
    });
  });

  test("with a random UUID has another one for each event", () => {
    const lines = Array.from({ length: 700 }, (_, i) => `{"uuid":"own","n":${i}}\n`).join("");
    for (const decode of ["text", "json"] as const) {
      const { keys } = shapeText({ decode, key: "{{uuid}}" }, lines);
      expect(new Set(keys).size).toBe(700);
      for (const key of keys!) expect(key).toMatch(UUID);
      const prefixed = shapeText({ decode, key: "{{host}}-{{ uuid }}" }, lines).keys!;
      expect(new Set(prefixed).size).toBe(700);
      for (const key of prefixed) expect(key!.replace("web-1-", "")).toMatch(UUID);
    }
    expect(shapeText({ decode: "json", key: '{{"uuid"}}' }, '{"uuid":"own"}\n').keys).toEqual(["own"]);
  });

  test("says what each event has to be looked at for", () => {
    expect(KeySource.of(null, null)).toBeNull();
    expect(KeySource.of(null, "x-{{uuid}}")).toMatchObject({ isEachOwn: true, isConstant: false });
    expect(KeySource.of(null, "x")).toMatchObject({ isEachOwn: false, isConstant: true });
    expect(KeySource.of(null, "x%Y")).toMatchObject({ isEachOwn: false, usesTime: true });
    expect(() => KeySource.of(null, "{{")).toThrow("Cannot read template");
  });
});

test("random UUIDs take no more than their place, and their bits are even", () => {
  const target = Buffer.alloc(40, 0x2e);
  const ones = new Uint32Array(128);
  for (let round = 0; round < 2_000; round++) {
    writeRandomUuid(target, 2);
    expect(target.toString("latin1", 0, 2) + target.toString("latin1", 38)).toBe("....");
    const digits = target.toString("latin1", 2, 38).replaceAll("-", "");
    for (let i = 0; i < 32; i++) {
      for (let bit = 0; bit < 4; bit++) ones[4 * i + bit]! += (parseInt(digits[i]!, 16) >> bit) & 1;
    }
  }
  const fixed = [...ones].filter((count) => count === 0 || count === 2_000).length;
  expect(fixed).toBe(6);
  for (const count of ones) {
    if (count !== 0 && count !== 2_000) expect(Math.abs(count - 1_000)).toBeLessThan(200);
  }
});

test("timestamp_source = event: the time that a line names, else that of reading", () => {
  const lines = [
    '{"timestamp":"2001-01-01T00:00:00.5Z"}',
    '{"timestamp":5}',
    "{}",
    "plain",
    '{"timestamp":"1969-12-31T00:00:00Z"}',
  ];
  const setup = { decode: "json", timestampSource: "event" } as const;
  expect(shapeText(setup, lines.join("\n") + "\n").timestamps).toEqual([
    Date.UTC(2001, 0) + 500,
    RECEIVED_MS,
    RECEIVED_MS,
    RECEIVED_MS,
    0,
  ]);
  const more = { receivedMs: RECEIVED_MS + 0.7 };
  expect(shapeText({ timestampSource: "event" }, "a\nb\n", more).timestamps).toEqual([
    RECEIVED_MS,
    RECEIVED_MS,
  ]);
  expect(shapeText({ ...setup, timestampSource: "ship" }, "{}\n").timestamps).toBeUndefined();
});

describe("partition_field", () => {
  test("takes a number or digits, and nothing else", () => {
    const values = [
      "0",
      "7",
      '"12"',
      "-1",
      "1.5",
      '"x"',
      '""',
      "null",
      "true",
      "[1]",
      "4294967295",
      "99999999999",
      '" 1"',
    ];
    const lines = values.map((value) => `{"p":${value}}`).join("\n") + "\n{}\nplain\n";
    const none = 0xffffffff;
    expect(shapeText({ decode: "json", partitionField: "p" }, lines).partitions).toEqual([
      0,
      7,
      12,
      none,
      none,
      none,
      none,
      none,
      none,
      none,
      none,
      none,
      none,
      none,
      none,
    ]);
  });

  test("of lines of text is the line, or the same for all", () => {
    expect(shapeText({ partitionField: "message" }, "3\nx\n").partitions).toEqual([3, 0xffffffff]);
    expect(shapeText({ partitionField: "host" }, "3\nx\n").partitions).toEqual([0xffffffff, 0xffffffff]);
  });
});
