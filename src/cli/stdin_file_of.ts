import type { SourceConfig } from "../config/config.ts";
import { findStdinFile, type StdinFile } from "../source/stdin_file.ts";
import type { Log } from "../telemetry/log.ts";

/** The file on stdin whose position is kept. Null where stdin is a pipe, is read as one (which is told), or no source reads it. */
export function stdinFileOf(sources: readonly SourceConfig[], log: Log): StdinFile | null {
  if (!sources.some((source) => source.type === "stdin")) return null;
  const found = findStdinFile();
  if (typeof found !== "string") return found;
  log.info(`Reading the file on stdin as a pipe, so that its position is not kept: ${found}`);
  return null;
}
