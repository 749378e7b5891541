import { expect, test } from "bun:test";
import { renderDiagnostics } from "../../src/config/diagnostic_render.ts";
import { loadConfig } from "../../src/config/load.ts";
import { sampleConfiguration } from "../../src/config/sample.ts";
import { allGroups, sinkGroups, sourceGroups } from "../../src/config/schema.ts";

const CONTEXT = { hostname: "h", isRoot: true, home: "/root", xdgStateHome: undefined };

function load(text: string) {
  return loadConfig([{ path: "x.toml", text }], {
    KAFKA_PASSWORD: "p",
    KEY_PASS: "k",
    KAFKA_TOKEN: "t",
    CLIENT_SECRET: "s",
  }, CONTEXT);
}

/** Every choice of at least one. */
function choices(kinds: readonly string[]): string[][] {
  return Array.from(
    { length: 2 ** kinds.length - 1 },
    (_, bits) => kinds.filter((_, i) => (bits + 1) & (1 << i)),
  );
}

const SOURCES = [...sourceGroups.keys()];
const SINKS = [...sinkGroups.keys()];

test("every combination of kinds is a configuration without an error or a warning", () => {
  for (const sources of choices(SOURCES)) {
    for (const sinks of choices(SINKS)) {
      const text = sampleConfiguration({ sources, sinks });
      const { config, diagnostics } = load(text);
      expect(renderDiagnostics(diagnostics, { color: false }), text).toBe("");
      expect(config!.sources.map((each) => each.type)).toEqual(sources as never);
      expect(config!.sinks.map((each) => each.type)).toEqual(sinks as never);
      for (const sink of config!.sinks) expect(sink.inputs).toEqual(sources);
    }
  }
});

const ALL = sampleConfiguration({ sources: SOURCES, sinks: SINKS });
const OPTION = /^# ([a-z][a-z0-9_.]*) = .*$/gmu;

test("every option is in it, with its doc", () => {
  const flat = ALL.replace(/\n# /gu, " ").replace(/\s+/gu, " ");
  for (const group of allGroups) {
    expect(flat).toContain(group.table === "" ? "data_dir" : group.doc.replace(/\s+/gu, " "));
    for (const [key, option] of Object.entries(group.options)) {
      expect(ALL, key).toMatch(new RegExp(`^(# )?${key.replaceAll(".", "\\.")} = `, "mu"));
      if (key !== "type") expect(flat, key).toContain(option.doc);
    }
  }
  // Text is wrapped; a value is one line, as long as it is.
  const wrapped = ALL.split("\n").filter((each) => !/^(?:# )?[a-z_.]+ = /u.test(each));
  for (const line of wrapped) expect(line.length, line).toBeLessThanOrEqual(110);
});

/** What one option alone may lack, or contradict. */
const NEEDS_OTHERS = ["missing-key", "conflict", "incomplete-certificate"];

test("every line that is commented out is an option as it may be written, one by one", () => {
  let count = 0;
  for (const { 0: line, 1: key, index } of ALL.matchAll(OPTION)) {
    // The header above it, when that is a comment too.
    const header = /^# \[\w+\]$/mu;
    const above = ALL.slice(0, index).split(/\n(?=\[|# \[)/u).at(-1)!;
    const before = ALL.slice(0, index - above.length) + above.replace(header, (found) => found.slice(2));
    const text = before + line.slice(2) + ALL.slice(index + line.length);
    const errors = load(text).diagnostics.filter((each) =>
      each.severity === "error" && !NEEDS_OTHERS.includes(each.code)
    );
    expect(renderDiagnostics(errors, { color: false }), `${key}: ${line}`).toBe("");
    count++;
  }
  const optional = allGroups.flatMap((each) => Object.values(each.options)).filter((each) => !each.required);
  expect(count).toBe(optional.length);
});

test("a kind that is not there is refused", () => {
  expect(() => sampleConfiguration({ sources: ["carrier_pigeon"], sinks: ["kafka"] })).toThrow(
    "carrier_pigeon",
  );
});
