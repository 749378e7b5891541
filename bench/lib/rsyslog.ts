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

/**
 * Where messages wait for Kafka. "none": where rsyslog keeps them by itself, in memory. "disk_assisted": in memory, and on the disk above a high water mark.
 * "disk": on the disk alone, checkpointed with every message, not synced (a kill needs no sync).
 */
export type RsyslogQueue = "none" | "disk_assisted" | "disk";

/** For an outage: no end of retries, failed messages kept, the queue stored at the end. */
const RELIABLE_ACTION = [
  'action.resumeRetryCount="-1"',
  'action.resumeInterval="1"',
  'resubmitOnFailure="on"',
  'keepFailedMessages="on"',
  'queue.filename="kafka"',
  'queue.maxDiskSpace="1g"',
  'queue.saveOnShutdown="on"',
];
const QUEUE_ACTION: Readonly<Record<RsyslogQueue, readonly string[]>> = {
  none: [],
  disk_assisted: [...RELIABLE_ACTION, 'queue.type="LinkedList"'],
  disk: [...RELIABLE_ACTION, 'queue.type="Disk"', 'queue.checkpointInterval="1"'],
};

/**
 * Starts rsyslog as it would be set up for this: imfile with kernel events, omkafka, acks=all, all else at its default but what a queue needs. With a
 * queue the position in the file is stored after every line.
 */
export async function startRsyslog(
  dir: string,
  setup: {
    readonly bootstrap: string;
    readonly topic: string;
    readonly file: string;
    readonly queue?: RsyslogQueue;
  },
): Promise<RunningTailer> {
  const queue = setup.queue ?? "none";
  const persist = queue === "none" ? "" : ' persistStateInterval="1"';
  const failed = queue === "none" ? [] : [`failedMsgFile="${join(dir, "failed")}"`];
  const action = [
    'type="omkafka"',
    `broker=["${setup.bootstrap}"]`,
    `topic="${setup.topic}"`,
    'template="line"',
    'confParam=["acks=all"]',
    ...QUEUE_ACTION[queue],
    ...failed,
  ];
  const { program, modules, env } = commandOf(await ensureRsyslog());
  const config = join(dir, "rsyslog.conf");
  writeFileSync(
    config,
    `global(workDirectory="${dir}")
module(load="imfile" mode="inotify")
module(load="omkafka")
template(name="line" type="string" string="%msg%")
input(type="imfile" File="${setup.file}" Tag="bench" ruleset="ship"${persist})
ruleset(name="ship") {
  action(${action.join(" ")})
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
