import fs from "node:fs";
import path from "node:path";
import type { WalkedSegment } from "../buffer/buffer_walk.ts";
import { acquireDataDir } from "../checkpoint/data_dir_lock.ts";
import { errnoName, StartError } from "../errors.ts";
import { DAMAGED_FOLDER } from "../storage/segment_files.ts";
import { type StorageOps, systemOps } from "../storage/storage_ops.ts";
import { TolerantReads } from "../storage/tolerant_reads.ts";
import { countOf, formatCount, nounOf } from "../telemetry/format.ts";
import type { RepairBufferArgs } from "./args.ts";
import { syncPath } from "./buffer_repair.ts";
import { type BufferFolder, bufferFolders, readJournalIfGood } from "./buffer_state.ts";
import { describeProblem, verify } from "./buffer_verify.ts";
import { type CommandContext, withConfig } from "./command_context.ts";

/** A copy that is not complete. Readers of the folder pass it over. */
const COPY_NAME = "repair.tmp";
const COPIED_AT_ONCE_BYTES = 262_144;

/**
 * `shipper buffer repair --sink NAME`: takes out of a disk buffer what stands in the way of reading it, and says what is lost. Files of which nothing can be
 * used are moved into `damaged/`; of those that the device gives in part a copy of what it gives takes the place. Files that are damaged in some place are
 * left: they are read around it, and set aside when everything in them is delivered. Can be cut short anywhere and run again. Returns the exit code.
 */
export async function repairDiskBuffer(
  args: RepairBufferArgs,
  context: CommandContext,
  ops: StorageOps = systemOps,
): Promise<number> {
  return await withConfig(args.configPaths, context, async (config) => {
    const { dataDir } = config;
    const [folder] = bufferFolders(config, args.sink);
    const { dir } = folder!;
    if (!fs.existsSync(dir)) {
      context.stdout(`There is no disk buffer of sink "${args.sink}" yet: nothing to repair\n`);
      return 0;
    }
    const lock = acquireDataDir(dataDir);
    try {
      fs.rmSync(path.join(dir, COPY_NAME), { force: true });
      const content = await readJournalIfGood(dataDir, context);
      const { buffer, segments } = verify(folder!, dataDir, content, ops);
      if (buffer.isGood) {
        context.stdout(`The disk buffer of sink "${args.sink}" is not damaged: nothing to repair\n`);
        return 0;
      }
      for (const problem of buffer.problems) context.stdout(`${describeProblem(problem)}\n`);
      const aside = segments.flatMap((segment) => repairSegment(folder!, segment, ops, context.now()));
      context.stdout(describe(aside, buffer.missingEvents));
      return 0;
    } finally {
      lock.release();
    }
  });
}

/** Returns where the segment's file was set aside. */
function repairSegment(
  { dir, sink }: BufferFolder,
  { file, isUnusable, unreadableBlocks }: WalkedSegment,
  ops: StorageOps,
  nowMs: number,
): string[] {
  if (!isUnusable && unreadableBlocks === 0) return [];
  try {
    const folder = path.join(dir, DAMAGED_FOLDER);
    fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
    const date = new Date(nowMs).toISOString().replace(/[:.]/gu, "-");
    const aside = freeName(path.join(folder, `${date}-${path.basename(file)}`));
    const copy = path.join(dir, COPY_NAME);
    if (!isUnusable) copyReadable(file, copy, ops);
    // The other name first: at no time the file has none.
    fs.linkSync(file, aside);
    syncPath(folder);
    if (isUnusable) fs.unlinkSync(file);
    else fs.renameSync(copy, file);
    syncPath(dir);
    return [aside];
  } catch (error) {
    throw new StartError(
      "buffer-not-repaired",
      `Cannot repair the disk buffer of sink "${sink}": "${file}" cannot be set aside (${
        errnoName(error)
      }); it is as it was`,
      "look at the free space in its folder and at the rights of this user, and run it again",
    );
  }
}

/** Copies what the device gives; zeros stand for the rest, and no group there is good. */
function copyReadable(file: string, copy: string, ops: StorageOps): void {
  const reads = new TolerantReads(ops);
  const from = ops.openRead(file);
  // One of an earlier repair that was ended; a link would lead elsewhere.
  fs.rmSync(copy, { force: true });
  const to = fs.openSync(copy, "wx", 0o600);
  try {
    const chunk = Buffer.allocUnsafe(COPIED_AT_ONCE_BYTES);
    for (let at = 0;;) {
      const count = reads.ops.read(from, chunk, 0, chunk.length, at);
      if (count <= 0) break;
      for (let done = 0; done < count;) done += fs.writeSync(to, chunk, done, count - done, at + done);
      at += count;
    }
    fs.fsyncSync(to);
  } finally {
    ops.close(from);
    fs.closeSync(to);
  }
}

/** Two repairs within a millisecond get a name each. */
function freeName(wanted: string): string {
  for (let i = 1;; i++) {
    const name = i === 1 ? wanted : `${wanted}-${i}`;
    if (!fs.existsSync(name)) return name;
  }
}

function describe(aside: readonly string[], missingEvents: number): string {
  const lines = aside.map((file) => `Set aside: ${file}`);
  if (aside.length === 0) {
    lines.push(
      "Nothing had to be moved: shipper reads around what is damaged, and sets the file aside afterwards",
    );
  }
  lines.push(
    missingEvents === 0
      ? "No event that is still wanted is lost"
      : `${formatCount(missingEvents)} ${nounOf(missingEvents, "event is", "events are")} lost: ` +
        `the next run counts them (buffer_damaged), and ends with exit code 1`,
  );
  if (aside.length > 0) {
    lines.push(
      `${countOf(aside.length, "file")} in damaged/ can be removed when nobody wants to look at them`,
    );
  }
  return `${lines.join("\n")}\n`;
}
