import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cacheDir } from "../../scripts/lib/project.ts";
import { runCommand } from "../../scripts/lib/run_command.ts";
import { type RunningTailer, startTailer } from "./running_shipper.ts";

const PACKAGES = ["rsyslog", "rsyslog-kafka"];

/**
 * Gets rsyslog with its Kafka output from Debian's packages, unpacked into the project's cache: nothing is installed, and no service of the
 * machine is started or changed. Rejects where there is no apt-get.
 */
async function ensureRsyslog(): Promise<string> {
  const root = join(cacheDir, "rsyslog");
  if (existsSync(root)) return root;
  const part = `${root}.part-${process.pid}`;
  const archives = join(part, "archives");
  mkdirSync(join(archives, "partial"), { recursive: true });
  try {
    const apt = [
      "-o",
      `Dir::Cache::archives=${archives}`,
      "-o",
      "Debug::NoLocking=1",
      "-o",
      "APT::Sandbox::User=root",
    ];
    await runCommand("apt-get", [
      ...apt,
      "install",
      "-y",
      "--download-only",
      "--no-install-recommends",
      ...PACKAGES,
    ]);
    for (const name of readdirSync(archives).filter((each) => each.endsWith(".deb"))) {
      await runCommand("dpkg-deb", ["-x", join(archives, name), join(part, "root")]);
    }
    renameSync(join(part, "root"), root);
  } catch (error) {
    throw new Error(`Cannot get rsyslog from Debian's packages: ${(error as Error).message}`);
  } finally {
    rmSync(part, { recursive: true, force: true });
  }
  return root;
}

/** The version of that rsyslog, for example "8.2302.0". */
export async function rsyslogVersion(): Promise<string> {
  const { program, env } = commandOf(await ensureRsyslog());
  const { stdout } = await runCommand(program, ["-v"], { env });
  return /rsyslogd\s+([\d.]+\d)/.exec(stdout)?.[1] ?? "unknown";
}

/** Starts rsyslog as it would be set up for this: imfile with kernel events, omkafka, acks=all, all else at its default. */
export async function startRsyslog(
  dir: string,
  setup: { readonly bootstrap: string; readonly topic: string; readonly file: string },
): Promise<RunningTailer> {
  const { program, modules, env } = commandOf(await ensureRsyslog());
  const config = join(dir, "rsyslog.conf");
  writeFileSync(
    config,
    `global(workDirectory="${dir}")
module(load="imfile" mode="inotify")
module(load="omkafka")
template(name="line" type="string" string="%msg%")
input(type="imfile" File="${setup.file}" Tag="bench" ruleset="ship")
ruleset(name="ship") {
  action(type="omkafka" broker=["${setup.bootstrap}"] topic="${setup.topic}" template="line" confParam=["acks=all"])
}
`,
  );
  return startTailer(dir, [program, "-n", "-f", config, "-i", join(dir, "pid"), "-M", modules], env);
}

function commandOf(root: string): { program: string; modules: string; env: Record<string, string> } {
  const libraries = readdirSync(join(root, "usr", "lib")).filter((name) => name.endsWith("-linux-gnu"))
    .flatMap((name) => [join(root, "usr", "lib", name), join(root, "lib", name)]);
  const modules = libraries.map((dir) => join(dir, "rsyslog")).find((dir) => existsSync(dir));
  if (modules === undefined) throw new Error("Cannot find rsyslog's modules in its unpacked packages");
  return {
    program: join(root, "usr", "sbin", "rsyslogd"),
    modules,
    env: { LD_LIBRARY_PATH: libraries.join(":") },
  };
}
