import { readFile, stat } from "node:fs/promises";
import { ConnectError } from "./errors.ts";

/** How much a file may hold that the configuration names. */
export interface FileLimit {
  readonly bytesMax: number;
  /** The limit in words: "4 MiB". */
  readonly text: string;
  /** What to do about a larger one. */
  readonly hint: string;
}

/**
 * The whole of a file that the configuration names; `name` stands for it in messages. Whatever is wrong with it rejects with what `problem` makes of the
 * state found and a hint.
 */
export async function readConfiguredFile(
  path: string,
  name: string,
  { bytesMax, text, hint }: FileLimit,
  problem: (state: string, hint: string, cause?: unknown) => ConnectError,
): Promise<Buffer> {
  try {
    // A FIFO or a device would hold a thread of the pool for ever.
    const found = await stat(path);
    if (!found.isFile()) throw problem(`${name} is not a regular file`, "Give the path of a file");
    if (found.size > bytesMax) throw problem(`${name} is larger than ${text}`, hint);
    return await readFile(path);
  } catch (error) {
    if (error instanceof ConnectError) throw error;
    const code = (error as NodeJS.ErrnoException).code ?? "unknown error";
    const right = "Give the user that runs shipper the right to read it";
    const correct = "Correct the path in the configuration";
    throw problem(`${name} cannot be read (${code})`, code === "EACCES" ? right : correct, error);
  }
}
