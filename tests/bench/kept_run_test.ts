import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { atLeast, atMost, renderCheck } from "../../bench/lib/check.ts";
import type { Environment } from "../../bench/lib/environment.ts";
import { KeptRun, newRunDir } from "../../bench/lib/kept_run.ts";
import type { Program, ProgramResult } from "../../bench/lib/program.ts";
import { tempDir } from "../support/temp_dir.ts";

const environment: Environment = {
  date: "2026-01-02",
  commit: "abc1234",
  shipper: "shipper 0.1.0",
  bun: "1.4.5",
  kafka: "4.3.1",
  kcat: "1.7.1",
  librdkafka: "2.0.2",
  platform: "linux x64",
  cores: 2,
  memoryGb: 24,
};

const result: ProgramResult = {
  parameters: { lines: 10, rounds: 2 },
  tables: [{
    title: "Medians",
    columns: ["", "lines/s"],
    rows: [["kcat", "900 k"], ["shipper lz4", "1200 k"]],
  }],
  checks: [atLeast("lines/s against kcat", 1.333, 1.1), atMost("peak RSS", 140.2, 128, "MB")],
  runs: [{ tool: "kcat", wallSeconds: 1.5 }],
};

function program(name: string): Program {
  return { name, title: `Title of ${name}`, about: "What is measured.", run: () => Promise.resolve(result) };
}

test("a run keeps tables, checks and raw figures, and what failed beside it", () => {
  using dir = tempDir("bench");
  const kept = new KeptRun(dir.file("run"), environment);
  expect(existsSync(kept.dir)).toBeFalse();
  kept.addResult(program("first"), result);
  kept.addFailure(program("second"), "it broke");
  const readme = readFileSync(dir.file("run", "README.md"), "utf8");
  expect(readme).toContain(`## Title of first

What is measured.

Medians

|             | lines/s |
| ----------- | ------: |
| kcat        |   900 k |
| shipper lz4 |  1200 k |

- lines/s against kcat: 1.33, wanted at least 1.1: ok
- peak RSS: 140 MB, wanted at most 128 MB: missed

With lines 10, rounds 2.
`);
  expect(readme).toContain("## Title of second\n\nWhat is measured.\n\nFailed: it broke\n");
  expect(readme).toContain("2 cores, 24 GB");
  expect(JSON.parse(readFileSync(dir.file("run", "result.json"), "utf8"))).toEqual({
    environment,
    programs: [{ name: "first", ...result }, { name: "second", failure: "it broke" }],
  });
});

test("every run of a day gets a folder of its own", () => {
  using dir = tempDir("bench");
  const names = [1, 2, 3].map(() => basename(newRunDir(dir.file("runs"), "2026-01-02")));
  expect(names).toEqual(["2026-01-02-1", "2026-01-02-2", "2026-01-02-3"]);
});

test("a bound is met when it is reached exactly, and missed by what is not a number", () => {
  expect(atLeast("a", 1.1, 1.1).isMet).toBeTrue();
  expect(atMost("a", 1.1, 1.1).isMet).toBeTrue();
  expect(atLeast("a", 1.0999, 1.1).isMet).toBeFalse();
  expect(atMost("a", 1.1001, 1.1).isMet).toBeFalse();
  expect(atLeast("a", NaN, 1).isMet).toBeFalse();
  expect(renderCheck(atMost("a", NaN, 1))).toBe("a: NaN, wanted at most 1: missed");
});
