import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { bufferOptions } from "../../src/config/options_sink_common.ts";
import { kafkaSinkGroup } from "../../src/config/options_kafka_sink.ts";
import type { Option, OptionType } from "../../src/config/option.ts";
import { PROPERTIES_KEY } from "../../src/config/librdkafka_table.ts";
import { DEFAULT_DIFFERENCES, differencesDocs } from "../../src/config/vector_differences.ts";

/** An option of Vector's document of its Kafka sink (July 2020), as its list of fields has it. */
interface VectorField {
  readonly type: "string" | "bool" | "uint" | "[string]" | "table";
  readonly required?: boolean;
  /** Null: "no default". */
  readonly default: string | number | boolean | null;
  /** Where the document lists them. */
  readonly values?: readonly string[];
}

const FIELDS: Readonly<Record<string, VectorField>> = {
  bootstrap_servers: { type: "string", required: true, default: null },
  "buffer.max_events": { type: "uint", default: 500 },
  // "required: true, relevant when type = disk"
  "buffer.max_size": { type: "uint", default: null },
  "buffer.type": { type: "string", default: "memory", values: ["memory", "disk"] },
  "buffer.when_full": { type: "string", default: "block", values: ["block", "drop_newest"] },
  compression: { type: "string", default: "none", values: ["none", "gzip", "lz4", "snappy", "zstd"] },
  "encoding.codec": { type: "string", default: "text", values: ["json", "text"] },
  "encoding.except_fields": { type: "[string]", default: null },
  "encoding.only_fields": { type: "[string]", default: null },
  "encoding.timestamp_format": { type: "string", default: "rfc3339", values: ["rfc3339", "unix"] },
  healthcheck: { type: "bool", default: true },
  key_field: { type: "string", required: true, default: null },
  librdkafka_options: { type: "table", default: null },
  message_timeout_ms: { type: "uint", default: 300_000 },
  "sasl.enabled": { type: "bool", default: null },
  "sasl.mechanism": { type: "string", default: null, values: ["SCRAM-SHA-256", "SCRAM-SHA-512"] },
  "sasl.password": { type: "string", default: null },
  "sasl.username": { type: "string", default: null },
  socket_timeout_ms: { type: "uint", default: 60_000 },
  "tls.ca_file": { type: "string", default: null },
  "tls.crt_file": { type: "string", default: null },
  "tls.enabled": { type: "bool", default: false },
  "tls.key_file": { type: "string", default: null },
  "tls.key_pass": { type: "string", default: null },
  topic: { type: "string", required: true, default: null },
};

const KINDS: Readonly<Record<VectorField["type"], readonly OptionType["kind"][]>> = {
  string: ["string", "choice", "addresses"],
  bool: ["boolean"],
  uint: ["integer", "size"],
  "[string]": ["strings"],
  table: [],
};

const options: Readonly<Record<string, Option<unknown>>> = kafkaSinkGroup.options;
const listed = new Set(
  DEFAULT_DIFFERENCES.filter(({ from }) => from === "Vector").map(({ option }) => option),
);

/** Both say nothing, or the same; a boolean that is off is as good as none. */
function isSameDefault(field: VectorField, option: Option<unknown>): boolean {
  if (field.required === true) return option.required;
  if (option.required) return false;
  const ours = option.default ?? null;
  return ours === field.default || (field.default === null && ours === false);
}

/** The fields of the document's own example, with what their comments say. */
function exampleFields(): Map<string, { value: string; comment: string }> {
  const text = readFileSync(new URL("./vector_advanced.toml", import.meta.url), "utf8");
  const found = new Map<string, { value: string; comment: string }>();
  for (const line of text.split("\n")) {
    const match = /^\s+([a-z_.]+)(?:\."[^"]*")? = (.+?) # (.*)$/u.exec(line);
    if (match !== null) found.set(match[1]!, { value: match[2]!, comment: match[3]! });
  }
  return found;
}

test("the fields are those of the document's example, with its defaults", () => {
  const example = exampleFields();
  // `type` and `inputs` are of every sink.
  expect([...example.keys()].filter((key) => key !== "type" && key !== "inputs").sort()).toEqual(
    Object.keys(FIELDS).sort(),
  );
  for (const [key, field] of Object.entries(FIELDS)) {
    const { value, comment } = example.get(key)!;
    if (/optional, default/u.test(comment)) expect(JSON.stringify(field.default), key).toBe(value);
    else expect(field.default, key).toBeNull();
    if (comment === "required") expect(field.required, key).toBe(true);
  }
});

test("every field is an option here, by the same name, of the same type, with at least its values", () => {
  for (const [key, { type, values = [] }] of Object.entries(FIELDS)) {
    if (key === PROPERTIES_KEY) continue;
    const option = options[key];
    expect(option, key).toBeDefined();
    expect(KINDS[type], key).toContain(option!.type.kind);
    if (option!.type.kind === "choice") {
      for (const value of values) expect(option!.type.values, key).toContain(value);
    } else expect(values, key).toEqual([]);
  }
  expect(kafkaSinkGroup.tables).toContain(PROPERTIES_KEY);
});

test("a default is another one exactly where the list says so", () => {
  const differing = Object.entries(FIELDS).filter(([key, field]) => {
    return key !== PROPERTIES_KEY && !isSameDefault(field, options[key]!);
  }).map(([key]) => key);
  // These two differ in what they mean, not in a default that the document names.
  const otherwise = ["acks", "encoding.codec"];
  expect([...differing, ...otherwise].sort()).toEqual([...listed].sort());
});

test("the list says what the defaults are", () => {
  const row = (option: string) => DEFAULT_DIFFERENCES.find((each) => each.option === option)!;
  expect(row("message_timeout_ms").theirs).toContain(String(FIELDS["message_timeout_ms"]!.default));
  expect(row("message_timeout_ms").ours).toContain(`\`${options["message_timeout_ms"]!.default}\``);
  expect(row("buffer.max_events").theirs).toContain(String(FIELDS["buffer.max_events"]!.default));
  expect(row("buffer.max_events").ours).toContain(`\`${bufferOptions["buffer.max_events"].default}\``);
  for (const { option, ours } of DEFAULT_DIFFERENCES.filter((each) => each.option === "acks")) {
    expect(ours).toContain(`"${options[option]!.default}"`);
  }
  expect(row("batch.timeout_ms").ours).toBe(`\`${options["batch.timeout_ms"]!.default}\``);
});

test("the docs have the list", () => {
  const docs = readFileSync(new URL("../../docs/configuration.md", import.meta.url), "utf8");
  expect(docs).toContain(differencesDocs());
  for (const { option, why } of DEFAULT_DIFFERENCES) {
    expect(options[option], option).toBeDefined();
    expect(docs).toContain(why);
  }
});
