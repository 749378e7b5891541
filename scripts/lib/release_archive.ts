import { chmodSync, copyFileSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { projectDir } from "./project.ts";
import { runCommand } from "./run_command.ts";
import { thirdPartyLicenses } from "./third_party_licenses.ts";

export interface ArchiveOptions {
  readonly target: string;
  readonly binary: string;
  readonly version: string;
  /** Seconds since the epoch that every file in the archive carries. */
  readonly time: number;
  /** Where the archive goes, and, for the moment, the folder that is packed. */
  readonly releaseDir: string;
}

/** What an archive holds beside the binary: from the project's folder, to its own. */
export const ARCHIVE_FILES: Readonly<Record<string, string>> = {
  "LICENSE": "LICENSE",
  "README.md": "README.md",
  "CHANGELOG.md": "CHANGELOG.md",
  "config.example.toml": "config.example.toml",
};
/** The same for Linux alone. */
export const LINUX_FILES: Readonly<Record<string, string>> = {
  "packaging/systemd/shipper.service": "shipper.service",
};
const DOCS = "docs";

/** `shipper-VERSION-TARGET`: the folder in the archive, and its name without ".tar.gz". */
export function archiveName(version: string, target: string): string {
  return `shipper-${version}-${target}`;
}

/** Packs the binary and what belongs to it. The same input gives the same bytes: names in order, one time, no owner. */
export async function packArchive(options: ArchiveOptions): Promise<string> {
  const { target, version, time, releaseDir } = options;
  const name = archiveName(version, target);
  const staging = mkdtempSync(join(releaseDir, ".part-"));
  try {
    await fill(join(staging, name), options);
    const tarFile = join(staging, `${name}.tar`);
    await runCommand("tar", [
      "--create",
      "--format=ustar",
      "--sort=name",
      `--mtime=@${time}`,
      "--owner=0",
      "--group=0",
      "--numeric-owner",
      "--mode=u=rwX,go=rX",
      `--file=${tarFile}`,
      `--directory=${staging}`,
      name,
    ]);
    await runCommand("gzip", ["--no-name", tarFile]);
    const archive = join(releaseDir, `${name}.tar.gz`);
    copyFileSync(`${tarFile}.gz`, archive);
    return archive;
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

async function fill(folder: string, { target, binary }: ArchiveOptions): Promise<void> {
  mkdirSync(folder);
  copyFileSync(binary, join(folder, "shipper"));
  chmodSync(join(folder, "shipper"), 0o755);
  const files = target.startsWith("linux-") ? { ...ARCHIVE_FILES, ...LINUX_FILES } : ARCHIVE_FILES;
  for (const [from, to] of Object.entries(files)) copyFileSync(join(projectDir, from), join(folder, to));
  cpSync(join(projectDir, DOCS), join(folder, DOCS), { recursive: true });
  writeFileSync(join(folder, "THIRD_PARTY_LICENSES.txt"), await thirdPartyLicenses(projectDir));
}
