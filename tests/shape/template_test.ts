import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { isTopicName, Template } from "../../src/shape/template.ts";
import { REMEMBERED_TOPICS_MAX, TopicNames } from "../../src/shape/topics.ts";

const TIME_MS = Date.UTC(2026, 1, 3, 4, 5, 6, 789);
const render = (text: string, fields: object = {}, defaults: object = {}) =>
  new Template(text).render(fields as Record<string, unknown>, defaults as Record<string, unknown>, TIME_MS);

describe("Template", () => {
  test("a text without fields and times is constant", () => {
    expect(new Template("logs").constant).toBe("logs");
    expect(new Template("100%%").constant).toBe("100%");
    expect(new Template("").constant).toBe("");
    expect(new Template("a{{b}}").constant).toBe(null);
    expect(new Template("a-%Y").constant).toBe(null);
  });

  test("fields, nested fields, and names with dots", () => {
    const fields = { unit: "web", n: 5, yes: true, outer: { inner: { deep: "x" } }, "a.b": "dotted" };
    expect(render("logs-{{unit}}-{{ n }}-{{yes}}", fields)).toBe("logs-web-5-true");
    expect(render('{{outer.inner.deep}}{{"a.b"}}', fields)).toBe("xdotted");
  });

  test("a field that is missing or is no scalar gives null", () => {
    for (const fields of [{}, { a: null }, { a: {} }, { a: [1] }, { a: { b: 1 } }]) {
      expect(render("{{a}}", fields)).toBe(null);
    }
    expect(render("{{a.b}}", { a: "text" })).toBe(null);
    expect(render("{{constructor}}{{toString}}")).toBe(null);
    expect(render("{{__proto__}}")).toBe(null);
  });

  test("an event's own field hides the default, even where it cannot be used", () => {
    expect(render("{{host}}", { host: "own" }, { host: "default" })).toBe("own");
    expect(render("{{host}}", {}, { host: "default" })).toBe("default");
    expect(render("{{host}}", { host: {} }, { host: "default" })).toBe(null);
  });

  test("times are UTC and padded", () => {
    expect(render("%Y-%m-%d %H:%M:%S %j %s %%")).toBe("2026-02-03 04:05:06 034 1770091506 %");
    const at = (timeMs: number) => new Template("%j").render({}, {}, timeMs);
    expect([
      at(Date.UTC(2024, 0, 1)),
      at(Date.UTC(2024, 11, 31, 23, 59, 59, 999)),
      at(Date.UTC(2025, 11, 31)),
    ]).toEqual([
      "001",
      "366",
      "365",
    ]);
  });

  test("what it cannot read is said", () => {
    expect(() => new Template("a-{{b")).toThrow('Cannot read template "a-{{b": "{{" at 3 has no "}}"');
    expect(() => new Template("a-%q")).toThrow('"%q" is not one of %Y %m %d %H %M %S %j %s %%');
    expect(() => new Template("50%")).toThrow('"%" is not one of');
    expect(() => new Template("{{}}")).toThrow('Cannot read field path ""');
    expect(() => new Template("{{a..b}}")).toThrow('Cannot read field path "a..b"');
  });

  test("always starts with its literal prefix, and no field is read as a template", () => {
    fc.assert(fc.property(fc.string(), fc.stringMatching(/^[a-z-]{0,10}$/), (value, prefix) => {
      const template = new Template(`${prefix}{{field}}`);
      expect(template.literalPrefix).toBe(prefix);
      expect(template.render({ field: value }, {}, TIME_MS)).toBe(prefix + value);
    }));
  });
});

describe("topic names", () => {
  test("Kafka's rules", () => {
    for (const name of ["a", "A-b_c.9", "...", "x".repeat(249)]) expect(isTopicName(name)).toBe(true);
    for (const name of ["", ".", "..", "a/b", "a b", "é", "a\n", "x".repeat(250)]) {
      expect(isTopicName(name)).toBe(false);
    }
  });

  test("names that are not allowed are refused, others are the same string again", () => {
    const topics = new TopicNames(new Template("{{t}}"));
    const name = (t: unknown) => topics.name({ t }, {}, 0);
    expect([name("a/b"), name(".."), name("x".repeat(250)), name(undefined), name("ok")]).toEqual([
      null,
      null,
      null,
      null,
      "ok",
    ]);
  });

  test("goes on after more names than it remembers", () => {
    const topics = new TopicNames(new Template("t-{{t}}"));
    for (let i = 0; i < REMEMBERED_TOPICS_MAX + 10; i++) expect(topics.name({ t: i }, {}, 0)).toBe(`t-${i}`);
  });
});
