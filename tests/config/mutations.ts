import { readFileSync } from "node:fs";
import { renderDiagnostics } from "../../src/config/diagnostic_render.ts";
import { loadConfig } from "../../src/config/load.ts";
import { sampleConfiguration } from "../../src/config/sample.ts";
import type { Random } from "../support/seed.ts";

/**
 * Valid configurations that are changed at random, and what must hold of whatever comes out: no crash, no stack trace, no secret, and no key that
 * nobody knows in what is accepted. What is known is read from the documents, and what is written by Bun's own TOML parser: neither is what the
 * checker goes by.
 */

const CONTEXT = { hostname: "h", isRoot: true, home: "/root", xdgStateHome: undefined };
const SECRET = "correcthorsebatterystaple";
export const MUTATION_ENV: Readonly<Record<string, string>> = {
  KAFKA_PASSWORD: SECRET,
  ENV_VAR: "edge-7",
  KEY_PASS_ENV_VAR: SECRET,
};

function read(path: string): string {
  return readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
}

const EXAMPLE = read("config.example.toml").replace(/^# ([a-z_.]+ = )/gmu, "$1");
const VECTOR = read("tests/config/vector_advanced.toml").replace(/^ +encoding\.only_fields.*\n/mu, "") +
  '[sources.my-source-or-transform-id]\ntype = "file"\ninclude = ["/var/log/app/*.log"]\n';
/** Uses every kind of option, with all tables. */
export const EVERY_TABLE = `${EXAMPLE}
[log]
level = "debug"
[sources.in]
type = "stdin"
max_line_bytes = "1MiB"
[sinks.out]
type = "console"
inputs = ["in"]
encoding = { codec = "json", only_fields = ["a", "b.c"] }
[sinks.out.buffer]
max_events = 10
`;
const SAMPLE = sampleConfiguration({ sources: ["file", "stdin"], sinks: ["kafka", "console"] });

/** Each is accepted as it is. */
export const BASES: readonly string[] = [EXAMPLE, EVERY_TABLE, VECTOR, SAMPLE];

/** What may stand in a table of this place and type, by whole keys. */
type KnownKeys = ReadonlyMap<string, ReadonlySet<string>>;

/** From docs/configuration.md: a section is of the table in its first block, and its options are its headings. */
function readKnownKeys(): KnownKeys {
  const known = new Map<string, Set<string>>();
  for (const section of read("docs/configuration.md").split(/^## /mu).slice(1)) {
    const isTop = section.startsWith("Top level");
    const table = /^```toml\n\[([a-zA-Z.]+)\]\n(?:type = "([a-z]+)"\n)?```/mu.exec(section);
    if (!isTop && table === null) continue;
    const keys = new Set<string>();
    for (const [, key, facts] of section.matchAll(/^### `([^`]+)`\n\n(.*)$/gmu)) {
      keys.add(key!);
      for (const [, alias] of (/; also (.*)$/u.exec(facts!)?.[1] ?? "").matchAll(/`([^`]+)`/gu)) {
        keys.add(alias!);
      }
    }
    if (keys.size > 0) known.set(isTop ? "" : table![1]!.replace(".NAME", `:${table![2]}`), keys);
  }
  return known;
}

const KNOWN = readKnownKeys();
/** From docs/librdkafka_options.md: the first column of every table, and the list of those for consumers. */
const PROPERTIES = new Set(
  [...read("docs/librdkafka_options.md").matchAll(/^(?:\| )?((?:`[^`|]+`(?:, )?)+)(?: \||\.?$)/gmu)].flatMap((
    [, names],
  ) => names!.split(", ").map((name) => name.replaceAll("`", ""))),
);

/** Keys of a text that no document names, as paths; null where Bun's parser cannot read it. */
export function unknownKeys(text: string): string[] | null {
  let root: Record<string, unknown>;
  try {
    root = Bun.TOML.parse(text) as Record<string, unknown>;
  } catch {
    return null;
  }
  const unknown: string[] = [];
  for (const [key, value] of Object.entries(root)) {
    if (key === "sources" || key === "sinks") {
      for (const [name, table] of Object.entries(Object(value) as object)) {
        const type = String((table as { type?: unknown }).type);
        const keys = KNOWN.get(`${key}:${type}`);
        if (keys === undefined) unknown.push(`${key}.${name} (type ${type})`);
        else collectUnknown(table, keys, `${key}.${name}`, "", unknown);
      }
    } else if (KNOWN.has(key) && key !== "") collectUnknown(value, KNOWN.get(key)!, key, "", unknown);
    else collectUnknown({ [key]: value }, KNOWN.get("")!, "", "", unknown);
  }
  return unknown;
}

function collectUnknown(
  table: unknown,
  keys: ReadonlySet<string>,
  at: string,
  prefix: string,
  out: string[],
): void {
  for (const [key, value] of Object.entries(Object(table) as object)) {
    const path = prefix + key;
    if (path === "librdkafka_options") {
      for (const name of namesOf(value, "")) if (!PROPERTIES.has(name)) out.push(`${at}.${path}."${name}"`);
    } else if (key.includes(".")) out.push(`${at}.${prefix}"${key}"`);
    else if (keys.has(path)) continue;
    else if ([...keys].some((each) => each.startsWith(`${path}.`))) {
      collectUnknown(value, keys, at, `${path}.`, out);
    } else out.push(`${at}.${path}`);
  }
}

function namesOf(value: unknown, prefix: string): string[] {
  if (typeof value !== "object" || value === null) return [prefix];
  return Object.entries(value).flatMap(([key, inner]) =>
    namesOf(inner, prefix === "" ? key : `${prefix}.${key}`)
  );
}

const VALUES: readonly string[] = [
  ...["1", "0", "-1", "9007199254740993", "9".repeat(40), "1e400", "0x1F", "1_000", "nan", "-inf", "1.5"],
  ...[
    '""',
    '"x"',
    "'x'",
    '"""x\ny"""',
    '"\\u0000"',
    '"\\uD800"',
    '"${KAFKA_PASSWORD}"',
    '"${NONE}"',
    '"${"',
    '"$"',
    '"$$"',
  ],
  ...["true", "[]", "[1]", '["a"]', '[["a"]]', "{}", '{ file = "/run/none" }', "{ a.b = 1 }", "[{}]"],
  ...["2020-01-01", "2020-01-01T00:00:00Z", "12:00:00", "x", "", '"a" "b"', '"64MiB"', '"-5"', `"${SECRET}"`],
];
const PIECES: readonly string[] = [
  ...[
    "[",
    "]",
    "{",
    "}",
    '"',
    "'",
    '"""',
    "=",
    ".",
    ",",
    "\n",
    "$",
    "${",
    "}}",
    "{{",
    "#",
    "-1",
    "\u0000",
    "\uD800",
    "\t",
    "\r\n",
  ],
  ...[
    "[sources.app]\n",
    "[[sinks.x]]\n",
    "[sinks]\n",
    'a = "b"\n',
    "x.y.z = 1\n",
    "9".repeat(30),
    "é",
    "\u{1F600}",
    "\uFEFF",
  ],
];
const HEADERS: readonly string[] = [
  ...[
    "[api]",
    "[log]",
    "[sources.app]",
    "[sources.new]",
    "[sinks.events]",
    "[sinks.events.tls]",
    "[sinks.out.encoding]",
  ],
  ...[
    "[[sinks.events]]",
    "[sink.events]",
    "[sinks]",
    "[librdkafka_options]",
    "[a.b.c]",
    '[sinks."a b"]',
    "[]",
    "[.]",
  ],
];

/** Changes a text in one to three places. */
export function mutate(text: string, random: Random): string {
  let result = text;
  for (let count = random.between(1, 3); count > 0; count--) result = random.pick(CHANGES)(result, random);
  return result;
}

type Change = (text: string, random: Random) => string;

/** Puts lines in the place of one, which has a key where `hasKey` asks for that. */
function changeLine(
  text: string,
  random: Random,
  make: (line: string) => readonly string[],
  hasKey = true,
): string {
  const lines = text.split("\n");
  const places = lines.flatMap((line, i) => !hasKey || /^\s*[^#\s[].*=/u.test(line) ? [i] : []);
  if (places.length === 0) return text;
  const at = random.pick(places);
  return [...lines.slice(0, at), ...make(lines[at]!), ...lines.slice(at + 1)].join("\n");
}

/** The line with another key, made of its own. */
function withKey(line: string, make: (key: string) => string): string {
  const match = /^(\s*)([^=]*?)(\s*=.*)$/u.exec(line);
  return match === null ? line : match[1]! + make(match[2]!) + match[3]!;
}

function slip(key: string, random: Random): string {
  const at = random.between(0, Math.max(0, key.length - 1));
  const letter = String.fromCharCode(random.between(97, 122));
  switch (random.between(0, 3)) {
    case 0:
      return key.slice(0, at) + key.slice(at + 1);
    case 1:
      return key.slice(0, at) + letter + key.slice(at);
    case 2:
      return key.slice(0, at) + letter + key.slice(at + 1);
    default:
      return key.slice(0, at) + key.slice(at + 1, at + 2) + key.slice(at, at + 1) + key.slice(at + 2);
  }
}

const ALL_KEYS: readonly string[] = [...new Set([...KNOWN.values()].flatMap((keys) => [...keys]))];

const CHANGES: readonly Change[] = [
  (text, random) => {
    const at = random.between(0, text.length);
    return text.slice(0, at) + random.pick(PIECES) + text.slice(at + random.between(0, 6));
  },
  (text, random) => changeLine(text, random, (line) => [withKey(line, (key) => slip(key, random))]),
  (text, random) => changeLine(text, random, (line) => [withKey(line, () => random.pick(ALL_KEYS))]),
  (text, random) => changeLine(text, random, (line) => [withKey(line, (key) => `"${key}"`)]),
  (text, random) =>
    changeLine(text, random, (line) => [withKey(line, (key) => `${key}.${slip("more", random)}`)]),
  (text, random) =>
    changeLine(text, random, (line) => [line.replace(/=.*/u, () => `= ${random.pick(VALUES)}`)]),
  (text, random) => changeLine(text, random, (line) => [line, line]),
  (text, random) => changeLine(text, random, () => [], false),
  (text, random) =>
    changeLine(text, random, (line) => [line, `${random.pick(ALL_KEYS)} = ${random.pick(VALUES)}`], false),
  (text, random) => changeLine(text, random, (line) => [random.pick(HEADERS), line], false),
  (text, random) => {
    const lines = text.split("\n");
    const [moved] = lines.splice(random.between(0, lines.length - 1), 1);
    lines.splice(random.between(0, lines.length), 0, moved!);
    return lines.join("\n");
  },
];

/** What came of many mutations. */
export interface MutationReport {
  acceptedCount: number;
  refusedCount: number;
  /** Accepted, and Bun's parser cannot read it. */
  unjudgedCount: number;
}

/** Changes the bases `count` times. Throws, with the text, where something does not hold. */
export function checkMutations(count: number, random: Random): MutationReport {
  const report: MutationReport = { acceptedCount: 0, refusedCount: 0, unjudgedCount: 0 };
  for (let i = 0; i < count; i++) {
    const text = mutate(random.pick(BASES), random);
    try {
      checkText(text, report);
    } catch (error) {
      throw new Error(`Mutation ${i}: ${(error as Error).message}\n${text}`, { cause: error });
    }
  }
  return report;
}

function checkText(text: string, report: MutationReport): void {
  const { config, diagnostics } = loadConfig([{ path: "x.toml", text }], MUTATION_ENV, CONTEXT);
  const rendered = renderDiagnostics(diagnostics, { color: false });
  expectThat(
    !/^\s+at .*[:(]|TypeError|\[object |undefined/mu.test(withoutText(rendered)),
    `it prints ${rendered}`,
  );
  if (!text.includes(SECRET)) expectThat(!rendered.includes(SECRET), "a secret is shown");
  const isRefused = diagnostics.some((each) => each.severity === "error");
  expectThat((config === null) === isRefused, "it is refused without an error, or accepted with one");
  const lineCount = text.split("\n").length;
  for (const { hint, message, snippet } of diagnostics) {
    expectThat(message !== "" && hint !== "", "a diagnostic says nothing");
    expectThat(snippet === null || (snippet.line >= 1 && snippet.line <= lineCount), "a line is not there");
  }
  if (config === null) {
    report.refusedCount++;
    return;
  }
  report.acceptedCount++;
  const unknown = unknownKeys(text);
  if (unknown === null) report.unjudgedCount++;
  else expectThat(unknown.length === 0, `accepted with ${unknown.join(", ")}`);
}

/** The lines that diagnostics print of their own: not those of the configuration. */
function withoutText(rendered: string): string {
  return rendered.split("\n").filter((line) => !/^\s*\d* \|/u.test(line)).map((line) =>
    line.replace(/"(?:[^"\\]|\\.)*"/gu, '""')
  )
    .join("\n");
}

function expectThat(holds: boolean, message: string): void {
  if (!holds) throw new Error(message);
}
