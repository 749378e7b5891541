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

/** What most commands need: only those that connect to brokers need secrets. */
const noSecrets = (): boolean => false;

/** For `withConfig`: the command connects to the brokers of any sink. */
export const allSecrets = (): boolean => true;

/**
 * Loads the configuration and hands it to the command: what is wrong with it goes to stderr, and so does a `StartError` of the command.
 * Secrets that stand in files of their own are read only where `needsSecrets` says so of the rest. Returns the exit code: the
 * command's, or 78 without a usable configuration.
 */
export async function withConfig(
  configPaths: readonly string[],
  context: CommandContext,
  command: (config: Config) => Promise<number>,
  needsSecrets: (config: Config) => boolean = noSecrets,
): Promise<number> {
  // Standard input can be read once.
  const reread = rereadable(context);
  let { config, diagnostics } = await loadConfigFiles(configPaths, reread, unreadSecretFiles);
  if (config !== null && needsSecrets(config)) {
    ({ config, diagnostics } = await loadConfigFiles(configPaths, reread));
  }
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

/** The same context, whose standard input is there for every load. */
function rereadable(context: CommandContext): CommandContext {
  const chunks: Uint8Array[] = [];
  let isRead = false;
  const stdin = async function* () {
    if (isRead) return yield* chunks;
    for await (const chunk of context.stdin()) {
      chunks.push(chunk);
      yield chunk;
    }
    isRead = true;
  };
  return { ...context, stdin };
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
