/** JSON as its grammar says (RFC 8259), read letter by letter: slow, and without `JSON.parse`. Numbers keep their text, objects their order. */
export type Json =
  | { readonly kind: "number" | "word" | "string"; readonly text: string }
  | { readonly kind: "array"; readonly items: readonly Json[] }
  | JsonObject;

/** A name that is there twice has the place of its first value and the last of its values. */
export interface JsonObject {
  readonly kind: "object";
  readonly members: readonly (readonly [name: string, value: Json])[];
}

const WORDS = ["true", "false", "null"];
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
};

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  whole(): Json {
    const value = this.#value();
    if (this.#at < this.#text.length) throw new SyntaxError("More behind the value");
    return value;
  }

  #value(): Json {
    this.#space();
    const value = this.#bare();
    this.#space();
    return value;
  }

  #bare(): Json {
    const text = this.#text;
    if (text[this.#at] === "{") return this.#object();
    if (text[this.#at] === "[") return { kind: "array", items: this.#list("]", () => this.#value()) };
    if (text[this.#at] === '"') return { kind: "string", text: this.#string() };
    const word = WORDS.find((each) => text.startsWith(each, this.#at));
    NUMBER.lastIndex = this.#at;
    const found = word ?? NUMBER.exec(text)?.[0];
    if (found === undefined) throw new SyntaxError("No value");
    this.#at += found.length;
    return { kind: word === undefined ? "number" : "word", text: found };
  }

  #object(): JsonObject {
    const members = new Map<string, Json>();
    this.#list("}", () => {
      this.#space();
      const name = this.#string();
      this.#space();
      this.#take(":");
      members.set(name, this.#value());
    });
    return { kind: "object", members: [...members] };
  }

  #list<T>(close: string, item: () => T): T[] {
    this.#at++;
    this.#space();
    if (this.#text[this.#at] === close) {
      this.#at++;
      return [];
    }
    const items = [item()];
    while (this.#text[this.#at] !== close) {
      this.#take(",");
      items.push(item());
    }
    this.#at++;
    return items;
  }

  #string(): string {
    this.#take('"');
    let found = "";
    for (;;) {
      const letter = this.#text[this.#at++];
      if (letter === '"') return found;
      if (letter === undefined || letter < " ") throw new SyntaxError("Not in a string");
      found += letter === "\\" ? this.#escape() : letter;
    }
  }

  #escape(): string {
    const letter = this.#text[this.#at++] ?? "";
    if (letter === "u") {
      const digits = this.#text.slice(this.#at, this.#at += 4);
      if (!/^[0-9a-fA-F]{4}$/u.test(digits)) throw new SyntaxError("No code");
      return String.fromCharCode(parseInt(digits, 16));
    }
    if (!Object.hasOwn(ESCAPES, letter)) throw new SyntaxError("No escape");
    return ESCAPES[letter]!;
  }

  #take(letter: string): void {
    if (this.#text[this.#at++] !== letter) throw new SyntaxError(`No ${letter}`);
  }

  #space(): void {
    while (/[ \t\r\n]/u.test(this.#text[this.#at] ?? "")) this.#at++;
  }
}

/** Null: it is no JSON. */
export function readJson(text: string): Json | null {
  try {
    return new Reader(text).whole();
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** A number as docs/events.md has it: by its own text. */
export function numberText(text: string): string {
  const isKept = /[eE]/u.test(text) || text.replace("-", "").length >= 16;
  return isKept ? text : String(Number(text));
}

const isIndex = (name: string) => /^(?:0|[1-9]\d{0,9})$/u.test(name) && Number(name) < 2 ** 32 - 1;

/** Without spaces; names that are whole numbers come first. */
export function writeJson(value: Json): string {
  switch (value.kind) {
    case "number":
      return numberText(value.text);
    case "word":
      return value.text;
    case "string":
      return JSON.stringify(value.text);
    case "array":
      return `[${value.items.map(writeJson).join()}]`;
    case "object": {
      const members = numbersFirst(value.members);
      return `{${members.map(([name, each]) => `${JSON.stringify(name)}:${writeJson(each)}`).join()}}`;
    }
  }
}

function numbersFirst(members: JsonObject["members"]): JsonObject["members"] {
  const numbers = members.filter(([name]) => isIndex(name)).sort(([a], [b]) => Number(a) - Number(b));
  return [...numbers, ...members.filter(([name]) => !isIndex(name))];
}

export type Path = readonly string[];

/** The value at a path, into arrays by number; undefined: there is none. */
export function jsonAt(value: Json, path: Path): Json | undefined {
  let found: Json | undefined = value;
  for (const name of path) {
    if (found?.kind === "object") found = found.members.find(([each]) => each === name)?.[1];
    else found = found?.kind === "array" && isIndex(name) ? found.items[Number(name)] : undefined;
  }
  return found;
}

/** `only_fields`: what these paths name, and the objects around that. */
export function onlyAt(value: JsonObject, paths: readonly Path[]): JsonObject {
  const members = value.members.flatMap(([name, each]): [string, Json][] => {
    const inner = paths.filter((path) => path[0] === name).map((path) => path.slice(1));
    if (inner.some((path) => path.length === 0)) return [[name, each]];
    if (inner.length === 0 || each.kind !== "object") return [];
    const left = onlyAt(each, inner);
    return left.members.length === 0 ? [] : [[name, left]];
  });
  return { kind: "object", members };
}

/** `except_fields`: what these paths do not name. */
export function exceptAt(value: JsonObject, paths: readonly Path[]): JsonObject {
  const members = value.members.flatMap(([name, each]): [string, Json][] => {
    const inner = paths.filter((path) => path[0] === name).map((path) => path.slice(1));
    if (inner.some((path) => path.length === 0)) return [];
    return [[name, each.kind === "object" ? exceptAt(each, inner) : each]];
  });
  return { kind: "object", members };
}

/** What templates, keys and `text` take as it is; null: it is an object, an array, null, or not there. */
export function scalarOf(value: Json | undefined): string | null {
  if (value === undefined || value.kind === "array" || value.kind === "object") return null;
  if (value.kind === "number") return numberText(value.text);
  return value.kind === "word" && value.text === "null" ? null : value.text;
}

/** The same, where objects and arrays are written as JSON. */
export function textOf(value: Json | undefined): string | null {
  return value?.kind === "array" || value?.kind === "object" ? writeJson(value) : scalarOf(value);
}
