import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import packageJson from "../../package.json";
import { fillTree, PACKAGE_DESCRIPTION, PACKAGE_RELEASE, type PackageOptions } from "./package_tree.ts";
import { projectDir } from "./project.ts";
import { runCommand } from "./run_command.ts";

const ARCHITECTURES: Readonly<Record<string, string>> = { "linux-x64": "x86_64", "linux-arm64": "aarch64" };

/** Makes a .rpm and returns its path. The same input gives the same bytes. */
export async function packRpm(options: PackageOptions): Promise<string> {
  const { target, version, time, outDir, gzipLevel = 6 } = options;
  const architecture = ARCHITECTURES[target]!;
  const top = mkdtempSync(join(tmpdir(), "shipper-rpm-"));
  try {
    const tree = join(top, "tree");
    mkdirSync(tree, { mode: 0o755 });
    const files = await fillTree(tree, "rpm", options);
    mkdirSync(join(tree, "var/lib/shipper"), { recursive: true });
    chmodSync(join(tree, "var"), 0o755);
    const spec = join(top, "shipper.spec");
    writeFileSync(spec, specText(version, tree, files, gzipLevel));
    await runCommand("rpmbuild", [
      "-bb",
      "--quiet",
      "--target",
      architecture,
      "--define",
      `_topdir ${top}`,
      spec,
    ], {
      env: { SOURCE_DATE_EPOCH: String(time) },
    });
    const name = `shipper-${version}-${PACKAGE_RELEASE}.${architecture}.rpm`;
    copyFileSync(join(top, "RPMS", architecture, name), join(outDir, name));
    return join(outDir, name);
  } finally {
    rmSync(top, { recursive: true, force: true });
  }
}

function specText(version: string, tree: string, files: readonly string[], gzipLevel: number): string {
  const own = files.filter((each) => !each.startsWith("/etc/") && !each.startsWith("/usr/share/doc/"));
  const values: Readonly<Record<string, string>> = {
    GZIP: String(gzipLevel),
    VERSION: version,
    RELEASE: PACKAGE_RELEASE,
    LICENSE: packageJson.license,
    DESCRIPTION: PACKAGE_DESCRIPTION,
    TREE: tree,
    FILES: ["/usr/share/doc/shipper", ...own].join("\n"),
  };
  const template = readFileSync(join(projectDir, "packaging", "rpm", "shipper.spec"), "utf8");
  return template.replace(/@([A-Z]+)@/g, (found, name) => values[name] ?? found);
}
