import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { isUtf8 } from "node:buffer";
import { truncateJson, truncateText } from "../../src/kafka/truncate_value.ts";

const RUNS = { numRuns: Number(process.env.SHIPPER_MODEL_RUNS ?? 300) };

describe("text", () => {
  test("is cut at the end of a character", () => {
    const value = Buffer.from("aä€😀z");
    const cut = (excess: number) => truncateText(value, excess)?.toString() ?? null;
    expect([1, 2, 5, 6, 8, 9, 10, 11, 12].map(cut)).toEqual([
      "aä€😀",
      "aä€",
      "aä€",
      "aä",
      "aä",
      "a",
      "a",
      "",
      null,
    ]);
  });

  test("that is no UTF-8 is cut anywhere", () => {
    expect([...truncateText(Buffer.alloc(20, 0x80), 5)!]).toEqual([...Buffer.alloc(15, 0x80)]);
  });

  test("keeps as much as fits, whatever it is", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.nat(40), (text, excess) => {
        const value = Buffer.from(text);
        const cut = truncateText(value, excess);
        if (excess > value.length) return cut === null;
        const lost = value.length - cut!.length;
        return isUtf8(cut!) && lost >= excess && lost <= excess + 3 && value.indexOf(cut!) === 0;
      }),
      RUNS,
    );
  });
});

describe("JSON", () => {
  const cut = (text: string, excess: number) => truncateJson(Buffer.from(text), excess)?.toString() ?? null;

  test("loses the end of its longest string, and no other byte", () => {
    const text =
      '{ "n": 12345678901234567890, "message":"abcdefghij", "deep":{"a":["klmno"]}, "long key name":1}';
    expect(cut(text, 3)).toBe(text.replace("hij", ""));
    expect(cut(text, 10)).toBe(text.replace("abcdefghij", ""));
    expect(cut(text, 12)).toBe(text.replace("abcdefghij", "").replace("no", ""));
    expect(cut(text, 15)).toBe(text.replace("abcdefghij", "").replace("klmno", ""));
    expect(cut(text, 16)).toBeNull();
  });

  test("is never cut in an escape, a surrogate pair or a character", () => {
    const text = String.raw`{"m":"a\"\\\n\u00e4\ud83d\ude00€"}`;
    const kept = new Set<string>();
    for (let excess = 1; cut(text, excess) !== null; excess++) kept.add(JSON.parse(cut(text, excess)!).m);
    expect([...kept]).toEqual(['a"\\\nä😀', 'a"\\\nä', 'a"\\\n', 'a"\\', 'a"', "a", ""]);
  });

  test("stays JSON with the same names and numbers, whatever it holds and however much has to go", () => {
    const json = fc.dictionary(fc.string({ unit: "grapheme" }), fc.jsonValue(), { minKeys: 1 });
    fc.assert(
      fc.property(json, fc.nat(60), fc.boolean(), (object, excess, isSpaced) => {
        const value = Buffer.from(JSON.stringify(object, null, isSpaced ? 1 : 0));
        const shorter = truncateJson(value, excess);
        if (shorter === null) return true;
        const emptied = (text: string) =>
          JSON.stringify(JSON.parse(text), (_, each) => typeof each === "string" ? "" : each);
        return value.length - shorter.length >= excess && emptied(String(shorter)) === emptied(String(value));
      }),
      RUNS,
    );
  });
});
