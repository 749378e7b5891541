import type { Report } from "./diagnostic.ts";
import { expand, type ExpansionError } from "./interpolate.ts";
import type { ChoiceType, NumberType, Option, OptionType, StringCheck, StringProblem } from "./option.ts";
import { isBareReference, quote, quoteWidth, type Span } from "./source_text.ts";
import { checkAddress } from "./string_checks.ts";
import { nearest } from "./suggest.ts";
import type { TomlNode, TomlScalar } from "./toml_tree.ts";

/** What the checks need besides the tables. */
export interface CheckSession {
  readonly report: Report;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** A value that was refused and reported. */
export const INVALID = Symbol("invalid");

interface ValueContext {
  readonly session: CheckSession;
  /** As the user wrote the key: an alias, perhaps. */
  readonly key: string;
  readonly option: Option<unknown>;
}

/** Checks one value against its option. Reports what is wrong and returns INVALID, or returns the value with its unit of the declaration. */
export function checkValue(
  node: TomlNode,
  key: string,
  option: Option<unknown>,
  session: CheckSession,
): unknown {
  if (option.secret || holdsPrivateKey(node)) maskNode(node);
  const context: ValueContext = { session, key, option };
  const { type } = option;
  switch (type.kind) {
    case "string":
      return checkString(node, type.check, context);
    case "boolean":
      return checkBoolean(node, context);
    case "choice":
      return checkChoice(node, type, context);
    case "strings":
      return checkStrings(node, type.countMin, type.check, context);
    case "addresses":
      return checkAddresses(node, context);
    default:
      return checkNumber(node, type, context);
  }
}

/** Hides every string in a node from the lines that are shown; a lone reference to the environment is no secret. */
export function maskNode(node: TomlNode): void {
  if (node.kind === "array") node.items.forEach(maskNode);
  else if (node.kind === "table") { for (const entry of node.entries.values()) maskNode(entry.node); }
  else if (!isBareReference(rawText(node.at))) {
    const width = quoteWidth(rawText(node.at));
    node.at.file.maskSecret(node.at.start + width, node.at.end - width);
  }
}

function holdsPrivateKey(node: TomlNode): boolean {
  return node.kind === "string" && String(node.value).includes("PRIVATE KEY-----");
}

interface ExpandedString {
  readonly value: string;
  /** The whole string is one reference: it may stand for a number or a boolean. */
  readonly alone: boolean;
  /** How the value may be named in a message: as written when it came from the environment. */
  readonly shown: string;
}

function expandScalar(node: TomlScalar, context: ValueContext): ExpandedString | typeof INVALID {
  const text = String(node.value);
  const expansion = expand(text, context.session.env);
  if (expansion.ok) {
    const shown = context.option.secret
      ? "a hidden value"
      : shownValue(text, expansion.value, expansion.variables);
    return { value: expansion.value, alone: expansion.alone, shown };
  }
  reportExpansion(node, text, expansion, context);
  return INVALID;
}

/** A value from a variable with a telling name is not repeated: it may be a secret in the wrong place. */
function shownValue(text: string, value: string, variables: readonly string[]): string {
  const secret = variables.some((each) => /pass|pwd|secret|token|key|credential/iu.test(each));
  return secret ? `the value of ${quote(text)}` : quote(value);
}

function reportExpansion(node: TomlScalar, text: string, error: ExpansionError, context: ValueContext): void {
  if (error.code === "missing-env") {
    const given = error.reason === "the environment variable is not set"
      ? error.reason
      : printableReason(error.reason);
    const withDefault = `\${${error.variable}:-value}`;
    const whole = context.option.secret || text.length > 60
      ? withDefault
      : text.replace(error.reference, () => withDefault);
    context.session.report.add({
      code: "missing-env",
      message: `Cannot expand ${quote(`\${${error.variable}}`)}: ${given}`,
      at: partSpan(node.at, error.reference),
      hint: `set ${error.variable}, or give a default: ${quote(whole)}`,
    });
    return;
  }
  const shown = context.option.secret ? "a reference" : quote(error.reference);
  context.session.report.add({
    code: "bad-interpolation",
    message: `Cannot expand ${shown} in option ${quote(context.key)}: ${error.reason}`,
    at: partSpan(node.at, error.reference),
    hint: 'write "$$" for a dollar that is none of these',
  });
}

function printableReason(reason: string): string {
  return quote(reason).slice(1, -1);
}

function checkString(
  node: TomlNode,
  check: StringCheck | undefined,
  context: ValueContext,
): string | typeof INVALID {
  if (node.kind !== "string") return wrongType(node, context);
  const expanded = expandScalar(node, context);
  if (expanded === INVALID) return INVALID;
  const problem = check?.(expanded.value) ?? null;
  if (problem === null) return expanded.value;
  return badString(node, expanded, problem, context);
}

function badString(
  node: TomlScalar,
  expanded: ExpandedString,
  problem: StringProblem,
  context: ValueContext,
): typeof INVALID {
  context.session.report.add({
    code: problem.code,
    message: `Cannot read option ${quote(context.key)}: ${
      expanded.shown === quote(expanded.value) ? problem.reason : `${expanded.shown} is not fit for it`
    }`,
    at: problem.part === undefined ? node.at : partSpan(node.at, problem.part),
    hint: problem.hint,
  });
  return INVALID;
}

function checkBoolean(node: TomlNode, context: ValueContext): boolean | typeof INVALID {
  if (node.kind === "boolean") return node.value as boolean;
  if (node.kind !== "string") return wrongType(node, context);
  const expanded = expandScalar(node, context);
  if (expanded === INVALID) return INVALID;
  if (expanded.alone && /^(?:true|false)$/iu.test(expanded.value.trim())) {
    return expanded.value.trim().toLowerCase() === "true";
  }
  return wrongType(node, context, expanded);
}

const SIZE_UNITS: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  k: 1_000,
  kb: 1_000,
  kib: 1_024,
  m: 1_000_000,
  mb: 1_000_000,
  mib: 1_048_576,
  g: 1_000_000_000,
  gb: 1_000_000_000,
  gib: 1_073_741_824,
};

function checkNumber(node: TomlNode, type: NumberType, context: ValueContext): number | typeof INVALID {
  let number: number;
  let found: string;
  if (node.kind === "integer" || (node.kind === "float" && type.kind === "seconds")) {
    number = node.value as number;
    found = rawText(node.at);
  } else if (node.kind === "string") {
    const expanded = expandScalar(node, context);
    if (expanded === INVALID) return INVALID;
    const parsed = parseNumber(expanded.value.trim(), type, expanded.alone);
    if (parsed === null) return wrongType(node, context, expanded);
    number = parsed;
    found = expanded.shown;
  } else {
    return wrongType(node, context);
  }
  if (number === type.special || (number >= type.min && number <= type.max)) return number;
  const special = type.special === undefined ? "" : `${type.special} or `;
  context.session.report.add({
    code: "out-of-range",
    message: `Cannot read option ${
      quote(context.key)
    }: expected ${special}${type.min} to ${type.max}, found ${found}`,
    at: node.at,
    hint: rangeHint(context),
  });
  return INVALID;
}

/** A string as a number: sizes with their unit, and any number when the string is a reference alone. */
function parseNumber(text: string, type: NumberType, alone: boolean): number | null {
  if (type.kind === "size") {
    const match = /^([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)$/u.exec(text);
    const factor = match === null ? undefined : SIZE_UNITS[match[2]!.toLowerCase()];
    if (match === null || factor === undefined || (match[2] === "" && !alone)) return null;
    return Math.floor(Number(match[1]) * factor);
  }
  if (!alone) return null;
  const pattern = type.kind === "seconds" ? /^[+-]?[0-9]+(?:\.[0-9]+)?$/u : /^[+-]?[0-9]+$/u;
  return pattern.test(text) ? Number(text) : null;
}

function rangeHint(context: ValueContext): string {
  const { option, key } = context;
  if (option.required || option.default === null) return `write, for example, ${key} = ${option.example}`;
  return `leave the option out to use the default, ${option.default}`;
}

function checkChoice(node: TomlNode, type: ChoiceType, context: ValueContext): string | typeof INVALID {
  let value: string;
  let shown: string;
  if (node.kind === "integer" && Object.keys(type.aliases).some((each) => /^-?\d+$/u.test(each))) {
    value = String(node.value);
    shown = value;
  } else if (node.kind === "string") {
    const expanded = expandScalar(node, context);
    if (expanded === INVALID) return INVALID;
    value = expanded.value;
    shown = expanded.shown;
  } else {
    return wrongType(node, context);
  }
  const wanted = type.ignoreCase ? value.toLowerCase() : value;
  const choice = type.values.find((each) => (type.ignoreCase ? each.toLowerCase() : each) === wanted) ??
    (Object.hasOwn(type.aliases, wanted) ? type.aliases[wanted] : undefined);
  if (choice !== undefined) return choice;
  if (Object.hasOwn(type.unsupported, value)) {
    context.session.report.add({
      code: "not-supported",
      message: `Cannot use ${context.key} = ${quote(value)}: this version of shipper does not have it`,
      at: node.at,
      hint: type.unsupported[value]!,
    });
    return INVALID;
  }
  const near = nearest(value, type.values);
  const { option, key } = context;
  context.session.report.add({
    code: "bad-choice",
    message: `Cannot read option ${quote(key)}: ${shown} is not ${oneOf(type.values)}`,
    at: node.at,
    hint: near !== null ? `did you mean ${quote(near)}?` : `write, for example, ${key} = ${option.example}`,
  });
  return INVALID;
}

/** `one of "a", "b"`, or `"a"` alone. */
export function oneOf(values: readonly string[]): string {
  const list = values.map((each) => quote(each)).join(", ");
  return values.length === 1 ? list : `one of ${list}`;
}

function checkStrings(
  node: TomlNode,
  countMin: number,
  check: StringCheck | undefined,
  context: ValueContext,
): readonly string[] | typeof INVALID {
  const items = node.kind === "array" ? node.items : [node];
  const values = items.map((each) => checkString(each, check, context));
  if (values.includes(INVALID)) return INVALID;
  if (values.length >= countMin) return values as string[];
  context.session.report.add({
    code: "out-of-range",
    message: `Cannot read option ${quote(context.key)}: the list is empty, and at least one item is wanted`,
    at: node.at,
    hint: `write, for example, ${context.key} = ${context.option.example}`,
  });
  return INVALID;
}

function checkAddresses(node: TomlNode, context: ValueContext): readonly string[] | typeof INVALID {
  const items = node.kind === "array" ? node.items : [node];
  const addresses: string[] = [];
  let valid = true;
  for (const item of items) {
    if (item.kind !== "string") {
      wrongType(item, context);
      valid = false;
      continue;
    }
    const expanded = expandScalar(item, context);
    if (expanded === INVALID) {
      valid = false;
      continue;
    }
    for (
      const address of expanded.value.split(",").map((each) => each.trim()).filter((each) => each !== "")
    ) {
      const problem = checkAddress(address);
      if (problem === null) {
        addresses.push(address);
        continue;
      }
      valid = false;
      const shown = expanded.shown === quote(expanded.value) ? quote(address) : expanded.shown;
      context.session.report.add({
        code: problem.code,
        message: `Cannot read broker ${shown}: ${problem.reason}`,
        at: address === expanded.value ? item.at : partSpan(item.at, address),
        hint: problem.hint,
      });
    }
  }
  if (!valid) return INVALID;
  if (addresses.length > 0) return addresses;
  context.session.report.add({
    code: "bad-address",
    message: `Cannot read option ${quote(context.key)}: it names no broker`,
    at: node.at,
    hint: `write, for example, ${context.key} = ${context.option.example}`,
  });
  return INVALID;
}

/** Reports a value of another type than the option's. */
function wrongType(node: TomlNode, context: ValueContext, expanded?: ExpandedString): typeof INVALID {
  const { key, option } = context;
  const hidden = option.secret && node.kind === "string";
  const found = expanded === undefined ? describe(node, hidden) : `the string ${expanded.shown}`;
  context.session.report.add({
    code: "wrong-type",
    message: `Cannot read option ${quote(key)}: expected ${typeNoun(option.type)}, found ${found}`,
    at: node.at,
    hint: typeHint(node, key, option),
  });
  return INVALID;
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

function describe(node: TomlNode, hidden: boolean): string {
  switch (node.kind) {
    case "table":
      return "a table";
    case "array":
      return "a list";
    case "string":
      return hidden ? "a string" : `the string ${quote(String(node.value))}`;
    case "boolean":
      return String(node.value);
    case "date":
      return `the date ${node.value}`;
    default:
      return `the number ${rawText(node.at)}`;
  }
}

function rawText(at: Span): string {
  return at.file.text.slice(at.start, at.end);
}

/** The part of a value to point at; the whole value when its text is not found there, as after an escape sequence. */
function partSpan(at: Span, part: string): Span {
  const found = part === "" ? -1 : rawText(at).indexOf(part);
  return found === -1 ? at : { file: at.file, start: at.start + found, end: at.start + found + part.length };
}
