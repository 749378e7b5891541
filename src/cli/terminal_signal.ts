import { closeSync, constants, openSync } from "node:fs";
import { FFIType } from "bun:ffi";
import { openLibc } from "../libc.ts";

/** What a terminal sends, for a key or when its size changes. */
const FROM_TERMINAL: readonly string[] = ["SIGINT", "SIGQUIT", "SIGWINCH"];

/**
 * Whether a signal that just came was sent by the terminal, which sends it to every process of the group in the foreground: a command in
 * our group has got it, and must not get it twice. Who sent it cannot be seen from here, so this is so for as long as our group is in the
 * foreground of a terminal.
 */
export function comesFromTerminal(name: string): boolean {
  if (!FROM_TERMINAL.includes(name)) return false;
  const libc = openLibc({
    tcgetpgrp: { args: [FFIType.i32], returns: FFIType.i32 },
    getpgrp: { args: [], returns: FFIType.i32 },
  });
  if (libc === null) return false;
  let terminal: number;
  try {
    terminal = openSync("/dev/tty", constants.O_RDONLY | constants.O_NOCTTY);
  } catch {
    return false; // no terminal belongs to this process
  }
  const isForeground = libc.symbols.tcgetpgrp(terminal) === libc.symbols.getpgrp();
  closeSync(terminal);
  return isForeground;
}
