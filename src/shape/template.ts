import type { Fields } from "./json_fields.ts";
import { fieldAt, type FieldPath, parseFieldPath, scalarText } from "./fields.ts";
import { randomUuid } from "./random_uuid.ts";

/** One piece of a template. */
type Part =
  | { readonly kind: "literal"; readonly text: string }
  | { readonly kind: "field"; readonly path: FieldPath }
  | { readonly kind: "time"; readonly code: TimeCode }
  | { readonly kind: "uuid" };

export interface TemplateOptions {
  /** `{{uuid}}` is a random one; a field of this name is `{{"uuid"}}`. Without this it is a field like any other. */
  readonly hasUuid?: boolean;
}

type TimeCode = "Y" | "m" | "d" | "H" | "M" | "S" | "j" | "s";

const TIME_CODES = "YmdHMSjs";
const DAY_MS = 86_400_000;

/**
 * A text with fields (`{{name}}`, `{{outer.inner}}`) and times (`%Y %m %d %H %M %S %j %s`, UTC; `%%` is a percent sign), compiled once.
 *
 * What it renders always starts with its `literalPrefix`, whatever the events hold.
 */
export class Template {
  readonly #parts: readonly Part[];
  #pattern: RegExp | null = null;
  /** The text in front of the first field or time. */
  readonly literalPrefix: string;
  /** The whole text when nothing in it varies, else null. */
  readonly constant: string | null;
  /** Names of the outermost fields that are used. */
  readonly fieldNames: ReadonlySet<string>;
  /** Whether the time is used. */
  readonly usesTime: boolean;
  /** A random part is in it: each event has another text. */
  readonly isRandom: boolean;
  /** It is this field and nothing else. */
  readonly soleField: FieldPath | null;
  /** It is a random UUID and nothing else. */
  readonly isSoleUuid: boolean;

  /** Throws a `TypeError` that says what is wrong with the template. */
  constructor(text: string, { hasUuid = false }: TemplateOptions = {}) {
    const parts = parse(text, hasUuid);
    this.#parts = parts;
    this.literalPrefix = parts[0]?.kind === "literal" ? parts[0].text : "";
    this.constant = parts.every((part) => part.kind === "literal") ? this.literalPrefix : null;
    this.fieldNames = new Set(parts.flatMap((part) => part.kind === "field" ? [part.path[0]!] : []));
    this.usesTime = parts.some((part) => part.kind === "time");
    this.isRandom = parts.some((part) => part.kind === "uuid");
    const sole = parts.length === 1 ? parts[0]! : null;
    this.soleField = sole?.kind === "field" ? sole.path : null;
    this.isSoleUuid = sole?.kind === "uuid";
  }

  /** Whether events may exist for which it renders this text. */
  matches(text: string): boolean {
    return (this.#pattern ??= patternOf(this.#parts)).test(text);
  }

  /**
   * The text for one event; null when a field is missing or is not a string, number or boolean. A field is looked up in `fields`, then
   * in `defaults`.
   */
  render(fields: Fields, defaults: Fields, timeMs: number): string | null {
    let rendered = "";
    let date: Date | null = null;
    for (const part of this.#parts) {
      if (part.kind === "literal") rendered += part.text;
      else if (part.kind === "time") rendered += formatTime(date ??= new Date(timeMs), part.code);
      else if (part.kind === "uuid") rendered += randomUuid();
      else {
        const value = Object.hasOwn(fields, part.path[0]!)
          ? fieldAt(fields, part.path)
          : fieldAt(defaults, part.path);
        const text = scalarText(value);
        if (text === null) return null;
        rendered += text;
      }
    }
    return rendered;
  }
}

/** Longest name of a topic in bytes, Kafka's own limit. */
export const TOPIC_BYTES_MAX = 249;
const TOPIC_NAME = new RegExp(`^[a-zA-Z0-9._-]{1,${TOPIC_BYTES_MAX}}$`);

/** Whether Kafka allows this name for a topic. */
export function isTopicName(name: string): boolean {
  return TOPIC_NAME.test(name) && name !== "." && name !== "..";
}

function parse(text: string, hasUuid: boolean): Part[] {
  const parts: Part[] = [];
  let literal = "";
  const add = (part: Part) => {
    if (literal !== "") parts.push({ kind: "literal", text: literal });
    literal = "";
    parts.push(part);
  };
  for (let at = 0; at < text.length;) {
    if (text.startsWith("{{", at)) {
      const end = text.indexOf("}}", at);
      if (end === -1) throw new TypeError(`Cannot read template "${text}": "{{" at ${at + 1} has no "}}"`);
      const name = text.slice(at + 2, end).trim();
      add(hasUuid && name === "uuid" ? { kind: "uuid" } : { kind: "field", path: parseFieldPath(name) });
      at = end + 2;
    } else if (text[at] === "%") {
      const code = text[at + 1] ?? "";
      if (code === "%") literal += "%";
      else if (code !== "" && TIME_CODES.includes(code)) add({ kind: "time", code: code as TimeCode });
      else {
        const known = [...TIME_CODES, "%"].map((c) => `%${c}`).join(" ");
        throw new TypeError(`Cannot read template "${text}": "%${code}" is not one of ${known}`);
      }
      at += 2;
    } else {
      literal += text[at];
      at++;
    }
  }
  if (literal !== "") parts.push({ kind: "literal", text: literal });
  return parts;
}

/** Any text, of a field; digits, of a time. */
function patternOf(parts: readonly Part[]): RegExp {
  const texts = parts.map((part) => {
    if (part.kind === "literal") return part.text.replace(/[\\^$.*+?()[\]{}|]/gu, "\\$&");
    return part.kind === "time" ? "\\d+" : ".*";
  });
  return new RegExp(`^${texts.join("")}$`, "su");
}

function formatTime(date: Date, code: TimeCode): string {
  switch (code) {
    case "Y":
      return String(date.getUTCFullYear()).padStart(4, "0");
    case "m":
      return twoDigits(date.getUTCMonth() + 1);
    case "d":
      return twoDigits(date.getUTCDate());
    case "H":
      return twoDigits(date.getUTCHours());
    case "M":
      return twoDigits(date.getUTCMinutes());
    case "S":
      return twoDigits(date.getUTCSeconds());
    case "j": {
      const dayOfYear = Math.floor((date.getTime() - Date.UTC(date.getUTCFullYear(), 0)) / DAY_MS) + 1;
      return String(dayOfYear).padStart(3, "0");
    }
    case "s":
      return String(Math.floor(date.getTime() / 1000));
  }
}

function twoDigits(value: number): string {
  return String(value).padStart(2, "0");
}
