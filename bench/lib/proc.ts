import { readFileSync, writeFileSync } from "node:fs";

/** CPU clock ticks a second in /proc; a constant of Linux's interface on every platform that matters here. */
const TICKS_PER_SECOND = 100;

/** User and system CPU seconds that a process has used, its ended threads included. Steps of 10 ms. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  // The name, in parentheses, may hold spaces and parentheses itself.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Resident memory of a process in bytes: now, and the most since its program was started. Null when it has ended. */
export function residentBytes(pid: number): { readonly now: number; readonly peak: number } | null {
  let status: string;
  try {
    status = readFileSync(`/proc/${pid}/status`, "latin1");
  } catch {
    return null;
  }
  const now = /VmRSS:\s+(\d+) kB/.exec(status);
  const peak = /VmHWM:\s+(\d+) kB/.exec(status);
  // A process that is about to end has no memory any more.
  return now === null || peak === null
    ? null
    : { now: Number(now[1]) * 1_024, peak: Number(peak[1]) * 1_024 };
}

/** Starts the peak of `residentBytes` anew. Throws the system's error when the process has ended, or is another user's. */
export function resetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, "5");
}

/** Bytes of memory that programs can still have without swapping. */
export function availableMemoryBytes(): number {
  const available = /MemAvailable:\s+(\d+) kB/.exec(readFileSync("/proc/meminfo", "latin1"));
  return Number(available?.[1] ?? 0) * 1_024;
}

/**
 * Bytes that a process made dirty in the page cache (write_bytes), less those that were thrown away before they were written. A clean folio of
 * which some bytes are written to counts as a whole, and with kernels of today it may be 256 KB where 4 KB go to the disk: an upper bound.
 * Null when the process has ended, or is another user's.
 */
export function writeBytes(pid: number): number | null {
  let io: string;
  try {
    io = readFileSync(`/proc/${pid}/io`, "latin1");
  } catch {
    return null;
  }
  const figure = (name: string) => Number(new RegExp(`^${name}: (\\d+)$`, "m").exec(io)?.[1]);
  return figure("write_bytes") - figure("cancelled_write_bytes");
}
