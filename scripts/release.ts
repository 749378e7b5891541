// scripts/release: a checked archive for each target, and their SHA-256, in dist/release.
import { mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import packageJson from "../package.json";
import { TARGETS } from "./lib/bun_executable.ts";
import { checkExecutable } from "./lib/executable_header.ts";
import { projectDir } from "./lib/project.ts";
import { packArchive } from "./lib/release_archive.ts";
import { sha256, sourceTime } from "./lib/release_files.ts";
import { runCommand } from "./lib/run_command.ts";
import { Steps } from "./lib/steps.ts";
import { tryExecutable } from "./lib/try_executable.ts";

const DEFAULT_TARGETS = ["linux-x64", "linux-arm64", "linux-x64-musl", "darwin-arm64"];

const targets = readTargets();
const releaseDir = join(projectDir, "dist", "release");
const steps = new Steps();
try {
  await release();
} catch (error) {
  console.error(`Error: Cannot make the release: ${(error as Error).message}`);
  process.exitCode = 1;
}

function readTargets(): readonly string[] {
  const named = process.argv.slice(2);
  const unknown = named.find((each) => !Object.hasOwn(TARGETS, each));
  if (unknown !== undefined) {
    console.error(`Error: Unknown target "${unknown}": one of ${Object.keys(TARGETS).join(", ")}`);
    process.exit(2);
  }
  return named.length === 0 ? DEFAULT_TARGETS : [...new Set(named)];
}

async function release(): Promise<void> {
  const time = await sourceTime();
  // Archives of an older version must not stand beside the new sums.
  rmSync(releaseDir, { recursive: true, force: true });
  mkdirSync(releaseDir, { recursive: true });
  const archives: string[] = [];
  for (const target of targets) {
    const binary = join(projectDir, "dist", `shipper-${target}`);
    await steps.run(
      `Building for ${target}`,
      () => runCommand(process.execPath, ["scripts/build.ts", "--target", target], { cwd: projectDir }),
    );
    await steps.run("  checking the binary", async () => {
      checkExecutable(binary, target);
      return await tryExecutable(binary, target, packageJson.version);
    }, (said) => said);
    const archive = await steps.run(
      "  packing",
      () => packArchive({ target, binary, version: packageJson.version, time, releaseDir }),
      (path) => `${basename(path)}, ${(statSync(path).size / 1e6).toFixed(1)} MB`,
    );
    archives.push(archive);
  }
  const sums: string[] = [];
  for (const archive of archives) sums.push(`${await sha256(archive)}  ${basename(archive)}\n`);
  writeFileSync(join(releaseDir, "SHA256SUMS"), sums.join(""));
  console.log(`Made ${archives.length} archive(s) of shipper ${packageJson.version} in dist/release:`);
  console.log(sums.join("").trimEnd());
}
