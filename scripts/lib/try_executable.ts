import { existsSync } from "node:fs";
import { runCommand } from "./run_command.ts";

/** How a binary can be started on this machine: the words in front of it, and what to say of it. Null: it cannot. */
interface Way {
  readonly command: readonly string[];
  readonly name: string;
}

/**
 * Starts the binary with --version and --help where this machine can: directly, or arm64 through qemu-aarch64-static with the C library
 * of Debian's libc6-arm64-cross. Says how it went; throws when the binary ran and said something else.
 */
export async function tryExecutable(binary: string, target: string, version: string): Promise<string> {
  const way = wayFor(target);
  if (way === null) return "the header is right; not run, this machine cannot";
  const [program, ...args] = [...way.command, binary];
  const said = (await runCommand(program!, [...args, "--version"])).stdout.trim();
  if (!isVersion(said, version)) {
    throw new Error(`"${binary} --version" prints "${said}", not version ${version}`);
  }
  const help = (await runCommand(program!, [...args, "--help"])).stdout;
  if (!help.includes("shipper validate --config FILE")) throw new Error(`"${binary} --help" prints no help`);
  return `${said}, run ${way.name}`;
}

/** True for "shipper VERSION", with or without a commit. */
export function isVersion(said: string, version: string): boolean {
  return said === `shipper ${version}` || said.startsWith(`shipper ${version} (`);
}

function wayFor(target: string): Way | null {
  const { platform, arch } = process;
  if (target === `${platform}-${arch}`) return { command: [], name: "here" };
  if (target === `${platform}-${arch}-musl` && hasMusl()) {
    return { command: [], name: "with this machine's musl" };
  }
  const qemu = "/usr/bin/qemu-aarch64-static";
  const libraries = "/usr/aarch64-linux-gnu";
  if (target === "linux-arm64" && platform === "linux" && existsSync(qemu) && existsSync(libraries)) {
    return { command: [qemu, "-L", libraries], name: "with qemu" };
  }
  return null;
}

/** Bun for musl wants libstdc++ beside the C library (Alpine: "apk add libstdc++"); the loader alone is not enough. */
function hasMusl(): boolean {
  const machine = process.arch === "x64" ? "x86_64" : "aarch64";
  return existsSync(`/lib/ld-musl-${machine}.so.1`) && existsSync("/etc/alpine-release") &&
    existsSync("/usr/lib/libstdc++.so.6");
}
