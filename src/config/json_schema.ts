import { getStaticTOMLValue, parseTOML } from "toml-eslint-parser";
import { presenceText } from "./docs.ts";
import { propertiesDefinitions, propertiesSchema, propertyPresences } from "./json_schema_properties.ts";
import { anyCase, HOLDS_REFERENCE, SECRET_FILE, typeSchema } from "./json_schema_types.ts";
import { PROPERTIES_KEY } from "./librdkafka_table.ts";
import type { Option, OptionGroup } from "./option.ts";
import { allGroups, NAME_PATTERN } from "./schema.ts";

/**
 * The configuration as JSON Schema (draft 2020-12), for editors. It says what can be said of one file and one value: what `shipper validate`
 * accepts it accepts, and it refuses unknown keys, wrong types, values out of range and missing options. Rules between options, templates
 * and what a variable holds are for `shipper validate` alone. Sources and sinks are not required: they may stand in another file.
 *
 * Every kind of source or sink is a definition of its own. if/then picks it by `type`, so that a problem is reported where it is; the
 * `anyOf` beside it is always fulfilled, and tells editors that do not follow if/then what keys there can be.
 */
export function configurationSchema(): JsonSchema {
  const root = wholeTable(allGroups.find((each) => each.table === "")!);
  const places: Record<string, OptionGroup[]> = {};
  const definitions: Record<string, JsonSchema> = {};
  for (const group of allGroups) {
    if (group.table === "") continue;
    if (group.type === null) {
      root.properties![group.table] = wholeTable(group);
      continue;
    }
    const place = group.table.slice(0, group.table.indexOf("."));
    (places[place] ??= []).push(group);
    definitions[definitionName(group)] = tableSchema(group).table;
  }
  for (const [place, groups] of Object.entries(places)) {
    root.properties![place] = {
      description: `Tables of ${place}, each under a name of your choice: \`[${place}.NAME]\`.`,
      type: "object",
      patternProperties: { [NAME_PATTERN.source]: componentSchema(groups) },
      additionalProperties: false,
    };
  }
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "Configuration of shipper",
    ...root,
    description: "A configuration file of shipper. docs/configuration.md describes every option.",
    $defs: { ...definitions, ...propertiesDefinitions() },
  };
}

/** As `shipper schema` prints it, and docs/shipper.schema.json holds it. */
export function configurationSchemaText(): string {
  return `${JSON.stringify(configurationSchema(), null, 2)}\n`;
}

/** As much of JSON Schema as is written here. */
export interface JsonSchema {
  $schema?: string;
  title?: string;
  description?: string;
  type?: string | readonly string[];
  const?: unknown;
  enum?: readonly unknown[];
  minimum?: number;
  maximum?: number;
  pattern?: string;
  default?: unknown;
  examples?: readonly unknown[];
  deprecated?: boolean;
  items?: JsonSchema;
  minItems?: number;
  properties?: Record<string, JsonSchema>;
  patternProperties?: Record<string, JsonSchema>;
  additionalProperties?: boolean | JsonSchema;
  maxProperties?: number;
  required?: readonly string[];
  anyOf?: readonly JsonSchema[];
  oneOf?: readonly JsonSchema[];
  allOf?: readonly JsonSchema[];
  not?: JsonSchema;
  if?: JsonSchema;
  then?: JsonSchema;
  else?: JsonSchema;
  $ref?: string;
  $defs?: Record<string, JsonSchema>;
}

/** "source-file": a part of a JSON pointer. */
function definitionName(group: OptionGroup): string {
  return `${group.table.split(".")[0]!.replace(/s$/u, "")}-${group.type}`;
}

/** A source or sink of any kind. A `type` that holds a reference may be any of them. */
function componentSchema(groups: readonly OptionGroup[]): JsonSchema {
  const refs = groups.map((each): JsonSchema => ({ $ref: `#/$defs/${definitionName(each)}` }));
  const known: JsonSchema = {
    properties: {
      type: { anyOf: [{ enum: groups.map((each) => each.type) }, { type: "string", pattern: "\\$" }] },
    },
  };
  const choice = groups.reduceRight<JsonSchema>((otherwise, group, index) => ({
    if: { properties: { type: { const: group.type } }, required: ["type"] },
    then: withRules(refs[index]!, tableSchema(group).rules),
    else: otherwise,
  }), known);
  return { type: "object", required: ["type"], anyOf: [...refs, {}], ...choice };
}

/** Rules stand beside what they are about: editors look for keys where no `allOf` is. */
function withRules(schema: JsonSchema, rules: readonly JsonSchema[]): JsonSchema {
  return rules.length === 0 ? schema : { allOf: [schema, ...rules] };
}

function wholeTable(group: OptionGroup): JsonSchema {
  const { table, rules } = tableSchema(group);
  return rules.length === 0 ? table : { ...table, allOf: rules };
}

interface TableSchema {
  readonly table: JsonSchema;
  /** Between its options. */
  readonly rules: readonly JsonSchema[];
}

/** A table with all options of a group, those with dotted keys in tables of their own. */
function tableSchema(group: OptionGroup): TableSchema {
  const table: JsonSchema = {
    description: group.doc,
    type: "object",
    properties: {},
    additionalProperties: false,
  };
  const required: string[] = [];
  const rules: JsonSchema[] = [];
  for (const [key, option] of Object.entries(group.options)) {
    const schema = optionSchema(key, option);
    addProperty(table, key, schema);
    for (const alias of option.aliases) {
      const description = `Another name of \`${key}\`. ${schema.description}`;
      addProperty(table, alias, { ...schema, description, deprecated: true });
    }
    const spellings = [key, ...option.aliases].map((each) => presence(each));
    const others = otherPresences(group, key);
    if (!option.required || others.length > 0) {
      rules.push(...pairs(spellings).map((both) => ({ not: { allOf: both } })));
      if (option.required) rules.push({ anyOf: [...spellings, ...others] });
    } else if (spellings.length === 1 && !key.includes(".")) required.push(key);
    else rules.push({ oneOf: spellings });
    if (option.requiredWhen !== null) {
      const then = others.length === 0 ? presence(key) : { anyOf: [presence(key), ...others] };
      rules.push({ if: requirement(group, option), then });
    }
  }
  if ((group.tables ?? []).includes(PROPERTIES_KEY)) table.properties![PROPERTIES_KEY] = propertiesSchema();
  if (required.length > 0) table.required = required;
  return { table, rules };
}

/** Fulfilled where an option has to be there that is not required always. */
function requirement(
  group: OptionGroup,
  { requiredWhen, requiredUnless: unless }: Option<unknown>,
): JsonSchema {
  const when = presence(requiredWhen!, { const: true });
  if (unless === null) return when;
  // One that comes from a variable, or from another client's property, may be any of them.
  const pattern = `^(?:${unless.values.map(anyCase).join("|")})$|${HOLDS_REFERENCE}`;
  const exceptions = [
    presence(unless.option, { type: "string", pattern }),
    ...otherPresences(group, unless.option),
  ];
  return { allOf: [when, { not: { anyOf: exceptions } }] };
}

/** Fulfilled where something else gives an option its value. */
function otherPresences(group: OptionGroup, key: string): JsonSchema[] {
  return [
    ...(group.impliedBy?.[key] ?? []).flatMap((each) => [presence(each), ...propertyPresences(group, each)]),
    ...propertyPresences(group, key),
  ];
}

/** Puts an option into the table that its key names, which is made when it is not there. */
function addProperty(table: JsonSchema, key: string, schema: JsonSchema): void {
  const parts = key.split(".");
  let inner = table;
  for (const part of parts.slice(0, -1)) {
    inner = inner.properties![part] ??= { type: "object", properties: {}, additionalProperties: false };
  }
  inner.properties![parts.at(-1)!] = schema;
}

/** Fulfilled where the dotted key is there, with a value that fulfils `value`. */
function presence(key: string, value?: JsonSchema): JsonSchema {
  const [first, ...rest] = key.split(".") as [string, ...string[]];
  const inner = rest.length > 0 ? presence(rest.join("."), value) : value;
  if (inner === undefined) return { required: [first] };
  // A type, so that a checker in its strict mode takes it.
  return {
    properties: { [first]: rest.length > 0 ? { type: "object", ...inner } : inner },
    required: [first],
  };
}

function pairs(list: readonly JsonSchema[]): JsonSchema[][] {
  return list.flatMap((one, index) => list.slice(index + 1).map((other) => [one, other]));
}

function optionSchema(key: string, option: Option<unknown>): JsonSchema {
  const schema: JsonSchema = {
    description: `${option.doc}\n\n${upperFirst(presenceText(option))}.`,
    ...(option.secret ? { anyOf: [typeSchema(option.type), SECRET_FILE] } : typeSchema(option.type)),
    examples: [exampleValue(key, option)],
  };
  if (option.default !== undefined && option.default !== null) schema.default = option.default;
  return schema;
}

/** The example as a value. */
function exampleValue(key: string, option: Option<unknown>): unknown {
  const value = getStaticTOMLValue(parseTOML(`example = ${option.example}\n`, { tomlVersion: "1.1" }));
  if (!Object.hasOwn(value, "example")) throw new Error(`The example of "${key}" is no value`);
  return (value as Record<string, unknown>)["example"];
}

function upperFirst(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}
