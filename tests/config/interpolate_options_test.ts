import { describe, expect, test } from "bun:test";
import { getStaticTOMLValue, parseTOML } from "toml-eslint-parser";
import { loadConfig } from "../../src/config/load.ts";
import { allGroups } from "../../src/config/schema.ts";
import { withExample } from "./complete_config.ts";

const CONTEXT = { hostname: "h", isRoot: true, home: "/root", xdgStateHome: undefined };
const SECRETS = { KAFKA_PASSWORD: "p", KEY_PASS: "k", KAFKA_TOKEN: "t", CLIENT_SECRET: "s" };
const TWO_PARTS = '"${A}${B}"';

function load(text: string, env: Record<string, string> = {}) {
  return loadConfig([{ path: "x.toml", text }], { ...SECRETS, ...env }, CONTEXT);
}

function valueOf(toml: string): unknown {
  return (getStaticTOMLValue(parseTOML(`x = ${toml}\n`)) as Record<string, unknown>)["x"];
}

/** What stands in the file for a value, and the variables that hold it. */
function viaVariables(value: unknown): { toml: string; env: Record<string, string> }[] {
  if (Array.isArray(value)) {
    const env = Object.fromEntries(value.map((each, index) => [`V${index}`, String(each)]));
    return [{ toml: `[${value.map((_, index) => `"\${V${index}}"`).join(", ")}]`, env }];
  }
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value);
    const env = Object.fromEntries(entries.map(([, each], index) => [`V${index}`, String(each)]));
    return [{ toml: `{ ${entries.map(([name], index) => `${name} = "\${V${index}}"`).join(", ")} }`, env }];
  }
  // A variable's value is taken as it is; what stands in the file is expanded.
  const text = Object.entries(SECRETS).reduce(
    (rest, [name, secret]) => rest.replaceAll(`\${${name}}`, secret),
    String(value),
  );
  const forms = [
    { toml: '"${V}"', env: { V: text } },
    { toml: '"${V?not there}"', env: { V: text } },
    { toml: '"${UNSET:-${V}}"', env: { V: text } },
    { toml: '"${EMPTY:-${V}}"', env: { V: text, EMPTY: "" } },
  ];
  if (typeof value !== "string") return forms;
  const middle = Math.floor(text.length / 2);
  return [...forms, { toml: TWO_PARTS, env: { A: text.slice(0, middle), B: text.slice(middle) } }];
}

describe("every option takes its value from variables as from the file", () => {
  for (const group of allGroups) {
    for (const [key, option] of Object.entries(group.options)) {
      test(`${group.title}: ${key}`, () => {
        const { config } = load(withExample(group, key, option));
        expect(config).not.toBeNull();
        for (const spelling of [key, ...option.aliases]) {
          for (const { toml, env } of viaVariables(valueOf(option.example))) {
            // Two variables that are a JAAS text together would let a password change what it says.
            if (key === "sasl.jaas_config" && toml === TWO_PARTS) continue;
            const found = load(withExample(group, key, option, { spelling, value: toml }), env);
            expect(found.diagnostics, `${spelling} = ${toml}`).toEqual([]);
            expect(found.config, `${spelling} = ${toml}`).toEqual(config);
          }
        }
      });
    }
  }
});

test("a number or a boolean is made of a whole string alone", () => {
  const sink = (line: string) =>
    `[sources.app]\ntype = "file"\ninclude = "/x"\n[sinks.s]\ntype = "kafka"\ninputs = "app"\nbrokers = "b:1"\ntopic = "t"\n${line}\n`;
  const codes = (line: string, env: Record<string, string>) =>
    load(sink(line), env).diagnostics.map((each) => each.code);
  expect(codes('batch.max_events = "${N}"', { N: " 7 " })).toEqual([]);
  expect(codes('healthcheck = "${B}"', { B: "FALSE" })).toEqual([]);
  for (
    const [line, env] of [
      ['batch.max_events = "${N}0"', { N: "7" }],
      ['batch.max_events = "7"', {}],
      ['batch.max_events = "${N}"', { N: "7.5" }],
      ['batch.max_events = "${N}"', { N: "0x10" }],
      ['batch.max_events = "${N}"', { N: "" }],
      ['healthcheck = "${B}e"', { B: "tru" }],
      ['healthcheck = "true"', {}],
      ['healthcheck = "${B}"', { B: "yes" }],
      ['healthcheck = "${B}"', { B: "1" }],
    ] as const
  ) {
    expect(codes(line, env), `${line} ${JSON.stringify(env)}`).toEqual(["wrong-type"]);
  }
});

test("a dollar is written twice, in items of lists and in tables too", () => {
  const text = `[sources.app]
type = "file"
include = ["/x/$$\${A}", "/y/$$$$", "/z/$A"]
[sinks.s]
type = "kafka"
inputs = ["app"]
brokers = ["\${A}:1,b:2", "c:3"]
topic = "t"
encoding = { only_fields = ["$\${A}", "\${A}"] }
librdkafka_options = { "client.id" = "$$\${A}", "linger.ms" = "\${L}" }
`;
  const { config, diagnostics } = load(text, { A: "a", L: "9" });
  expect(diagnostics).toEqual([]);
  expect(config!.sources[0]).toMatchObject({ include: ["/x/$a", "/y/$$", "/z/$A"] });
  expect(config!.sinks[0]).toMatchObject({
    bootstrapServers: ["a:1", "b:2", "c:3"],
    encoding: { onlyFields: ["${A}", "a"] },
    clientId: "$a",
    batchTimeoutMs: 9,
  });
});
