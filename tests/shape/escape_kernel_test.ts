import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { BufferPool } from "../../src/event/pooled_buffer.ts";
import { ByteWriter } from "../../src/shape/byte_writer.ts";
import { EscapeKernel, PIECE_BYTES_MAX, PIECE_LINES_MAX } from "../../src/shape/escape_kernel.ts";
import { ESCAPE_SOURCE_SHA256 } from "../../src/shape/escape_wasm.ts";
import { writeEscaped } from "../../src/shape/json_writer.ts";
import { FILE } from "../decode/chunks.ts";
import { shapeText } from "./shape_text.ts";

const kernel = new EscapeKernel();

/** The kernel's objects for these lines, with arbitrary bytes between and behind them. */
function encode(lines: readonly Buffer[], head = '{"m":"', tail = '"}'): string[] {
  const gap = Buffer.from('"\\\n');
  const data = Buffer.concat(lines.flatMap((line) => [line, gap]));
  const starts = new Uint32Array(lines.length);
  const ends = new Uint32Array(lines.length);
  let at = 0;
  for (const [i, line] of lines.entries()) {
    starts[i] = at;
    ends[i] = at + line.length;
    at += line.length + gap.length;
  }
  kernel.setEnvelope(Buffer.from(head), Buffer.from(tail));
  const writer = new ByteWriter(new BufferPool(), 16);
  const outStarts = new Uint32Array(lines.length);
  const outEnds = new Uint32Array(lines.length);
  for (let i = 0; i < lines.length;) {
    i = kernel.encode({ data, starts, ends }, i, lines.length, writer, outStarts, outEnds);
  }
  return lines.map((_, i) => writer.data.toString("utf8", outStarts[i], outEnds[i]));
}

describe("EscapeKernel", () => {
  test("was compiled from the source that is here", () => {
    const source = readFileSync(new URL("../../src/shape/wasm/escape.ts", import.meta.url));
    expect(createHash("sha256").update(source).digest("hex")).toBe(ESCAPE_SOURCE_SHA256);
  });

  test("every character, at every place in a word, equals JSON.stringify", () => {
    const texts: string[] = [];
    for (let code = 0; code < 256; code++) {
      for (let before = 0; before < 8; before++) {
        texts.push("x".repeat(before) + String.fromCharCode(code) + "y".repeat(code % 9));
      }
    }
    expect(encode(texts.map((text) => Buffer.from(text)))).toEqual(texts.map((m) => JSON.stringify({ m })));
  });

  test("every pair of special bytes side by side", () => {
    const special = [
      '"',
      "\\",
      "\0",
      "\x1f",
      " ",
      "!",
      "#",
      "[",
      "]",
      "\x7f",
      "\x80",
      "\u{1f600}",
      "\n",
      "]",
    ];
    const texts = special.flatMap((a) => special.flatMap((b) => [a + b, `${a}${b}${a}`, `1234567${a}${b}`]));
    expect(encode(texts.map((text) => Buffer.from(text)))).toEqual(texts.map((m) => JSON.stringify({ m })));
  });

  test("random texts and envelopes of any length", () => {
    const text = fc.oneof(fc.string({ unit: "binary", maxLength: 60 }), fc.string({ maxLength: 300 }));
    const around = fc.string({ maxLength: 70, unit: fc.constantFrom("a", "é", '"') });
    fc.assert(
      fc.property(fc.array(text, { minLength: 1, maxLength: 30 }), around, around, (texts, head, tail) => {
        const lines = texts.map((text) => Buffer.from(text));
        const expected = texts.map((text) => head + JSON.stringify(text.toWellFormed()).slice(1, -1) + tail);
        expect(encode(lines, head, tail)).toEqual(expected);
      }),
      { numRuns: 300 },
    );
  });

  test("the largest piece, all of it escaped, fits", () => {
    const line = Buffer.alloc(PIECE_BYTES_MAX);
    expect(encode([line.subarray(0, -3)])).toEqual([JSON.stringify({ m: "\0".repeat(PIECE_BYTES_MAX - 3) })]);
  });

  test("plain TypeScript, for lines that the kernel does not take, gives the same", () => {
    fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 100 }), (text) => {
      const writer = new ByteWriter(new BufferPool(), 1);
      const source = Buffer.from(text);
      writeEscaped(writer, source, 0, source.length);
      expect(writer.data.toString("utf8", 0, writer.length)).toBe(
        JSON.stringify(text.toWellFormed()).slice(1, -1),
      );
    }));
  });
});

describe("pieces", () => {
  const messages = (text: string | Buffer) =>
    shapeText({ codec: "json", onlyFields: ["message"] }, text).values.map((value) =>
      JSON.parse(value).message
    );

  test("lines around the largest piece, and empty ones", () => {
    const lengths = [0, 1, PIECE_BYTES_MAX - 1, PIECE_BYTES_MAX, PIECE_BYTES_MAX + 1, 0, 200_000, 3];
    const lines = lengths.map((length, i) => '"'.repeat(i % 2) + "x".repeat(length));
    expect(messages(lines.join("\n") + "\n")).toEqual(lines);
  });

  test("more lines than a piece holds", () => {
    const lines = Array.from({ length: PIECE_LINES_MAX * 2 + 3 }, (_, i) => i % 3 === 0 ? "" : String(i));
    expect(messages(lines.join("\n") + "\n")).toEqual(lines);
  });

  test("single bad lines between good ones", () => {
    const lines = Array.from(
      { length: 1000 },
      (_, i) => Buffer.from(i % 100 === 7 ? [0xff, 34] : `line ${i}`),
    );
    const data = Buffer.concat(lines.flatMap((line) => [line, Buffer.from("\n")]));
    expect(messages(data)).toEqual(lines.map((line) => line.toString()));
  });

  test("an envelope that is too large for the kernel", () => {
    const path = "/" + '"'.repeat(40_000);
    const { values } = shapeText({ codec: "json", onlyFields: ["message", "file"] }, "a\n\xff\n", {
      stream: { ...FILE, path },
    });
    expect(values.map((value) => JSON.parse(value))).toEqual([{ message: "a", file: path }, {
      message: "ÿ",
      file: path,
    }]);
  });
});
