import type { Config } from "../config/config.ts";
import { StartError } from "../errors.ts";

/** Throws a `StartError` where nothing would take what a command writes. */
export function checkStdinSource(config: Config): void {
  if (config.sources.some((source) => source.type === "stdin")) return;
  throw new StartError(
    "no-stdin-source",
    'Cannot ship the command\'s output: no source of type "stdin" is an input of a sink',
    'add [sources.app] with type = "stdin", and inputs = ["app"] to the sink',
  );
}
