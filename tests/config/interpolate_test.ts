import { expect, test } from "bun:test";
import { expand } from "../../src/config/interpolate.ts";

const ENV = { A: "a", EMPTY: "", DOLLAR: "${A}" };

function value(text: string): string {
  const expansion = expand(text, ENV);
  if (!expansion.ok) throw new Error(`${expansion.code}: ${expansion.reason}`);
  return expansion.value;
}

test("references are replaced, and dollars that are none stay", () => {
  expect(value("x${A}y${A}")).toBe("xaya");
  expect(value("$$ $${A} $A $1 a$")).toBe("$ ${A} $A $1 a$");
  expect(value("${EMPTY}")).toBe("");
});

test("a default stands in for what is unset or empty", () => {
  expect(value("${B:-b}${EMPTY:-e}${A:-x}")).toBe("bea");
  expect(value("${B:-}")).toBe("");
  expect(value("${B:-{{unit}}}")).toBe("{{unit}}");
  expect(value("${B:-${C:-${A}}}")).toBe("a");
});

test("a value is not expanded again", () => {
  expect(value("${DOLLAR}")).toBe("${A}");
});

test("a whole string that is one reference is known to be", () => {
  const alone = (text: string) => {
    const expansion = expand(text, ENV);
    return expansion.ok && expansion.alone;
  };
  expect(alone("${A}")).toBe(true);
  expect(alone("${B:-5}")).toBe(true);
  expect(alone(" ${A}")).toBe(false);
  expect(alone("${A}${A}")).toBe(false);
  expect(alone("a")).toBe(false);
});

test("an unset variable is an error, with its own message if there is one", () => {
  expect(expand("${B}", ENV)).toMatchObject({
    ok: false,
    code: "missing-env",
    variable: "B",
    reference: "${B}",
  });
  expect(expand("${B?say B}", ENV)).toMatchObject({ code: "missing-env", reason: "say B" });
  expect(expand("${EMPTY?x}", ENV)).toMatchObject({ ok: true, value: "" });
  expect(expand("${toString}", ENV)).toMatchObject({ code: "missing-env" });
});

test("malformed references are errors", () => {
  for (const text of ["${", "${A", "${}", "${1A}", "${A-b}", "${A:?b}", "${A b}", "${B:-${}"]) {
    expect(expand(text, ENV), text).toMatchObject({ ok: false, code: "bad-interpolation" });
  }
  const nested = "${B:-".repeat(20) + "}".repeat(20);
  expect(expand(nested, ENV)).toMatchObject({ ok: false, code: "bad-interpolation" });
});
