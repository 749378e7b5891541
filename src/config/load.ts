import {
  buildApi,
  buildConsoleSink,
  buildFileSource,
  buildKafkaSink,
  buildLog,
  buildStdinSource,
  toMs,
} from "./build.ts";
import { type CheckedTable, checkTable } from "./check.ts";
import { checkComponents, type Component } from "./components.ts";
import type { Config, SinkConfig, SourceConfig } from "./config.ts";
import { type Diagnostic, Report } from "./diagnostic.ts";
import type { OptionGroup } from "./option.ts";
import { apiGroup, logGroup, topGroup } from "./options_top.ts";
import { checkFlowRules } from "./rules_flow.ts";
import { checkPipelineRules } from "./rules_pipeline.ts";
import { checkSinkRules } from "./rules_sink.ts";
import { noSecretFiles, type ReadSecretFile } from "./secret_file.ts";
import { quote, SourceText } from "./source_text.ts";
import { parseToml, type TomlEntry, type TomlTable } from "./toml_tree.ts";
import type { CheckSession } from "./value_context.ts";
import { nearest } from "./suggest.ts";
import { kindNoun } from "./wrong_type.ts";

/** The text of a configuration file; "-" as path means that it came from standard input. */
export interface ConfigFile {
  readonly path: string;
  readonly text: string;
}

/** What the machine says; defaults depend on it. */
export interface LoadContext {
  readonly hostname: string;
  readonly isRoot: boolean;
  readonly home: string | undefined;
  readonly xdgStateHome: string | undefined;
}

export interface LoadResult {
  /** Null when there is at least one error. */
  readonly config: Config | null;
  /** The tables that `config` was made of, with the place of every value; null when it is. */
  readonly checked: CheckedConfig | null;
  /** By file, then by line. Warnings may come with a config. */
  readonly diagnostics: readonly Diagnostic[];
}

/** Every table of a configuration without an error. */
export interface CheckedConfig extends CheckedTop {
  /** Also those that no sink reads. */
  readonly sources: readonly Component[];
  readonly sinks: readonly Component[];
}

/**
 * Reads configuration texts into one configuration: tables of several files are joined, and what is set twice
 * is an error. All problems are found in one run; only a file that is not TOML ends with its first. A
 * diagnostic among the files stands for one that could not be read: it is reported with what is wrong inside
 * of the others. Opens nothing but
 * what `readSecretFile` opens, and never throws for any text.
 */
export function loadConfig(
  files: readonly (ConfigFile | Diagnostic)[],
  env: Readonly<Record<string, string | undefined>>,
  context: LoadContext,
  readSecretFile: ReadSecretFile = noSecretFiles,
): LoadResult {
  const report = new Report();
  const session: CheckSession = { report, env, readSecretFile };
  const texts: SourceText[] = [];
  for (const [index, file] of files.entries()) {
    if ("text" in file) texts.push(new SourceText(file.path, file.text, index));
    else report.addFinished(file);
  }
  const roots: TomlTable[] = [];
  for (const text of texts) {
    const root = parseToml(text, report);
    if (root === null) continue;
    if (root.entries.size === 0) {
      const hint = "shipper generate --sources file --sinks kafka > FILE writes one to begin with";
      report.addForFile("config-empty", text, `Cannot read ${quote(text.path)}: it holds no options`, hint);
      continue;
    }
    roots.push(root);
  }
  if (roots.length === 0) return { config: null, checked: null, diagnostics: report.finish() };

  const merged = mergeTops(roots, report);
  const top = checkTop(merged, session);
  const sources = checkComponents("sources", roots, session);
  const sinks = checkComponents("sinks", roots, session);
  for (const sink of sinks) if (sink.table !== null) checkSinkRules(sink.table, report, env);
  const complete = roots.length === files.length && roots.every(hasPlaces) && !misspellsPlace(merged);
  const read = checkPipelineRules({ sources, sinks }, texts, complete, report);
  checkFlowRules({ sources, sinks }, report);
  const dataDir = chooseDataDir(top.top, [...sources, ...sinks], texts, context, report);

  const diagnostics = report.finish();
  if (report.errorCount > 0) return { config: null, checked: null, diagnostics };
  const config: Config = {
    dataDir,
    api: buildApi(top.api),
    log: buildLog(top.log),
    shutdownTimeoutMs: toMs(top.top.values["shutdown_timeout_secs"] as number),
    rescueSizeBytesMax: top.top.values["rescue_max_size"] as number,
    watchConfig: top.top.values["watch_config"] as boolean,
    sources: sources.filter((each) => read.has(each.name)).map(buildSource),
    sinks: sinks.map((each) => buildSink(each, context, env)),
  };
  return { config, checked: { ...top, sources, sinks }, diagnostics };
}

function buildSource(component: Component): SourceConfig {
  const table = component.table!;
  return component.type === "file"
    ? buildFileSource(component.name, table)
    : buildStdinSource(component.name, table);
}

function buildSink(component: Component, context: LoadContext, env: CheckSession["env"]): SinkConfig {
  const table = component.table!;
  return component.type === "kafka"
    ? buildKafkaSink(component.name, table, context.hostname, env)
    : buildConsoleSink(component.name, table);
}

/** False when sources or sinks stand there and are no tables. */
function hasPlaces(root: TomlTable): boolean {
  return ["sources", "sinks"].every((each) => (root.entries.get(each)?.node.kind ?? "table") === "table");
}

/**
 * True when a table such as [source.app] was probably meant for sources or sinks: what is in it is not known.
 */
function misspellsPlace(merged: TomlTable): boolean {
  const known = [...Object.keys(topGroup.options), ...(topGroup.tables ?? [])];
  return [...merged.entries.keys()].some((key) => {
    if (known.includes(key)) return false;
    const near = nearest(key, known);
    return near === "sources" || near === "sinks";
  });
}

/** Joins what stands outside of `sources` and `sinks`. */
function mergeTops(roots: readonly TomlTable[], report: Report): TomlTable {
  const merged: TomlTable = { kind: "table", at: roots[0]!.at, entries: new Map() };
  for (const root of roots) {
    for (const entry of root.entries.values()) {
      if (entry.key !== "sources" && entry.key !== "sinks") mergeEntry(merged, entry, "", report);
    }
  }
  return merged;
}

function mergeEntry(into: TomlTable, entry: TomlEntry, prefix: string, report: Report): void {
  const found = into.entries.get(entry.key);
  if (found === undefined) {
    // The map is copied, not shared: the next file may add to it.
    const node = entry.node.kind === "table"
      ? { ...entry.node, entries: new Map(entry.node.entries) }
      : entry.node;
    into.entries.set(entry.key, { ...entry, node });
  } else if (found.node.kind === "table" && entry.node.kind === "table") {
    for (const inner of entry.node.entries.values()) {
      mergeEntry(found.node, inner, `${prefix}${entry.key}.`, report);
    }
  } else {
    report.add({
      code: "duplicate-key",
      message: `Cannot read option ${quote(prefix + entry.key)}: it is set in two files`,
      at: entry.keyAt,
      related: [{ at: found.keyAt, label: "set here first" }],
      hint: "keep one of the two",
    });
  }
}

interface CheckedTop {
  readonly top: CheckedTable;
  /** Null when the table is not there. */
  readonly api: CheckedTable | null;
  /** Defaults when the table is not there. */
  readonly log: CheckedTable;
}

const TABLES: ReadonlyMap<string, OptionGroup> = new Map<string, OptionGroup>([["api", apiGroup], [
  "log",
  logGroup,
]]);

function checkTop(merged: TomlTable, session: CheckSession): CheckedTop {
  const checked = new Map<string, CheckedTable>();
  for (const [key, group] of TABLES) {
    const entry = merged.entries.get(key);
    if (entry === undefined) continue;
    if (entry.node.kind !== "table") {
      const inner = Object.keys(group.options)[0]!;
      session.report.add({
        code: "wrong-type",
        message: `Cannot read ${quote(key)}: expected a table of options, found ${kindNoun(entry.node)}`,
        at: entry.node.at,
        hint: `write [${key}] on a line of its own, and ${inner} = ${group.options[inner]!.example} below it`,
      });
      continue;
    }
    const label = `[${key}]`;
    const identity = { label, subject: label, requiredBy: { at: entry.keyAt, label: "" } };
    checked.set(key, checkTable(entry.node, group, identity, session, [topGroup, ...TABLES.values()]));
  }
  const identity = {
    label: "the top level",
    subject: "the configuration",
    requiredBy: { at: merged.at, label: "" },
  };
  const top = checkTable(merged, topGroup, identity, session, [...TABLES.values()]);
  const noLog: CheckedTable = { ...top, group: logGroup, values: defaultsOf(logGroup), found: new Map() };
  return { top, api: checked.get("api") ?? null, log: checked.get("log") ?? noLog };
}

function defaultsOf(group: OptionGroup): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(group.options).map(([key, option]) => [key, option.default ?? null]),
  );
}

function chooseDataDir(
  top: CheckedTable,
  components: readonly Component[],
  files: readonly SourceText[],
  context: LoadContext,
  report: Report,
): string {
  const given = top.values["data_dir"] as string | null;
  if (given !== null) return given;
  if (context.isRoot) return "/var/lib/shipper";
  // A relative XDG_STATE_HOME is ignored, as its specification demands.
  if (context.xdgStateHome?.startsWith("/")) return `${context.xdgStateHome}/shipper`;
  if (context.home !== undefined && context.home !== "") return `${context.home}/.local/state/shipper`;
  const isNeeded = (each: Component) => each.type === "file" || each.table?.values["buffer.type"] === "disk";
  if (components.some(isNeeded) && !top.found.has("data_dir")) {
    const message = "Cannot choose a folder for positions: data_dir is not set, and neither is HOME";
    report.addForFile("no-data-dir", files[0]!, message, 'add data_dir = "/var/lib/shipper"');
  }
  return "/var/lib/shipper";
}
