import { spawnSync } from "node:child_process";
import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";

/** A process that can be recognised later, when its pid may belong to another one. */
export interface ProcessIdentity {
  readonly pid: number;
  /** When it was started, in the system's own way of saying. */
  readonly started: string;
}

/** The identity of a running process, or null when there is none with this pid. A zombie counts as gone. */
export function identify(pid: number): ProcessIdentity | null {
  if (process.platform !== "linux") return identifyByPs(pid);
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name, in parentheses, may hold spaces and parentheses itself.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? null : { pid, started: fields[19] ?? "" };
  } catch {
    return null;
  }
}

/** True when this very process is still running. */
export function isRunning(identity: ProcessIdentity): boolean {
  const now = identify(identity.pid);
  return now !== null && now.started === identity.started;
}

/** Sends a signal to this very process; false when it is gone. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isRunning(identity)) return false;
  try {
    process.kill(identity.pid, signal);
    return true;
  } catch {
    return false; // ended between the two lines
  }
}

/** Names the set of pids that this process sees: pids of another machine or container say nothing here. */
export function pidScope(): string {
  try {
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
    return `${boot} ${readlinkSync("/proc/self/ns/pid")}`;
  } catch {
    return hostname();
  }
}

function identifyByPs(pid: number): ProcessIdentity | null {
  const { stdout } = spawnSync("ps", ["-o", "stat=,lstart=", "-p", String(pid)], { encoding: "utf8" });
  const match = /^(\S+)\s+(.+)$/.exec(stdout.trim());
  return match === null || match[1]!.startsWith("Z") ? null : { pid, started: match[2]! };
}
