declare global {
  /** What TypeScript's library does not know yet: https://tc39.es/proposal-json-parse-with-source/ */
  interface JSON {
    rawJSON(text: string): RawJson;
    isRawJSON(value: unknown): value is RawJson;
    parse(
      text: string,
      reviver: (key: string, value: unknown, context: { source?: string }) => unknown,
    ): unknown;
  }
}

/** A number as it was written, because a double cannot hold it. `JSON.stringify` writes it unchanged. */
export interface RawJson {
  readonly rawJSON: string;
}

/** Fields of an event as `JSON.parse` gives them. */
export type Fields = Record<string, unknown>;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** Numbers that may not survive `JSON.parse`: too many digits, or an exponent. What looks like one inside a string costs time alone. */
const FRAGILE_NUMBER = /[:,[\s]-?(?:[0-9.]{16}|[0-9.]+[eE])/;
/** Whether the number of this text is one of them. */
const IS_FRAGILE = /^-?(?:[0-9.]{16}|[0-9.]+[eE])/;

/**
 * Levels of arrays and objects in a line. `JSON.stringify` and `JSON.parse` with a reviver are recursive, and a stack that overflows costs
 * 0.6 s each time.
 */
export const NESTING_MAX = 1_000;

/**
 * Reads a line as a JSON object. Null when it is not one: not JSON, or an array, a string, a number, `true`, `false`, `null`, or nested
 * deeper than `NESTING_MAX`.
 *
 * Numbers that a double cannot hold (ids of 64 bits, 1e400) are kept as they were written: they become `JSON.rawJSON` objects, which
 * `JSON.stringify` writes unchanged. With `areValuesUsed` false they are not, which is faster: only the names are of use then.
 */
export function parseFields(text: string, areValuesUsed = true): Fields | null {
  if (text.length > 2 * NESTING_MAX && isTooDeep(text)) return null;
  try {
    const value: unknown = areValuesUsed && FRAGILE_NUMBER.test(text)
      ? JSON.parse(text, keepNumber)
      : JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) && !JSON.isRawJSON(value)
      ? value as Fields
      : null;
  } catch {
    return null;
  }
}

/** What becomes of a number goes by its own text: 1.0 is 1 here too, or a key would depend on what else is in the line. */
function keepNumber(_key: string, value: unknown, { source }: { source?: string }): unknown {
  if (typeof value !== "number" || source === undefined || String(value) === source) return value;
  return IS_FRAGILE.test(source) ? JSON.rawJSON(source) : value;
}

/** Whether more than `NESTING_MAX` brackets are open at once. Only long texts can be: a level takes two characters. */
function isTooDeep(text: string): boolean {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === QUOTE) {
      i = endOfString(text, i + 1);
    } else if (code === OPEN_BRACE || code === OPEN_BRACKET) {
      if (++depth > NESTING_MAX) return true;
    } else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) {
      depth--;
    }
  }
  return false;
}

/** Index of the quote that ends the string whose inside starts at `at`; the text's length when none does. */
function endOfString(text: string, at: number): number {
  for (; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) return at;
    if (code === BACKSLASH) at++;
  }
  return at;
}
