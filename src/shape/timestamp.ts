import type { EncodingConfig } from "../config/config.ts";

export type TimestampFormat = EncodingConfig["timestampFormat"];

/**
 * A time as a JSON token: `"2026-01-31T09:05:00.123Z"` with quotes for rfc3339, else an integer without. `unix` are whole seconds,
 * rounded down; `unix_ns` ends in six zeros, for the clock is read in milliseconds.
 */
export function timestampToken(timeMs: number, format: TimestampFormat): string {
  switch (format) {
    case "rfc3339":
      return `"${new Date(timeMs).toISOString()}"`;
    case "unix":
      return String(Math.floor(timeMs / 1000));
    case "unix_ms":
      return String(Math.floor(timeMs));
    case "unix_ns":
      return Math.floor(timeMs) === 0 ? "0" : `${Math.floor(timeMs)}000000`;
  }
}

/** The form alone; `Date.parse` knows the ranges, but takes 24:00 and 30 February, and no leap second. */
const RFC3339 = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/;

const DIGIT_0 = 48;
const SECOND_AT = 17;
/** Characters in which there is no room for ten digits of a fraction. */
const SHORT_MAX = 30;
const SECOND_MS = 1_000;
const DAY_MS = 86_400 * SECOND_MS;

/**
 * The time that a field holds, in milliseconds since the epoch; null unless it is an RFC 3339 string. A leap second is the second behind it, as
 * the clock of a computer has it.
 */
export function parseRfc3339(value: unknown): number | null {
  if (typeof value !== "string" || !RFC3339.test(value)) return null;
  const day = twoDigits(value, 8);
  if (twoDigits(value, 11) === 24 || (day > 28 && day > daysOfMonth(value))) return null;
  let text = value.replace(" ", "T").toUpperCase();
  // Date.parse counts wrong from ten digits of a fraction on.
  if (text.length > SHORT_MAX) text = text.replace(/(\.\d{3})\d+/, "$1");
  if (twoDigits(value, SECOND_AT) === 60) return parseLeapSecond(text);
  const timeMs = Date.parse(text);
  return Number.isNaN(timeMs) ? null : timeMs;
}

function twoDigits(text: string, at: number): number {
  return 10 * (text.charCodeAt(at) - DIGIT_0) + text.charCodeAt(at + 1) - DIGIT_0;
}

/** 28 to 31. */
function daysOfMonth(text: string): number {
  const month = twoDigits(text, 5);
  if (month !== 2) return month > 7 === (month % 2 === 0) ? 31 : 30;
  const yearOfCentury = twoDigits(text, 2);
  return (yearOfCentury === 0 ? twoDigits(text, 0) : yearOfCentury) % 4 === 0 ? 29 : 28;
}

/** Second 60, which there can be at the end of a day, UTC. */
function parseLeapSecond(text: string): number | null {
  const timeMs = Date.parse(`${text.slice(0, SECOND_AT)}59${text.slice(SECOND_AT + 2)}`) + SECOND_MS;
  return (timeMs % DAY_MS + DAY_MS) % DAY_MS < SECOND_MS ? timeMs : null;
}
