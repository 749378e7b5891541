import { renderDiagnostics } from "../config/diagnostic_render.ts";
import { effectiveConfig, type EffectiveOption, type EffectiveTable } from "../config/effective.ts";
import { tomlText } from "../config/toml_text.ts";
import { EXIT_CONFIG } from "../errors.ts";
import type { CommandOutput } from "./command_context.ts";
import { loadConfigFiles, type LoadFilesContext } from "./load_config_files.ts";
import { printable } from "../telemetry/printable.ts";

export interface ShowConfigArgs {
  readonly command: "config show";
  readonly configPaths: readonly string[];
  /** For programs instead of people. */
  readonly json: boolean;
}

/** Origins stand one below the other, unless a value is longer. */
const ORIGIN_COLUMN_MAX = 48;

/**
 * `shipper config show`: every option with its value in this environment and where that comes from. Secrets are masked. Opens the
 * configuration files and nothing else. Returns the exit code: 78 when the configuration has an error, which goes to stderr, as
 * warnings do.
 */
export async function showConfig(
  args: ShowConfigArgs,
  context: LoadFilesContext & CommandOutput,
): Promise<number> {
  const { config, checked, diagnostics } = await loadConfigFiles(args.configPaths, context);
  context.stderr(renderDiagnostics(diagnostics, { color: context.color }));
  if (config === null || checked === null) return EXIT_CONFIG;
  const tables = effectiveConfig(config, checked, context.env);
  context.stdout(
    args.json ? `${JSON.stringify({ options: tables.flatMap(jsonRows) }, null, 2)}\n` : text(tables),
  );
  return 0;
}

function jsonRows({ table, type, isUsed, options }: EffectiveTable): object[] {
  return options.map(({ key, value, isMasked, origin }) => ({
    table,
    type,
    used: isUsed,
    key,
    value,
    masked: isMasked,
    origin: origin.kind === "default" ? { kind: "default" } : {
      kind: "file",
      file: origin.path,
      line: origin.line,
      column: origin.column,
      key: origin.key,
      variables: origin.variables,
      defaulted_variables: origin.defaulted,
      secret_file: origin.secretFile,
    },
  }));
}

/** In the form of a configuration, which it also is where nothing is masked. */
function text(tables: readonly EffectiveTable[]): string {
  const blocks = tables.map(block);
  if (!tables.some(({ table }) => table === "api")) {
    blocks.splice(1, 0, "# [api] is not there: the HTTP server is off\n");
  }
  return blocks.join("\n");
}

function block({ table, isUsed, options }: EffectiveTable): string {
  const lines = options.map((each): [string, string] => [valueText(each), originText(each)]);
  const lengths = lines.map(([value]) => Bun.stringWidth(value)).filter((each) => each <= ORIGIN_COLUMN_MAX);
  const column = Math.max(0, ...lengths);
  const header = table === ""
    ? []
    : [`[${tableName(table)}]${isUsed ? "" : "  # not started: no sink reads it"}`];
  return [
    ...header,
    ...lines.map(([value, origin]) =>
      `${value}${" ".repeat(Math.max(0, column - Bun.stringWidth(value)))}  # ${origin}`
    ),
  ].join("\n") + "\n";
}

/** A name with a dot in it is quoted. */
function tableName(table: string): string {
  const [place, ...name] = table.split(".");
  return name.length > 1 ? `${place}.${tomlText(name.join("."))}` : table;
}

/** What has no value is a comment, as TOML has no word for nothing. */
function valueText({ key, value }: EffectiveOption): string {
  return value === null ? `# ${key}` : `${key} = ${tomlText(value)}`;
}

function originText({ key, value, option, origin }: EffectiveOption): string {
  if (origin.kind === "default") {
    if (value !== null) return "default";
    if (option.requiredUnless !== null) return "not needed here";
    return option.requiredWhen === null
      ? `default: ${(option.defaultText ?? "nothing").replaceAll("`", "")}`
      : `not needed without ${option.requiredWhen} = true`;
  }
  const parts = [`${printable(origin.path)}:${origin.line}`];
  if (origin.key !== key) parts.push(`as ${origin.key}`);
  if (origin.secretFile !== null) parts.push(`file ${printable(origin.secretFile)}`);
  if (origin.variables.length > 0) {
    const noun = origin.variables.length === 1 ? "environment variable" : "environment variables";
    parts.push(`${noun} ${origin.variables.join(", ")}`);
  }
  for (const name of origin.defaulted) parts.push(`default of \${${name}}, which is not set`);
  return parts.join(", ");
}
