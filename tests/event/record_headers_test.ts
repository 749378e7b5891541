import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  appendHeaders,
  areHeaders,
  decodeHeaders,
  encodeHeaders,
  HEADERS_MAX,
  type RecordHeader,
} from "../../src/event/record_headers.ts";

const header: fc.Arbitrary<RecordHeader> = fc.tuple(
  fc.string({ unit: "grapheme", maxLength: 80 }),
  fc.oneof(fc.string({ unit: "grapheme", maxLength: 80 }), fc.uint8Array({ maxLength: 9_000 })),
);

const plain = (headers: readonly RecordHeader[]) =>
  headers.map(([name, value]) => [name, Buffer.from(value as string).toString("hex")]);

const read = (bytes: Buffer) => decodeHeaders(bytes).map(([name, value]) => [name, value.toString("hex")]);

describe("record headers", () => {
  test("are the bytes of KIP-82", () => {
    expect(encodeHeaders([]).length).toBe(0);
    expect(encodeHeaders([["a", "bc"], ["é", ""]]).toString("hex")).toBe(
      "04" + "0261" + "046263" + "04c3a9" + "00",
    );
    const long = encodeHeaders([["n", Buffer.alloc(64)]]);
    expect(long.subarray(0, 5).toString("hex")).toBe("02" + "026e" + "8001");
  });

  test("come back as they were, in their order, and may be added to", () => {
    fc.assert(
      fc.property(fc.array(header, { maxLength: 8 }), fc.array(header, { maxLength: 8 }), (first, more) => {
        const bytes = encodeHeaders(first);
        expect(read(bytes)).toEqual(plain(first));
        const both = appendHeaders(bytes, more);
        expect(read(both)).toEqual(plain([...first, ...more]));
        expect(areHeaders(both, 0, both.length)).toBe(true);
      }),
    );
  });

  test("are no more than a count of one byte can say", () => {
    const many = Array.from({ length: HEADERS_MAX }, (_, i): RecordHeader => [`h${i}`, "v"]);
    expect(decodeHeaders(encodeHeaders(many)).length).toBe(HEADERS_MAX);
    expect(() => encodeHeaders([...many, ["one", "more"]])).toThrow("64 headers");
    expect(() => appendHeaders(encodeHeaders(many), [["one", "more"]])).toThrow("64 headers");
  });

  test("are told from anything else", () => {
    fc.assert(
      fc.property(
        fc.array(header, { minLength: 1, maxLength: 4 }),
        fc.nat(),
        fc.nat(255),
        (headers, place, byte) => {
          const bytes = encodeHeaders(headers);
          for (const cut of [bytes.length - 1, 1 + place % bytes.length]) {
            if (cut < bytes.length) expect(areHeaders(bytes, 0, cut)).toBe(false);
          }
          expect(areHeaders(Buffer.concat([bytes, Buffer.alloc(1)]), 0, bytes.length + 1)).toBe(false);
          // Whatever is accepted can be read, and fills its place.
          bytes[place % bytes.length] = byte;
          if (!areHeaders(bytes, 0, bytes.length)) return;
          const again = decodeHeaders(bytes).reduce((sum, [, value]) => sum + value.length, 0);
          expect(again).toBeLessThan(bytes.length);
        },
      ),
      { numRuns: 2_000 },
    );
    expect(areHeaders(Buffer.from([0]), 0, 1)).toBe(false);
    expect(areHeaders(Buffer.from([0x80, 0x01]), 0, 2)).toBe(false);
    expect(areHeaders(Buffer.from([2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), 0, 7)).toBe(false);
  });
});
