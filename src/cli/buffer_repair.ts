import fs from "node:fs";
import path from "node:path";
import { acquireDataDir } from "../checkpoint/data_dir_lock.ts";
import type { Config } from "../config/config.ts";
import { errnoName, StartError } from "../errors.ts";
import { Journal } from "../journal/journal.ts";
import { JOURNAL_FOLDER, readJournal } from "../journal/journal_reader.ts";
import { type SalvagedJournal, salvageJournal } from "../journal/salvage.ts";
import { segmentNumber } from "../storage/segment_format.ts";
import { countOf } from "../telemetry/format.ts";
import type { RepairJournalArgs } from "./args.ts";
import { type CommandContext, commandLog, withConfig } from "./command_context.ts";
import { originOf } from "./data_dir_origin.ts";

/** A disk that takes nothing is not waited for longer. */
const CLOSE_MAX_MS = 10_000;

/**
 * `shipper buffer repair --journal`: copies what is damaged aside, and goes on from the last good checkpoint and what follows it up to the
 * damage. Until the fresh journal is on the disk the damaged one stays what it is, so that a repair that is cut short can be run again.
 * Returns the exit code.
 */
export async function repairJournal(args: RepairJournalArgs, context: CommandContext): Promise<number> {
  return await withConfig(args.configPaths, context, async (config) => {
    const { dataDir } = config;
    const dir = path.join(dataDir, JOURNAL_FOLDER);
    if (!fs.existsSync(dir)) {
      context.stdout(`There is no journal in "${dataDir}": nothing to repair\n`);
      return 0;
    }
    const lock = acquireDataDir(dataDir);
    try {
      const damage = findDamage(dataDir);
      if (damage === null) {
        context.stdout(`The journal in "${dataDir}" is not damaged: nothing to repair\n`);
        return 0;
      }
      context.stdout(`${damage.message}\n`);
      await repair(dir, config, context);
      return 0;
    } finally {
      lock.release();
    }
  });
}

/** Null when the journal can be read. Throws `StartError` for what no repair helps against. */
function findDamage(dataDir: string): StartError | null {
  try {
    readJournal(dataDir);
    return null;
  } catch (error) {
    if (error instanceof StartError && error.code === "journal-damaged") return error;
    throw error;
  }
}

async function repair(dir: string, config: Config, context: CommandContext): Promise<void> {
  const { dataDir } = config;
  const salvaged = salvageJournal(dataDir, context);
  const segments = fs.readdirSync(dir).filter((name) => segmentNumber(name) !== null);
  const { from } = salvaged;
  const kept = from !== null && from.isFree ? [path.basename(from.path)] : [];
  const aside = setAside(dir, segments, kept, context.now());
  const { machineId, dataDirInode } = salvaged.content.checkpoint ?? originOf(dataDir);
  const options = {
    dataDir,
    durability: "machine",
    onClonedState: "adopt",
    machineId,
    dataDirInode,
    log: commandLog(context),
    now: context.now,
  } as const;
  const journal = await Journal.goOn(options, salvaged.content);
  if (!await journal.close(CLOSE_MAX_MS)) {
    throw new StartError(
      "journal-unwritable",
      `Cannot repair the journal: "${dir}" cannot be written`,
      "look at the disk, its free space and the owner of data_dir, and try again",
    );
  }
  for (const name of segments) fs.rmSync(path.join(dir, name), { force: true });
  context.stdout(describe(salvaged, aside, config));
}

/** Copies the segments, and other files, into a folder of their own, which no shipper looks at. Returns its path. */
function setAside(
  dir: string,
  segments: readonly string[],
  others: readonly string[],
  nowMs: number,
): string {
  const number = Math.max(0, ...segments.map((name) => segmentNumber(name)!));
  const date = new Date(nowMs).toISOString().replace(/\.\d+/u, "").replaceAll(":", "");
  try {
    const aside = freshFolder(path.join(dir, `damaged-${number}-${date}`));
    for (const name of [...segments, ...others]) {
      const copy = path.join(aside, name);
      fs.copyFileSync(path.join(dir, name), copy);
      syncPath(copy);
    }
    syncPath(aside);
    syncPath(dir);
    return aside;
  } catch (error) {
    const code = errnoName(error);
    throw new StartError(
      "journal-not-set-aside",
      `Cannot repair the journal: its segments cannot be copied aside in "${dir}" (${code}); nothing was changed`,
      code === "ENOSPC" || code === "EDQUOT"
        ? "free space there"
        : "make it writable for the user that runs shipper",
    );
  }
}

/** Two repairs within a second get a folder each. */
function freshFolder(wanted: string): string {
  for (let i = 1;; i++) {
    const folder = i === 1 ? wanted : `${wanted}-${i}`;
    if (fs.existsSync(folder)) continue;
    fs.mkdirSync(folder, { mode: 0o700 });
    return folder;
  }
}

export function syncPath(target: string): void {
  const fd = fs.openSync(target, "r");
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

function describe({ content, from, endByte }: SalvagedJournal, aside: string, config: Config): string {
  const lines = [`Set aside: ${aside}`];
  if (from === null) {
    lines.push(
      "Kept: nothing, there is no checkpoint that can be read. Every file is read anew, from where read_from says",
    );
  } else {
    const { positions, live } = content;
    const files = countOf([...positions.entries()].length, "file");
    const sinks = countOf(positions.sinkNames().length, "sink");
    const batches = countOf(live.size, "batch", "batches");
    lines.push(
      `Kept: what "${from.path}" says up to byte ${endByte}: positions of ${files} for ${sinks}, ${batches} in doubt`,
    );
  }
  lines.push(
    "What was journalled behind the damage is not known any more: lines behind the last known positions are read again,",
    "and those that were delivered meanwhile are sent twice",
  );
  if (config.sources.some((source) => source.type === "file" && source.readFrom === "end")) {
    lines.push(
      'With read_from = "end" a file that was first seen behind the damage starts at its end: what was not delivered of it is skipped',
    );
  }
  return `${lines.join("\n")}\n`;
}
