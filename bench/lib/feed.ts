import { closeSync, constants, openSync } from "node:fs";
import { join } from "node:path";
import { runCommand } from "../../scripts/lib/run_command.ts";
import { watchChild } from "./children.ts";

const BASE_TIMEOUT_MS = 60_000;
const TIMEOUT_MS_PER_GB = 60_000;

/** A pipe that is filled with one file over and over: as much input as is wanted, without a file of that size. */
export class Feed {
  /** What the reader gets as its stdin. It does not end while the feed is open. */
  readonly readFd: number;
  readonly #writeFd: number;

  private constructor(path: string) {
    // Both ends: opening one alone would wait for the other.
    this.#writeFd = openSync(path, "r+");
    this.readFd = openSync(path, constants.O_RDONLY);
  }

  /** Makes the pipe, in a folder that the caller removes. */
  static async open(dir: string): Promise<Feed> {
    const path = join(dir, "feed");
    await runCommand("mkfifo", [path]);
    return new Feed(path);
  }

  /**
   * Writes the file `times` times, and resolves when all but what a pipe holds was read. Rejects when the reader does not keep up with a GB
   * a minute.
   */
  async repeat(file: { readonly path: string; readonly sizeBytes: number }, times: number): Promise<void> {
    const command = ["cat", ...Array.from({ length: times }, () => file.path)];
    const child = watchChild(
      Bun.spawn(command, { stdin: "ignore", stdout: this.#writeFd, stderr: "ignore" }),
    );
    const timeoutMs = BASE_TIMEOUT_MS + TIMEOUT_MS_PER_GB * file.sizeBytes * times / 1e9;
    const timer = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
    await child.exited;
    clearTimeout(timer);
    if (child.exitCode === 0) return;
    const how = child.signalCode === null
      ? `cat ended with ${child.exitCode}`
      : `it was not read within ${timeoutMs} ms`;
    throw new Error(`Cannot feed the input: ${how}`);
  }

  close(): void {
    closeSync(this.readFd);
    closeSync(this.#writeFd);
  }
}
