import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";

interface Package {
  readonly name: string;
  readonly version: string;
  readonly license?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
}

const BUN_NOTE =
  `The binary contains the Bun runtime, which is MIT licensed and links JavaScriptCore (LGPL-2) and other
libraries statically. Their licenses, and how to link Bun anew: https://bun.com/docs/project/license
`;

/** The licenses of what is compiled into the binary: the dependencies of package.json and theirs, by name. */
export async function thirdPartyLicenses(projectDir: string): Promise<string> {
  const found = new Map<string, string>();
  const root = await readPackage(projectDir);
  for (const name of Object.keys(root.dependencies ?? {})) await collect(name, projectDir, found);
  const texts = [...found.keys()].sort().map((key) => found.get(key)!);
  return [BUN_NOTE, ...texts].join(`\n${"-".repeat(80)}\n\n`);
}

async function collect(name: string, from: string, found: Map<string, string>): Promise<void> {
  const folder = findPackage(name, from);
  const { version, license, dependencies } = await readPackage(folder);
  const key = `${name} ${version}`;
  if (found.has(key)) return;
  const file = (await readdir(folder)).sort().find((each) => /^licen[cs]e/i.test(each));
  if (file === undefined) {
    throw new Error(`Package "${name}" has no file with its license (${license ?? "unknown"})`);
  }
  found.set(key, `${key}\n\n${(await readFile(join(folder, file), "utf8")).trim()}\n`);
  for (const other of Object.keys(dependencies ?? {})) await collect(other, folder, found);
}

/** The nearest node_modules that has it, as modules are resolved. */
function findPackage(name: string, from: string): string {
  for (let folder = from;; folder = dirname(folder)) {
    const candidate = join(folder, "node_modules", name);
    if (existsSync(join(candidate, "package.json"))) return candidate;
    if (dirname(folder) === folder) throw new Error(`Package "${name}" is not installed`);
  }
}

async function readPackage(folder: string): Promise<Package> {
  return JSON.parse(await readFile(join(folder, "package.json"), "utf8")) as Package;
}
