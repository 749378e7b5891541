import type { EncodingConfig } from "../config/config.ts";
import type { Fields } from "./json_fields.ts";

/** Names of a path from the outside in: `["kubernetes", "pod"]`. */
export type FieldPath = readonly string[];

/**
 * Reads a dotted path: `a.b` is field `b` of the object in field `a`; a name that holds a dot is quoted, `"a.b".c`. Throws a `TypeError`
 * that names the path when a name is empty or a quote is not closed.
 */
export function parseFieldPath(text: string): FieldPath {
  const names: string[] = [];
  const pattern = /(?:"([^"]*)"|([^."]+))(\.|$)/y;
  while (pattern.lastIndex < text.length) {
    const match = pattern.exec(text);
    if (match === null) break;
    names.push(match[1] ?? match[2]!);
    if (match[3] === "" && pattern.lastIndex === text.length) return names;
  }
  throw new TypeError(
    `Cannot read field path "${text}": expected names joined by dots, like "kubernetes.pod"`,
  );
}

/** The value at a path; undefined when there is none. Only own properties count, so "constructor" is a field like any other. */
export function fieldAt(fields: Fields, path: FieldPath): unknown {
  let value: unknown = fields;
  for (const name of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return undefined;
    if (isNoField(value, name)) return undefined;
    value = (value as Fields)[name];
  }
  return value;
}

/** Own properties that no line holds: the length of an array, and the text of a number that is kept as it was written. */
function isNoField(value: object, name: string): boolean {
  return name === "length" ? Array.isArray(value) : name === "rawJSON" && JSON.isRawJSON(value);
}

/** True: the whole field; a map: some of the fields in it. */
type PathTree = Map<string, PathTree | true>;

/** `only_fields` or `except_fields`, compiled. */
export class FieldFilter {
  readonly #tree: PathTree;
  readonly #isOnly: boolean;

  constructor(paths: readonly string[], isOnly: boolean) {
    this.#tree = treeOf(paths);
    this.#isOnly = isOnly;
  }

  /** Whether a field that holds no other fields stays. */
  keeps(name: string): boolean {
    return (this.#tree.get(name) === true) === this.#isOnly;
  }

  /** A copy without the fields that do not stay; the order of the rest is kept. */
  apply(fields: Fields): Fields {
    return this.#isOnly ? pick(fields, this.#tree) : omit(fields, this.#tree);
  }
}

/** The filter of an encoding; null when all fields stay. Throws a `TypeError` on a path that cannot be read. */
export function createFieldFilter(encoding: EncodingConfig): FieldFilter | null {
  if (encoding.onlyFields !== null) return new FieldFilter(encoding.onlyFields, true);
  if (encoding.exceptFields !== null) return new FieldFilter(encoding.exceptFields, false);
  return null;
}

function treeOf(paths: readonly string[]): PathTree {
  const root: PathTree = new Map();
  for (const text of paths) {
    const path = parseFieldPath(text);
    let tree = root;
    for (const [i, name] of path.entries()) {
      const found = tree.get(name);
      if (found === true) break;
      if (i === path.length - 1) {
        tree.set(name, true);
        break;
      }
      let branch = found;
      if (branch === undefined) tree.set(name, branch = new Map());
      tree = branch;
    }
  }
  return root;
}

function pick(fields: Fields, tree: PathTree): Fields {
  const picked: Fields = {};
  for (const name of Object.keys(fields)) {
    const branch = tree.get(name);
    if (branch === undefined) continue;
    const value = fields[name];
    if (branch === true) setField(picked, name, value);
    else if (isFields(value)) {
      const inner = pick(value, branch);
      if (Object.keys(inner).length > 0) setField(picked, name, inner);
    }
  }
  return picked;
}

function omit(fields: Fields, tree: PathTree): Fields {
  const rest: Fields = {};
  for (const name of Object.keys(fields)) {
    const branch = tree.get(name);
    if (branch === true) continue;
    const value = fields[name];
    setField(rest, name, branch !== undefined && isFields(value) ? omit(value, branch) : value);
  }
  return rest;
}

/** Sets a field as `JSON.parse` does: one named "__proto__" is only a field. */
function setField(fields: Fields, name: string, value: unknown): void {
  if (name !== "__proto__") fields[name] = value;
  else Object.defineProperty(fields, name, { value, enumerable: true, configurable: true, writable: true });
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !JSON.isRawJSON(value);
}

/** A field as text, for keys and topics: strings as they are, numbers and booleans as JSON writes them; null for anything else. */
export function scalarText(value: unknown): string | null {
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  return JSON.isRawJSON(value) ? value.rawJSON : null;
}
