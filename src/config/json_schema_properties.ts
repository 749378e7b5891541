import type { JsonSchema } from "./json_schema.ts";
import { anyCase, HOLDS_REFERENCE, SECRET_FILE } from "./json_schema_types.ts";
import type { Property } from "./librdkafka_property.ts";
import { kafkaProperties, PROPERTIES_KEY } from "./librdkafka_table.ts";
import type { OptionGroup } from "./option.ts";
import { kafkaSinkGroup } from "./options_kafka_sink.ts";

/**
 * The table of another client's properties as JSON Schema: every property by its whole name, with what becomes of it. Below a part of a
 * name, as in `librdkafka_options.linger.ms = 5`, any names are accepted, since dots and quotes can stand in many ways. What a value of a
 * property has to be is said by `shipper validate`.
 */
export function propertiesSchema(): JsonSchema {
  const properties: Record<string, JsonSchema> = {};
  for (const name of prefixes()) properties[name] = { $ref: `#/$defs/${NESTED}` };
  for (const [name, property] of kafkaProperties) {
    const schema = propertySchema(property);
    properties[name] = Object.hasOwn(properties, name)
      ? { description: schema.description!, anyOf: [schema, { $ref: `#/$defs/${NESTED}` }] }
      : schema;
  }
  return {
    description: "Properties of librdkafka and of Kafka's Java producer, by their names there: " +
      "docs/librdkafka_options.md says which option each stands for.",
    type: "object",
    properties,
    additionalProperties: false,
  };
}

/** What `propertiesSchema` refers to. */
export function propertiesDefinitions(): Record<string, JsonSchema> {
  return {
    [NESTED]: {
      type: "object",
      additionalProperties: { anyOf: [{ type: SCALARS }, { $ref: `#/$defs/${NESTED}` }] },
    },
  };
}

/** Fulfilled where a property stands in the table that gives `key` of the group a value, or may stand there in parts. */
export function propertyPresences(group: OptionGroup, key: string): JsonSchema[] {
  if (!(group.tables ?? []).includes(PROPERTIES_KEY)) return [];
  const names = [...kafkaProperties].filter(([, each]) => each.kind === "mapped" && each.option === key)
    .flatMap(([name]) => [name, ...prefixesOf(name)]);
  if (names.length === 0) return [];
  const anyOf = [...new Set(names)].map((each): JsonSchema => ({ required: [each] }));
  return [{ properties: { [PROPERTIES_KEY]: { type: "object", anyOf } }, required: [PROPERTIES_KEY] }];
}

/** Name of the definition. */
const NESTED = "properties-nested";
const SCALARS = ["string", "number", "boolean"];

function prefixes(): Set<string> {
  return new Set([...kafkaProperties.keys()].flatMap(prefixesOf));
}

/** "a.b.c" has "a" and "a.b". */
function prefixesOf(name: string): string[] {
  const parts = name.split(".");
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join("."));
}

function propertySchema(property: Property): JsonSchema {
  if (property.kind === "mapped") {
    const description = `Stands for \`${property.option}\`.`;
    return kafkaSinkGroup.options[property.option as keyof typeof kafkaSinkGroup.options].secret
      ? { description, anyOf: [{ type: SCALARS }, SECRET_FILE] }
      : { description, type: SCALARS };
  }
  const { severity, reason, same } = property;
  if (severity === "warning") return { description: `Has no effect: ${reason}.`, type: SCALARS };
  const description = `Refused: ${reason}.`;
  if (same.length === 0) return { description, not: {} };
  // Values that are written without quotes are read as their text is.
  const plain = same.flatMap((each): unknown[] =>
    each === "true" || each === "false" ? [each === "true"] : /^\d+$/u.test(each) ? [Number(each)] : []
  );
  const pattern = `${HOLDS_REFERENCE}|^\\s*(?:${same.map(anyCase).join("|")})\\s*$`;
  return {
    description,
    anyOf: [...(plain.length > 0 ? [{ enum: plain }] : []), { type: "string", pattern }],
  };
}
