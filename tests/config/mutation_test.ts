import { expect, test } from "bun:test";
import fc from "fast-check";
import { renderDiagnostics } from "../../src/config/diagnostic_render.ts";
import { loadConfig } from "../../src/config/load.ts";
import { allGroups } from "../../src/config/schema.ts";
import { Random } from "../support/seed.ts";
import { BASES, checkMutations, EVERY_TABLE, MUTATION_ENV, unknownKeys } from "./mutations.ts";

const CONTEXT = { hostname: "h", isRoot: true, home: "/root", xdgStateHome: undefined };
const ENV = { KAFKA_PASSWORD: "hunter2hunter2" };
const SECRET = "correcthorsebatterystaple";

/** A configuration that uses every kind of option, with all tables, and a secret. */
const VALID = EVERY_TABLE.replace("${KAFKA_PASSWORD}", SECRET);

function load(text: string) {
  return loadConfig([{ path: "x.toml", text }], ENV, CONTEXT);
}

const KNOWN_KEYS = new Set(
  allGroups.flatMap((group) =>
    Object.entries(group.options).flatMap(([key, option]) => [key, ...option.aliases])
  )
    .flatMap((key) => [key, key.slice(0, key.lastIndexOf(".")), key.slice(key.lastIndexOf(".") + 1)]),
);

test("the text that is mutated is valid", () => {
  expect(load(VALID).diagnostics).toEqual([]);
});

test("the texts that are mutated are valid, and the oracle knows all their keys", () => {
  for (const text of BASES) {
    expect(loadConfig([{ path: "x.toml", text }], MUTATION_ENV, CONTEXT).config).not.toBeNull();
    expect(unknownKeys(text)).toEqual([]);
  }
});

test("the oracle finds keys that nobody knows, wherever they stand", () => {
  const cases: [after: string, line: string, found: string][] = [
    ["", "x = 1", ".x"],
    ["[api]", "adress = 1", "api.adress"],
    ["[sinks.events]", "topik = 1", "sinks.events.topik"],
    ["[sinks.events]", "buffer.max_sise = 1", "sinks.events.buffer.max_sise"],
    ["[sinks.events]", '"buffer.max_size" = 1', 'sinks.events."buffer.max_size"'],
    ["[sinks.events]", 'librdkafka_options."client.idd" = 1', 'sinks.events.librdkafka_options."client.idd"'],
    ["[sources.app]", "topic = 1", "sources.app.topic"],
    ["", "sources.more.type = 1", "sources.more (type 1)"],
  ];
  for (const [after, line, found] of cases) {
    const text = after === "" ? `${line}\n${BASES[0]}` : BASES[0]!.replace(after, `${after}\n${line}`);
    expect(unknownKeys(text), text).toEqual([found]);
  }
  expect(unknownKeys("x = \n")).toBeNull();
});

test("random changes: no crash, no stack trace, no secret shown, and no unknown key accepted", () => {
  // scripts/fault config-mutations does ten thousand.
  const { acceptedCount, refusedCount, unjudgedCount } = checkMutations(1_000, new Random(20_261_126));
  expect(acceptedCount).toBeGreaterThan(50);
  expect(refusedCount).toBeGreaterThan(500);
  expect(unjudgedCount).toBeLessThan(acceptedCount / 20);
}, 90_000);

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
