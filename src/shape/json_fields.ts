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

/** Beyond these, a number may not survive `JSON.parse`: too many digits, or an exponent. */
const FRAGILE_NUMBER = /[0-9]{16}|[0-9][eE]/;

/**
 * Reads a line as a JSON object. Null when it is not one: not JSON, or an array, a string, a number, `true`, `false`, `null`, or nested
 * deeper than the parser goes.
 *
 * Numbers that a double cannot hold (ids of 64 bits, 1e400) are kept as they were written: they become `JSON.rawJSON` objects, which
 * `JSON.stringify` writes unchanged.
 */
export function parseFields(text: string): Fields | null {
  try {
    const value: unknown = FRAGILE_NUMBER.test(text) ? JSON.parse(text, keepNumber) : JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) && !JSON.isRawJSON(value)
      ? value as Fields
      : null;
  } catch {
    return null;
  }
}

function keepNumber(_key: string, value: unknown, context: { source?: string }): unknown {
  if (typeof value !== "number" || context.source === undefined || String(value) === context.source) {
    return value;
  }
  return JSON.rawJSON(context.source);
}

/** A value as JSON; null when it is nested deeper than `JSON.stringify` goes (tens of thousands), although it could be parsed. */
export function jsonText(value: unknown): string | null {
  try {
    return JSON.stringify(value);
  } catch {
    return null;
  }
}
