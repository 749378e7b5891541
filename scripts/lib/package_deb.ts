import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import packageJson from "../../package.json";
import { fillTree, PACKAGE_DESCRIPTION, PACKAGE_RELEASE, type PackageOptions } from "./package_tree.ts";
import { projectDir } from "./project.ts";
import { runCommand } from "./run_command.ts";

const ARCHITECTURES: Readonly<Record<string, string>> = { "linux-x64": "amd64", "linux-arm64": "arm64" };

/** Makes a .deb and returns its path. The same input gives the same bytes: one time, no owner, one thread of gzip. */
export async function packDeb(options: PackageOptions): Promise<string> {
  const { target, version, time, outDir, gzipLevel = 6 } = options;
  const architecture = ARCHITECTURES[target]!;
  const tree = mkdtempSync(join(tmpdir(), "shipper-deb-"));
  try {
    chmodSync(tree, 0o755);
    await fillTree(tree, "deb", options);
    const control = join(tree, "DEBIAN");
    mkdirSync(control, { mode: 0o755 });
    const { stdout } = await runCommand("du", ["--summarize", "--apparent-size", "--block-size=1024", tree]);
    writeFileSync(
      join(control, "control"),
      controlText(version, architecture, Number(stdout.split("\t")[0])),
    );
    writeFileSync(join(control, "conffiles"), "/etc/shipper/shipper.toml\n");
    for (const script of ["postinst", "prerm", "postrm"]) {
      copyFileSync(join(projectDir, "packaging", "deb", script), join(control, script));
      chmodSync(join(control, script), 0o755);
    }
    const file = join(outDir, `shipper_${version}-${PACKAGE_RELEASE}_${architecture}.deb`);
    // gzip: every dpkg knows it, and xz takes ten times as long for a fifth less.
    await runCommand("dpkg-deb", ["--build", "--root-owner-group", "-Zgzip", `-z${gzipLevel}`, tree, file], {
      env: { SOURCE_DATE_EPOCH: String(time) },
    });
    return file;
  } finally {
    rmSync(tree, { recursive: true, force: true });
  }
}

function controlText(version: string, architecture: string, sizeKib: number): string {
  return `Package: shipper
Version: ${version}-${PACKAGE_RELEASE}
Architecture: ${architecture}
Maintainer: ${packageJson.name} <noreply@localhost>
Installed-Size: ${sizeKib}
Depends: libc6 (>= 2.17), passwd
Section: admin
Priority: optional
Description: Ships log files and standard input to Apache Kafka, exactly once
${PACKAGE_DESCRIPTION.split("\n").map((line) => ` ${line}\n`).join("")}`;
}
