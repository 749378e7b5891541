// scripts/package: a .deb and a .rpm for each target, and their SHA-256, in dist/packages.
import { mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import packageJson from "../package.json";
import { checkExecutable } from "./lib/executable_header.ts";
import { packDeb } from "./lib/package_deb.ts";
import { packRpm } from "./lib/package_rpm.ts";
import { projectDir } from "./lib/project.ts";
import { sha256, sourceTime } from "./lib/release_files.ts";
import { runCommand } from "./lib/run_command.ts";
import { Steps } from "./lib/steps.ts";

/** musl's systems have other package managers. */
const TARGETS = ["linux-x64", "linux-arm64"];

const named = process.argv.slice(2);
const unknown = named.find((each) => !TARGETS.includes(each));
if (unknown !== undefined) {
  console.error(`Error: Unknown target "${unknown}": one of ${TARGETS.join(", ")}`);
  process.exit(2);
}
const steps = new Steps();
try {
  await packAll(named.length === 0 ? TARGETS : [...new Set(named)]);
} catch (error) {
  console.error(`Error: Cannot make the packages: ${(error as Error).message}`);
  process.exitCode = 1;
}

async function packAll(targets: readonly string[]): Promise<void> {
  const time = await sourceTime();
  const outDir = join(projectDir, "dist", "packages");
  // Packages of an older version must not stand beside the new sums.
  rmSync(outDir, { recursive: true, force: true });
  mkdirSync(outDir, { recursive: true });
  const made: string[] = [];
  for (const target of targets) {
    const binary = join(projectDir, "dist", `shipper-${target}`);
    await steps.run(`Building for ${target}`, async () => {
      await runCommand(process.execPath, ["scripts/build.ts", "--target", target], { cwd: projectDir });
      checkExecutable(binary, target);
    });
    const options = { target, binary, version: packageJson.version, time, outDir };
    for (const pack of [packDeb, packRpm]) {
      made.push(
        await steps.run(
          "  packing",
          () => pack(options),
          (path) => `${basename(path)}, ${(statSync(path).size / 1e6).toFixed(1)} MB`,
        ),
      );
    }
  }
  const sums: string[] = [];
  for (const path of made) sums.push(`${await sha256(path)}  ${basename(path)}\n`);
  writeFileSync(join(outDir, "SHA256SUMS"), sums.join(""));
  console.log(`Made ${made.length} package(s) of shipper ${packageJson.version} in dist/packages:`);
  console.log(sums.join("").trimEnd());
}
