import { closeSync, constants, openSync, readFileSync } from "node:fs";
import { EXIT_CODES, type RunProcess } from "./run_process.ts";

/** What a SIGHUP asks for. */
export type HangUp =
  /** Somebody asks for the configuration to be read again. */
  | "reload"
  /** The terminal that the process was started from is gone. */
  | "stop"
  /** The same, and who started it wants it to go on: nohup. */
  | "nothing";

const SIGHUP_BIT = 0n;

/**
 * Tells the two meanings of SIGHUP apart. The kernel sends it to all processes of a terminal that hangs up; then the terminal cannot be opened any
 * more. To be made before a handler is installed.
 */
export class HangUps {
  readonly #canOpenTerminal: () => boolean;
  readonly #wasIgnored: boolean;
  #hasTerminal: boolean;

  /** What is asked of the system; tests pass their own. */
  constructor(canOpen: () => boolean = canOpenTerminal, wasIgnored: boolean = isIgnored()) {
    this.#canOpenTerminal = canOpen;
    this.#wasIgnored = wasIgnored;
    this.#hasTerminal = canOpen();
  }

  /** What the one that just came means. */
  take(): HangUp {
    if (!this.#hasTerminal || this.#canOpenTerminal()) return "reload";
    this.#hasTerminal = false;
    return this.#wasIgnored ? "nothing" : "stop";
  }
}

/** SIGHUPs from the first moment on, for who can do something about them later. */
export class PendingHangUps {
  #isReloadWanted = false;
  #onReload: (() => void) | null = null;
  /** The terminal is gone. Ends the process while nothing runs. */
  onStop: () => void;

  constructor({ onHangUp, exit }: Pick<RunProcess, "onHangUp" | "exit">) {
    this.onStop = () => exit(EXIT_CODES.SIGHUP);
    onHangUp?.((meaning) => {
      if (meaning === "stop") this.onStop();
      else if (meaning === "reload") this.#reload();
    });
  }

  /** Called for one that came before, too: what was read by then may be old. */
  set onReload(callback: () => void) {
    this.#onReload = callback;
    if (this.#isReloadWanted) callback();
  }

  #reload(): void {
    if (this.#onReload === null) this.#isReloadWanted = true;
    else this.#onReload();
  }
}

function canOpenTerminal(): boolean {
  try {
    closeSync(openSync("/dev/tty", constants.O_RDONLY | constants.O_NOCTTY));
    return true;
  } catch {
    return false; // none belongs to this process, or not any more
  }
}

/** Whether SIGHUP does nothing to this process, as nohup has it (Linux; elsewhere it is taken to be as usual). */
export function isIgnored(): boolean {
  try {
    const mask = /^SigIgn:\s*([0-9a-f]+)$/mu.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
    return mask !== undefined && (BigInt(`0x${mask}`) >> SIGHUP_BIT & 1n) === 1n;
  } catch {
    return false; // no /proc here
  }
}
