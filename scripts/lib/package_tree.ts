import { chmodSync, copyFileSync, cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { completionScript } from "../../src/cli/completion.ts";
import { manPage } from "./man_page.ts";
import { projectDir } from "./project.ts";
import { runCommand } from "./run_command.ts";
import { thirdPartyLicenses } from "./third_party_licenses.ts";

/** What is to be packed. */
export interface PackageOptions {
  /** "linux-x64" or "linux-arm64". */
  readonly target: string;
  readonly binary: string;
  readonly version: string;
  /** Seconds since the epoch that every file carries. */
  readonly time: number;
  /** Where the package goes. */
  readonly outDir: string;
  /** 0: not at all, 9: small, slowly; default 6. */
  readonly gzipLevel?: number;
}

/** Of the package, not of the program. */
export const PACKAGE_RELEASE = "1";

export const PACKAGE_DESCRIPTION =
  "It tails files through rotation and truncation, buffers in memory or on disk,\n" +
  "and delivers every line of a file exactly once, through crashes, lost brokers\n" +
  "and a full disk.";

/** Where zsh looks, which differs. */
export type PackageKind = "deb" | "rpm";
const ZSH_FOLDER: Readonly<Record<PackageKind, string>> = {
  deb: "usr/share/zsh/vendor-completions",
  rpm: "usr/share/zsh/site-functions",
};

/** Fills `tree` with everything that is installed, as it will lie under "/"; returns the paths of the files. Modes are 0755 and 0644. */
export async function fillTree(tree: string, kind: PackageKind, options: PackageOptions): Promise<string[]> {
  const { binary, version, time } = options;
  const files: string[] = [];
  const place = (path: string) => {
    mkdirSync(join(tree, dirname(path)), { recursive: true, mode: 0o755 });
    files.push(`/${path}`);
    return join(tree, path);
  };
  copyFileSync(binary, place("usr/bin/shipper"));
  writeFileSync(place("usr/lib/systemd/system/shipper.service"), packagedUnit());
  writeFileSync(place("etc/shipper/shipper.toml"), packagedConfig());
  writeFileSync(place("usr/share/bash-completion/completions/shipper"), completionScript("bash"));
  writeFileSync(place(`${ZSH_FOLDER[kind]}/_shipper`), completionScript("zsh"));
  writeFileSync(place("usr/share/fish/vendor_completions.d/shipper.fish"), completionScript("fish"));
  const page = place("usr/share/man/man1/shipper.1.gz").replace(/\.gz$/, "");
  writeFileSync(page, manPage(version, time));
  await runCommand("gzip", ["--best", "--no-name", page]);
  const licenses = `${readFileSync(join(projectDir, "LICENSE"), "utf8")}\n${await thirdPartyLicenses(
    projectDir,
  )}`;
  writeFileSync(place("usr/share/doc/shipper/copyright"), licenses);
  for (const name of ["README.md", "CHANGELOG.md", "config.example.toml"]) {
    copyFileSync(join(projectDir, name), place(`usr/share/doc/shipper/${name}`));
  }
  cpSync(join(projectDir, "docs"), join(tree, "usr/share/doc/shipper/docs"), { recursive: true });
  await runCommand("chmod", ["-R", "u=rwX,go=rX", tree]);
  for (const file of files) chmodSync(join(tree, file), file === "/usr/bin/shipper" ? 0o755 : 0o644);
  await runCommand("find", [tree, "-exec", "touch", "--no-dereference", `--date=@${time}`, "{}", "+"]);
  return files;
}

/**
 * The unit for a user that the package makes. `DynamicUser` would put the state elsewhere (/var/lib/private), where `sudo -u shipper` does not find it; what
 * else it implies stands in the unit anyway.
 */
export function packagedUnit(): string {
  const unit = readFileSync(join(projectDir, "packaging/systemd/shipper.service"), "utf8");
  return replaced(unit, [
    ["/usr/local/bin/shipper", "/usr/bin/shipper"],
    [
      "# A user of its own, made when the service starts. Group adm may read most of /var/log; add other groups in a drop-in.\nDynamicUser=yes\nUser=shipper\n",
      "# The package's user. Group adm may read most of /var/log; add other groups in a drop-in.\nUser=shipper\nGroup=shipper\n",
    ],
  ]);
}

/** config.example.toml with the data_dir of the service, for whoever calls a command as another user. */
export function packagedConfig(): string {
  const example = readFileSync(join(projectDir, "config.example.toml"), "utf8");
  return replaced(example, [
    ['# data_dir = "/var/lib/shipper"', 'data_dir = "/var/lib/shipper"'],
    ["shipper validate --config config.example.toml", "shipper check --config /etc/shipper/shipper.toml"],
    ["shipper --config config.example.toml", "systemctl enable --now shipper"],
  ]);
}

function replaced(text: string, pairs: readonly (readonly [from: string, to: string])[]): string {
  return pairs.reduce((result, [from, to]) => {
    if (!result.includes(from)) {
      throw new Error(`Cannot make the package's files: "${from}" is not there any more`);
    }
    return result.replaceAll(from, to);
  }, text);
}
