import { describe, expect, test } from "bun:test";
import Ajv from "ajv/dist/2020.js";
import { readFileSync } from "node:fs";
import { getStaticTOMLValue, parseTOML } from "toml-eslint-parser";
import { DIAGNOSTIC_CODES } from "../../src/config/diagnostic.ts";
import { configurationSchema, configurationSchemaText } from "../../src/config/json_schema.ts";
import { loadConfig } from "../../src/config/load.ts";
import { allGroups } from "../../src/config/schema.ts";
import { BAD_FOLDER, badNames, loadBad } from "./fixtures.ts";
import { EFFECT_ENV, effects } from "./librdkafka_effects.ts";
import { completeConfig } from "./complete_config.ts";

const CONTEXT = { hostname: "h", isRoot: true, home: "/root", xdgStateHome: undefined };

const validate = new Ajv({ strict: true, strictRequired: false, allowUnionTypes: true, allErrors: true })
  .compile(configurationSchema());

function valuesOf(text: string): unknown {
  return getStaticTOMLValue(parseTOML(text, { tomlVersion: "1.1" }));
}

/** What the schema says against a text; "" when nothing. */
function problems(text: string): string {
  if (validate(valuesOf(text))) return "";
  return validate.errors!.map((each) => `${each.instancePath} ${each.message}`).join("\n");
}

test("docs/shipper.schema.json is what scripts/generate_docs.ts writes", () => {
  const kept = readFileSync(new URL("../../docs/shipper.schema.json", import.meta.url), "utf8");
  expect(kept === configurationSchemaText(), "stale: run bun scripts/generate_docs.ts").toBe(true);
});

test("config.example.toml is accepted, with its comments taken away too", () => {
  const text = readFileSync(new URL("../../config.example.toml", import.meta.url), "utf8");
  expect(problems(text)).toBe("");
  const all = text.replace(/^# (?=[a-z_.]+ = )/gmu, "");
  expect(all).not.toBe(text);
  expect(problems(all)).toBe("");
});

/**
 * Rules that a schema has. The others need more than one value or file, a grammar, or what a variable holds: `shipper validate` alone has
 * them.
 */
const SCHEMA_RULES: readonly string[] = [
  "bad-choice",
  "bad-name",
  "missing-key",
  "not-supported",
  "out-of-range",
  "unknown-key",
  "unknown-type",
  "wrong-type",
];

/** Fixtures of these rules that a schema can't refuse all the same. */
const BEYOND_A_SCHEMA: readonly string[] = [
  "bad_choice_from_secret_variable", // a variable's value
  "missing_key_buffer_size", // between two options
  "missing_key_dead_letter", // between two options
  "missing_key_dead_letter_template", // between two options
  "missing_key_client", // between two options
  "missing_key_region", // what the environment has
  "missing_key_fallback_topic", // between two options
  "missing_key_missing_letters", // between two options
  "missing_key_partition_field", // between two options
  "missing_key_security_protocol", // between two options
  "missing_key_token", // one of several options
  "not_supported_jaas", // the grammar of a login
  "not_supported_jaas_oauth", // the grammar of a login
  "out_of_range_level", // between two options
  "out_of_range_property", // what the option takes that a property stands for
  "out_of_range_size", // the number in a string with a unit
  "out_of_range_variable", // a variable's value
  "wrong_type_property_variable", // a variable's value
];

/** Refused though not all of their rule are. */
const REFUSED: readonly string[] = [
  "bad_address_broker",
  "bad_address_list",
  "bad_address_none",
  "bad_template_empty",
  "bad_value_empty",
  "conflict_alias",
];

describe("configurations that are wrong", () => {
  for (const name of badNames()) {
    const errors = loadBad(name).diagnostics.filter((each) => each.severity === "error");
    const isRefused = REFUSED.includes(name) ||
      (errors.some((each) => SCHEMA_RULES.includes(each.code)) && !BEYOND_A_SCHEMA.includes(name));
    const text = () => readFileSync(new URL(`${name}.toml`, BAD_FOLDER), "utf8");
    if (isRefused) test(`${name} is refused`, () => expect(problems(text())).not.toBe(""));
    else if (errors.length === 0 || BEYOND_A_SCHEMA.includes(name)) {
      test(`${name} is accepted`, () => expect(problems(text())).toBe(""));
    }
  }
});

test("what is named here is there", () => {
  for (const name of [...BEYOND_A_SCHEMA, ...REFUSED]) expect(badNames()).toContain(name);
  for (const code of SCHEMA_RULES) expect(Object.keys(DIAGNOSTIC_CODES)).toContain(code);
});

/** Values of every kind, as they are written. */
const VALUES = [
  ...[
    "true",
    "false",
    "0",
    "1",
    "-1",
    "5",
    "1.5",
    "22",
    "50_000",
    "1e3",
    "1099511627776",
    "[]",
    '[""]',
    '""',
  ],
  ...[
    '"${N}"',
    '"${N:-7}"',
    '" ${N}"',
    '"${S}"',
    '"${U}MiB"',
    '"$$"',
    '"true"',
    '"5"',
    '"64MiB"',
    '"1.5 gb"',
  ],
  ...['"9 K"', '"64 MiBs"', '"all"', '"ALL"', '"Leader"', '"-1"', '"ZSTD"', '"zstd"', '"json"', '"a:1"'],
  ...[
    '"a:1, b:2,"',
    '["a:1", "b:2,c:3", ""]',
    '["a:1,"]',
    '"[fd00::1]:9"',
    '"unix:/x"',
    '["a", "b"]',
    '["a", 1]',
  ],
  ...['"/var/log/*.log"', '"logs-{{a}}-%Y"', "2026-01-01", "{ x = 1 }", '" "', '"\\n"', "inf", "'PLAIN'"],
];

test("what can be loaded is accepted: every option with values of every kind", () => {
  const env = { N: "5", S: "all", U: "3" };
  let loaded = 0;
  for (const group of allGroups) {
    for (const [key, option] of Object.entries(group.options)) {
      for (const spelling of [key, ...option.aliases]) {
        for (const value of [...VALUES, option.example]) {
          const text = completeConfig(group, key, `${spelling} = ${value}\n`);
          const { config } = loadConfig([{ path: "x.toml", text }], env, CONTEXT);
          if (config === null) continue;
          loaded++;
          expect(problems(text), text).toBe("");
        }
      }
    }
  }
  expect(loaded).toBeGreaterThan(500);
}, 120_000);

test("properties of other clients are accepted wherever they can be loaded, in parts too", () => {
  const head =
    `[sources.a]\ntype = "file"\ninclude = "x"\n[sinks.s]\ntype = "kafka"\ninputs = "a"\ntopic = "t"\n`;
  for (const [name, cases] of Object.entries(effects)) {
    for (const { value, beside = "" } of cases) {
      for (const key of [JSON.stringify(name), name]) {
        const servers = /bootstrap\.servers|metadata\.broker\.list/u.test(name) ? "" : 'brokers = "b:1"\n';
        const text = `${head}${servers}librdkafka_options.${key} = ${value}\n${beside}\n`;
        const { config } = loadConfig([{ path: "x.toml", text }], EFFECT_ENV, CONTEXT);
        expect(config, text).not.toBeNull();
        expect(problems(text), text).toBe("");
      }
    }
  }
});

test("properties are refused by name, by kind of value, and where nothing may stand for what they ask", () => {
  const text = (line: string) =>
    `[sources.a]\ntype = "file"\ninclude = "x"\n[sinks.s]\ntype = "kafka"\ninputs = "a"\ntopic = "t"\n${line}`;
  expect(problems(text('librdkafka_options."bootstrap.servers" = "b"'))).toBe("");
  expect(problems(text('brokers = "b:1"\nlibrdkafka_options."enable.gapless.guarantee" = "False"'))).toBe("");
  for (
    const line of [
      'librdkafka_options."linger.ms" = 5', // no brokers
      'brokers = "b:1"\nlibrdkafka_options."enable.gapless.guarantee" = true',
      'brokers = "b:1"\nlibrdkafka_options."topic.blacklist" = ""',
      'brokers = "b:1"\nlibrdkafka_options."linger.ms" = [5]',
      'brokers = "b:1"\nlibrdkafka_options."linger.m" = 5',
      'brokers = "b:1"\nbootstrap_servers = "b:1"',
      'brokers = "b:1"\nlibrdkafka_options = "linger.ms"',
      'brokers = "b:1"\nsasl.enabled = true\nsasl.mechanism = "PLAIN"\nsasl.username = "u"',
    ]
  ) {
    expect(problems(text(line)), line).not.toBe("");
  }
});

test("a secret may be a table that names a file, and no other table", () => {
  const head =
    '[sources.a]\ntype = "file"\ninclude = "x"\n[sinks.s]\ntype = "kafka"\ninputs = "a"\ntopic = "t"\nbrokers = "b:1"\n';
  for (
    const key of [
      "sasl.password",
      "sasl.jaas_config",
      "tls.key_pass",
      'librdkafka_options."ssl.key.password"',
    ]
  ) {
    expect(problems(`${head}${key} = { file = "/f" }`), key).toBe("");
    for (
      const value of ['{ file = "" }', "{ file = 1 }", "{}", '{ path = "/f" }', '{ file = "/f", x = 1 }']
    ) {
      expect(problems(`${head}${key} = ${value}`), `${key} = ${value}`).not.toBe("");
    }
  }
  expect(problems(`${head}sasl.username = { file = "/f" }`)).not.toBe("");
});

test("a login may stand in a JAAS text alone", () => {
  const jaas = `'x.PlainLoginModule required username="u" password="p";'`;
  for (const key of ["sasl.jaas_config", 'librdkafka_options."sasl.jaas.config"']) {
    const text = `[sources.a]\ntype = "file"\ninclude = "x"\n[sinks.s]\ntype = "kafka"\ninputs = "a"\n` +
      `topic = "t"\nbrokers = "b:1"\nsasl.enabled = true\ntls.enabled = true\n${key} = ${jaas}\n`;
    expect(loadConfig([{ path: "x.toml", text }], {}, CONTEXT).config, key).not.toBeNull();
    expect(problems(text), key).toBe("");
  }
});

test("sizes, booleans and numbers are refused in strings that are none", () => {
  const text = (line: string) =>
    `[sources.a]\ntype = "file"\ninclude = "x"\n[sinks.s]\ntype = "kafka"\ninputs = "a"\nbrokers = "b:1"\ntopic = "t"\n${line}`;
  expect(problems(text('batch.max_bytes = "1MiB"'))).toBe("");
  for (
    const line of [
      'batch.max_bytes = "much"',
      'batch.max_events = "5"',
      'healthcheck = "true"',
      "linger_ms = 5\nbatch.timeout_ms = 5",
      "sasl.enabled = true",
      'bootstrap_servers = "a:1"',
    ]
  ) {
    expect(problems(text(line)), line).not.toBe("");
  }
});

test("every option has its doc, its example, and its default where that is a value", () => {
  const schema = configurationSchema();
  for (const group of allGroups) {
    const place = group.table.split(".")[0]!;
    const table = group.type !== null
      ? schema.$defs![`${place.slice(0, -1)}-${group.type}`]!
      : place === ""
      ? schema
      : schema.properties![place]!;
    for (const [key, option] of Object.entries(group.options)) {
      for (const spelling of [key, ...option.aliases]) {
        const found = spelling.split(".").reduce((inner, part) => inner.properties![part]!, table);
        expect(found.description, spelling).toContain(option.doc);
        expect(found.examples, spelling).toHaveLength(1);
        expect(found.default, spelling).toEqual((option.default ?? undefined) as never);
        expect(found.deprecated ?? false, spelling).toBe(spelling !== key);
      }
    }
  }
});
