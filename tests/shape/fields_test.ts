import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { fieldAt, FieldFilter, parseFieldPath, scalarText } from "../../src/shape/fields.ts";
import { NESTING_MAX, parseFields } from "../../src/shape/json_fields.ts";
import { parseRfc3339, timestampToken } from "../../src/shape/timestamp.ts";

describe("field paths", () => {
  test("dots and quotes", () => {
    expect(parseFieldPath("a")).toEqual(["a"]);
    expect(parseFieldPath("a.b c.d")).toEqual(["a", "b c", "d"]);
    expect(parseFieldPath('a."b.c".d')).toEqual(["a", "b.c", "d"]);
    expect(parseFieldPath('""')).toEqual([""]);
    for (const bad of ["", ".", "a.", ".a", "a..b", '"a', 'a"b', '"a"b']) {
      expect(() => parseFieldPath(bad)).toThrow(`Cannot read field path "${bad}"`);
    }
  });

  test("only own fields are found", () => {
    const fields = parseFields('{"a":{"b":[10,20]},"__proto__":{"x":1}}')!;
    expect(fieldAt(fields, ["a", "b", "1"])).toBe(20);
    expect(fieldAt(fields, ["__proto__", "x"])).toBe(1);
    expect(fieldAt(fields, ["constructor"])).toBe(undefined);
    expect(fieldAt(fields, ["a", "b", "c", "d"])).toBe(undefined);
  });
});

describe("FieldFilter", () => {
  const event = '{"z":1,"a":{"b":1,"c":{"d":2,"e":3}},"list":[{"b":1}],"__proto__":5,"1":0}';
  const only = (...paths: string[]) =>
    JSON.stringify(new FieldFilter(paths, true).apply(parseFields(event)!));
  const except = (...paths: string[]) =>
    JSON.stringify(new FieldFilter(paths, false).apply(parseFields(event)!));

  test("only", () => {
    expect(only("a.c.d", "z")).toBe('{"z":1,"a":{"c":{"d":2}}}');
    expect(only("a.c", "a.c.d")).toBe('{"a":{"c":{"d":2,"e":3}}}');
    expect(only("a.c.d", "a.c")).toBe('{"a":{"c":{"d":2,"e":3}}}');
    expect(only("a.x", "list.b", "z.y")).toBe("{}");
    expect(only("__proto__", "1")).toBe('{"1":0,"__proto__":5}');
  });

  test("except", () => {
    expect(except("a.c.d", "list", "1", "__proto__")).toBe('{"z":1,"a":{"b":1,"c":{"e":3}}}');
    expect(except("a.x", "z.y", "list.b")).toBe(JSON.stringify(JSON.parse(event)));
    expect(except("a.b", "a.c", "z", "list", "1", "__proto__")).toBe('{"a":{}}');
  });

  test("only and except of the same outermost fields are the whole event", () => {
    const name = fc.string({ maxLength: 3 });
    fc.assert(fc.property(fc.dictionary(name, fc.jsonValue()), fc.array(name), (fields, names) => {
      const paths = names.map((n) => JSON.stringify(n)).filter((path) => !path.slice(1, -1).match(/["\\]/));
      const merged = {
        ...new FieldFilter(paths, false).apply(fields),
        ...new FieldFilter(paths, true).apply(fields),
      };
      expect(merged).toEqual({ ...fields });
    }));
  });
});

describe("parseFields", () => {
  test("takes objects and nothing else", () => {
    expect(parseFields(' {"a": 1} \r')).toEqual({ a: 1 });
    for (
      const text of [
        "",
        "text",
        "[]",
        "1",
        "12345678901234567890",
        '"{}"',
        "null",
        "true",
        "{",
        '{"a":}',
        "{}{}",
      ]
    ) {
      expect(parseFields(text)).toBe(null);
    }
  });

  test("numbers that a double cannot hold are written as they were", () => {
    const text = '{"id":12345678901234567890,"f":1e400,"e":[1E2,-0.12345678901234567890],"n":5,"s":"1e5"}';
    const fields = parseFields(text)!;
    expect(JSON.stringify(fields)).toBe(text);
    expect(scalarText(fields["id"])).toBe("12345678901234567890");
    expect(scalarText(fields["n"])).toBe("5");
  });

  test("nesting has a limit; brackets in strings are no nesting", () => {
    const nested = (levels: number) => '{"a":'.repeat(levels) + "1" + "}".repeat(levels);
    expect(JSON.stringify(parseFields(nested(NESTING_MAX)))).toBe(nested(NESTING_MAX));
    expect(parseFields(nested(NESTING_MAX + 1))).toBe(null);
    expect(parseFields("[".repeat(1_000_000))).toBe(null);
    for (const inside of ["[".repeat(5000), '\\"{'.repeat(2000), "\\\\"]) {
      const text = `{"a":"${inside}","b":[${"[],".repeat(2000)}1]}`;
      expect(parseFields(text)).toEqual(JSON.parse(text));
    }
    expect(parseFields(`{"a":"${"[".repeat(5000)}`)).toBe(null);
  });
});

describe("timestamps", () => {
  test("formats", () => {
    expect(timestampToken(1_500.9, "rfc3339")).toBe('"1970-01-01T00:00:01.500Z"');
    expect(timestampToken(1_999, "unix")).toBe("1");
    expect(timestampToken(1_500.9, "unix_ms")).toBe("1500");
    expect(timestampToken(1_500.9, "unix_ns")).toBe("1500000000");
    expect(timestampToken(0, "unix_ns")).toBe("0");
  });

  test("reads RFC 3339 and nothing else", () => {
    expect(parseRfc3339("2026-01-31T09:05:07.123Z")).toBe(Date.UTC(2026, 0, 31, 9, 5, 7, 123));
    expect(parseRfc3339("2026-01-31t09:05:07z")).toBe(Date.UTC(2026, 0, 31, 9, 5, 7));
    expect(parseRfc3339("2026-01-31 09:05:07.123456789+01:30")).toBe(Date.UTC(2026, 0, 31, 7, 35, 7, 123));
    for (
      const other of [
        "2026-01-31",
        "31 Jan 2026 09:05 GMT",
        "2026-13-31T09:05:07Z",
        1769850307,
        null,
        undefined,
        {},
      ]
    ) {
      expect(parseRfc3339(other)).toBe(null);
    }
  });

  test("reads any time as the calendar has it, and no other", () => {
    const two = (value: number) => String(value).padStart(2, "0");
    const edges = (max: number) =>
      fc.oneof(fc.nat(99), fc.nat(max), fc.constantFrom(0, 1, max - 1, max, max + 1));
    const time = fc.record({
      year: fc.oneof(
        fc.nat(9_999),
        fc.constantFrom(0, 1, 4, 100, 400, 1900, 1969, 1970, 2000, 2024, 2100, 9_999),
      ),
      month: edges(12),
      day: edges(31),
      hour: edges(24),
      minute: edges(59),
      second: edges(60),
      fraction: fc.stringMatching(/^\d{0,20}$/),
      zone: fc.oneof(
        fc.constantFrom("Z", "z"),
        fc.tuple(fc.constantFrom("+", "-"), edges(23), edges(59)),
      ),
      between: fc.constantFrom("T", "t", " "),
    });
    fc.assert(
      fc.property(time, ({ year, month, day, hour, minute, second, fraction, zone, between }) => {
        const zoneText = typeof zone === "string" ? zone : `${zone[0]}${two(zone[1])}:${two(zone[2])}`;
        const text = `${String(year).padStart(4, "0")}-${two(month)}-${two(day)}${between}` +
          `${two(hour)}:${two(minute)}:${two(second)}${fraction === "" ? "" : `.${fraction}`}${zoneText}`;
        const date = new Date(0);
        date.setUTCFullYear(year, month - 1, day);
        const isDay = date.getUTCFullYear() === year && date.getUTCMonth() === month - 1 && day > 0;
        const [sign, hours, minutes] = typeof zone === "string" ? ["+", 0, 0] as const : zone;
        const offsetMs = (sign === "-" ? -1 : 1) * (60 * hours + minutes) * 60_000;
        const startMs = date.getTime() + ((hour * 60 + minute) * 60 + second) * 1_000 - offsetMs;
        const isLeap = second === 60 && startMs % 86_400_000 === 0;
        const isValid = isDay && hour < 24 && minute < 60 && (second < 60 || isLeap) && hours < 24 &&
          minutes < 60;
        const fractionMs = Number(fraction.slice(0, 3).padEnd(3, "0"));
        expect([text, parseRfc3339(text)]).toEqual([text, isValid ? startMs + fractionMs : null]);
      }),
      { numRuns: 3_000 },
    );
  });
});
