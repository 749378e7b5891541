import type { Config } from "../config/config.ts";
import type { CheckedConfig } from "../config/load.ts";
import { quote } from "../config/source_text.ts";
import type { Failure } from "../telemetry/metrics.ts";
import { needsDataDir } from "./data_dir_use.ts";

/** What of a configuration can change while shipper runs. */
type LiveKey = "api" | "log" | "shutdownTimeoutMs" | "watchConfig" | "sources" | "sinks";

/** The rest, by the options that it comes from: a new part of a configuration has to be put into one of the two. */
const FIXED: Readonly<Record<Exclude<keyof Config, LiveKey>, string>> = {
  dataDir: "data_dir",
  rescueSizeBytesMax: "rescue_max_size",
};

/** What was settled at the start. */
export interface StartFacts {
  /** Positions are stored: there is a journal. */
  readonly hasJournal: boolean;
  /** The journal could not be written, and no sink needed it. */
  readonly isUnstored: boolean;
  /** The journal is not synced: it was opened for `durability = "process"` alone. */
  readonly isLax: boolean;
  readonly hasStdinFile: boolean;
}

/** Whether all sinks that write intents do without syncing them. */
export function isLaxConfig(config: Config): boolean {
  const exact = exactSinks(config);
  return exact.length > 0 && exact.every(({ durability }) => durability === "process");
}

/** Whether shipper cannot go on without a journal. */
export function needsJournal(config: Config): boolean {
  return exactSinks(config).length > 0 || config.sinks.some((sink) => sink.buffer.type === "disk");
}

/** Sinks that deliver exactly once. */
export function exactSinks({ sinks }: Config) {
  return sinks.flatMap((sink) => sink.type === "kafka" && sink.delivery === "exactly_once" ? [sink] : []);
}

/** Why a configuration cannot take the place of another one without a restart; null when it can, as far as can be told beforehand. */
export function fixedOptionFailure(
  from: Config,
  to: Config,
  checked: CheckedConfig,
  facts: StartFacts,
): Failure | null {
  for (const [key, option] of Object.entries(FIXED)) {
    if (from[key as keyof typeof FIXED] === to[key as keyof typeof FIXED]) continue;
    return failure(`option ${quote(option)} (${placeOf(option, checked)}) cannot change while shipper runs`);
  }
  if (!facts.hasJournal && isJournalWanted(to, facts)) {
    return failure(
      facts.isUnstored
        ? "the journal could not be written at the start, and a sink needs it now"
        : `positions have to be stored in ${
          quote(to.dataDir)
        } now, and shipper was started without a data_dir`,
    );
  }
  const strict = exactSinks(to).find(({ durability }) => durability === "machine");
  if (facts.isLax && strict !== undefined) {
    return failure(
      `sink ${
        quote(strict.name)
      } wants durability = "machine", and the journal was opened for "process" at the start`,
    );
  }
  return null;
}

function isJournalWanted(to: Config, { isUnstored, hasStdinFile }: StartFacts): boolean {
  return isUnstored ? needsJournal(to) : needsDataDir(to, hasStdinFile, null);
}

function failure(message: string): Failure {
  return { code: "needs-restart", message, hint: "restart shipper" };
}

/** "shipper.toml:3". */
function placeOf(option: string, { top }: CheckedConfig): string {
  const found = top.found.get(option);
  if (found === undefined) return "left out now";
  const { file, start } = found.at;
  return `${file.path}:${file.place(start).line}`;
}
