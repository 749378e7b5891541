import type { Report } from "./diagnostic.ts";
import { expand, type ExpansionError } from "./interpolate.ts";
import type { Option } from "./option.ts";
import type { ReadSecretFile } from "./secret_file.ts";
import { isBareReference, quote, quoteWidth, type Span } from "./source_text.ts";
import type { TomlNode, TomlScalar } from "./toml_tree.ts";

/** What the checks need besides the tables. */
export interface CheckSession {
  readonly report: Report;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly readSecretFile: ReadSecretFile;
}

/** A value that was refused and reported. */
export const INVALID = Symbol("invalid");

export interface ValueContext {
  readonly session: CheckSession;
  /** As the user wrote the key: an alias, perhaps. */
  readonly key: string;
  readonly option: Option<unknown>;
}

/**
 * Hides every string in a node from the lines that are shown; a lone reference to the environment is no
 * secret.
 */
export function maskNode(node: TomlNode): void {
  if (node.kind === "array") node.items.forEach(maskNode);
  else if (node.kind === "table") { for (const entry of node.entries.values()) maskNode(entry.node); }
  else if (!isBareReference(rawText(node.at))) {
    const { file, start, end } = node.at;
    const width = quoteWidth(rawText(node.at));
    // A comment behind it may be the old value.
    const comment = /^[ \t]*#[^\n]*/u.exec(file.text.slice(end));
    file.maskSecret(start + width, end - width);
    if (comment !== null) file.maskSecret(end, end + comment[0].length);
  }
}

/** "https://user:password@host" */
export function holdsUrlPassword(node: TomlNode): boolean {
  return node.kind === "string" && /:\/\/[^/\s]*:[^/\s]*@/u.test(String(node.value));
}

export function holdsPrivateKey(node: TomlNode): boolean {
  return node.kind === "string" && String(node.value).includes("PRIVATE KEY-----");
}

export interface ExpandedString {
  readonly value: string;
  /** The whole string is one reference: it may stand for a number or a boolean. */
  readonly alone: boolean;
  /** How the value may be named in a message: as written when it came from the environment. */
  readonly shown: string;
}

export function expandScalar(node: TomlScalar, context: ValueContext): ExpandedString | typeof INVALID {
  const text = String(node.value);
  const expansion = expand(text, context.session.env);
  if (expansion.ok) {
    warnOfBareVariable(node, text, context);
    const shown = context.option.secret
      ? "a hidden value"
      : shownValue(text, expansion.value, expansion.variables);
    return { value: expansion.value, alone: expansion.alone, shown };
  }
  reportExpansion(node, text, expansion, context);
  return INVALID;
}

/** Vector and shells replace `$NAME` too. */
function warnOfBareVariable(node: TomlScalar, text: string, { session, key, option }: ValueContext): void {
  const name = /^\$([A-Z_][A-Z0-9_]*)(?=$|\/)/u.exec(text)?.[1];
  if (name === undefined) return;
  session.report.add({
    code: "bare-variable",
    message: option.secret
      ? `Option ${quote(key)} begins with "$" and stays as it is: a variable is written with braces`
      : `Option ${quote(key)} takes ${quote(`$${name}`)} as it is: a variable is written with braces`,
    at: node.at,
    hint: option.secret
      ? 'write "${NAME}", or "$$" for a dollar'
      : `write ${quote(`\${${name}}${text.slice(name.length + 1)}`)}, or "$$" for a dollar`,
  });
}

/** A value from a variable with a telling name is not repeated: it may be a secret in the wrong place. */
export function shownValue(text: string, value: string, variables: readonly string[]): string {
  return variables.some(namesSecret) ? `the value of ${quote(text)}` : quote(value);
}

/** True for a variable whose value is better not shown, by its name. */
export function namesSecret(variable: string): boolean {
  return /pass|pwd|secret|token|key|credential/iu.test(variable);
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

export function rawText(at: Span): string {
  return at.file.text.slice(at.start, at.end);
}

/**
 * The part of a value to point at; the whole value when its text is not found there, as after an escape
 * sequence.
 */
export function partSpan(at: Span, part: string): Span {
  const found = part === "" ? -1 : rawText(at).indexOf(part);
  return found === -1 ? at : { file: at.file, start: at.start + found, end: at.start + found + part.length };
}
