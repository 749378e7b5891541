import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { projectDir } from "../../scripts/lib/project.ts";
import type { CrashPointSpec } from "../../src/telemetry/crash_point.ts";
import { type TempDir, tempDir } from "./temp_dir.ts";
import { waitUntil } from "./wait_until.ts";

export interface ShipperOptions {
  /** TOML text; written to a file that is passed with --config. None for commands without one. */
  readonly config?: string;
  /** After `--config FILE`. */
  readonly args?: readonly string[];
  /** Added to (or with undefined taken from) this process's environment. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** What it reads, and then the end of input; "pipe" leaves it to `writeStdin`. Default: no input at all. */
  readonly stdin?: string | Buffer | "pipe";
  /** Program and arguments in front of it, for example ["strace", "-f"]. */
  readonly wrapper?: readonly string[];
  /** Runs dist/shipper-test, which obeys SHIPPER_TEST_... in `env` (src/telemetry/test_knobs.ts). */
  readonly testBuild?: boolean;
  /** Where it kills itself; with the test build, as nothing else does. */
  readonly crashAt?: CrashPointSpec;
}

/** How it ended. */
export interface ShipperExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

const LOG_TAIL_CHARS = 4_000;
const UNCAUGHT_SIGNALS: readonly NodeJS.Signals[] = ["SIGKILL", "SIGSTOP", "SIGCONT"];
const CAUGHT_MS_MAX = 5_000;
const running = new Set<ChildProcess>();
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));

/** The binary under test. */
export function shipperBinary(): string {
  const path = process.env.SHIPPER_BIN ?? join(projectDir, "dist", "shipper");
  if (!existsSync(path)) throw new Error(`"${path}" is not there: run scripts/build first`);
  return path;
}

/** The same program with crash points and test knobs. */
export function shipperTestBinary(): string {
  const path = join(projectDir, "dist", "shipper-test");
  if (!existsSync(path)) throw new Error(`"${path}" is not there: run scripts/build --test first`);
  return path;
}

/** A running shipper. `await using shipper = startShipper(...)` kills it at the end of the block, if it still runs. */
export class Shipper implements AsyncDisposable {
  /** Resolves when it has ended; never rejects. */
  readonly exit: Promise<ShipperExit>;
  readonly configPath: string;
  readonly #child: ChildProcess;
  readonly #dir: TempDir;
  #stdout = "";
  #stderr = "";
  #ended = false;

  constructor(child: ChildProcess, dir: TempDir, configPath: string) {
    this.#child = child;
    this.#dir = dir;
    this.configPath = configPath;
    running.add(child);
    child.stdout?.setEncoding("utf8").on("data", (text: string) => this.#stdout += text);
    child.stderr?.setEncoding("utf8").on("data", (text: string) => this.#stderr += text);
    this.exit = new Promise((resolve) => {
      child.on("error", (error) => this.#stderr += `\nCannot start shipper: ${error.message}\n`);
      child.on("close", (code, signal) => {
        this.#ended = true;
        running.delete(child);
        dir.remove();
        resolve({ code, signal, stdout: this.#stdout, stderr: this.#stderr });
      });
    });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  get isRunning(): boolean {
    return !this.#ended;
  }

  /** Waits until its log (stderr) matches; gives the match. Rejects with the log when it ends or takes longer. */
  async waitForLog(pattern: RegExp, timeoutMs = 60_000): Promise<RegExpExecArray> {
    return await waitUntil(`the log matches ${pattern}`, () => this.#logMatch(pattern), { timeoutMs }).catch(
      (error) => {
        throw new Error(`${error.message}\n${this.#stderr.slice(-LOG_TAIL_CHARS)}`);
      },
    );
  }

  /** Waits for the end. Rejects, and kills it, when that takes longer. */
  async waitForExit(timeoutMs = 120_000): Promise<ShipperExit> {
    const timer = Promise.withResolvers<null>();
    const timeout = setTimeout(() => timer.resolve(null), timeoutMs);
    const exit = await Promise.race([this.exit, timer.promise]);
    clearTimeout(timeout);
    if (exit !== null) {
      // Whatever a test is about: every event is accounted for (src/telemetry/audit_watch.ts).
      if (exit.stderr.includes("does not add up")) throw new Error(exit.stderr.slice(-LOG_TAIL_CHARS));
      return exit;
    }
    await this.kill();
    throw new Error(`shipper did not end within ${timeoutMs} ms\n${this.#stderr.slice(-LOG_TAIL_CHARS)}`);
  }

  /** Sends a signal to it, once it listens to it: in its first milliseconds any would kill it. False when it has ended. */
  signal(signal: NodeJS.Signals): boolean {
    if (!UNCAUGHT_SIGNALS.includes(signal)) this.#waitUntilCaught(signal);
    return !this.#ended && this.#child.kill(signal);
  }

  /** Blocks; for as long as a start takes. One under a wrapper may never listen itself. */
  #waitUntilCaught(signal: NodeJS.Signals): void {
    const bit = 1n << BigInt(constants.signals[signal] - 1);
    const untilMs = performance.now() + CAUGHT_MS_MAX;
    while (performance.now() < untilMs) {
      const caught = caughtSignals(this.pid);
      if (caught === null || (caught & bit) !== 0n) return;
      Bun.sleepSync(2);
    }
  }

  /** Kills it and waits until it is gone. */
  async kill(): Promise<ShipperExit> {
    this.signal("SIGKILL");
    return await this.exit;
  }

  /** Writes to its input; resolves when the pipe took it, so a shipper that does not read holds the caller. */
  writeStdin(data: string | Buffer): Promise<void> {
    return new Promise((resolve, reject) =>
      this.#child.stdin!.write(data, (error) => error ? reject(error) : resolve())
    );
  }

  endStdin(): void {
    this.#child.stdin!.end();
  }

  /** Peak resident memory so far in bytes (Linux). */
  async peakRssBytes(): Promise<number> {
    const status = await Bun.file(`/proc/${this.pid}/status`).text();
    return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    this.#dir.remove();
  }

  #logMatch(pattern: RegExp): RegExpExecArray | null {
    const match = new RegExp(pattern).exec(this.#stderr);
    if (match === null && this.#ended) throw new Error("shipper has ended");
    return match;
  }
}

/** Starts the compiled shipper. */
export function startShipper(options: ShipperOptions = {}): Shipper {
  const dir = tempDir("run");
  const configPath = dir.file("config.toml");
  const args = [...options.args ?? []];
  if (options.config !== undefined) {
    writeFileSync(configPath, options.config, { mode: 0o600 });
    args.unshift("--config", configPath);
  }
  const { crashAt } = options;
  const binary = options.testBuild === true || crashAt !== undefined ? shipperTestBinary() : shipperBinary();
  const [program, ...rest] = [...options.wrapper ?? [], binary, ...args];
  const child = spawn(program!, rest, {
    cwd: options.cwd ?? dir.path,
    env: { ...process.env, ...options.env, ...(crashAt === undefined ? {} : { SHIPPER_CRASH_AT: crashAt }) },
    stdio: [options.stdin === undefined ? "ignore" : "pipe", "pipe", "pipe"],
  });
  if (options.stdin !== undefined) {
    child.stdin!.on("error", () => {}); // it ended before it read everything: its exit says why
    if (options.stdin !== "pipe") child.stdin!.end(options.stdin);
  }
  return new Shipper(child, dir, configPath);
}

/** The signals that a process has handlers for, as a set of bits; null: it is gone, or this is not Linux. */
function caughtSignals(pid: number): bigint | null {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    const mask = /^SigCgt:\s*([0-9a-f]+)$/m.exec(status);
    return mask === null || /^State:\s*Z/m.test(status) ? null : BigInt(`0x${mask[1]}`);
  } catch {
    return null;
  }
}

/** Runs the compiled shipper to its end. */
export async function runShipper(
  options: ShipperOptions & { readonly timeoutMs?: number } = {},
): Promise<ShipperExit> {
  await using shipper = startShipper(options);
  return await shipper.waitForExit(options.timeoutMs);
}
