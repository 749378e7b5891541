import { spawn, spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync } from "node:fs";
import { basename } from "node:path";
import { tempDir } from "./temp_dir.ts";
import { waitUntil } from "./wait_until.ts";

/** This machine's root with a layer above it: what is installed there is gone at the end, and the machine never sees it. Needs root. */
export interface InstalledRoot extends AsyncDisposable {
  /** Copies a file into it; returns its path there. */
  bring(path: string): string;
  /** Runs a shell script in it and gives its stdout. Rejects with all of its output when it fails. */
  run(script: string): Promise<string>;
}

/** How long a step may take. */
const STEP_MAX_MS = 40_000;

/** Whether this user and kernel allow it. */
export function canMountRoot(): boolean {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return false;
  using dir = tempDir("root");
  const script = `mount -t tmpfs none "${dir.path}" && cd "${dir.path}" && mkdir u w r && ` +
    "mount -t overlay overlay -o lowerdir=/,upperdir=u,workdir=w r";
  return spawnSync("unshare", ["--mount", "--propagation=private", "sh", "-c", script]).status === 0;
}

/** Folders of the layer are in memory: overlayfs takes none that lie in the root below it. */
export async function installedRoot(): Promise<InstalledRoot> {
  const dir = tempDir("root");
  const exchange = dir.file("exchange");
  mkdirSync(exchange);
  const layer = dir.file("layer");
  mkdirSync(layer);
  // The namespace lives as long as this shell, and with it the mounts. It ends with its stdin, however this process ends.
  const holder = spawn("unshare", [
    "--mount",
    "--propagation=private",
    "sh",
    "-euc",
    `mount -t tmpfs none "${layer}"
mkdir "${layer}/upper" "${layer}/work" "${layer}/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=${layer}/upper,workdir=${layer}/work" "${layer}/root"
for each in dev proc; do mount --rbind "/$each" "${layer}/root/$each"; done
mkdir "${layer}/root/exchange"
mount --bind "${exchange}" "${layer}/root/exchange"
echo mounted
cat > /dev/null`,
  ], { stdio: ["pipe", "pipe", "pipe"] });
  let output = "";
  let hasEnded = false;
  holder.stdout.on("data", (data) => output += String(data));
  holder.stderr.on("data", (data) => output += String(data));
  const ended = new Promise<void>((resolve) => holder.on("close", () => resolve()));
  void ended.then(() => hasEnded = true);
  await waitUntil("the root is mounted", () => {
    if (hasEnded) throw new Error(`Cannot mount a root of its own: ${output}`);
    return output.includes("mounted");
  });
  return {
    bring(path) {
      copyFileSync(path, `${exchange}/${basename(path)}`);
      return `/exchange/${basename(path)}`;
    },
    run: (script) => enter(holder.pid!, `${layer}/root`, script),
    async [Symbol.asyncDispose]() {
      holder.stdin.end();
      await ended;
      dir.remove();
    },
  };
}

async function enter(pid: number, root: string, script: string): Promise<string> {
  const command = ["nsenter", `--mount=/proc/${pid}/ns/mnt`, "chroot", root, "sh", "-ec", script];
  const child = Bun.spawn(command, {
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C.UTF-8", DEBIAN_FRONTEND: "noninteractive" },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: STEP_MAX_MS,
  });
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (code !== 0) throw new Error(`"${script}" ended with ${code}\n${stdout}${stderr}`);
  return stdout;
}
