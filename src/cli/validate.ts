import { diagnosticReport } from "../config/diagnostic_json.ts";
import { renderDiagnostics } from "../config/diagnostic_render.ts";
import { EXIT_CONFIG } from "../errors.ts";
import { countOf } from "../telemetry/format.ts";
import type { CommandOutput } from "./command_context.ts";
import { loadConfigFiles, type LoadFilesContext } from "./load_config_files.ts";

export interface ValidateArgs {
  readonly command: "validate";
  readonly configPaths: readonly string[];
  /** For programs instead of people. */
  readonly json: boolean;
}

/**
 * `shipper validate`: every problem of the files on stderr, one line about a good configuration on stdout; with `--json` all of it as one
 * JSON object on stdout (docs/configuration.md). Returns the exit code: 0 when there is no error (warnings are printed), 78 otherwise.
 * Opens the configuration files and nothing else.
 */
export async function validate(
  { configPaths, json }: ValidateArgs,
  context: LoadFilesContext,
  output: CommandOutput,
): Promise<number> {
  const { config, diagnostics } = await loadConfigFiles(configPaths, context);
  if (json) {
    output.stdout(`${JSON.stringify(diagnosticReport(diagnostics), null, 2)}\n`);
    return config === null ? EXIT_CONFIG : 0;
  }
  output.stderr(renderDiagnostics(diagnostics, { color: output.color }));
  if (config === null) return EXIT_CONFIG;
  const sources = countOf(config.sources.length, "source");
  const sinks = countOf(config.sinks.length, "sink");
  const names = configPaths.map((each) => each === "-" ? "<stdin>" : each).join(", ");
  output.stdout(`The configuration in ${names} is valid: ${sources}, ${sinks}\n`);
  return 0;
}
