import type { ChoiceType, NumberType, Option, StringCheck, StringProblem } from "./option.ts";
import { checkSecretFile, UNREAD_SECRET } from "./secret_file.ts";
import { quote } from "./source_text.ts";
import { checkAddress } from "./string_checks.ts";
import { nearest } from "./suggest.ts";
import { checkTexts } from "./check_texts.ts";
import type { TomlNode } from "./toml_tree.ts";
import {
  type CheckSession,
  type ExpandedString,
  expandScalar,
  holdsPrivateKey,
  holdsUrlPassword,
  INVALID,
  maskNode,
  partSpan,
  rawText,
  type ValueContext,
} from "./value_context.ts";
import { oneOf, wrongType } from "./wrong_type.ts";

/**
 * Checks one value against its option. Reports what is wrong and returns INVALID, or returns the value with
 * its unit of the declaration.
 */
export function checkValue(
  node: TomlNode,
  key: string,
  option: Option<unknown>,
  session: CheckSession,
): unknown {
  const context: ValueContext = { session, key, option };
  const { type } = option;
  if (option.secret && node.kind === "table") {
    const text = checkSecretFile(node, context);
    const check = type.kind === "string" ? type.check : undefined;
    const problem = text === INVALID || text === UNREAD_SECRET ? null : check?.(text) ?? null;
    if (problem === null) return text;
    return badString(node, { value: "", alone: false, shown: "a hidden value" }, problem, context);
  }
  if (option.secret || holdsPrivateKey(node) || holdsUrlPassword(node)) maskNode(node);
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
    case "texts":
      return checkTexts(node, type, context, checkString);
    default:
      return checkNumber(node, type, context);
  }
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
  node: TomlNode,
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
    hint: hintFor(problem, expanded, context),
  });
  return INVALID;
}

/** A hint may be made of the value: not where that is from a variable, which may hold a secret. Those of secrets are made of none. */
function hintFor(problem: StringProblem, expanded: ExpandedString, { key, option }: ValueContext): string {
  return option.secret || expanded.shown === quote(expanded.value)
    ? problem.hint
    : `it takes, for example, ${key} = ${option.example}`;
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
        hint: hintFor(problem, expanded, context),
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
