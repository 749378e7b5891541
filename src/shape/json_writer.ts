import { isUtf8 } from "node:buffer";
import type { BufferPool } from "../event/pooled_buffer.ts";
import { ByteWriter } from "./byte_writer.ts";
import { type KeptLines, owned, type OwnedColumn } from "./columns.ts";

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

/** JSON objects around the lines, and how many lines held bytes that are not UTF-8 (replaced by U+FFFD). */
export interface EncodedLines {
  readonly column: OwnedColumn;
  readonly invalidUtf8Count: number;
}

/** Writes one JSON object for each line, bytes to bytes. */
export function encodeLines(
  lines: KeptLines,
  envelope: { readonly head: Buffer; readonly tail: Buffer },
  pool: BufferPool,
): EncodedLines {
  const { count, starts, ends } = lines;
  const data = lines.chunk.data;
  const spanStart = starts[0]!;
  const spanEnd = ends[count - 1]!;
  const isValid = isUtf8(data.subarray(spanStart, spanEnd));
  // The tail of one object and the head of the next are written by one copy.
  const joint = Buffer.concat([envelope.tail, envelope.head]);
  const writer = new ByteWriter(pool, Math.ceil((spanEnd - spanStart) * 1.05) + (count + 1) * joint.length);
  const outStarts = new Uint32Array(count);
  const outEnds = new Uint32Array(count);
  let invalidUtf8Count = 0;
  writer.copy(envelope.head, 0, envelope.head.length);
  let start = 0;
  for (let i = 0; i < count; i++) {
    if (isValid) writeEscaped(writer, data, starts[i]!, ends[i]!);
    else if (!writeEscapedLossy(writer, data, starts[i]!, ends[i]!)) invalidUtf8Count++;
    outStarts[i] = start;
    outEnds[i] = writer.length + envelope.tail.length;
    writer.copy(joint, 0, joint.length);
    start = outEnds[i]!;
  }
  writer.length = start;
  const { data: bytes, owner } = writer.finish();
  return { column: owned({ data: bytes, starts: outStarts, ends: outEnds }, start, owner), invalidUtf8Count };
}

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
