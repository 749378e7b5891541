import type { FoundOption } from "./table_draft.ts";
import type { Report } from "./diagnostic.ts";
import type { Component } from "./components.ts";
import type { SourceText } from "./source_text.ts";
import { quote } from "./source_text.ts";
import { nearest } from "./suggest.ts";
import type { TomlScalar } from "./toml_tree.ts";

/** All that is configured. */
interface Components {
  readonly sources: readonly Component[];
  readonly sinks: readonly Component[];
}

/**
 * Rules between components: who reads whom. `complete` is false when a file could not be parsed: then names
 * may be missing for that reason. Returns the names of the sources that a sink reads.
 */
export function checkPipelineRules(
  components: Components,
  files: readonly SourceText[],
  complete: boolean,
  report: Report,
): ReadonlySet<string> {
  const { sources, sinks } = components;
  checkStdinSources(sources, files, report);
  checkTransactionalIds(sinks, report);
  const read = new Set<string>();
  if (!complete) return read;
  checkPresence(components, files, report);
  const unknownCount = sinks.map((each) => checkInputs(each, components, read, report)).reduce(
    (a, b) => a + b,
    0,
  );
  // Without every input nobody knows which sources are read.
  if (sinks.length === 0 || unknownCount > 0 || !sinks.every(hasInputs)) return read;
  for (const source of sources) {
    if (read.has(source.name)) continue;
    report.add({
      code: "unread-source",
      message: `Source ${quote(source.name)} is read by no sink: it will not be started`,
      at: source.entry.keyAt,
      hint: `add ${quote(source.name)} to the inputs of a sink, or remove the source`,
    });
  }
  return read;
}

/** Two sinks with one id would end each other. */
function checkTransactionalIds(sinks: readonly Component[], report: Report): void {
  const seen = new Map<unknown, { readonly name: string; readonly found: FoundOption }>();
  for (const { name, table } of sinks) {
    const found = table?.found.get("transactional_id");
    if (found === undefined || !found.valid || table!.values["delivery"] !== "transactional") continue;
    const id = table!.values["transactional_id"];
    const earlier = seen.get(id);
    if (earlier === undefined) {
      seen.set(id, { name, found });
      continue;
    }
    report.add({
      code: "conflict",
      message: `Cannot build sink ${quote(name)}: sink ${quote(earlier.name)} has the same transactional_id`,
      at: found.at,
      related: [{ at: earlier.found.at, label: "is the same" }],
      hint: "give each sink an id of its own, or leave the option out",
    });
  }
}

function checkPresence(
  components: Components,
  files: readonly SourceText[],
  report: Report,
): void {
  const file = files.at(-1)!;
  if (components.sources.length === 0) {
    const hint = 'add a table [sources.app] with type = "file" and include = ["/var/log/app/*.log"]';
    report.addForFile("no-sources", file, "Cannot start: no source is configured", hint);
  }
  if (components.sinks.length === 0) {
    const hint = 'add a table [sinks.events] with type = "kafka", inputs, bootstrap_servers and topic';
    report.addForFile("no-sinks", file, "Cannot start: no sink is configured", hint);
  }
}

function hasInputs(sink: Component): boolean {
  if (sink.entry.node.kind !== "table") return false;
  const inputs = sink.entry.node.entries.get("inputs");
  return inputs !== undefined && (sink.table === null || sink.table.found.get("inputs")!.valid);
}

/** Adds the sources that the sink reads to `read`; returns how many of its inputs do not exist. */
function checkInputs(
  sink: Component,
  { sources, sinks }: Components,
  read: Set<string>,
  report: Report,
): number {
  let unknownCount = 0;
  const names = sources.map((each) => each.name);
  const seen = new Map<string, TomlScalar>();
  for (const [item, { name, shown }] of sink.inputs ?? []) {
    const earlier = seen.get(name);
    if (earlier !== undefined) {
      report.add({
        code: "duplicate-input",
        message: `Cannot build sink ${quote(sink.name)}: input ${shown} is named twice`,
        at: item.at,
        related: [{ at: earlier.at, label: "named here" }],
        hint: "remove one of the two",
      });
      continue;
    }
    seen.set(name, item);
    if (names.includes(name)) {
      read.add(name);
      continue;
    }
    unknownCount++;
    const near = nearest(name, names);
    const isSink = sinks.some((each) => each.name === name);
    report.add({
      code: "unknown-input",
      message: `Cannot build sink ${quote(sink.name)}: there is no source named ${shown}`,
      at: item.at,
      hint: isSink
        ? `${quote(name)} is a sink, and a sink reads sources alone: name the source of what it is to get`
        : near !== null
        ? `did you mean ${quote(near)}?`
        : names.length > 0
        ? `the sources are: ${names.map((each) => quote(each)).join(", ")}`
        : "add a table for it, as [sources.app]",
    });
  }
  return unknownCount;
}

/** Standard input can be read once: by one source, or as the configuration. */
function checkStdinSources(
  sources: readonly Component[],
  files: readonly SourceText[],
  report: Report,
): void {
  const readers = sources.filter((each) => each.type === "stdin");
  const [first] = readers;
  if (first === undefined) return;
  for (const other of readers.slice(1)) {
    report.add({
      code: "stdin-taken",
      message: `Cannot build source ${quote(other.name)}: standard input is read by source ${
        quote(first.name)
      }`,
      at: other.entry.keyAt,
      related: [{ at: first.entry.keyAt, label: "reads it" }],
      hint: "name one source in the inputs of several sinks instead",
    });
  }
  if (files.some((each) => each.path === "<stdin>")) {
    report.add({
      code: "stdin-taken",
      message: `Cannot build source ${quote(first.name)}: standard input held the configuration`,
      at: first.entry.keyAt,
      hint: "put the configuration into a file: shipper --config shipper.toml",
    });
  }
}
