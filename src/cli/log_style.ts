import type { Config } from "../config/config.ts";
import type { LoggerOptions } from "../telemetry/logger.ts";
import type { RunArgs } from "./args.ts";

/** How a run logs: by its configuration, where the command line does not say otherwise, to a terminal or to something else. */
export function logStyle(
  { log: { level, format } }: Config,
  { logLevel }: Pick<RunArgs, "logLevel">,
  { isTerminal }: { readonly isTerminal: boolean },
): Pick<LoggerOptions, "level" | "format"> {
  return {
    level: logLevel ?? level,
    format: format === "auto" ? (isTerminal ? "pretty" : "json") : format,
  };
}
