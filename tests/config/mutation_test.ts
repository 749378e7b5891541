import { expect, test } from "bun:test";
import fc from "fast-check";
import { readFileSync } from "node:fs";
import { renderDiagnostics } from "../../src/config/diagnostic_render.ts";
import { loadConfig } from "../../src/config/load.ts";
import { allGroups } from "../../src/config/schema.ts";

const CONTEXT = { hostname: "h", isRoot: true, home: "/root", xdgStateHome: undefined };
const ENV = { KAFKA_PASSWORD: "hunter2hunter2" };
const SECRET = "correcthorsebatterystaple";

/** A configuration that uses every kind of option, with all tables, and a secret. */
const VALID = readFileSync(new URL("../../config.example.toml", import.meta.url), "utf8").replace(
  /^# ([a-z_.]+ = )/gmu,
  "$1",
)
  .replace("${KAFKA_PASSWORD}", SECRET) + `
[log]
level = "debug"
[sources.in]
type = "stdin"
max_line_bytes = "1MiB"
[sinks.out]
type = "console"
inputs = ["in"]
encoding = { codec = "json", only_fields = ["a", "b.c"] }
`;

function load(text: string) {
  return loadConfig([{ path: "x.toml", text }], ENV, CONTEXT);
}

/** Keys of the text's lines, with the table that they stand in. */
function keysOf(text: string): string[] {
  return text.split("\n").flatMap((line) => /^\s*([A-Za-z0-9_.-]+)\s*=/u.exec(line)?.[1] ?? []);
}

const KNOWN_KEYS = new Set(
  allGroups.flatMap((group) =>
    Object.entries(group.options).flatMap(([key, option]) => [key, ...option.aliases])
  )
    .flatMap((key) => [key, key.slice(0, key.lastIndexOf(".")), key.slice(key.lastIndexOf(".") + 1)]),
);

const edit = fc.record({
  at: fc.nat(VALID.length),
  remove: fc.nat(6),
  insert: fc.oneof(
    fc.constantFrom(
      "[",
      "]",
      "{",
      "}",
      '"',
      "'",
      '"""',
      "=",
      ".",
      ",",
      "\n",
      "$",
      "${",
      "}}",
      "{{",
      "#",
      "-1",
      "\u0000",
      "\uD800",
    ),
    fc.constantFrom(
      "[sources.app]\n",
      "[[sinks.x]]\n",
      'a = "b"\n',
      "x.y.z = 1\n",
      "${KAFKA_PASSWORD}",
      "9".repeat(30),
      "0x1F",
      "nan",
    ),
    fc.string({ maxLength: 4 }),
  ),
});

test("the text that is mutated is valid", () => {
  expect(load(VALID).diagnostics).toEqual([]);
});

test("random edits never throw, and never let an unknown key pass", () => {
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), (edits) => {
      let text = VALID;
      for (const { at, remove, insert } of edits) text = text.slice(0, at) + insert + text.slice(at + remove);
      const { config, diagnostics } = load(text);
      const rendered = renderDiagnostics(diagnostics, { color: false });
      expect(rendered).not.toContain("hunter2hunter2");
      expect(config === null).toBe(diagnostics.some((each) => each.severity === "error"));
      if (config !== null) {
        // Multi-line strings and lists can hold what looks like a key.
        if (!/"""|'''/u.test(text)) {
          for (const key of keysOf(text)) expect(KNOWN_KEYS.has(key), key).toBe(true);
        }
      }
    }),
    { numRuns: 2_000, seed: 20_261_121 },
  );
});

test("an unknown key is refused wherever it stands", () => {
  const lines = VALID.split("\n");
  const key = fc.stringMatching(/^[a-z][a-z_]{0,12}(?:\.[a-z][a-z_]{0,8})?$/u).filter((each) =>
    !KNOWN_KEYS.has(each) && !allGroups.some((group) => (group.tables ?? []).includes(each.split(".")[0]!))
  );
  fc.assert(
    fc.property(
      fc.nat(lines.length),
      key,
      fc.constantFrom("1", '"x"', "true", "[]", "{}"),
      (at, name, value) => {
        const text = [...lines.slice(0, at), `${name} = ${value}`, ...lines.slice(at)].join("\n");
        const { config, diagnostics } = load(text);
        expect(config).toBeNull();
        const codes = ["unknown-key", "not-supported", "wrong-type", "duplicate-key"];
        expect(diagnostics.some((each) => codes.includes(each.code) && each.snippet?.line === at + 1)).toBe(
          true,
        );
      },
    ),
    { numRuns: 500, seed: 7 },
  );
});

test("a secret is shown by no diagnostic, whatever else is wrong", () => {
  const line = VALID.split("\n").findIndex((each) => each.includes(SECRET));
  const start = VALID.split("\n").slice(0, line).join("\n").length + 1;
  const end = VALID.indexOf("\n", start);
  const change = fc.record({
    at: fc.integer({ min: start, max: end }),
    remove: fc.nat(2),
    insert: fc.string({ maxLength: 3 }),
  });
  fc.assert(
    fc.property(change, ({ at, remove, insert }) => {
      // An edit inside of the secret leaves its longer part.
      const text = VALID.slice(0, at) + insert + VALID.slice(at + remove);
      const rendered = renderDiagnostics(load(text).diagnostics, { color: false });
      expect(rendered).not.toContain(SECRET.slice(0, 10));
      expect(rendered).not.toContain(SECRET.slice(-10));
    }),
    { numRuns: 1_000, seed: 11 },
  );
});

test("deep nesting is refused, not followed", () => {
  for (
    const text of [
      "a = " + "[".repeat(100_000),
      "a = " + "{a=".repeat(50_000),
      "a" + ".a".repeat(50_000) + " = 1",
    ]
  ) {
    expect(load(text).config).toBeNull();
  }
});
