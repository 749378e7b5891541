import { isUtf8 } from "node:buffer";
import {
  type DeadLetter,
  letterFacts,
  type LetterHeader,
  letterId,
  type StoredLetter,
} from "../event/dead_letters.ts";

/** Of the form below; a reader leaves lines with a higher one alone. */
export const LETTER_VERSION = 1;

/**
 * A dead letter as a line of JSON, newline included. Bytes are text where they are UTF-8, else base64 under the same name with "_base64".
 *
 *     {"version":1,"id":"0123456789abcdef","time":"2026-01-01T00:00:00.000Z","sink":"events","topic":"logs","reason":"record_too_large",
 *      "error":"...","source":"app","file":"/var/log/app.log","stream":"1:2:3","offset":4096,"size":2000000,"key":null,
 *      "headers":[{"name":"a","value":"b"}],"value":"..."}
 *
 * `file` is null for a stream without a path (stdin), `topic` where none could be named.
 */
export function encodeLetter(letter: DeadLetter): string {
  const { reason, error, stream, offset, timeMs, sink, topic, key, headers, value } = letter;
  return `${
    JSON.stringify({
      version: LETTER_VERSION,
      id: letterId(letter),
      time: new Date(timeMs).toISOString(),
      sink,
      topic,
      reason,
      error,
      source: stream.source,
      file: stream.path === "" ? null : stream.path,
      stream: stream.id,
      offset,
      size: value.length,
      ...(key === null ? { key: null } : bytesAs("key", key)),
      headers: headers.map(([name, bytes]) => ({ name, ...bytesAs("value", bytes) })),
      ...bytesAs("value", value),
    })
  }\n`;
}

/** Of a line without its newline; null when it is none that this version writes. */
export function decodeLetter(line: string): StoredLetter | null {
  let found: Record<string, unknown>;
  try {
    found = JSON.parse(line);
  } catch {
    return null;
  }
  if (typeof found !== "object" || found === null || found["version"] !== LETTER_VERSION) return null;
  const text = (name: string): string | null => typeof found[name] === "string" ? found[name] : null;
  const offset = found["offset"];
  if (typeof offset !== "number") return null;
  const facts = letterFacts(text, offset);
  const value = bytesOf(found, "value");
  if (facts === null || value === null) return null;
  return { ...facts, key: bytesOf(found, "key"), headers: headersOf(found["headers"]), value };
}

function bytesAs(name: string, bytes: Buffer): Record<string, string> {
  return isUtf8(bytes)
    ? { [name]: bytes.toString("utf8") }
    : { [`${name}_base64`]: bytes.toString("base64") };
}

function bytesOf(found: Record<string, unknown>, name: string): Buffer | null {
  const text = found[name];
  if (typeof text === "string") return Buffer.from(text);
  const coded = found[`${name}_base64`];
  return typeof coded === "string" ? Buffer.from(coded, "base64") : null;
}

function headersOf(found: unknown): LetterHeader[] {
  if (!Array.isArray(found)) return [];
  const headers: LetterHeader[] = [];
  for (const each of found as Record<string, unknown>[]) {
    const value = bytesOf(each, "value");
    if (typeof each["name"] === "string" && value !== null) headers.push([each["name"], value]);
  }
  return headers;
}
