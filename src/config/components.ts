import { type CheckedTable, checkTable, maskSecretsInside } from "./check.ts";
import { expand } from "./interpolate.ts";
import { deriveKafkaOptions } from "./kafka_derived.ts";
import type { OptionGroup } from "./option.ts";
import { NAME_PATTERN, plannedSinkTypes, plannedSourceTypes, sinkGroups, sourceGroups } from "./schema.ts";
import { kafkaSinkGroup } from "./options_kafka_sink.ts";
import { quote } from "./source_text.ts";
import { nearest } from "./suggest.ts";
import { stringItems, type TomlEntry, type TomlScalar, type TomlTable } from "./toml_tree.ts";
import { type CheckSession, shownValue } from "./value_context.ts";
import { kindNoun, oneOf } from "./wrong_type.ts";

/** A source or a sink as it stands in a file. */
export interface Component {
  readonly name: string;
  readonly entry: TomlEntry;
  /** Null when it is missing or unknown; then `table` is null too. */
  readonly type: string | null;
  readonly table: CheckedTable | null;
  /** A sink's inputs after expansion, by where they stand. */
  readonly inputs: ReadonlyMap<TomlScalar, InputName> | null;
}

/** An input after expansion, and how it may be named in a message. */
export interface InputName {
  readonly name: string;
  readonly shown: string;
}

interface Kind {
  readonly noun: "source" | "sink";
  readonly place: "sources" | "sinks";
  readonly groups: ReadonlyMap<string, OptionGroup>;
  readonly planned: readonly string[];
  readonly example: string;
}

const KINDS: Readonly<Record<"sources" | "sinks", Kind>> = {
  sources: {
    noun: "source",
    place: "sources",
    groups: sourceGroups,
    planned: plannedSourceTypes,
    example: "app",
  },
  sinks: { noun: "sink", place: "sinks", groups: sinkGroups, planned: plannedSinkTypes, example: "events" },
};

/** Checks all tables under `sources` or `sinks` of all files. */
export function checkComponents(
  place: "sources" | "sinks",
  roots: readonly TomlTable[],
  session: CheckSession,
): Component[] {
  const kind = KINDS[place];
  const byName = new Map<string, Component>();
  const all: Component[] = [];
  for (const root of roots) {
    const entry = root.entries.get(place);
    if (entry === undefined) continue;
    if (entry.node.kind !== "table") {
      reportNoTable(entry, kind, session);
      continue;
    }
    for (const each of entry.node.entries.values()) {
      const earlier = byName.get(each.key);
      if (earlier !== undefined) {
        session.report.add({
          code: "duplicate-name",
          message: `Cannot build ${kind.noun} ${quote(each.key)}: the name is taken`,
          at: each.keyAt,
          related: [{ at: earlier.entry.keyAt, label: "by this one" }],
          hint: "give one of the two another name",
        });
      }
      const component = checkComponent(each, kind, session);
      if (earlier === undefined) byName.set(each.key, component);
      all.push(component);
    }
  }
  return all;
}

function reportNoTable(entry: TomlEntry, kind: Kind, session: CheckSession): void {
  maskSecretsInside(entry);
  session.report.add({
    code: "wrong-type",
    message: `Cannot read ${quote(entry.key)}: expected a table for each ${kind.noun}, found ${
      kindNoun(entry.node)
    }`,
    at: entry.node.at,
    hint: `begin the table of a ${kind.noun} with [${kind.place}.${kind.example}]`,
  });
}

function checkComponent(entry: TomlEntry, kind: Kind, session: CheckSession): Component {
  const name = entry.key;
  const nothing = { name, entry, type: null, table: null, inputs: null };
  if (!NAME_PATTERN.test(name)) {
    session.report.add({
      code: "bad-name",
      message: `Cannot name a ${kind.noun} ${
        quote(name)
      }: a name has 1 to 64 letters, digits, dots, underscores and hyphens`,
      at: entry.keyAt,
      hint: `write, for example, [${kind.place}.${kind.example}]`,
    });
  }
  if (entry.node.kind !== "table") {
    maskSecretsInside(entry);
    session.report.add({
      code: "wrong-type",
      message: `Cannot read ${kind.noun} ${quote(name)}: expected a table, found ${kindNoun(entry.node)}`,
      at: entry.node.at,
      hint: `begin the table of a ${kind.noun} with [${kind.place}.${kind.example}]`,
    });
    return nothing;
  }
  const inputs = findInputs(entry.node, session);
  const found = findType(entry.node, entry, kind, session);
  if (found === null) {
    for (const each of entry.node.entries.values()) maskSecretsInside(each);
    return { ...nothing, inputs };
  }
  const identity = {
    label: `[${kind.place}.${name}]`,
    subject: `${kind.noun} ${quote(name)}`,
    requiredBy: { at: found.node.at, label: "required by this" },
  };
  const others = [...kind.groups.values()];
  const derive = found.group === kafkaSinkGroup ? deriveKafkaOptions : undefined;
  const table = checkTable(entry.node, found.group, identity, session, others, derive);
  return { name, entry, type: found.group.type, table, inputs };
}

/** What can be read of `inputs`: the option itself is checked with the others. */
function findInputs(table: TomlTable, session: CheckSession): Map<TomlScalar, InputName> {
  const node = table.entries.get("inputs")?.node;
  const inputs = new Map<TomlScalar, InputName>();
  for (const item of node === undefined ? [] : stringItems(node)) {
    const text = String(item.value);
    const expansion = expand(text, session.env);
    if (!expansion.ok) continue;
    inputs.set(item, {
      name: expansion.value,
      shown: shownValue(text, expansion.value, expansion.variables),
    });
  }
  return inputs;
}

/** The entry that was probably meant to be the type; null when there is none. */
function misspeltType(table: TomlTable, kind: Kind): TomlEntry | null {
  const groups = [...kind.groups.values()];
  const isKnown = (key: string) =>
    groups.some(({ options, tables = [] }) =>
      tables.includes(key) || Object.keys(options).some((each) => each === key || each.startsWith(`${key}.`))
    );
  const entries = [...table.entries.values()];
  return entries.find(({ key }) => !isKnown(key) && nearest(key, ["type"]) !== null) ?? null;
}

function findType(
  table: TomlTable,
  entry: TomlEntry,
  kind: Kind,
  session: CheckSession,
): { group: OptionGroup; node: TomlScalar } | null {
  const types = [...kind.groups.keys()];
  const subject = `${kind.noun} ${quote(entry.key)}`;
  const node = table.entries.get("type")?.node;
  if (node === undefined) {
    const misspelt = misspeltType(table, kind);
    if (misspelt !== null) {
      session.report.add({
        code: "unknown-key",
        message: `Cannot read option ${quote(misspelt.key)}: [${kind.place}.${entry.key}] has no such option`,
        at: misspelt.keyAt,
        hint: 'a similar option exists: "type"',
      });
      return null;
    }
    session.report.add({
      code: "missing-key",
      message: `Cannot build ${subject}: the option "type" is missing`,
      at: entry.keyAt,
      hint: `add type = ${quote(types[0]!)}; it is ${oneOf(types)}`,
    });
    return null;
  }
  if (node.kind !== "string") {
    session.report.add({
      code: "wrong-type",
      message: `Cannot build ${subject}: expected ${oneOf(types)} as its type`,
      at: node.at,
      hint: `write, for example, type = ${quote(types[0]!)}`,
    });
    return null;
  }
  const expansion = expand(String(node.value), session.env);
  const type = expansion.ok ? expansion.value : String(node.value);
  const shown = expansion.ok ? shownValue(String(node.value), type, expansion.variables) : quote(type);
  const group = kind.groups.get(type);
  if (group !== undefined) return { group, node };
  if (kind.planned.includes(type)) {
    session.report.add({
      code: "not-supported",
      message: `Cannot build ${subject}: this version of shipper does not have the type ${quote(type)}`,
      at: node.at,
      hint: `use ${oneOf(types)}`,
    });
    return null;
  }
  const near = nearest(type, types);
  session.report.add({
    code: "unknown-type",
    message: `Cannot build ${subject}: type ${shown} is not ${oneOf(types)}`,
    at: node.at,
    hint: near === null ? `use ${oneOf(types)}` : `did you mean ${quote(near)}?`,
  });
  return null;
}
