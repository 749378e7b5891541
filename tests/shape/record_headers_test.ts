import { describe, expect, test } from "bun:test";
import type { HeaderConfig } from "../../src/config/config.ts";
import { HEADERS_MAX } from "../../src/event/record_headers.ts";
import { HeaderTemplates } from "../../src/shape/record_headers.ts";
import { RECEIVED_MS, STDIN } from "../decode/chunks.ts";
import { shaperOf, shapeText } from "./shape_text.ts";

const headers = (table: Record<string, string>): HeaderConfig[] =>
  Object.entries(table).map(([name, value]) => ({ name, value }));

const DATE = new Date(RECEIVED_MS).toISOString().slice(0, 10);

describe("headers of lines of text", () => {
  test("without any there is no column", () => {
    expect(shapeText({}, "a\n").headers).toBeUndefined();
  });

  test("take what the event has, and are left out where that is missing", () => {
    const table = {
      env: "prod",
      where: "{{host}}:{{file}}",
      day: "%Y-%m-%d 100%%",
      none: "{{absent}}",
      empty: "",
    };
    const same = [["env", "prod"], ["where", "web-1:/var/log/app.log"], ["day", `${DATE} 100%`], [
      "empty",
      "",
    ]];
    const { headers: found, keys, values } = shapeText({ headers: headers(table) }, "a\nbc\n");
    expect(found as unknown).toEqual([same, same]);
    expect([keys, values]).toEqual([null, ["a", "bc"]]);
  });

  test("none at all is as if nothing was asked for", () => {
    expect(shapeText({ headers: headers({ file: "{{file}}" }) }, "a\n", { stream: STDIN }).headers)
      .toBeUndefined();
  });

  test("may hold the line itself", () => {
    const long = "é".repeat(5_000);
    const seen = shapeText({ headers: headers({ first: "{{message}}", x: "y" }) }, `a\n\n${long}\n`);
    expect(seen.headers).toEqual(["a", "", long].map((value) => [["first", value], ["x", "y"]]));
  });

  test("of bytes that are not UTF-8 are text", () => {
    const seen = shapeText({ headers: headers({ m: "{{message}}" }) }, Buffer.from([97, 0xff, 10]));
    expect(seen.headers).toEqual([[["m", "a\ufffd"]]]);
  });
});

describe("headers of objects", () => {
  const setup = {
    decode: "json",
    codec: "json",
    headers: headers({ trace: "{{trace.id}}", day: "%Y", n: "{{n}}" }),
  } as const;

  test("are each event's own", () => {
    const lines = [
      '{"trace":{"id":"t1"},"timestamp":"2001-05-06T00:00:00Z"}',
      '{"n":12345678901234567890}',
      "plain",
    ];
    const year = DATE.slice(0, 4);
    expect(shapeText(setup, lines.join("\n") + "\n").headers).toEqual([
      [["trace", "t1"], ["day", "2001"]],
      [["day", year], ["n", "12345678901234567890"]],
      [["day", year]],
    ]);
  });

  test("that no event has are no bytes", () => {
    const only = { ...setup, headers: headers({ trace: "{{trace.id}}" }) };
    expect(shapeText(only, '{}\n{"trace":{"id":{"a":1}}}\n{"trace":{"id":null}}\n').headers).toEqual([
      [],
      [],
      [],
    ]);
  });

  test("need the fields of a line that is passed on as it is", () => {
    const raw = { ...setup, codec: "raw" } as const;
    expect(shapeText(raw, '{"n":1}\n')).toMatchObject({
      values: ['{"n":1}'],
      headers: [[["day", DATE.slice(0, 4)], ["n", "1"]]],
    });
  });

  test("cannot be written by a line: a name in it is a value", () => {
    const evil = JSON.stringify({ n: "x\u0000\u0004evil\u0002y", "headers": { a: "b" } });
    const [found] = shapeText(setup, evil + "\n").headers!;
    expect(found!.map(([name]) => name)).toEqual(["day", "n"]);
  });
});

test("More headers than a record takes are refused", () => {
  const many = Array.from({ length: HEADERS_MAX + 1 }, (_, i) => ({ name: `h${i}`, value: "v" }));
  expect(() => new HeaderTemplates(many)).toThrow("64 headers");
  expect(() => shaperOf({ headers: [{ name: "h", value: "{{" }] })).toThrow("Cannot read template");
});
