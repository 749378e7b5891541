import type { JsonSchema } from "./json_schema.ts";
import type { ChoiceType, NumberType, OptionType, StringCheck } from "./option.ts";
import {
  checkFieldPath,
  checkGlob,
  checkListenAddress,
  checkNotEmpty,
  checkPath,
  checkTopic,
} from "./string_checks.ts";

/**
 * Types of options as JSON Schema. A string with a reference to the environment may become anything, so it is accepted wherever its value
 * could be: `$` anywhere in a text, choice or size; one reference alone for another number, or a boolean.
 */

/** One reference and nothing else. Plain enough for the regular expressions of ECMAScript and of Rust, which editors use. */
const REFERENCE = "^\\$\\{[\\s\\S]*\\}$";
export const HOLDS_REFERENCE = "\\$";
/** "64MiB": a number with a unit, as check_value.ts reads it. */
const SIZE = "^\\s*[0-9]+(?:\\.[0-9]+)?\\s*(?:[kKmMgG](?:[iI]?[bB])?|[bB])\\s*$";
/** A comma list of addresses, empty places in it included; what is wrong with one address is said by `shipper validate`. */
const ADDRESSES = "^[\\s,]*[^\\s,/@]+:[0-9]+(?:\\s*,[\\s,]*[^\\s,/@]+:[0-9]+)*[\\s,]*$";

/** What a check asks for that a pattern can say. */
const CHECK_PATTERNS: ReadonlyMap<StringCheck, string> = new Map([
  [checkFieldPath, "[\\s\\S]"],
  [checkGlob, "\\S"],
  [checkListenAddress, `${HOLDS_REFERENCE}|^unix:/|:[0-9]+$`],
  [checkNotEmpty, "\\S"],
  [checkPath, "\\S"],
  [checkTopic, "[\\s\\S]"],
]);

/** In place of a secret's text. */
export const SECRET_FILE: JsonSchema = {
  type: "object",
  properties: {
    file: { description: "The path of a file that holds the secret.", type: "string", pattern: "\\S" },
  },
  required: ["file"],
  additionalProperties: false,
};

export function typeSchema(type: OptionType): JsonSchema {
  switch (type.kind) {
    case "string":
      return stringSchema(type.check);
    case "boolean":
      return { type: ["boolean", "string"], pattern: REFERENCE };
    case "choice":
      return choiceSchema(type);
    case "strings": {
      const { type: _, ...pattern } = stringSchema(type.check);
      return {
        type: ["array", "string"],
        ...pattern,
        items: stringSchema(type.check),
        ...(type.countMin > 0 ? { minItems: type.countMin } : {}),
      };
    }
    case "addresses": {
      const pattern = `${HOLDS_REFERENCE}|${ADDRESSES}`;
      return {
        type: ["string", "array"],
        pattern,
        items: { type: "string", pattern: `${pattern}|^[\\s,]*$` },
        minItems: 1,
      };
    }
    case "texts":
      return { type: "object", additionalProperties: stringSchema(type.check), maxProperties: type.countMax };
    default:
      return numberSchema(type);
  }
}

function stringSchema(check: StringCheck | undefined): JsonSchema {
  const pattern = check === undefined ? undefined : CHECK_PATTERNS.get(check);
  return pattern === undefined ? { type: "string" } : { type: "string", pattern };
}

function numberSchema(type: NumberType): JsonSchema {
  const { kind, min, max, special } = type;
  const schema: JsonSchema = {
    type: [kind === "seconds" ? "number" : "integer", "string"],
    minimum: min,
    maximum: max,
    pattern: kind === "size" ? `${HOLDS_REFERENCE}|${SIZE}` : REFERENCE,
  };
  return special === undefined ? schema : { anyOf: [schema, { const: special }] };
}

/** The values themselves come first: editors offer them. */
function choiceSchema({ values, aliases, ignoreCase }: ChoiceType): JsonSchema {
  const branches: JsonSchema[] = [{ enum: values }];
  const others = Object.keys(aliases);
  const numbers = others.filter((each) => /^-?\d+$/u.test(each)).map(Number);
  if (others.length > 0) branches.push({ enum: [...others, ...numbers] });
  if (ignoreCase) {
    const spellings = [...values, ...others.filter((each) => /[a-z]/iu.test(each))];
    branches.push({ type: "string", pattern: `^(?:${spellings.map(anyCase).join("|")})$` });
  }
  return { anyOf: [...branches, { type: "string", pattern: HOLDS_REFERENCE }] };
}

/** "a-1" as "[aA]-1". */
export function anyCase(text: string): string {
  return Array.from(
    text,
    (each) => /[a-z]/iu.test(each) ? `[${each.toLowerCase()}${each.toUpperCase()}]` : each,
  ).join("");
}
