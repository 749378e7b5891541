import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { WATCHES_MAX } from "../source/file_discovery.ts";
import { openFilesMaxDefault } from "../source/open_files.ts";
import type { Config } from "../config/config.ts";
import { countOf } from "../telemetry/format.ts";
import { type CheckResult, found, passed, placeOf } from "./check_result.ts";

/** Processes whose watches are counted. */
const PROCESSES_MAX = 10_000;
/** Descriptors that shipper has open besides files: connections, the journal, pipes, what the runtime has. */
const OTHER_DESCRIPTORS = 64;

/** What the checks of files have found, of all sources. */
export interface NeededOfSystem {
  readonly fileCount: number;
  readonly folderCount: number;
}

/** The limit on open files of this process, which is that of a shipper started in the same way. */
export function checkOpenFiles(config: Config, { fileCount }: NeededOfSystem): CheckResult[] {
  const fileSources = config.sources.filter((each) => each.type === "file");
  if (fileSources.length === 0) return [];
  const place = placeOf("limits.open_files");
  const limit = softLimit(readText("/proc/self/limits"));
  if (limit === null) {
    const message = "The limit on open files is not looked at: this system does not tell it in /proc";
    return [found("skipped", place, "not-told", message)];
  }
  const wanted = fileSources.reduce((sum, each) => sum + (each.maxOpenFiles ?? openFilesMaxDefault()), 0);
  const besides = config.sinks.length * OTHER_DESCRIPTORS + (config.api?.connectionsMax ?? 0);
  const needed = Math.min(fileCount, wanted);
  const raise = "Raise it: ulimit -n in this shell, LimitNOFILE= in the unit";
  if (wanted + besides > limit && needed + besides > limit) {
    return [found(
      "failed",
      place,
      "EMFILE",
      `${limit} files may be open here, and ${
        needed + besides
      } are needed: ${needed} to read and ${besides} besides`,
      `${raise}; or lower max_open_files`,
    )];
  }
  if (fileCount > wanted) {
    return [found(
      "warning",
      place,
      "files-take-turns",
      `${fileCount} files are found, and ${wanted} are held open at a time: they are opened and closed in turns`,
      `${raise}; or raise max_open_files`,
    )];
  }
  if (wanted + besides > limit) {
    return [found(
      "warning",
      place,
      "limit-low",
      `max_open_files allows ${wanted} files, and ${limit} may be open here: that is enough for the ${fileCount} files found, not for more`,
      `${raise}; or lower max_open_files`,
    )];
  }
  return [passed(place, `${limit} files may be open here: enough for the ${fileCount} found`)];
}

function softLimit(limits: string | null): number | null {
  const found = /^Max open files\s+(\d+|unlimited)/m.exec(limits ?? "")?.[1];
  if (found === undefined) return null;
  return found === "unlimited" ? Infinity : Number(found);
}

/** What inotify gives one user, against what is used of it now and what this configuration needs. Nothing is taken. */
export function checkInotify(config: Config, { folderCount }: NeededOfSystem): CheckResult[] {
  if (!config.sources.some((each) => each.type === "file")) return [];
  const place = placeOf("limits.inotify");
  const watchesMax = numberIn("/proc/sys/fs/inotify/max_user_watches");
  const instancesMax = numberIn("/proc/sys/fs/inotify/max_user_instances");
  if (watchesMax === null || instancesMax === null) {
    const message = "The limits of inotify are not looked at: this system does not tell them in /proc";
    return [found("skipped", place, "not-told", message)];
  }
  const used = usedOfUser();
  const slow = "changes in folders that are not watched are found by a scan once a second";
  if (folderCount > WATCHES_MAX) {
    const message = `${folderCount} folders are found, and ${WATCHES_MAX} are watched at most: ${slow}`;
    return [found("warning", place, "too-many-folders", message, "Name fewer folders in include")];
  }
  const state = `${used.watches} of ${watchesMax} watches and ${used.instances} of ${instancesMax} instances`;
  if (used.watches + folderCount > watchesMax || used.instances >= instancesMax) {
    const key = used.instances >= instancesMax ? "max_user_instances" : "max_user_watches";
    return [found(
      "warning",
      place,
      "inotify-exhausted",
      `This user has ${state} of inotify in use, and ${folderCount} folders are to be watched: ${slow}`,
      `sysctl -w fs.inotify.${key}=${key === "max_user_instances" ? 1024 : 524_288}`,
    )];
  }
  const folders = countOf(folderCount, "folder");
  return [passed(place, `inotify has room for ${folders}: this user has ${state} in use`)];
}

/** By what /proc shows of this user's processes; those that it hides are not counted. */
function usedOfUser(): { watches: number; instances: number } {
  const user = process.getuid?.() ?? -1;
  let watches = 0;
  let instances = 0;
  for (const pid of listed("/proc").filter((each) => /^\d+$/.test(each)).slice(0, PROCESSES_MAX)) {
    try {
      if (statSync(`/proc/${pid}`).uid !== user) continue;
    } catch {
      continue; // it has ended
    }
    for (const fd of listed(`/proc/${pid}/fd`)) {
      if (linkOf(`/proc/${pid}/fd/${fd}`) !== "anon_inode:inotify") continue;
      instances++;
      watches += (readText(`/proc/${pid}/fdinfo/${fd}`)?.match(/^inotify /gm) ?? []).length;
    }
  }
  return { watches, instances };
}

function listed(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // it has ended, or is hidden from this user
  }
}

function linkOf(path: string): string | null {
  try {
    return readlinkSync(path);
  } catch {
    return null;
  }
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

function numberIn(path: string): number | null {
  const text = readText(path);
  const number = Number(text?.trim() || NaN);
  return Number.isSafeInteger(number) ? number : null;
}
