import type { ExecArgs, RunArgs } from "../../src/cli/args.ts";
import { exec, type ForwardedSignal } from "../../src/cli/exec.ts";
import type { HangUp } from "../../src/cli/hang_up.ts";
import { run } from "../../src/cli/run.ts";
import type { RunProcess } from "../../src/cli/run_process.ts";
import type { StderrWriter } from "../../src/telemetry/stderr_writer.ts";

/** What a run sees of its process, as a test wants it: signals, a clock that can be moved, and everything that it prints. */
export class FakeProcess {
  stderr = "";
  /** Added to the wall clock. */
  skewMs = 0;
  exitCodes: number[] = [];
  /** Called when a run begins to listen to signals, which is before it has done anything. */
  onListening: () => void = () => {};
  /** Signals come from the terminal, which sends them to the command, too. */
  isTerminalSender = false;
  #onExecSignal: (name: ForwardedSignal) => void = () => {};
  #onHangUp: (meaning: HangUp) => void = () => {};
  readonly #onSignals: ((signal: "SIGTERM" | "SIGINT") => void)[] = [];

  /** Runs shipper to its end with this configuration file; gives its exit code. */
  run(configPath: string, args: Partial<RunArgs> = {}): Promise<number> {
    return run({
      command: "run",
      configPaths: [configPath],
      requireHealthy: false,
      once: false,
      dryRun: false,
      watchConfig: false,
      logLevel: null,
      ...args,
    }, this.#process());
  }

  /** The same for `shipper exec`. */
  exec(configPath: string, words: readonly string[], args: Partial<ExecArgs> = {}): Promise<number> {
    return exec(
      {
        command: "exec",
        configPaths: [configPath],
        requireHealthy: false,
        tee: false,
        logLevel: null,
        words,
        ...args,
      },
      {
        ...this.#process(),
        onEverySignal: (_names, callback) => this.#onExecSignal = callback,
        comesFromTerminal: () => this.isTerminalSender,
      },
    );
  }

  signal(name: "SIGTERM" | "SIGINT"): void {
    for (const callback of this.#onSignals) callback(name);
  }

  /** A SIGHUP that means this. */
  hangUp(meaning: HangUp): void {
    this.#onHangUp(meaning);
  }

  /** To a run of `exec`. */
  execSignal(name: ForwardedSignal): void {
    this.#onExecSignal(name);
  }

  /** The log's lines of a level. */
  logged(level: string): { readonly message: string; readonly [field: string]: unknown }[] {
    return this.stderr.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line))
      .filter((line) => line.level === level);
  }

  #process(): RunProcess {
    const stderr = {
      isTerminal: false,
      write: (text: string) => void (this.stderr += text),
      setStatusLine: () => {},
      takeLostLines: () => 0,
      flush: () => Promise.resolve(),
    };
    return {
      version: "0.0.0-test",
      env: {},
      hostname: "h",
      isRoot: true,
      home: "/root",
      xdgStateHome: undefined,
      stdin: async function* () {},
      stderr: stderr as unknown as StderrWriter,
      terminalColumns: () => undefined,
      now: () => Date.now() + this.skewMs,
      random: () => 0.5,
      onSignal: (callback) => {
        this.#onSignals.push(callback);
        this.onListening();
      },
      onHangUp: (callback) => this.#onHangUp = callback,
      watchTiming: { pollMs: 1_000, settleMs: 50 },
      exit: (code) => {
        this.exitCodes.push(code);
        return undefined as never;
      },
      healthAgainMs: 20,
    };
  }
}
