import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { diagnosticReport } from "../../src/config/diagnostic_json.ts";
import { loadConfig } from "../../src/config/load.ts";
import { BAD_FOLDER, badNames, loadBad } from "./fixtures.ts";

function report(name: string) {
  return diagnosticReport(loadBad(name).diagnostics);
}

test("a problem has its place, its end, and something to type", () => {
  expect(report("bad_choice_near")).toEqual({
    valid: false,
    errors: 1,
    warnings: 0,
    diagnostics: [{
      code: "bad-choice",
      severity: "error",
      message:
        'Cannot read option "compression": "zst" is not one of "none", "gzip", "snappy", "lz4", "zstd"',
      file: "bad_choice_near.toml",
      line: 10,
      column: 15,
      end: { line: 10, column: 20 },
      label: "",
      related: [],
      hint: 'did you mean "zstd"?',
    }],
  });
});

test("what it has to do with has a place too, in another file perhaps", () => {
  const [conflict] = report("duplicate_key_two_files").diagnostics;
  expect(conflict).toMatchObject({ file: "duplicate_key_two_files.2.toml", code: "duplicate-key" });
  expect(conflict!.related).toMatchObject([{
    file: "duplicate_key_two_files.toml",
    label: "set here first",
  }]);
});

test("the example of docs/configuration.md is what is printed", () => {
  const docs = readFileSync(new URL("../../docs/configuration.md", import.meta.url), "utf8");
  const example = /```json\n([^]*?)```/u.exec(docs)![1]!;
  const text =
    '[sources.a]\ntype = "stdin"\n[sinks.s]\ntype = "kafka"\ninputs = "a"\nbrokers = "b:1"\ntopic = "t"\n' +
    "linger_ms = 5\nbatch.timeout_ms = 7\n";
  const context = { hostname: "h", isRoot: true, home: "/root", xdgStateHome: undefined };
  const { diagnostics } = loadConfig([{ path: "shipper.toml", text }], {}, context);
  expect(JSON.parse(example)).toEqual(diagnosticReport(diagnostics));
});

test("a warning leaves a configuration valid", () => {
  expect(report("insecure_sasl")).toMatchObject({ valid: true, errors: 0, warnings: 1 });
});

test("a problem of a file as a whole has no place", () => {
  const [problem] = report("no_sinks").diagnostics;
  expect(problem).toMatchObject({ file: "no_sinks.toml", line: null, column: null, end: null });
});

test("every fixture: ends are behind beginnings, inside of the file, and no secret is shown", () => {
  for (const name of badNames()) {
    const all = report(name);
    expect(JSON.stringify(all), name).not.toMatch(/hunter2|MIIEvQ/u);
    expect(all.valid, name).toBe(loadBad(name).config !== null);
    for (const { file, line, column, end, related } of all.diagnostics) {
      if (line === null || column === null || end === null) continue;
      const lines = readFileSync(new URL(file, BAD_FOLDER), "utf8").split("\n");
      expect(end.line > line || (end.line === line && end.column >= column), name).toBe(true);
      expect(end.column, name).toBeLessThanOrEqual(lines[end.line - 1]!.length + 1);
      for (const each of related) expect(each.line, name).toBeGreaterThan(0);
    }
  }
});
