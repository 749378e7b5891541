import { isUtf8 } from "node:buffer";
import type { ByteWriter } from "./byte_writer.ts";

const QUOTE = 34;
const BACKSLASH = 92;
/** A byte becomes six at most: \u0000. */
const ESCAPED_BYTES_MAX = 6;

/** What follows the backslash for the control bytes that have a short form, else 0. */
const SHORT_ESCAPES = new Uint8Array(128);
for (
  const [byte, letter] of [[8, "b"], [9, "t"], [10, "n"], [12, "f"], [13, "r"], [QUOTE, '"'], [
    BACKSLASH,
    "\\",
  ]] as const
) {
  SHORT_ESCAPES[byte] = letter.charCodeAt(0);
}
const HEX = Buffer.from("0123456789abcdef");

/** As `writeEscaped`, with bytes that are not UTF-8 replaced by U+FFFD. False when there were any. */
export function writeEscapedLossy(writer: ByteWriter, source: Buffer, start: number, end: number): boolean {
  const line = source.subarray(start, end);
  const isValid = isUtf8(line);
  const valid = isValid ? line : Buffer.from(line.toString("utf8"));
  writeEscaped(writer, valid, 0, valid.length);
  return isValid;
}

/** Appends `source[start .. end)`, which must be UTF-8, as the inside of a JSON string. */
export function writeEscaped(writer: ByteWriter, source: Buffer, start: number, end: number): void {
  let runStart = start;
  for (let at = start; at < end; at++) {
    const byte = source[at]!;
    if (byte >= 32 && byte !== QUOTE && byte !== BACKSLASH) continue;
    writer.copy(source, runStart, at);
    runStart = at + 1;
    writer.reserve(ESCAPED_BYTES_MAX);
    writer.length = writeEscape(writer.data, writer.length, byte);
  }
  writer.copy(source, runStart, end);
}

function writeEscape(target: Buffer, at: number, byte: number): number {
  target[at++] = BACKSLASH;
  const letter = SHORT_ESCAPES[byte]!;
  if (letter !== 0) {
    target[at++] = letter;
    return at;
  }
  target[at++] = 117; // u
  target[at++] = 48;
  target[at++] = 48;
  target[at++] = HEX[byte >> 4]!;
  target[at++] = HEX[byte & 15]!;
  return at;
}
