import { Command, SIGNAL_EXIT_BASE } from "../source/command.ts";
import { constants } from "node:os";
import type { ExecArgs } from "./args.ts";
import { run } from "./run.ts";
import type { RunProcess } from "./run_process.ts";

/** What reaches the command as if it had been sent to it. */
export const FORWARDED_SIGNALS = [
  "SIGTERM",
  "SIGINT",
  "SIGQUIT",
  "SIGHUP",
  "SIGUSR1",
  "SIGUSR2",
  "SIGWINCH",
] as const;

export type ForwardedSignal = typeof FORWARDED_SIGNALS[number];

/** What the process gives to a run that wraps a command. */
export interface ExecProcess extends RunProcess {
  /** Calls back on each of these signals, which do nothing else any more. */
  readonly onEverySignal: (
    names: readonly ForwardedSignal[],
    callback: (name: ForwardedSignal) => void,
  ) => void;
  /** The terminal has sent this signal to the whole process group, the command included. */
  readonly comesFromTerminal: (name: ForwardedSignal) => boolean;
}

/**
 * `shipper exec`: runs a command, ships what it writes, and returns its exit code: 128 + n when signal n ended it. When the command
 * succeeded, and when it was never started, the run's own: 1 when something was lost, 78 for a wrong configuration, 126 and 127 for a
 * command that cannot be run or is not there.
 */
export async function exec(args: ExecArgs, process: ExecProcess): Promise<number> {
  const command = new Command(args.words);
  const signals = new Signals(command, process);
  const { configPaths, requireHealthy, logLevel, tee } = args;
  const runCode = await run(
    { command: "run", configPaths, requireHealthy, logLevel, once: false, dryRun: false, watchConfig: false },
    // SIGHUP is the command's, as every other signal.
    { ...process, onSignal: (callback) => signals.onStop = callback, onHangUp: () => {} },
    { command, tee },
  );
  if (command.wasStarted) {
    // It is left alone for as long as it lives: ending it is for who started us.
    const { exitCode } = await command.ended;
    return exitCode === 0 ? runCode : exitCode;
  }
  return runCode === 0 && signals.early !== null ? exitCodeOf(signals.early) : runCode;
}

/** Signals go to the command while it runs. Before and after, SIGTERM, SIGINT, SIGQUIT and SIGHUP are for shipper itself. */
class Signals {
  /** Stops a run that has not started its command. */
  onStop: (signal: "SIGTERM" | "SIGINT") => void = () => {};
  /** Came before the command was started. */
  early: ForwardedSignal | null = null;
  readonly #command: Command;
  readonly #process: ExecProcess;
  #stopCount = 0;

  constructor(command: Command, process: ExecProcess) {
    this.#command = command;
    this.#process = process;
    process.onEverySignal(FORWARDED_SIGNALS, (name) => this.#take(name));
  }

  #take(name: ForwardedSignal): void {
    const isStop = name === "SIGTERM" || name === "SIGINT" || name === "SIGQUIT" || name === "SIGHUP";
    if (isStop) this.#stopCount++;
    if (this.#command.isRunning) {
      if (!this.#process.comesFromTerminal(name)) this.#command.signal(name);
    } else if (isStop && this.#command.wasStarted) {
      // The first one may have been sent to the whole group and have ended the command: its output is still to be delivered.
      if (this.#stopCount > 1) this.#process.exit(exitCodeOf(name));
    } else if (isStop) {
      this.early ??= name;
      this.onStop(name === "SIGINT" ? "SIGINT" : "SIGTERM");
    }
  }
}

function exitCodeOf(name: ForwardedSignal): number {
  return SIGNAL_EXIT_BASE + constants.signals[name];
}
