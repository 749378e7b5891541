import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { loadConfig } from "../../src/config/load.ts";
import { renderDiagnostics } from "../../src/config/diagnostic_render.ts";
import type { Option, OptionGroup } from "../../src/config/option.ts";
import { allGroups } from "../../src/config/schema.ts";
import { checkFieldPath, checkTopic } from "../../src/config/string_checks.ts";
import { parseFieldPath } from "../../src/shape/fields.ts";
import { Template } from "../../src/shape/template.ts";
import { withExample } from "./complete_config.ts";

const CONTEXT = { hostname: "h", isRoot: true, home: "/root", xdgStateHome: undefined };
const ENV = { KAFKA_PASSWORD: "p", KEY_PASS: "k", KAFKA_TOKEN: "t", CLIENT_SECRET: "s" };

function allOptions(): { group: OptionGroup; key: string; option: Option<unknown> }[] {
  return allGroups.flatMap((group) =>
    Object.entries(group.options).map(([key, option]) => ({ group, key, option }))
  );
}

test("every option has a doc of whole sentences and an example", () => {
  for (const { group, key, option } of allOptions()) {
    const name = `${group.title}: ${key}`;
    expect(option.doc, name).toMatch(/^[A-Z`][^]*\.$/u);
    expect(option.example, name).not.toBe("");
    if (option.default === null) expect(option.requiredWhen ?? option.defaultText, name).not.toBeNull();
  }
});

test("every group has a title and a doc, and everything that is declared is in one", async () => {
  for (const { title, doc } of allGroups) {
    expect(title).not.toBe("");
    expect(doc, title).toMatch(/^[A-Za-z`][^]*\.$/u);
  }
  const known = new Set<unknown>([...allGroups, ...allOptions().map((each) => each.option)]);
  const folder = new URL("../../src/config/", import.meta.url);
  const files = readdirSync(folder).filter((each) => /^options_.*\.ts$/u.test(each));
  expect(files.length).toBeGreaterThan(4);
  for (const file of files) {
    for (const [name, value] of Object.entries(await import(new URL(file, folder).href))) {
      if (typeof value !== "object" || value === null || Array.isArray(value)) continue;
      // A group, an option, or options by their keys.
      const parts = "options" in value || "example" in value ? [value] : Object.values(value);
      for (const part of parts) expect(known.has(part), `${file}: ${name} is in a group`).toBe(true);
    }
  }
});

test("keys are lower case with the unit at their end", () => {
  for (const { key, option } of allOptions()) {
    expect(key).toMatch(/^[a-z][a-z0-9_.]*$/u);
    if (option.unit === "milliseconds") expect(key).toEndWith("_ms");
    if (option.unit === "seconds") expect(key).toEndWith("_secs");
  }
});

test("every example can be used, without a warning", () => {
  for (const { group, key, option } of allOptions()) {
    const text = withExample(group, key, option);
    const { config, diagnostics } = loadConfig([{ path: "x.toml", text }], ENV, CONTEXT);
    expect(renderDiagnostics(diagnostics, { color: false }), `${group.title}: ${key}\n${text}`).toBe("");
    expect(config).not.toBeNull();
  }
});

test("every number's default lies in its range", () => {
  for (const { key, option } of allOptions()) {
    const { type } = option;
    if (!("min" in type) || typeof option.default !== "number" || option.default === type.special) continue;
    expect(option.default, key).toBeGreaterThanOrEqual(type.min);
    expect(option.default, key).toBeLessThanOrEqual(type.max);
  }
});

test("no option has two meanings, and none is both there and planned", () => {
  for (const group of allGroups) {
    const spellings = Object.entries(group.options).flatMap(([key, option]) => [key, ...option.aliases]);
    expect(new Set(spellings).size, group.title).toBe(spellings.length);
    for (const each of group.planned) expect(spellings, group.title).not.toContain(each);
  }
});

test("topics are accepted exactly when the shaper can compile them", () => {
  const parts = [
    "logs",
    "-",
    "{{unit}}",
    "{{a.b}}",
    '{{"a.b".c}}',
    "{{a..b}}",
    "{{ x }}",
    "{{",
    "}}",
    "%Y",
    "%Q",
    "%",
  ];
  for (const first of parts) {
    for (const second of parts) {
      const topic = first + second;
      if (topic.includes("}}") && !topic.includes("{{")) continue; // Kafka allows no brace: only the config says so
      let compiles = true;
      try {
        new Template(topic);
      } catch {
        compiles = false;
      }
      const problem = checkTopic(topic);
      if (!compiles) expect(problem, topic).not.toBeNull();
      else if (!/[{}%]/u.test(topic.replace(/\{\{.*?\}\}|%[A-Za-z]/gu, ""))) {
        expect(problem, topic).toBeNull();
      }
    }
  }
});

test("field paths are accepted exactly when the shaper can read them", () => {
  for (const path of ["a", "a.b", '"a.b"', '"a.b".c', "", ".", "a.", ".a", "a..b", '"a', 'a"b', "a b.ä"]) {
    let reads = true;
    try {
      parseFieldPath(path);
    } catch {
      reads = false;
    }
    expect(checkFieldPath(path) === null, path).toBe(reads);
  }
});
