import { expect, test } from "bun:test";
import { decodeLetter, encodeLetter } from "../../src/dead_letter/letter_json.ts";
import { letterId } from "../../src/event/dead_letters.ts";
import type { DeadLetter } from "../../src/event/dead_letters.ts";

const letter: DeadLetter = {
  reason: "record_too_large",
  error: "2000 bytes exceed max_message_bytes",
  stream: { id: "1:2:3", source: "app", path: "/var/log/app.log" },
  offset: 4_096,
  timeMs: 1_767_225_600_000,
  sink: "events",
  topic: "logs",
  key: Buffer.from("k"),
  headers: [["trace", Buffer.from("ä")], ["raw", Buffer.from([0xff])]],
  value: Buffer.from('line "one"\n\u0000'),
};

test("a letter is one line, text where it can be, and comes back as it was", () => {
  const line = encodeLetter(letter);
  expect(line.indexOf("\n")).toBe(line.length - 1);
  expect(JSON.parse(line)).toEqual({
    version: 1,
    id: letterId(letter),
    time: "2026-01-01T00:00:00.000Z",
    sink: "events",
    topic: "logs",
    reason: "record_too_large",
    error: "2000 bytes exceed max_message_bytes",
    source: "app",
    file: "/var/log/app.log",
    stream: "1:2:3",
    offset: 4_096,
    size: 12,
    key: "k",
    headers: [{ name: "trace", value: "ä" }, { name: "raw", value_base64: "/w==" }],
    value: 'line "one"\n\u0000',
  });
  expect(decodeLetter(line.trimEnd())).toEqual({ ...letter, id: letterId(letter) });
});

test("bytes that are no text, no key, no topic, no path", () => {
  const bare: DeadLetter = {
    ...letter,
    stream: { id: "pipe", source: "in", path: "" },
    topic: null,
    key: null,
    headers: [],
    value: Buffer.from([0xc3, 0x28, 0]),
  };
  const found = JSON.parse(encodeLetter(bare));
  expect([found.file, found.topic, found.key, found.value, found.value_base64]).toEqual([
    null,
    null,
    null,
    undefined,
    "wygA",
  ]);
  expect(decodeLetter(encodeLetter(bare))).toEqual({ ...bare, id: letterId(bare) });
});

test("the id names the event: the same over repeats, another one for each place and sink", () => {
  const ids = [
    letterId(letter),
    letterId({ ...letter, offset: 4_097 }),
    letterId({ ...letter, sink: "other" }),
    letterId({ ...letter, value: Buffer.from("other") }),
    letterId({ ...letter, stream: { ...letter.stream, id: "1:2:4" } }),
    letterId({ ...letter, stream: { ...letter.stream, source: "b" } }),
  ];
  expect(new Set(ids).size).toBe(6);
  expect(letterId({ ...letter, stream: { ...letter.stream, path: "/renamed" } })).toBe(ids[0]!);
});

test("what is no letter is told from one", () => {
  const good = encodeLetter(letter).trimEnd();
  expect(decodeLetter(good.slice(0, -10))).toBeNull();
  expect(decodeLetter("")).toBeNull();
  expect(decodeLetter("null")).toBeNull();
  expect(decodeLetter('{"version":2}')).toBeNull();
  expect(decodeLetter(good.replace('"offset":4096', '"offset":"x"'))).toBeNull();
  expect(decodeLetter(good.replace('"value":"line', '"valu":"line'))).toBeNull();
});
