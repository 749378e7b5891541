import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { DIAGNOSTIC_CODES } from "../../src/config/diagnostic.ts";
import { BAD_FOLDER, badNames, loadBad, renderBad } from "./fixtures.ts";

function expectedText(name: string): string {
  return readFileSync(new URL(`${name}.txt`, BAD_FOLDER), "utf8");
}

describe("configurations that are wrong", () => {
  for (const name of badNames()) {
    test(`${name} prints its expected text`, () => {
      expect(renderBad(name)).toBe(expectedText(name));
    });
  }
});

test("a configuration is given exactly when there is no error", () => {
  for (const name of badNames()) {
    const { config, diagnostics } = loadBad(name);
    expect(diagnostics.length, name).toBeGreaterThan(0);
    expect(config === null, name).toBe(diagnostics.some((each) => each.severity === "error"));
  }
});

test("every rule has a fixture that is named after it", () => {
  const texts = readdirSync(BAD_FOLDER).filter((each) => each.endsWith(".txt"));
  for (const [code, severity] of Object.entries(DIAGNOSTIC_CODES)) {
    const named = texts.filter((each) => each.startsWith(code.replaceAll("-", "_")));
    const printed = named.some((each) =>
      readFileSync(new URL(each, BAD_FOLDER), "utf8").includes(`${severity}[${code}]: `)
    );
    expect(printed, `tests/config/bad/${code.replaceAll("-", "_")}*.txt shows ${severity}[${code}]`).toBe(
      true,
    );
  }
});

test("every expected text belongs to a fixture", () => {
  // The texts of tests/cli/load_config_files_test.ts, whose files cannot be kept in a repository.
  const made = [
    "config_empty_file",
    "config_is_directory",
    "config_missing",
    "config_not_utf8",
    "config_too_large",
    "readable_secret",
  ];
  for (const each of readdirSync(BAD_FOLDER).filter((file) => file.endsWith(".txt"))) {
    const name = each.slice(0, -4);
    const known = made.includes(name) || name === "config_unreadable" ||
      existsSync(new URL(`${name}.toml`, BAD_FOLDER));
    expect(known, each).toBe(true);
  }
});

test("no fixture shows a secret", () => {
  for (const name of badNames()) {
    expect(renderBad(name), name).not.toContain("hunter2");
    expect(renderBad(name), name).not.toContain("MIIEvQ");
  }
});

test("messages begin in upper case, end without a period, and have something to type", () => {
  for (const name of badNames()) {
    for (const { message, hint } of loadBad(name).diagnostics) {
      expect(message, name).toMatch(/^[A-Z].*[^.]$/u);
      expect(hint, `${name}: ${message}`).not.toBeNull();
    }
  }
});

test("underlines stand below what they point at", () => {
  for (const name of badNames()) {
    for (const { snippet } of loadBad(name).diagnostics) {
      if (snippet === null) continue;
      const file = snippet.path === `${name}.toml` ? `${name}.toml` : `${name}.2.toml`;
      const line = readFileSync(new URL(file, BAD_FOLDER), "utf8").split("\n")[snippet.line - 1]!;
      expect(snippet.fileColumn, name).toBeLessThanOrEqual(line.length + 1);
      expect(snippet.column + snippet.length, name).toBeLessThanOrEqual(line.length + 1);
    }
  }
});
