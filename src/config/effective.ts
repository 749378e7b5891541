import type { CheckedTable } from "./check.ts";
import type { FoundOption } from "./table_draft.ts";
import type { Component } from "./components.ts";
import type { Config, KafkaSinkConfig, SinkConfig } from "./config.ts";
import type { CheckedConfig } from "./load.ts";
import type { Option } from "./option.ts";
import { type Env, Secrets } from "./secrets.ts";
import { secretFilePath } from "./secret_file.ts";
import { stringsIn } from "./toml_tree.ts";
import { expand } from "./interpolate.ts";

/** Where the value of an option comes from. */
export type Origin =
  | { readonly kind: "default" }
  | {
    readonly kind: "file";
    /** As it was named; "<stdin>". */
    readonly path: string;
    readonly line: number;
    readonly column: number;
    /** The key as it is written there: another name of the option, perhaps. */
    readonly key: string;
    /** Environment variables that its value is from, by name. */
    readonly variables: readonly string[];
    /** Variables that are unset or empty, so that their default in the file counts. */
    readonly defaulted: readonly string[];
    /** The file that its text was read from, when it is a secret in a file of its own. */
    readonly secretFile: string | null;
  };

export interface EffectiveOption {
  readonly key: string;
  /**
   * In the units of the file; null: nothing. What is secret in it is "***", also where a part of a text came from a variable that holds a
   * secret.
   */
  readonly value: unknown;
  /** There is a value, and it is not shown, or not all of it. */
  readonly isMasked: boolean;
  readonly origin: Origin;
  readonly option: Option<unknown>;
}

export interface EffectiveTable {
  /** "" for the top level, "api", "sinks.events". */
  readonly table: string;
  /** Kind of a source or sink; null elsewhere. */
  readonly type: string | null;
  /** False for a source that no sink reads. */
  readonly isUsed: boolean;
  /** All options of the table, in the order of their declaration. */
  readonly options: readonly EffectiveOption[];
}

/** Every option with what it is in this run, and why. [api] is left out when the table is not there: then nothing of it has an effect. */
export function effectiveConfig(config: Config, checked: CheckedConfig, env: Env): EffectiveTable[] {
  const { top, api, log, sources, sinks } = checked;
  const components = [...sources, ...sinks].map((each) => each.table!);
  const tables = [top, ...(api === null ? [] : [api]), log, ...components];
  const secrets = new Secrets(tables, env);
  const plain = (table: CheckedTable, derived: Derived = {}) => optionsOf(table, derived, secrets, env);
  const component = (place: string, each: Component, derived: Derived): EffectiveTable => ({
    table: `${place}.${each.name}`,
    type: each.type,
    isUsed: place === "sinks" || config.sources.some(({ name }) => name === each.name),
    options: plain(each.table!, derived),
  });
  const table = (name: string, options: EffectiveOption[]): EffectiveTable => ({
    table: name,
    type: null,
    isUsed: true,
    options,
  });
  return [
    table("", plain(top, { data_dir: config.dataDir })),
    ...(api === null ? [] : [table("api", plain(api))]),
    table("log", plain(log)),
    ...sources.map((each) => component("sources", each, {})),
    ...sinks.map((each) =>
      component("sinks", each, derivedOf(config.sinks.find(({ name }) => name === each.name)!))
    ),
  ];
}

/** What options without a plain default are when they are left out, by key. */
export type Derived = Readonly<Record<string, unknown>>;

/** By what build.ts made of the other options; null where the option has no effect. A test looks for what is missing here. */
export function derivedOf(sink: SinkConfig): Derived {
  const common = { "buffer.max_size": sink.buffer.maxSizeBytes };
  return sink.type === "kafka" ? { ...common, ...derivedOfKafka(sink) } : common;
}

function derivedOfKafka(sink: KafkaSinkConfig): Derived {
  const hasLevels = sink.compression === "gzip" || sink.compression === "zstd";
  return {
    client_id: sink.clientId,
    connect_timeout_max_ms: sink.connectTimeoutMaxMs,
    compression_level: hasLevels ? 1 : null,
    delivery: sink.delivery,
    gap_markers_topic: sink.gapMarkersTopic,
    on_template_error: sink.onTemplateError,
    on_too_large: sink.onTooLarge,
    partitioner: sink.partitioner,
    request_timeout_ms: sink.requestTimeoutMs,
    transactional_id: sink.delivery === "transactional" ? sink.transactionalId : null,
  };
}

function optionsOf(table: CheckedTable, derived: Derived, secrets: Secrets, env: Env): EffectiveOption[] {
  return Object.entries(table.group.options).map(([key, option]) => {
    const found = table.found.get(key);
    if (found === undefined) {
      const value = option.default ?? derived[key] ?? null;
      const shown = secrets.maskText(value);
      return { key, ...shown, origin: { kind: "default" }, option };
    }
    const shown = secrets.mask(table.values[key], option, found);
    return { key, ...shown, origin: originOf(found, secrets, env), option };
  });
}

function originOf({ key, at, node }: FoundOption, secrets: Secrets, env: Env): Origin {
  const { line, column } = at.file.place(at.start);
  const expansions = stringsIn(node).map((each) => expand(String(each.value), env));
  const names = (pick: "variables" | "defaulted") => [
    ...new Set(expansions.flatMap((each) => each.ok ? each[pick] : [])),
  ];
  const variables = names("variables");
  const defaulted = names("defaulted");
  const path = secretFilePath(node);
  const expansion = path === null ? null : expand(path, env);
  const secretFile = expansion?.ok ? String(secrets.maskText(expansion.value).value) : null;
  return { kind: "file", path: at.file.path, line, column, key, variables, defaulted, secretFile };
}
