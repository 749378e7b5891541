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

const RFC3339 = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)$/;

/** The time that a field holds, in milliseconds since the epoch; null unless it is an RFC 3339 string. */
export function parseRfc3339(value: unknown): number | null {
  if (typeof value !== "string" || !RFC3339.test(value)) return null;
  const timeMs = Date.parse(value.replace(" ", "T").toUpperCase());
  return Number.isNaN(timeMs) ? null : timeMs;
}
