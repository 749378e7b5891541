import { printableJson } from "./printable.ts";
import type { LogFields } from "./log.ts";

export type LogLevel = "debug" | "info" | "warn" | "error";

/** One message, before it is written. */
export interface LogEntry {
  readonly timeMs: number;
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: LogFields;
}

/** Characters of a message or of a field's text that are written; an error text can carry a whole record. */
export const TEXT_CHARS_MAX = 8_192;

/** The field for text of several lines. */
export const DETAILS_FIELD = "details";

const RESERVED_KEYS = new Set(["ts", "level", "message"]);

const COLORS: Record<LogLevel, string> = {
  debug: "\x1b[2m",
  info: "\x1b[32m",
  warn: "\x1b[33m",
  error: "\x1b[31m",
};
const DIM = "\x1b[2m";
const RESET = "\x1b[0m";

/** `{"ts":"...","level":"info","message":"...", ...fields}` and a newline. A field with one of these three names gets a "_" behind it. */
export function formatJson(entry: LogEntry): string {
  const record: Record<string, unknown> = {
    ts: new Date(entry.timeMs).toISOString(),
    level: entry.level,
    message: cut(entry.message),
  };
  for (const [key, value] of Object.entries(entry.fields)) {
    record[RESERVED_KEYS.has(key) ? `${key}_` : key] = jsonValue(value);
  }
  return printableJson(JSON.stringify(record)) + "\n";
}

/**
 * `HH:MM:SS.mmm INFO  Message  key=value` in local time, and a newline. Control characters are escaped: file names can hold any. Details stand on
 * lines of their own below.
 */
export function formatPretty(entry: LogEntry, hasColor: boolean): string {
  const level = entry.level.toUpperCase().padEnd(5);
  let line = `${clockTime(entry.timeMs)} ${hasColor ? COLORS[entry.level] + level + RESET : level} ${
    escapeControls(cut(entry.message))
  }`;
  let separator = "  ";
  const { [DETAILS_FIELD]: details, ...fields } = entry.fields;
  for (const [key, value] of Object.entries(fields)) {
    line += `${separator}${hasColor ? `${DIM}${key}=${RESET}` : `${key}=`}${prettyValue(value)}`;
    separator = " ";
  }
  if (typeof details !== "string") return line + "\n";
  const below = cut(details.trimEnd()).split("\n").map((each) => `  | ${escapeControls(each)}`.trimEnd());
  return `${line}\n${below.join("\n")}\n`;
}

function clockTime(timeMs: number): string {
  const time = new Date(timeMs);
  const two = (value: number) => String(value).padStart(2, "0");
  const millis = String(time.getMilliseconds()).padStart(3, "0");
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${millis}`;
}

function jsonValue(value: LogFields[string]): string | number | boolean | null {
  if (typeof value === "string") return cut(value);
  // JSON has no NaN and no Infinity, and null would hide which one it was.
  if (typeof value === "number" && !Number.isFinite(value)) return String(value);
  return value;
}

function prettyValue(value: LogFields[string]): string {
  if (typeof value !== "string") return String(value);
  const text = cut(value);
  // deno-lint-ignore no-control-regex
  const isQuoted = text === "" || /[\s"=\x00-\x1f\x7f-\x9f]/.test(text);
  return escapeControls(isQuoted ? JSON.stringify(text) : text);
}

function escapeControls(text: string): string {
  // deno-lint-ignore no-control-regex
  return text.replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, (char) => {
    if (char === "\n") return "\\n";
    if (char === "\t") return "\\t";
    if (char === "\r") return "\\r";
    return `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

function cut(text: string): string {
  if (text.length <= TEXT_CHARS_MAX) return text;
  return `${text.slice(0, TEXT_CHARS_MAX)}... (${text.length - TEXT_CHARS_MAX} more characters)`;
}
