import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { cacheDir, projectDir } from "./project.ts";
import { runCommand, withRetries } from "./run_command.ts";

/** What shipper is built for, and the npm package whose Bun goes into that binary. */
export const TARGETS: Readonly<Record<string, string>> = {
  "linux-x64": "@oven/bun-linux-x64",
  "linux-arm64": "@oven/bun-linux-aarch64",
  "linux-x64-musl": "@oven/bun-linux-x64-musl",
  "linux-arm64-musl": "@oven/bun-linux-aarch64-musl",
  "darwin-arm64": "@oven/bun-darwin-aarch64",
  "darwin-x64": "@oven/bun-darwin-x64",
};
const ATTEMPTS_MAX = 4;

/** A package as bun.lock pins it. */
export interface LockedPackage {
  readonly version: string;
  /** "sha512-" and the hash of the package's archive in base64. */
  readonly integrity: string;
}

/**
 * The Bun executable that a binary for `target` starts from; fetched once, then from .cache. By npm's own client, so that its registry,
 * proxy and certificates hold, and compared with the hash in bun.lock: `bun build --target` alone would take whatever comes.
 */
export async function bunExecutable(target: string): Promise<string> {
  const name = TARGETS[target];
  if (name === undefined) throw new Error(`There is no target "${target}"`);
  const locked = lockedPackage(readFileSync(join(projectDir, "bun.lock"), "utf8"), name);
  const folder = join(cacheDir, "bun-targets", `${target}-${locked.version}`);
  const executable = join(folder, "bun");
  if (existsSync(executable)) return executable;
  mkdirSync(join(cacheDir, "bun-targets"), { recursive: true });
  const part = mkdtempSync(`${folder}.part-`);
  try {
    await withRetries(ATTEMPTS_MAX, () => fetchInto(part, name, locked));
    // Renamed when it is whole: a build that was stopped in the middle leaves nothing that a later one would trust.
    rmSync(folder, { recursive: true, force: true });
    renameSync(part, folder);
  } finally {
    rmSync(part, { recursive: true, force: true });
  }
  return executable;
}

/** What bun.lock says of a package. Throws when it says nothing. */
export function lockedPackage(lockText: string, name: string): LockedPackage {
  const lock = Bun.JSONC.parse(lockText) as { packages?: Record<string, unknown[]> };
  const entry = lock.packages?.[name];
  const id = entry?.[0];
  const integrity = entry?.at(-1);
  if (typeof id !== "string" || !id.startsWith(`${name}@`) || typeof integrity !== "string") {
    throw new Error(`bun.lock has no entry for "${name}"`);
  }
  if (!integrity.startsWith("sha512-")) throw new Error(`bun.lock has no SHA-512 for "${name}"`);
  return { version: id.slice(name.length + 1), integrity };
}

async function fetchInto(folder: string, name: string, { version, integrity }: LockedPackage): Promise<void> {
  const { stdout } = await runCommand("npm", [
    "pack",
    `${name}@${version}`,
    "--json",
    "--loglevel=error",
    `--pack-destination=${folder}`,
  ], { cwd: folder });
  const [packed] = JSON.parse(stdout) as { filename: string }[];
  const archive = join(folder, packed!.filename.replace(/^@/, "").replaceAll("/", "-"));
  const hash = `sha512-${createHash("sha512").update(readFileSync(archive)).digest("base64")}`;
  if (hash !== integrity) {
    throw new Error(`The archive of ${name}@${version} has hash ${hash}, bun.lock has ${integrity}`);
  }
  await runCommand("tar", ["-xzf", archive, "-C", folder, "--strip-components=2", "package/bin/bun"]);
  chmodSync(join(folder, "bun"), 0o755);
  rmSync(archive);
}
