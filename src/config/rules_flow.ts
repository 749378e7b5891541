import type { Component } from "./components.ts";
import type { Report } from "./diagnostic.ts";
import { kafkaSinkGroup } from "./options_kafka_sink.ts";
import type { NamedTexts } from "./option.ts";
import { given } from "./rules_common.ts";
import { checkOpenTopic } from "./rules_routing.ts";
import { quote } from "./source_text.ts";
import type { TomlNode } from "./toml_tree.ts";
import { partSpan, rawText } from "./value_context.ts";

interface Components {
  readonly sources: readonly Component[];
  readonly sinks: readonly Component[];
}

/** Rules about what flows from sources to sinks: the same lines twice, and fields that no event has. */
export function checkFlowRules({ sources, sinks }: Components, report: Report): void {
  checkSharedFiles({ sources, sinks }, report);
  for (const sink of sinks) {
    if (sink.table?.group !== kafkaSinkGroup) continue;
    const inputs = sources.filter((each) => reads(sink, each));
    checkOpenTopic(
      sink.table,
      inputs.every(({ table }) => table?.values["decoding.codec"] !== "json"),
      report,
    );
    checkTopicFields(sink, inputs, report);
    checkKeyField(sink, inputs, report);
    checkKeyTemplate(sink, inputs, report);
    checkHeaders(sink, inputs, report);
  }
}

function reads(sink: Component, source: Component): boolean {
  return [...(sink.inputs ?? new Map()).values()].some((each) => each.name === source.name);
}

/** Two sources of one sink that name the same files deliver their lines twice. */
function checkSharedFiles({ sources, sinks }: Components, report: Report): void {
  // What an `exclude` leaves of a pattern is not known before the files are.
  const files = sources.filter((each) => each.type === "file" && each.table?.found.has("exclude") === false);
  for (const [index, later] of files.entries()) {
    for (const earlier of files.slice(0, index)) {
      const sink = sinks.find((each) => reads(each, earlier) && reads(each, later));
      if (sink === undefined || earlier.name === later.name) continue;
      const before = new Map(includesOf(earlier).map((each) => [each.pattern, each.node]));
      for (const { pattern, node } of includesOf(later)) {
        const first = before.get(pattern);
        if (first === undefined) continue;
        report.add({
          code: "shared-files",
          message: `Sources ${quote(earlier.name)} and ${quote(later.name)} read the same files: sink ${
            quote(sink.name)
          } will get each of their lines twice`,
          at: node.at,
          related: [{ at: first.at, label: "is the same" }],
          hint: "remove the pattern from one of the two, or give each source a sink of its own",
        });
      }
    }
  }
}

/** Patterns after expansion, with where they stand. */
function includesOf({ table }: Component): { pattern: string; node: TomlNode }[] {
  const found = given(table!, "include");
  if (found === null) return [];
  const nodes = found.node.kind === "array" ? found.node.items : [found.node];
  const patterns = table!.values["include"] as readonly string[];
  return nodes.map((node, index) => ({ pattern: patterns[index]!, node }));
}

/** Fields of events whose lines are text, by the kind of source. `stream` is that of a command that `shipper exec` runs. */
const TEXT_FIELDS: ReadonlyMap<string, readonly string[]> = new Map([
  ["file", ["message", "timestamp", "host", "file", "source_type"]],
  ["stdin", ["message", "timestamp", "host", "source_type", "stream"]],
]);

/** The first source whose lines are text, so that its events can't have the field; or have one in `useless`, which does not help. */
function sourceWithout(
  path: string,
  inputs: readonly Component[],
  useless: readonly string[] = [],
): Component | undefined {
  return inputs.find(({ type, table }) =>
    table !== null && table.found.get("decoding.codec")?.valid !== false &&
    table.values["decoding.codec"] === "text" &&
    (!TEXT_FIELDS.get(type!)!.includes(plainName(path)) || useless.includes(plainName(path)))
  );
}

/** `"a"` as `a`. */
function plainName(path: string): string {
  return path.replace(/^"([^"]*)"$/u, "$1");
}

function checkTopicFields(sink: Component, inputs: readonly Component[], report: Report): void {
  const topic = given(sink.table!, "topic");
  if (topic === null) return;
  const value = String(sink.table!.values["topic"]);
  // Slashes, and colons: Kafka allows neither in the name of a topic.
  const useless = [
    "file",
    ...(sink.table!.values["encoding.timestamp_format"] === "rfc3339" ? ["timestamp"] : []),
  ];
  for (const [reference, path] of fieldsOf(value)) {
    const source = sourceWithout(path, inputs, useless);
    if (source === undefined) continue;
    const reason = TEXT_FIELDS.get(source.type!)!.includes(plainName(path))
      ? `which holds ${plainName(path) === "file" ? '"/"' : '":"'}, and Kafka allows none in a topic name`
      : "and a line of text has no such field";
    // What came from a variable is not repeated.
    const what = rawText(topic.valueAt).includes(reference) ? quote(reference) : "a field";
    report.add({
      code: "absent-field",
      message: `Events of source ${quote(source.name)} will be dropped: ${
        quote(topic.key)
      } takes ${what}, ${reason}`,
      at: partSpan(topic.valueAt, reference),
      related: [whyText(source)],
      hint: textHint(source, useless),
    });
  }
}

function checkKeyField(sink: Component, inputs: readonly Component[], report: Report): void {
  for (const option of ["key_field", "partition_field"]) {
    const found = given(sink.table!, option);
    if (found === null) continue;
    const path = String(sink.table!.values[option]);
    const source = sourceWithout(path, inputs);
    if (source === undefined) continue;
    const what = rawText(found.valueAt).includes(path) ? `field ${quote(path)}` : "such field";
    const outcome = option === "key_field" ? "have an empty key" : "all go to partition 0";
    report.add({
      code: "absent-field",
      message: `Events of source ${quote(source.name)} will ${outcome}: a line of text has no ${what}`,
      at: found.valueAt,
      related: [whyText(source)],
      hint: textHint(source),
    });
  }
}

function checkKeyTemplate(sink: Component, inputs: readonly Component[], report: Report): void {
  const found = given(sink.table!, "key");
  if (found === null) return;
  for (const [reference, path] of fieldsOf(String(sink.table!.values["key"]))) {
    const source = path === "uuid" ? undefined : sourceWithout(path, inputs);
    if (source === undefined) continue;
    const what = rawText(found.valueAt).includes(reference) ? `field ${quote(path)}` : "such field";
    report.add({
      code: "absent-field",
      message: `Events of source ${quote(source.name)} will have an empty key: a line of text has no ${what}`,
      at: partSpan(found.valueAt, reference),
      related: [whyText(source)],
      hint: textHint(source),
    });
  }
}

/** The fields of a template, as they stand there and as paths. */
function fieldsOf(template: string): (readonly [reference: string, path: string])[] {
  return [...template.matchAll(/\{\{\s*(.*?)\s*\}\}/gu)].map(([reference, path]) => [reference, path!]);
}

function checkHeaders(sink: Component, inputs: readonly Component[], report: Report): void {
  const headers = given(sink.table!, "headers");
  if (headers === null) return;
  const values = new Map(sink.table!.values["headers"] as NamedTexts);
  const entries = headers.node.kind === "table" ? headers.node.entries.values() : [];
  for (const { key, node } of entries) {
    for (const [reference, path] of fieldsOf(values.get(key)!)) {
      const source = sourceWithout(path, inputs);
      if (source === undefined) continue;
      const what = rawText(node.at).includes(reference) ? `field ${quote(path)}` : "such field";
      report.add({
        code: "absent-field",
        message: `Events of source ${quote(source.name)} will have no header ${
          quote(key)
        }: a line of text has no ${what}`,
        at: partSpan(node.at, reference),
        related: [whyText(source)],
        hint: textHint(source),
      });
    }
  }
}

function whyText({ table, entry }: Component) {
  const codec = given(table!, "decoding.codec");
  return codec === null
    ? { at: entry.keyAt, label: 'has decoding.codec = "text", the default' }
    : { at: codec.at, label: "makes no fields of a line" };
}

function textHint({ name, type }: Component, useless: readonly string[] = []): string {
  const fields = TEXT_FIELDS.get(type!)!.filter((each) => !useless.includes(each)).map((each) => quote(each))
    .join(", ");
  const table = `[sources.${name.includes(".") ? quote(name) : name}]`;
  return `add decoding.codec = "json" to ${table}, or use one of ${fields}`;
}
