import { spawn } from "node:child_process";

const OUTPUT_TAIL_CHARS = 4_000;
const RETRY_WAIT_MS = 2_000;

/** What a finished command said. */
export interface CommandResult {
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end. Rejects with its last output when it can't be started or does not end with 0. */
export function runCommand(
  program: string,
  args: readonly string[],
  options: { cwd?: string; stdin?: string; env?: Record<string, string> } = {},
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: ["pipe", "pipe", "pipe"],
    });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => stdout += text);
    child.stderr.setEncoding("utf8").on("data", (text: string) => stderr += text);
    child.stdin.on("error", () => {}); // a program that does not read its input is fine
    child.stdin.end(options.stdin ?? "");
    child.on("error", (error) => reject(new Error(`Cannot start "${program}": ${error.message}`)));
    child.on("close", (code, signal) => {
      if (code === 0) return resolve({ stdout, stderr });
      const said = (stderr + stdout).trim().slice(-OUTPUT_TAIL_CHARS);
      reject(
        new Error(`"${program}" ended with ${code ?? signal}: ${said === "" ? "it said nothing" : said}`),
      );
    });
  });
}

/** Calls `action` until it succeeds, at most `attemptsMax` times, with a growing wait in between. For what talks to a network. */
export async function withRetries<T>(attemptsMax: number, action: () => Promise<T>): Promise<T> {
  for (let attempt = 1;; attempt++) {
    try {
      return await action();
    } catch (error) {
      if (attempt >= attemptsMax) throw error;
      await Bun.sleep(RETRY_WAIT_MS * attempt);
    }
  }
}
