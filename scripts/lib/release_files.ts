import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { projectDir } from "./project.ts";
import { runCommand } from "./run_command.ts";

/** Seconds since the epoch that every file in a release carries: SOURCE_DATE_EPOCH, else the time of the commit, else 0. */
export async function sourceTime(): Promise<number> {
  const given = process.env.SOURCE_DATE_EPOCH;
  if (given !== undefined && /^\d+$/.test(given)) return Number(given);
  try {
    const { stdout } = await runCommand("git", ["status", "--porcelain"], { cwd: projectDir });
    if (stdout.trim() !== "") {
      console.error('Note: there are changes that are not committed: the version says "+"');
    }
    return Number(
      (await runCommand("git", ["log", "-1", "--format=%ct"], { cwd: projectDir })).stdout.trim(),
    );
  } catch {
    return 0; // an archive of the sources, or no git
  }
}

/** Of a file, in hexadecimal. */
export async function sha256(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest("hex");
}
