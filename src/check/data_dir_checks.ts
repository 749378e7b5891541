import fs from "node:fs";
import path from "node:path";
import { BUFFER_FOLDER } from "../buffer/buffer_frames.ts";
import { RESERVED_FREE_BYTES } from "../buffer/disk_room.ts";
import type { Config } from "../config/config.ts";
import { errnoName, StartError } from "../errors.ts";
import { JOURNAL_SEGMENT_BYTES } from "../journal/journal.ts";
import { JOURNAL_FOLDER, type JournalContent } from "../journal/journal_reader.ts";
import { type CheckResult, found, passed, placeOf } from "./check_result.ts";
import { lockOwner } from "./lock_owner.ts";

/** A file of data_dir that is so far in the future tells of a clock that was wrong, then or now. */
const FUTURE_MAX_MS = 60_000;
/** Nothing that is shipped was written before this program was. */
const CLOCK_EARLIEST_MS = Date.UTC(2025, 0, 1);
const MIB = 1_048_576;

export interface DataDirContext {
  readonly now: () => number;
  /** Reads what is stored, also while a shipper writes it; throws StartError. */
  readonly readState: (dataDir: string) => Promise<JournalContent>;
}

/** Whether data_dir can be used: there or to be made, its mode, who has it, what is stored in it, and room. Changes nothing, locks nothing. */
export async function checkDataDir(config: Config, context: DataDirContext): Promise<readonly CheckResult[]> {
  const { dataDir } = config;
  const place = placeOf("data_dir", { target: dataDir });
  let stat: fs.Stats;
  try {
    // In the pool: a mount that is dead must not keep the rest from being said.
    stat = await fs.promises.stat(dataDir);
  } catch (error) {
    const errno = errnoName(error);
    if (errno !== "ENOENT") {
      return [found("failed", place, errno, `Cannot look at data_dir "${dataDir}" (${errno})`, USER_HINT)];
    }
    return [checkCreatable(dataDir), ...checkRoom(config)];
  }
  if (!stat.isDirectory()) {
    const message = `data_dir "${dataDir}" is not a folder`;
    return [found("failed", place, "ENOTDIR", message, "Set data_dir to a folder")];
  }
  return [
    checkAccess(dataDir),
    ...checkMode(dataDir, stat),
    checkLock(dataDir),
    await checkJournal(dataDir, context),
    ...checkRoom(config),
  ];
}

const USER_HINT =
  "Run this as the user that runs shipper, give that user the folder, or set data_dir to another one";

/** It is not there: whether the folder above it takes a new one. */
function checkCreatable(dataDir: string): CheckResult {
  const place = placeOf("data_dir", { target: dataDir });
  const above = existingAbove(dataDir);
  const failure = failureOfAccess(above, fs.constants.W_OK | fs.constants.X_OK);
  if (failure === null) return passed(place, `data_dir "${dataDir}" is not there yet, and can be made`);
  const message =
    `data_dir "${dataDir}" is not there, and this user cannot make it in "${above}" (${failure})`;
  return found("failed", place, failure, message, `install -d -m 0700 -o shipper ${dataDir}`);
}

function checkAccess(dataDir: string): CheckResult {
  const place = placeOf("data_dir", { target: dataDir });
  const { R_OK, W_OK, X_OK } = fs.constants;
  for (const folder of [dataDir, path.join(dataDir, JOURNAL_FOLDER), path.join(dataDir, BUFFER_FOLDER)]) {
    const failure = failureOfAccess(folder, R_OK | W_OK | X_OK);
    if (failure === null || (failure === "ENOENT" && folder !== dataDir)) continue;
    return found(
      "failed",
      place,
      failure,
      `This user cannot read and write "${folder}" (${failure})`,
      USER_HINT,
    );
  }
  return passed(place, `data_dir "${dataDir}" can be read and written`);
}

/** Names of log files, and with stdin and buffers their lines, are in it. */
function checkMode(dataDir: string, { mode, uid }: fs.Stats): CheckResult[] {
  const place = placeOf("data_dir.mode", { target: dataDir });
  const own = process.getuid?.();
  const text = (mode & 0o777).toString(8).padStart(4, "0");
  if (own !== undefined && own !== 0 && uid !== own) {
    const message = `data_dir "${dataDir}" belongs to user ${uid}, not to the one that runs this (${own})`;
    return [found("warning", place, "other-owner", message, `chown -R shipper ${dataDir}`)];
  }
  if ((mode & 0o077) !== 0) {
    const message = `data_dir "${dataDir}" has mode ${text}: others may look into it`;
    return [found("warning", place, "open-mode", message, `chmod 0700 ${dataDir}`)];
  }
  return [passed(place, `data_dir "${dataDir}" has mode ${text}`)];
}

function checkLock(dataDir: string): CheckResult {
  const place = placeOf("data_dir.lock", { target: dataDir });
  const owner = lockOwner(path.join(dataDir, "lock"));
  if (owner === "unknown") {
    return found("skipped", place, "not-told", "Whether a shipper has data_dir is not known on this system");
  }
  return passed(
    place,
    owner === null ? "No shipper has data_dir now" : `A shipper that runs has data_dir: process ${owner}`,
  );
}

async function checkJournal(dataDir: string, { readState, now }: DataDirContext): Promise<CheckResult> {
  const place = placeOf("data_dir.journal", { target: path.join(dataDir, JOURNAL_FOLDER) });
  try {
    const { positions, live, checkpoint } = await readState(dataDir);
    const streams = [...positions.entries()].length;
    if (checkpoint === null && streams === 0) return passed(place, "Nothing is stored in data_dir yet");
    const newestMs = newestChange(path.join(dataDir, JOURNAL_FOLDER));
    if (newestMs > now() + FUTURE_MAX_MS) {
      return found(
        "warning",
        place,
        "from-the-future",
        `The journal was written at ${
          new Date(newestMs).toISOString()
        }, which is yet to come: the clock was wrong then, or is now`,
        "Compare the clock with a time server's",
      );
    }
    const counts = `${streams} ${
      streams === 1 ? "file" : "files"
    }, ${live.size} batches in doubt or on their way`;
    return passed(place, `The journal is whole: ${counts}`);
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    return found("failed", place, error.code, error.message, error.hint);
  }
}

/** Room for the buffers on disk, the journal, and what has to stay free. */
function checkRoom(config: Config): CheckResult[] {
  const { dataDir } = config;
  const place = placeOf("data_dir.room", { target: dataDir });
  const disks = config.sinks.filter(({ buffer }) => buffer.type === "disk");
  let status: fs.StatsFs;
  try {
    status = fs.statfsSync(existingAbove(dataDir));
  } catch (error) {
    const message = `Cannot ask for the room that is left for data_dir "${dataDir}" (${errnoName(error)})`;
    return [found("warning", place, errnoName(error), message)];
  }
  const freeBytes = status.bavail * status.bsize;
  const unusedBytes = disks.reduce((sum, { name, buffer }) => {
    return sum + Math.max(0, buffer.maxSizeBytes - sizeOf(path.join(dataDir, BUFFER_FOLDER, name)));
  }, 0);
  const leastBytes = JOURNAL_SEGMENT_BYTES + RESERVED_FREE_BYTES;
  const free = `${inMib(freeBytes)} MiB are free for data_dir "${dataDir}"`;
  if (status.files > 0 && status.ffree === 0) {
    return [
      found(
        "failed",
        place,
        "no-inodes",
        `${free}, but no inode is: no file can be made`,
        "Remove files there",
      ),
    ];
  }
  if (freeBytes < leastBytes) {
    const message = `${free}, and the journal needs ${inMib(leastBytes)} MiB`;
    return [found("failed", place, "no-room", message, "Free space there, or set data_dir to another disk")];
  }
  if (freeBytes < leastBytes + unusedBytes) {
    const message = `${free}, and the buffers on disk may take ${inMib(unusedBytes)} MiB more`;
    const hint = "Free space there, lower buffer.max_size, or set data_dir to another disk";
    return [found("warning", place, "less-than-buffers", message, hint)];
  }
  const needs = disks.length === 0 ? "the journal" : `the journal and ${inMib(unusedBytes)} MiB of buffers`;
  return [passed(place, `${free}: enough for ${needs}`)];
}

/** This host's clock, by what can be told without another one. */
export function checkClock(now: () => number): CheckResult {
  const place = placeOf("clock.host");
  const time = new Date(now()).toISOString();
  if (now() >= CLOCK_EARLIEST_MS) return passed(place, `The clock of this host says ${time}`);
  const message = `The clock of this host says ${time}, which is long past`;
  return found("failed", place, "clock-wrong", message, "Set it: timedatectl set-ntp true");
}

function existingAbove(folder: string): string {
  let at = path.resolve(folder);
  while (!fs.existsSync(at) && path.dirname(at) !== at) at = path.dirname(at);
  return at;
}

/** Null when it is allowed, else the errno. */
function failureOfAccess(at: string, mode: number): string | null {
  try {
    fs.accessSync(at, mode);
    return null;
  } catch (error) {
    return errnoName(error);
  }
}

/** Bytes of the files in a folder; 0 where there is none. */
function sizeOf(folder: string): number {
  return filesIn(folder).reduce((sum, { size }) => sum + size, 0);
}

function newestChange(folder: string): number {
  return filesIn(folder).reduce((newest, { mtimeMs }) => Math.max(newest, mtimeMs), 0);
}

function filesIn(folder: string): fs.Stats[] {
  let names: string[];
  try {
    names = fs.readdirSync(folder);
  } catch {
    return []; // not there yet, or told by the check of rights
  }
  return names.flatMap((name) => fs.statSync(path.join(folder, name), { throwIfNoEntry: false }) ?? []);
}

function inMib(bytes: number): string {
  return (bytes / MIB).toFixed(bytes < 10 * MIB ? 1 : 0);
}
