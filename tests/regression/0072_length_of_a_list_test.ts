import { expect, test } from "bun:test";
import { shapeText } from "../shape/shape_text.ts";

// "tags.length" was the number of tags, and "id.rawJSON" the digits of an id of 64 bits: names of this program's own objects, which no line holds.
test("a path finds what the line holds and nothing else", () => {
  const lines =
    '{"tags":["a","b"],"id":12345678901234567890}\n{"tags":{"length":"x"},"id":{"rawJSON":"y"}}\n';
  const setup = { decode: "json", headers: [{ name: "h", value: "{{id.rawJSON}}" }] } as const;
  expect(shapeText({ ...setup, keyField: "tags.length" }, lines)).toMatchObject({
    keys: [null, "x"],
    headers: [[], [["h", "y"]]],
  });
  expect(shapeText({ ...setup, keyField: "tags.1" }, lines).keys).toEqual(["b", null]);
});
