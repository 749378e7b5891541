import { expect, test } from "bun:test";
import { renderDiagnostics } from "../../src/config/diagnostic_render.ts";
import { loadConfig } from "../../src/config/load.ts";

const CONTEXT = { hostname: "h", isRoot: true, home: "/root", xdgStateHome: undefined };

function render(text: string, color = false): string {
  return renderDiagnostics(loadConfig([{ path: "x.toml", text }], {}, CONTEXT).diagnostics, { color });
}

const REST = '\n[sources.a]\ntype = "stdin"\n[sinks.b]\ntype = "console"\ninputs = ["a"]\n';

test("colour is added on demand and changes nothing else", () => {
  const plain = render(`foo = 1\n${REST}`);
  const colored = render(`foo = 1\n${REST}`, true);
  expect(colored).toContain("\u001b[1;31merror[unknown-key]\u001b[0m");
  // deno-lint-ignore no-control-regex
  expect(colored.replace(/\u001b\[[0-9;]*m/gu, "")).toBe(plain);
});

test("tabs stay tabs above and below", () => {
  expect(render(`\tfoo\t= 1\n${REST}`)).toContain("1 | \tfoo\t= 1\n  | \t^^^\n");
});

test("columns count characters, not bytes or UTF-16 units", () => {
  const text = render(`[log]\nlevel = "😀ö"\n${REST}`);
  expect(text).toContain(" --> x.toml:2:9\n");
  expect(text).toContain('2 | level = "😀ö"\n  |         ^^^^\n');
});

test("a long line is cut around the place", () => {
  const text = render(`log = { level = "${"a".repeat(5_000)}", format = "nope" }\n${REST}`);
  const line = text.split("\n").find((each) => each.includes("nope") && each.startsWith("1 |"))!;
  expect(line.length).toBeLessThan(200);
  const caret = text.split("\n")[text.split("\n").indexOf(line) + 1]!;
  expect(line.slice(caret.indexOf("^"), caret.lastIndexOf("^") + 1)).toBe('"nope"');
});

test("control characters of a file never reach the terminal", () => {
  const text = render(`log.level = "a\\u001b[2Jb" # \u202Eabc\n${REST}`);
  // deno-lint-ignore no-control-regex
  expect(text).not.toMatch(/[\u001b\u202e]/u);
  expect(text).toContain('"a\uFFFD[2Jb" is not one of');
});

test("the summary counts what is not shown", () => {
  const many = Array.from({ length: 150 }, (_, index) => `unknown_${index} = 1`).join("\n");
  const text = render(many + REST);
  expect(text.match(/^error\[/gmu)).toHaveLength(100);
  expect(text).toContain("... and 50 more, not shown\n\nFound 150 errors in x.toml; nothing was started.\n");
});

test("nothing is printed when nothing is wrong", () => {
  expect(render(REST)).toBe("");
});

test("warnings alone say that they stop nothing", () => {
  const text = render('[sources.idle]\ntype = "file"\ninclude = ["/x"]\n' + REST);
  expect(text).toEndWith("\nFound 1 warning in x.toml; warnings do not stop the start.\n");
});
