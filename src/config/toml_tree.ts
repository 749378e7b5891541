import { ParseError, parseTOML } from "toml-eslint-parser";
import type { AST } from "toml-eslint-parser";
import type { Report } from "./diagnostic.ts";
import { quote, type SourceText, type Span } from "./source_text.ts";

/**
 * A TOML file as tables, arrays and scalars that know where they stand. Dotted keys, headers and inline tables all become the same nested
 * tables. toml-eslint-parser reads the text because it keeps the position of every key and value; it stops at the first syntax error, so a
 * file that is not TOML has one diagnostic.
 */
export type TomlNode = TomlTable | TomlArray | TomlScalar;

export interface TomlTable {
  readonly kind: "table";
  /** The header's key, the dotted key's part, or the inline table. */
  readonly at: Span;
  /** In order of appearance. A Map: "__proto__" is a key like any other. */
  readonly entries: Map<string, TomlEntry>;
}

export interface TomlEntry {
  readonly key: string;
  /** This part of the key alone: `max_events` in `buffer.max_events`. */
  readonly keyAt: Span;
  /** The key as written with its value; for a table made by a header, the header's key. */
  readonly at: Span;
  readonly node: TomlNode;
}

export interface TomlArray {
  readonly kind: "array";
  readonly at: Span;
  readonly items: readonly TomlNode[];
}

export interface TomlScalar {
  readonly kind: "string" | "integer" | "float" | "boolean" | "date";
  readonly at: Span;
  /** A date is its text; an integer beyond 2^53 is the nearest number. */
  readonly value: string | number | boolean;
}

/** Reads a text; null when it is not TOML, which is then reported. */
export function parseToml(file: SourceText, report: Report): TomlTable | null {
  let program: AST.TOMLProgram;
  try {
    program = parseTOML(file.text, { tomlVersion: "1.1" });
  } catch (error) {
    reportSyntaxError(file, error, report);
    return null;
  }
  const root: TomlTable = { kind: "table", at: span(file, 0, 0), entries: new Map() };
  for (const item of program.body[0].body) {
    if (item.type === "TOMLKeyValue") {
      addKeyValue(root, item, file);
      continue;
    }
    const table = item.kind === "array"
      ? appendTable(root, item.key, file)
      : openTable(root, item.key.keys, file);
    for (const keyValue of item.body) addKeyValue(table, keyValue, file);
  }
  return root;
}

type KeyPart = AST.TOMLBare | AST.TOMLQuoted;

function openTable(root: TomlTable, parts: readonly KeyPart[], file: SourceText): TomlTable {
  let table = root;
  for (const part of parts) {
    const key = nameOf(part);
    const found = table.entries.get(key);
    // The parser has refused keys that are a value here and a table there; an array of tables is continued in its last one.
    const node = found?.node.kind === "array" ? found.node.items.at(-1) : found?.node;
    if (node !== undefined && node.kind === "table") {
      table = node;
      continue;
    }
    const at = span(file, part.range[0], part.range[1]);
    const made: TomlTable = { kind: "table", at, entries: new Map() };
    table.entries.set(key, { key, keyAt: at, at, node: made });
    table = made;
  }
  return table;
}

function appendTable(root: TomlTable, key: AST.TOMLKey, file: SourceText): TomlTable {
  const last = key.keys.at(-1)!;
  const parent = openTable(root, key.keys.slice(0, -1), file);
  const at = span(file, last.range[0], last.range[1]);
  const table: TomlTable = { kind: "table", at, entries: new Map() };
  const found = parent.entries.get(nameOf(last));
  if (found?.node.kind === "array") {
    (found.node.items as TomlNode[]).push(table);
  } else {
    const name = nameOf(last);
    parent.entries.set(name, { key: name, keyAt: at, at, node: { kind: "array", at, items: [table] } });
  }
  return table;
}

function addKeyValue(table: TomlTable, item: AST.TOMLKeyValue, file: SourceText): void {
  const parts = item.key.keys;
  const last = parts.at(-1)!;
  const parent = openTable(table, parts.slice(0, -1), file);
  parent.entries.set(nameOf(last), {
    key: nameOf(last),
    keyAt: span(file, last.range[0], last.range[1]),
    at: span(file, item.range[0], item.range[1]),
    node: toNode(item.value, file),
  });
}

function toNode(content: AST.TOMLContentNode, file: SourceText): TomlNode {
  const at = span(file, content.range[0], content.range[1]);
  switch (content.type) {
    case "TOMLArray":
      return { kind: "array", at, items: content.elements.map((each) => toNode(each, file)) };
    case "TOMLInlineTable": {
      const table: TomlTable = { kind: "table", at, entries: new Map() };
      for (const each of content.body) addKeyValue(table, each, file);
      return table;
    }
    case "TOMLValue":
      return toScalar(content, at);
  }
}

function toScalar(content: AST.TOMLValue, at: Span): TomlScalar {
  switch (content.kind) {
    case "string":
    case "integer":
    case "float":
    case "boolean":
      return { kind: content.kind, at, value: content.value };
    default:
      return { kind: "date", at, value: content.datetime };
  }
}

function nameOf(part: KeyPart): string {
  return part.type === "TOMLBare" ? part.name : part.value;
}

function span(file: SourceText, start: number, end: number): Span {
  return { file, start, end };
}

/** The strings of a list, or the one string that stands for a list. */
export function stringItems(node: TomlNode): TomlScalar[] {
  const items = node.kind === "array" ? node.items : [node];
  return items.filter((each) => each.kind === "string") as TomlScalar[];
}

/** What the parser says, in words that say what to do. The parser's own errors have no code, so its English texts are the keys. */
const SYNTAX_ERRORS: Readonly<Record<string, readonly [message: string, hint: string]>> = {
  "Unterminated string constant": [
    "a string is not closed",
    'end it with the quote it began with, as in key = "value"',
  ],
  "Unterminated table-key": ["a table header is not closed", "end the header with ], as in [sinks.events]"],
  "Unterminated array": ["an array is not closed", 'end it with ], as in ["a", "b"]'],
  "Unterminated inline table": ["an inline table is not closed", "end it with }, as in { enabled = true }"],
  "Empty bare keys are not allowed": ["a key is missing", "write a name before the equals sign"],
  "Must be a newline": ["two things stand on one line", "put each option on a line of its own"],
  "Expected equal (=) token": ["an equals sign is missing", 'write key = "value"'],
  "Unspecified values are invalid": [
    "a value is missing",
    'write one after the equals sign, as in key = "value"',
  ],
  "Expected comma (,) token": ["a comma is missing", 'separate items by commas, as in ["a", "b"]'],
  "The key, equals sign, and value must be on the same line": [
    "key, equals sign and value stand on different lines",
    'put them on one line, as in key = "value"',
  ],
  "Leading zeros are not allowed": ["a number begins with a zero", "remove the zero, or quote the value"],
  "Invalid character in escape sequence": [
    "a backslash stands before a character that cannot follow it",
    "write \\\\ for a backslash, or use single quotes: 'C:\\logs\\app.log'",
  ],
};

function reportSyntaxError(file: SourceText, error: unknown, report: Report): void {
  file.maskLikelySecrets();
  if (!(error instanceof ParseError)) {
    // Nesting deeper than the parser's stack.
    const message = `Cannot read ${quote(file.path)}: its tables or arrays are nested too deeply`;
    report.addForFile("toml-syntax", file, message, "no option needs more than three levels");
    return;
  }
  const start = Math.min(error.index, file.text.length);
  const rest = file.text.slice(start);
  const reference = /^\$\{[^}\n]*\}/u.exec(rest)?.[0];
  if (reference !== undefined) {
    report.add({
      code: "toml-syntax",
      message: `Cannot read ${quote(file.path)} as TOML: ${quote(reference)} stands outside a string`,
      at: span(file, start, start + reference.length),
      hint: `put it in quotes: "${reference}"; where a number or true/false is wanted, it is converted`,
    });
    return;
  }
  if (error.message === "Defining a key multiple times is invalid") {
    reportDuplicateKey(file, start, report);
    return;
  }
  const known = SYNTAX_ERRORS[error.message];
  const word = /^[^\s=,[\]{}#"']+/u.exec(rest)?.[0];
  const bareWord = error.message === "Unexpected character" && word !== undefined && /^[A-Za-z]/u.test(word);
  const what = bareWord
    ? "a text stands without quotes"
    : known?.[0] ?? error.message.charAt(0).toLowerCase() + error.message.slice(1);
  report.add({
    code: "toml-syntax",
    message: `Cannot read ${quote(file.path)} as TOML: ${what}`,
    at: span(file, start, bareWord ? start + word.length : Math.min(start + 1, file.text.length)),
    hint: bareWord ? "texts are written in quotes; only numbers, true and false are not" : known?.[1] ?? null,
  });
}

function reportDuplicateKey(file: SourceText, start: number, report: Report): void {
  const key = /^(?:"[^"\n]*"|'[^'\n]*'|[A-Za-z0-9_-]+)/u.exec(file.text.slice(start))?.[0] ?? "";
  report.add({
    code: "duplicate-key",
    message: `Cannot read ${quote(file.path)}: ${
      quote(key.replace(/^["']|["']$/gu, ""))
    } is set a second time`,
    at: span(file, start, start + Math.max(1, key.length)),
    hint: "keep one of the two",
  });
}
