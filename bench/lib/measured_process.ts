import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { watchChild } from "./children.ts";
import { residentBytes } from "./proc.ts";

/** What a whole process took, from just before it was started until its end. */
export interface ProcessUsage {
  readonly wallSeconds: number;
  readonly userSeconds: number;
  readonly systemSeconds: number;
  readonly peakRssBytes: number;
}

const RSS_POLL_MS = 10;
const STDERR_TAIL_CHARS = 2_000;

/**
 * Runs a program to its end and measures it; it reads the file `stdinPath`, or nothing. Rejects when it does not end with 0, or not within `timeoutMs` (then it is killed), with
 * the end of what it wrote to stderr, which goes to a file in `dir` meanwhile.
 */
export async function measureProcess(
  command: readonly string[],
  options: { readonly dir: string; readonly timeoutMs: number; readonly stdinPath?: string },
): Promise<ProcessUsage> {
  const stderrPath = join(options.dir, "stderr");
  const stderr = openSync(stderrPath, "w", 0o600);
  const stdin = options.stdinPath === undefined ? "ignore" : Bun.file(options.stdinPath);
  const startMs = performance.now();
  const child = watchChild(Bun.spawn([...command], { cwd: options.dir, stdin, stdout: "ignore", stderr }));
  closeSync(stderr);
  let isLate = false;
  const timeout = setTimeout(() => {
    isLate = true;
    child.kill("SIGKILL");
  }, options.timeoutMs);
  let polledPeakBytes = 0;
  const poll = setInterval(() => {
    polledPeakBytes = Math.max(polledPeakBytes, residentBytes(child.pid)?.peak ?? 0);
  }, RSS_POLL_MS);
  const exitCode = await child.exited;
  const wallSeconds = (performance.now() - startMs) / 1_000;
  clearTimeout(timeout);
  clearInterval(poll);
  const usage = child.resourceUsage();
  if (exitCode !== 0 || usage === undefined) {
    const how = isLate
      ? `did not end within ${options.timeoutMs} ms`
      : `ended with ${child.signalCode ?? exitCode}`;
    const said = readFileSync(stderrPath, "utf8").trim().slice(-STDERR_TAIL_CHARS);
    throw new Error(`"${command.join(" ")}" ${how}: ${said === "" ? "it said nothing" : said}`);
  }
  // Asked for at the end: what this process held when it started the child is at most its peak by now.
  const ownPeakBytes = residentBytes(process.pid)!.peak;
  return {
    wallSeconds,
    userSeconds: Number(usage.cpuTime.user) / 1e6,
    systemSeconds: Number(usage.cpuTime.system) / 1e6,
    peakRssBytes: peakRss(usage.maxRSS, ownPeakBytes, polledPeakBytes),
  };
}

/**
 * The kernel's figure for an ended child counts what its starter held before the exec, so it is the child's own only where it is larger.
 * Else the peak that was polled is taken; it may miss growth in the last 10 ms.
 */
function peakRss(reportedBytes: number, starterPeakBytes: number, polledBytes: number): number {
  return reportedBytes > starterPeakBytes ? reportedBytes : polledBytes;
}

/** User and system together. */
export function cpuSecondsOf(usage: ProcessUsage): number {
  return usage.userSeconds + usage.systemSeconds;
}
