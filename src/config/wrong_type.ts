import type { Option, OptionType } from "./option.ts";
import { quote } from "./source_text.ts";
import type { TomlNode } from "./toml_tree.ts";
import { type ExpandedString, INVALID, rawText, type ValueContext } from "./value_context.ts";

/** `one of "a", "b"`, or `"a"` alone. */
export function oneOf(values: readonly string[]): string {
  const list = values.map((each) => quote(each)).join(", ");
  return values.length === 1 ? list : `one of ${list}`;
}

function typeNoun(type: OptionType): string {
  switch (type.kind) {
    case "string":
      return "a string";
    case "boolean":
      return "true or false";
    case "choice":
      return oneOf(type.values);
    case "strings":
      return "a list of strings";
    case "addresses":
      return 'a list of "host:port" addresses';
    case "texts":
      return "a table of strings";
    case "integer":
      return "an integer";
    case "seconds":
      return "a number of seconds";
    case "size":
      return 'a number of bytes, or a string such as "64MiB"';
  }
}

function typeHint(node: TomlNode, key: string, option: Option<unknown>): string {
  if (node.kind === "string") {
    const bare = String(node.value);
    const number = ["integer", "seconds", "size"].includes(option.type.kind) && /^-?[0-9]+$/u.test(bare);
    const boolean = option.type.kind === "boolean" && /^(?:true|false)$/u.test(bare);
    if (number || boolean) return `remove the quotes: ${key} = ${bare}`;
  }
  if (option.type.kind === "integer" || option.type.kind === "seconds") {
    return `write the number${option.unit === null ? "" : ` of ${option.unit}`}: ${key} = ${option.example}`;
  }
  return `write, for example, ${key} = ${option.example}`;
}

/** What kind of value stands there; the value itself may be a secret. */
export function kindNoun(node: TomlNode): string {
  switch (node.kind) {
    case "table":
    case "date":
    case "string":
      return `a ${node.kind}`;
    case "array":
      return "a list";
    case "boolean":
      return "a boolean";
    default:
      return "a number";
  }
}

function describe(node: TomlNode): string {
  switch (node.kind) {
    case "table":
      return "a table";
    case "array":
      return "a list";
    case "string":
      return `the string ${quote(String(node.value))}`;
    case "boolean":
      return String(node.value);
    case "date":
      return `the date ${node.value}`;
    default:
      return `the number ${rawText(node.at)}`;
  }
}

/** Reports a value of another type than the option's. */
export function wrongType(node: TomlNode, context: ValueContext, expanded?: ExpandedString): typeof INVALID {
  const { key, option } = context;
  const found = option.secret && node.kind !== "table" && node.kind !== "array"
    ? kindNoun(node)
    : expanded === undefined
    ? describe(node)
    : `the string ${expanded.shown}`;
  context.session.report.add({
    code: "wrong-type",
    message: `Cannot read option ${quote(key)}: expected ${typeNoun(option.type)}, found ${found}`,
    at: node.at,
    hint: typeHint(node, key, option),
  });
  return INVALID;
}
