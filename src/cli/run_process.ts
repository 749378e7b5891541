import type { StderrWriter } from "../telemetry/stderr_writer.ts";
import type { HangUp } from "./hang_up.ts";
import type { LoadFilesContext } from "./load_config_files.ts";

/** What the process gives to a run. */
export interface RunProcess extends LoadFilesContext {
  readonly version: string;
  readonly stderr: StderrWriter;
  /** Width of the terminal behind stderr, if there is one. */
  readonly terminalColumns: () => number | undefined;
  readonly now: () => number;
  readonly random: () => number;
  /** Calls back on SIGTERM and SIGINT. */
  readonly onSignal: (callback: (signal: "SIGTERM" | "SIGINT") => void) => void;
  /** Calls back on SIGHUP, with what it means. Where nobody does, a configuration is not read again. */
  readonly onHangUp?: (callback: (meaning: HangUp) => void) => void;
  /** Ends the process at once. */
  readonly exit: (code: number) => never;
  /** Default: `HEALTH_AGAIN_MS`. */
  readonly healthAgainMs?: number;
  /** See `ReloaderOptions`. */
  readonly watchTiming?: { readonly pollMs: number; readonly settleMs: number };
}

/** What ends a run. */
export type StopSignal = "SIGTERM" | "SIGINT" | "SIGHUP";

/** Of a process that a signal ends at once. */
export const EXIT_CODES: Readonly<Record<StopSignal, number>> = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 };
