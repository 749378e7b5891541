import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { LineColumns, LineSplitter } from "../../src/decode/line_splitter.ts";
import { chunkOf, drain, linesOf } from "./chunks.ts";

/** Lines as strings, the plain way. */
function referenceLines(stream: Buffer, maxLineBytes: number): string[] {
  let text = stream.toString("latin1");
  if (text.startsWith("\xef\xbb\xbf")) text = text.slice(3);
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines.map((line) => {
    const content = line.endsWith("\r") ? line.slice(0, -1) : line;
    return content.slice(0, maxLineBytes);
  });
}

function splitText(text: string, maxLineBytes = 100, maxLines = Infinity) {
  const batch = new LineSplitter({ maxLineBytes }).split(chunkOf(text), maxLines);
  return {
    lines: linesOf(batch).map((line) => line.bytes),
    taken: batch.takenBytes,
    cut: batch.truncatedCount,
  };
}

/** Streams with many newlines, carriage returns, NULs and long runs; no byte above 0x7f, where a cut moves. */
const streams = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom("a", "bc", "\n", "\r", "\r\n", "\0", '"') },
    { weight: 1, arbitrary: fc.string({ maxLength: 30, unit: "binary-ascii" }) },
  ),
  { maxLength: 60 },
).map((parts) => Buffer.from(parts.join("")));
const sizes = fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 20 });

describe("LineSplitter", () => {
  test("any way of offering a stream gives the lines of a plain split", () => {
    fc.assert(
      fc.property(streams, sizes, fc.integer({ min: 1, max: 20 }), (stream, pieces, maxLineBytes) => {
        const drained = drain(new LineSplitter({ maxLineBytes }), stream, pieces);
        expect(drained.lines.map((line) => line.bytes)).toEqual(referenceLines(stream, maxLineBytes));
        expect(drained.offset).toBe(stream.length);
      }),
      { numRuns: 500 },
    );
  });

  test("a limit on the number of lines changes neither lines nor ranges", () => {
    fc.assert(
      fc.property(streams, sizes, fc.integer({ min: 1, max: 4 }), (stream, pieces, maxLines) => {
        const limited = drain(new LineSplitter({ maxLineBytes: 10 }), stream, pieces, () => maxLines);
        const free = drain(new LineSplitter({ maxLineBytes: 10 }), stream, pieces);
        expect(limited).toEqual(free);
      }),
      { numRuns: 500 },
    );
  });

  test("raw ranges end behind the newline, grow, and cover what was taken", () => {
    fc.assert(fc.property(streams, sizes, (stream, pieces) => {
      const { lines } = drain(new LineSplitter({ maxLineBytes: 1000 }), stream, pieces);
      let start = 0;
      for (const line of lines) {
        expect(line.rawEnd).toBeGreaterThan(start);
        const isLast = line.rawEnd === stream.length;
        expect(isLast || stream[line.rawEnd - 1] === 10).toBe(true);
        start = line.rawEnd;
      }
    }));
  });

  test("strips one carriage return and nothing else", () => {
    expect(splitText("a\r\nb\r\r\n\r\n c \n")).toEqual({ lines: ["a", "b\r", "", " c "], taken: 13, cut: 0 });
  });

  test("passes NULs and bytes that are not UTF-8", () => {
    const data = Buffer.from([0, 0xff, 0, 10, 0xc3, 10]);
    const batch = new LineSplitter({ maxLineBytes: 10 }).split(chunkOf(data), 10);
    expect(linesOf(batch).map((line) => line.bytes)).toEqual(["\0\xff\0", "\xc3"]);
  });

  test("leaves a line without newline, and takes it when the stream ends", () => {
    expect(splitText("a\nbc")).toEqual({ lines: ["a"], taken: 2, cut: 0 });
    expect(splitText("bc")).toEqual({ lines: [], taken: 0, cut: 0 });
    const final = new LineSplitter({ maxLineBytes: 10 }).split(chunkOf("a\nbc", { isFinal: true }), 10);
    expect(linesOf(final)).toEqual([{ bytes: "a", rawEnd: 2 }, { bytes: "bc", rawEnd: 4 }]);
    expect(final.takenBytes).toBe(4);
    expect(new LineSplitter({ maxLineBytes: 10 }).split(chunkOf("", { isFinal: true }), 10).count).toBe(0);
  });

  test("stops at the limit of lines, and takes none when there is no room", () => {
    expect(splitText("a\nb\nc\n", 100, 2)).toEqual({ lines: ["a", "b"], taken: 4, cut: 0 });
    expect(splitText("a\nb\nc\n", 100, 0)).toEqual({ lines: [], taken: 0, cut: 0 });
  });

  test("skips a byte order mark at the start of the stream only", () => {
    expect(splitText("\ufeffa\n\ufeffb\n").lines).toEqual(["a", "\xef\xbb\xbfb"]);
    const splitter = new LineSplitter({ maxLineBytes: 10 });
    expect(splitter.split(chunkOf("\ufeff"), 10)).toMatchObject({ count: 0, takenBytes: 3 });
    expect(linesOf(splitter.split(chunkOf("a\n", { offset: 3 }), 10))).toEqual([{ bytes: "a", rawEnd: 5 }]);
    const later = new LineSplitter({ maxLineBytes: 10 }).split(chunkOf("\ufeffa\n", { offset: 7 }), 10);
    expect(linesOf(later)[0]!.bytes).toBe("\xef\xbb\xbfa");
  });

  test("cuts a line whose newline is there, and goes on behind it", () => {
    expect(splitText("abcdefgh\nx\n", 5)).toEqual({ lines: ["abcde", "x"], taken: 11, cut: 1 });
    expect(splitText("abcde\r\nx\n", 5)).toEqual({ lines: ["abcde", "x"], taken: 9, cut: 0 });
  });

  test("cuts a line as soon as it is too long and skips the rest over several chunks", () => {
    const splitter = new LineSplitter({ maxLineBytes: 5 });
    const at = (offset: number, text: string, isFinal = false) => {
      const batch = splitter.split(chunkOf(text, { offset, isFinal }), 100);
      return { lines: linesOf(batch), taken: batch.takenBytes, cut: batch.truncatedCount };
    };
    expect(at(0, "abcde")).toEqual({ lines: [], taken: 0, cut: 0 });
    expect(at(0, "abcde\r")).toEqual({ lines: [], taken: 0, cut: 0 });
    expect(at(0, "abcde\rf")).toEqual({ lines: [{ bytes: "abcde", rawEnd: 7 }], taken: 7, cut: 1 });
    expect(at(7, "ghijklmnop")).toEqual({ lines: [], taken: 10, cut: 0 });
    expect(at(17, "q\nrs\ntu")).toEqual({ lines: [{ bytes: "rs", rawEnd: 22 }], taken: 5, cut: 0 });
    expect(at(22, "tuvwxyz", true)).toEqual({ lines: [{ bytes: "tuvwx", rawEnd: 29 }], taken: 7, cut: 1 });
    expect(at(29, "more\nb\n")).toEqual({ lines: [{ bytes: "b", rawEnd: 36 }], taken: 7, cut: 0 });
  });

  test("takes the skipped rest even when there is no room for a line", () => {
    const splitter = new LineSplitter({ maxLineBytes: 2 });
    splitter.split(chunkOf("abcd"), 10);
    expect(splitter.split(chunkOf("ef\ng\n", { offset: 4 }), 0)).toMatchObject({ count: 0, takenBytes: 3 });
  });

  test("a cut leaves no half of a UTF-8 sequence", () => {
    const cut = (text: string, maxLineBytes: number) => {
      const batch = new LineSplitter({ maxLineBytes }).split(chunkOf(text), 1);
      return batch.chunk.data.toString("utf8", batch.starts[0], batch.ends[0]);
    };
    expect(cut("abcé\n", 4)).toBe("abc");
    expect(cut("abcéd\n", 5)).toBe("abcé");
    expect(cut("a😀b\n", 4)).toBe("a");
    expect(cut("a😀b\n", 5)).toBe("a😀");
    expect(cut("éa\n", 1)).toBe("");
    const stray = Buffer.from([97, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 10]);
    const batch = new LineSplitter({ maxLineBytes: 5 }).split(chunkOf(stray), 1);
    expect(batch.ends[0]).toBe(5);
  });

  test("starts afresh when the stream is read again from another offset", () => {
    const splitter = new LineSplitter({ maxLineBytes: 3 });
    splitter.split(chunkOf("abcdefg", { offset: 100 }), 10);
    expect(linesOf(splitter.split(chunkOf("x\ny\n", { offset: 50 }), 10)).map((line) => line.bytes)).toEqual([
      "x",
      "y",
    ]);
  });

  test("looks at everything again when the stream is read again from another offset", () => {
    const splitter = new LineSplitter({ maxLineBytes: 100 });
    expect(splitter.split(chunkOf("abcdefg", { offset: 100 }), 10).takenBytes).toBe(0);
    const again = splitter.split(chunkOf("x\ny\nz", { offset: 98 }), 10);
    expect(linesOf(again).map((line) => line.bytes)).toEqual(["x", "y"]);
  });

  test("starts inside a cut line when told so", () => {
    const splitter = new LineSplitter({ maxLineBytes: 3, isInsideCutLine: true });
    expect(splitter.split(chunkOf("rest of it", { offset: 50 }), 10)).toMatchObject({
      count: 0,
      takenBytes: 10,
    });
    expect(linesOf(splitter.split(chunkOf("end\nx\n", { offset: 60 }), 10))).toEqual([{
      bytes: "x",
      rawEnd: 66,
    }]);
  });

  test("has room for a chunk of nothing but newlines", () => {
    const columns = new LineColumns();
    const batch = new LineSplitter({ maxLineBytes: 3, columns }).split(
      chunkOf("\n".repeat(5000) + "x", { isFinal: true }),
      Infinity,
    );
    expect(batch.count).toBe(5001);
    expect([batch.starts[5000], batch.ends[5000], batch.nexts[4999]]).toEqual([5000, 5001, 5000]);
    expect(columns.starts).toBe(batch.starts as Uint32Array<ArrayBuffer>);
  });

  test("does not look twice at a line that grows slowly", () => {
    const data = Buffer.alloc(1000, 97);
    const looked: number[] = [];
    const indexOf = Buffer.prototype.indexOf;
    const splitter = new LineSplitter({ maxLineBytes: 2000 });
    for (let end = 100; end <= 1000; end += 100) {
      const view = data.subarray(0, end);
      view.indexOf = ((value: number, from: number) => {
        looked.push(from);
        return indexOf.call(view, value, from);
      }) as Buffer["indexOf"];
      splitter.split(chunkOf(view), 10);
    }
    expect(looked).toEqual([0, 100, 200, 300, 400, 500, 600, 700, 800, 900]);
  });

  test("a line of 100 MB needs no more memory than the buffer it is offered in", () => {
    const stream = Buffer.alloc(100 * 1024 * 1024 + 4, 120);
    stream.write("\nok\n", stream.length - 4);
    const { lines, truncatedCount, offset } = drain(new LineSplitter({ maxLineBytes: 262_144 }), stream, [
      262_146,
    ]);
    expect(lines.map((line) => line.bytes.length)).toEqual([262_144, 2]);
    expect([truncatedCount, offset]).toEqual([1, stream.length]);
  });
});
