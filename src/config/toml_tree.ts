import { parseTOML } from "toml-eslint-parser";
import type { AST } from "toml-eslint-parser";
import type { Report } from "./diagnostic.ts";
import type { SourceText, Span } from "./source_text.ts";
import { reportSyntaxError } from "./toml_syntax.ts";

/**
 * A TOML file as tables, arrays and scalars that know where they stand. Dotted keys, headers and inline
 * tables all become the same nested tables. toml-eslint-parser reads the text because it keeps the position
 * of every key and value; it stops at the first syntax error, so a file that is not TOML has one diagnostic.
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
  try {
    return toTree(program, file);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    reportSyntaxError(file, error, report);
    return null;
  }
}

/**
 * Levels of keys, lists and inline tables; no option needs more than three. It bounds every recursion over
 * the tree.
 */
const NESTING_MAX = 32;

/** The nested tables of a parsed text. */
function toTree(program: AST.TOMLProgram, file: SourceText): TomlTable {
  const root: TomlTable = { kind: "table", at: span(file, 0, 0), entries: new Map() };
  for (const item of program.body[0].body) {
    if (item.type === "TOMLKeyValue") {
      addKeyValue(root, item, file, 0);
      continue;
    }
    const table = item.kind === "array"
      ? appendTable(root, item.key, file)
      : openTable(root, item.key.keys, file);
    for (const keyValue of item.body) addKeyValue(table, keyValue, file, 0);
  }
  return root;
}

type KeyPart = AST.TOMLBare | AST.TOMLQuoted;

function openTable(root: TomlTable, parts: readonly KeyPart[], file: SourceText): TomlTable {
  if (parts.length > NESTING_MAX) throw new RangeError("Too many parts in a key");
  let table = root;
  for (const part of parts) {
    const key = nameOf(part);
    const found = table.entries.get(key);
    // The parser has refused keys that are a value here and a table there; an array of tables is continued in
    // its last one.
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

function addKeyValue(table: TomlTable, item: AST.TOMLKeyValue, file: SourceText, depth: number): void {
  const parts = item.key.keys;
  const last = parts.at(-1)!;
  const parent = openTable(table, parts.slice(0, -1), file);
  parent.entries.set(nameOf(last), {
    key: nameOf(last),
    keyAt: span(file, last.range[0], last.range[1]),
    at: span(file, item.range[0], item.range[1]),
    node: toNode(item.value, file, depth),
  });
}

function toNode(content: AST.TOMLContentNode, file: SourceText, depth: number): TomlNode {
  if (depth > NESTING_MAX) throw new RangeError("Too many levels");
  const at = span(file, content.range[0], content.range[1]);
  switch (content.type) {
    case "TOMLArray":
      return { kind: "array", at, items: content.elements.map((each) => toNode(each, file, depth + 1)) };
    case "TOMLInlineTable": {
      const table: TomlTable = { kind: "table", at, entries: new Map() };
      for (const each of content.body) addKeyValue(table, each, file, depth + 1);
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

/** All strings in a node, at any depth, in their order. */
export function stringsIn(node: TomlNode): TomlScalar[] {
  switch (node.kind) {
    case "string":
      return [node];
    case "array":
      return node.items.flatMap(stringsIn);
    case "table":
      return [...node.entries.values()].flatMap((each) => stringsIn(each.node));
    default:
      return [];
  }
}
