import type { Config } from "../config/config.ts";
import { renderDiagnostics } from "../config/diagnostic_render.ts";
import { unreadSecretFiles } from "../config/secret_file.ts";
import { EXIT_CONFIG, StartError } from "../errors.ts";
import type { Log, LogFields } from "../telemetry/log.ts";
import { loadConfigFiles, type LoadFilesContext } from "./load_config_files.ts";

/** Where a command writes. */
export interface CommandOutput {
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** Colour on stderr: only on a terminal. */
  readonly color: boolean;
}

/** What a command that ends by itself gets of its process. */
export interface CommandContext extends LoadFilesContext, CommandOutput {
  readonly now: () => number;
}

/**
 * Loads the configuration, without the secrets that stand in files of their own, and hands it to the command: what is wrong with it goes to stderr, and so does a `StartError` of the command.
 * Returns the exit code: the command's, or 78 without a usable configuration.
 */
export async function withConfig(
  configPaths: readonly string[],
  context: CommandContext,
  command: (config: Config) => Promise<number>,
): Promise<number> {
  const { config, diagnostics } = await loadConfigFiles(configPaths, context, unreadSecretFiles);
  context.stderr(renderDiagnostics(diagnostics, { color: context.color }));
  if (config === null) return EXIT_CONFIG;
  try {
    return await command(config);
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    context.stderr(renderStartError(error));
    return error.exitCode;
  }
}

/** A log for what a command calls: warnings and errors go to stderr, in the form of the diagnostics. */
export function commandLog({ stderr }: CommandOutput): Log {
  const write = (level: string, message: string, hint: LogFields[string] | undefined) =>
    stderr(`${level}: ${message}\n${hint === undefined ? "" : ` = hint: ${hint}\n`}`);
  return {
    debug: () => {},
    info: () => {},
    warn: (message, fields) => write("warning", message, fields?.["hint"]),
    error: (message, fields) => write("error", message, fields?.["hint"]),
  };
}

/** For stderr, in the form of the diagnostics. */
export function renderStartError(error: StartError): string {
  return `error[${error.code}]: ${error.message}\n${error.hint === null ? "" : ` = hint: ${error.hint}\n`}`;
}
