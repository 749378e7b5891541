import { checkValue } from "./check_value.ts";
import { Report } from "./diagnostic.ts";
import { expand } from "./interpolate.ts";
import type { IgnoredProperty, MappedProperty } from "./librdkafka_property.ts";
import { kafkaProperties, PROPERTIES_KEY } from "./librdkafka_table.ts";
import { type Option, type OptionType, text } from "./option.ts";
import { looksSecret, quote } from "./source_text.ts";
import { nearest } from "./suggest.ts";
import { foundAt, type TableDraft } from "./table_draft.ts";
import type { TomlEntry, TomlNode, TomlScalar } from "./toml_tree.ts";
import { expandScalar, holdsPrivateKey, INVALID, maskNode, rawText } from "./value_context.ts";
import { kindNoun } from "./wrong_type.ts";

/**
 * Takes the table of another client's properties: sets the options that they stand for, and reports those
 * that have no effect, are not known, or contradict an option.
 */
export function applyKafkaProperties(draft: TableDraft): void {
  const entry = draft.table.entries.get(PROPERTIES_KEY);
  if (entry === undefined) return;
  if (entry.node.kind !== "table") {
    maskNode(entry.node);
    draft.session.report.add({
      code: "wrong-type",
      message: `Cannot read ${quote(PROPERTIES_KEY)}: expected a table of properties, found ${
        kindNoun(entry.node)
      }`,
      at: entry.node.at,
      hint: `write, for example, ${PROPERTIES_KEY}."linger.ms" = 50`,
    });
    return;
  }
  // Conditions look at options that other properties may set: those come last.
  const conditional: NamedEntry[] = [];
  for (const each of flatten(entry, "", draft)) {
    const property = kafkaProperties.get(each.name);
    if (property?.kind === "mapped" && property.onlyWith !== null) conditional.push(each);
    else applyOne(each, draft);
  }
  for (const each of conditional) applyOne(each, draft);
}

interface NamedEntry {
  /** "linger.ms" */
  readonly name: string;
  readonly entry: TomlEntry;
}

/** `"linger.ms" = 5` and `linger.ms = 5` are the same property. An empty table stays, so that it is refused. */
function flatten(entry: TomlEntry, prefix: string, draft: TableDraft): NamedEntry[] {
  const { node } = entry;
  if (node.kind !== "table" || mapsToSecret(prefix, draft)) return [{ name: prefix, entry }];
  if (node.entries.size === 0 && prefix !== "") return [{ name: prefix, entry }];
  return [...node.entries.values()].flatMap((inner) =>
    flatten(inner, prefix === "" ? inner.key : `${prefix}.${inner.key}`, draft)
  );
}

/** Its value may be a table that names a file. */
function mapsToSecret(name: string, draft: TableDraft): boolean {
  const property = kafkaProperties.get(name);
  return property?.kind === "mapped" && draft.group.options[property.option]!.secret;
}

function applyOne({ name, entry }: NamedEntry, draft: TableDraft): void {
  const property = kafkaProperties.get(name);
  if (entry.node.kind === "table" && property?.kind === "mapped" && mapsToSecret(name, draft)) {
    const key = `${PROPERTIES_KEY}.${name}`;
    const { option } = property;
    const value = checkValue(entry.node, key, draft.group.options[option]!, draft.sessionFor(option));
    draft.join(option, value, foundAt(entry, key, value !== INVALID));
    return;
  }
  if (looksSecret(name) || holdsPrivateKey(entry.node)) maskNode(entry.node);
  if (property === undefined) {
    reportUnknown(name, entry, draft);
    return;
  }
  const key = `${PROPERTIES_KEY}.${name}`;
  const text = mapsToSecret(name, draft) && entry.node.kind === "string"
    ? String(entry.node.value)
    : textOf(entry, key, draft);
  if (property.kind === "ignored") {
    if (text !== INVALID) applyIgnored(property, key, text, entry, draft);
  } else if (text === INVALID) {
    if (!draft.found.has(property.option)) draft.set(property.option, null, foundAt(entry, key, false));
  } else {
    applyMapped(property, key, text, entry, draft);
  }
}

/** The value as text, after expansion: librdkafka takes every value as text. What is no scalar is reported. */
function textOf({ node }: TomlEntry, key: string, draft: TableDraft): string | typeof INVALID {
  if (node.kind === "string") {
    const expanded = expandScalar(node, { session: draft.session, key, option: ANY_TEXT });
    return expanded === INVALID ? INVALID : expanded.value;
  }
  if (node.kind === "integer" || node.kind === "float" || node.kind === "boolean") return textOfScalar(node);
  draft.session.report.add({
    code: "wrong-type",
    message: `Cannot read option ${quote(key)}: expected a string, a number or a boolean, found ${
      kindNoun(node)
    }`,
    at: node.at,
    hint: `write one value; a list is a string with commas`,
  });
  return INVALID;
}

/** What a value is expanded for: its text is shown in no message. */
const ANY_TEXT = text({ default: null, defaultText: "none", doc: "", example: "", secret: true });

function applyIgnored(
  property: IgnoredProperty,
  key: string,
  text: string,
  entry: TomlEntry,
  draft: TableDraft,
): void {
  if (property.same.includes(text.trim().toLowerCase())) return;
  if (property.severity === "error") {
    draft.session.report.add({
      code: "not-supported",
      message: `Cannot use option ${quote(key)}: ${property.reason}`,
      at: entry.at,
      hint: property.hint,
    });
    return;
  }
  reportUnused(key, property.reason, property.hint, entry, draft);
}

function reportUnused(
  key: string,
  reason: string,
  hint: string | null,
  entry: TomlEntry,
  draft: TableDraft,
): void {
  draft.session.report.add({
    code: "unused-option",
    message: `Option ${quote(key)} has no effect: ${reason}`,
    at: entry.at,
    hint: hint === null ? "remove it" : `remove it; ${hint}`,
  });
}

function applyMapped(
  property: MappedProperty,
  key: string,
  text: string,
  entry: TomlEntry,
  draft: TableDraft,
): void {
  const { onlyWith } = property;
  if (onlyWith !== null) {
    const holds = onlyWith.value === null
      ? draft.found.has(onlyWith.option) || draft.found.has(onlyWith.orOption ?? onlyWith.option)
      : draft.values[onlyWith.option] === onlyWith.value;
    if (!holds) {
      reportUnused(key, onlyWith.reason, null, entry, draft);
      return;
    }
  }
  const wanted = text.trim().toLowerCase();
  const meaning = Object.hasOwn(property.values, wanted) ? property.values[wanted]! : null;
  if (meaning !== null && typeof meaning !== "string") {
    if (meaning.warning !== null) reportUnused(key, meaning.warning, null, entry, draft);
    return;
  }
  const option = draft.group.options[property.option]!;
  const converted = meaning ?? property.convert?.apply(text.trim()) ?? text;
  const node = converted === text && option.type.kind !== "boolean" && !isNumber(option.type)
    ? entry.node
    : typedNode(converted, option.type, entry.node);
  const value = node === entry.node
    ? checkValue(asString(node, option.type), key, option, draft.session)
    : checkMade(asString(node, option.type), key, option, entry, draft);
  draft.join(property.option, value, foundAt(entry, key, value !== INVALID));
}

/** A value that was made of the text: what is wrong with it is told without it where it came from a variable, which may hold a secret. */
function checkMade(
  node: TomlNode,
  key: string,
  option: Option<unknown>,
  entry: TomlEntry,
  draft: TableDraft,
): unknown {
  const { session } = draft;
  const written = entry.node.kind === "string" ? String(entry.node.value) : "";
  const expansion = expand(written, session.env);
  if (!expansion.ok || expansion.variables.length === 0) return checkValue(node, key, option, session);
  const found = new Report();
  const value = checkValue(node, key, option, { ...session, report: found });
  const [problem] = found.finish();
  if (problem !== undefined) {
    session.report.add({
      code: problem.code,
      message: `Cannot read option ${quote(key)}: the value of ${quote(written)} is not fit for it`,
      at: entry.node.at,
      hint: "set the variable to a value that this property takes",
    });
  }
  return value;
}

function isNumber(type: OptionType): boolean {
  return type.kind === "integer" || type.kind === "seconds" || type.kind === "size";
}

/** A text as the node that an option of this type takes; what does not fit stays a string, which is refused. */
function typedNode(text: string, type: OptionType, node: TomlNode): TomlScalar {
  const { at } = node;
  const trimmed = text.trim();
  if (isNumber(type) && /^[+-]?[0-9]+$/u.test(trimmed)) {
    return { kind: "integer", at, value: Number(trimmed) };
  }
  if (isNumber(type) && /^[+-]?[0-9]*\.[0-9]+$/u.test(trimmed)) {
    return { kind: "float", at, value: Number(trimmed) };
  }
  if (type.kind === "boolean" && /^(?:true|t|1|false|f|0)$/iu.test(trimmed)) {
    return { kind: "boolean", at, value: /^[t1]/iu.test(trimmed) };
  }
  // It was expanded before, and a dollar in it is one.
  return { kind: "string", at, value: text.replaceAll("$", "$$$$") };
}

/** Names and passwords may be written as numbers, too. */
function asString(node: TomlNode, type: OptionType): TomlNode {
  const isText = type.kind === "string" || type.kind === "strings" || type.kind === "addresses";
  if (!isText || (node.kind !== "integer" && node.kind !== "float" && node.kind !== "boolean")) return node;
  return { kind: "string", at: node.at, value: textOfScalar(node) };
}

/** As written where the number would be another: 1.10, and what is beyond 2^53. */
function textOfScalar(node: TomlScalar): string {
  const isExact = node.kind === "boolean" || Number.isSafeInteger(node.value);
  return isExact && node.kind !== "float" ? String(node.value) : rawText(node.at).replaceAll("_", "");
}

function reportUnknown(name: string, entry: TomlEntry, draft: TableDraft): void {
  const near = nearest(name, kafkaProperties.keys());
  if (near !== null && looksSecret(near)) maskNode(entry.node);
  const known = Object.hasOwn(draft.group.options, name);
  draft.session.report.add({
    code: "unknown-key",
    message:
      `Cannot read option ${
        quote(`${PROPERTIES_KEY}.${name}`)
      }: neither librdkafka nor Kafka's Java producer has ` +
      "such a property",
    at: entry.keyAt,
    hint: near !== null
      ? `a similar property exists: ${quote(near)}`
      : known
      ? `${quote(name)} is an option of the sink; move it out of ${PROPERTIES_KEY}`
      : "remove it; docs/librdkafka_options.md lists the properties that are known",
  });
}
