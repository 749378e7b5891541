import type { Subprocess } from "bun";

const running = new Set<Subprocess>();
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));

/** Kills the child, by its pid, should the benchmark end first. */
export function watchChild<Child extends Subprocess>(child: Child): Child {
  running.add(child);
  child.exited.finally(() => running.delete(child));
  return child;
}

/** Ends a child: SIGTERM, and SIGKILL when it is still there after `timeoutMs` (at once with 0). Resolves when it has ended. */
export async function endChild(child: Subprocess, timeoutMs = 10_000): Promise<void> {
  child.kill(timeoutMs === 0 ? "SIGKILL" : "SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
  await child.exited;
  clearTimeout(timer);
}
