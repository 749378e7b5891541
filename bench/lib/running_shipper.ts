import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Subprocess } from "bun";
import { shipperBinary } from "../../tests/support/shipper.ts";
import { endChild, watchChild } from "./children.ts";
import { type ShipperSetup, writeShipperConfig } from "./shipper_config.ts";

const STDERR_TAIL_CHARS = 2_000;

/** A program that tails files in the background. */
export interface RunningTailer {
  readonly pid: number;
  /** Throws, with the end of its log, when it has ended. */
  requireRunning(): void;
  /** Ends it in order (SIGTERM). */
  stop(): Promise<void>;
  /** Ends it at once (SIGKILL). */
  kill(): Promise<void>;
}

/** Starts shipper as a service would; positions and log are in `dir`. Without files to tail it reads `stdinFd`. */
export function startTailing(
  dir: string,
  setup: ShipperSetup,
  args: readonly string[] = [],
  stdinFd: number | null = null,
): RunningTailer {
  return startTailer(
    dir,
    [shipperBinary(), "--config", writeShipperConfig(dir, setup), ...args],
    {},
    stdinFd,
  );
}

/** Starts any program, with its output in a file in `dir`. `stdinFd` stays the caller's; null: nothing to read. */
export function startTailer(
  dir: string,
  command: readonly string[],
  env: Readonly<Record<string, string>> = {},
  stdinFd: number | null = null,
): RunningTailer {
  const logPath = join(dir, "stderr");
  const log = openSync(logPath, "w", 0o600);
  const child: Subprocess = watchChild(
    Bun.spawn([...command], {
      cwd: dir,
      stdin: stdinFd ?? "ignore",
      stdout: log,
      stderr: log,
      env: { ...process.env, ...env },
    }),
  );
  closeSync(log);
  return {
    pid: child.pid,
    requireRunning() {
      if (child.exitCode === null && child.signalCode === null) return;
      const said = readFileSync(logPath, "utf8").trim().slice(-STDERR_TAIL_CHARS);
      throw new Error(`"${command[0]}" ended with ${child.signalCode ?? child.exitCode}: ${said}`);
    },
    stop: () => endChild(child),
    kill: () => endChild(child, 0),
  };
}
