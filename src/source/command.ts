import fs from "node:fs";
import { constants } from "node:os";
import { errnoName, StartError } from "../errors.ts";
import { type ByteInput, openPipe } from "./byte_input.ts";
import { closePipe, makePipe, type Pipe } from "./pipe.ts";

/** As shells have it: there is no such command; it is there and cannot be run. */
export const EXIT_NOT_FOUND = 127;
export const EXIT_NOT_RUNNABLE = 126;
/** What a shell adds to the number of the signal that ended a command. */
export const SIGNAL_EXIT_BASE = 128;

/** How a command ended, as the exit code that a shell gives it: 128 + the signal's number when a signal ended it. */
export interface CommandEnd {
  readonly exitCode: number;
  readonly signal: string | null;
}

/** What a command writes. */
export interface CommandOutput {
  readonly stdout: ByteInput;
  readonly stderr: ByteInput;
}

/** A program that is started once: its stdin is this process's, its output goes into two pipes. */
export class Command {
  /** The program and its arguments; at least one. */
  readonly words: readonly string[];
  /** Resolves when it has ended; never when it was not started. Its pipes may still hold output. */
  readonly ended: Promise<CommandEnd>;
  readonly #settle: (end: CommandEnd) => void;
  #child: Bun.Subprocess | null = null;
  #end: CommandEnd | null = null;

  constructor(words: readonly string[]) {
    this.words = words;
    const { promise, resolve } = Promise.withResolvers<CommandEnd>();
    this.ended = promise;
    this.#settle = resolve;
  }

  get wasStarted(): boolean {
    return this.#child !== null;
  }

  get isRunning(): boolean {
    return this.#child !== null && this.#end === null;
  }

  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /**
   * Starts it, in this process's group and with its environment, so that job control works as without shipper. Throws a `StartError` with
   * exit code 126 or 127 when that is not possible.
   */
  start(): CommandOutput {
    const stdout = makePipe();
    let stderr: Pipe | null = null;
    try {
      stderr = makePipe();
      this.#child = this.#spawn(stdout.writeFd, stderr.writeFd);
    } catch (error) {
      for (const pipe of [stdout, stderr]) if (pipe !== null) closePipe(pipe);
      throw error;
    }
    fs.closeSync(stdout.writeFd);
    fs.closeSync(stderr.writeFd);
    return { stdout: openPipe(stdout.readFd), stderr: openPipe(stderr.readFd) };
  }

  /** Sends a signal to it; nothing when it does not run. */
  signal(name: NodeJS.Signals): void {
    if (this.isRunning) this.#child!.kill(name);
  }

  #spawn(stdout: number, stderr: number): Bun.Subprocess {
    try {
      return Bun.spawn([...this.words], {
        stdin: "inherit",
        stdout,
        stderr,
        onExit: (_child, exitCode, signal) => {
          this.#end = endOf(exitCode, signal);
          this.#settle(this.#end);
        },
      });
    } catch (error) {
      throw cannotStart(this.words[0]!, errnoName(error));
    }
  }
}

/** `signal` has a name or, where it has none (realtime signals), a number. */
function endOf(exitCode: number | null, signal: string | number | null): CommandEnd {
  if (signal === null) return { exitCode: exitCode!, signal };
  const number = typeof signal === "number" ? signal : constants.signals[signal as NodeJS.Signals];
  return { exitCode: SIGNAL_EXIT_BASE + number, signal: String(signal) };
}

function cannotStart(program: string, errno: string): StartError {
  const isMissing = errno === "ENOENT" || errno === "ENOTDIR";
  const hint = isMissing
    ? program.includes("/")
      ? "check the path; a script also needs the interpreter that its first line names"
      : "check the spelling and PATH, or give its path"
    : errno === "EACCES"
    ? `make it executable: chmod +x ${program}`
    : errno === "ENOEXEC"
    ? "a script needs a first line such as #!/bin/sh, and a program has to be built for this machine"
    : null;
  return new StartError(
    isMissing ? "command-not-found" : "command-not-runnable",
    `Cannot start the command "${program}": ${
      isMissing ? "there is no such program" : "the system refuses"
    } (${errno})`,
    hint,
    isMissing ? EXIT_NOT_FOUND : EXIT_NOT_RUNNABLE,
  );
}
