import fs from "node:fs";
import { acquireDataDir } from "../checkpoint/data_dir_lock.ts";
import type { Config } from "../config/config.ts";
import { nearest } from "../config/suggest.ts";
import { StartError } from "../errors.ts";
import { Journal } from "../journal/journal.ts";
import type { JournalContent } from "../journal/journal_reader.ts";
import { formatBytes } from "../telemetry/format.ts";
import type { ForgetSinkArgs } from "./args.ts";
import { type CommandContext, commandLog, withConfig } from "./command_context.ts";
import { originOf } from "./data_dir_origin.ts";
import { positionRows } from "./positions.ts";
import { LiveBatches, readStoredState } from "./stored_state.ts";
import { countOf } from "./text_table.ts";

/** A disk that takes nothing is not waited for longer. */
const CLOSE_MAX_MS = 10_000;

/**
 * `shipper positions forget --sink NAME`: takes what is stored of a sink that left the configuration out of data_dir. It says beforehand what
 * that is, batches in doubt too, and asks nothing. Returns the exit code.
 */
export async function forgetSink(args: ForgetSinkArgs, context: CommandContext): Promise<number> {
  return await withConfig(args.configPaths, context, async (config) => {
    const { dataDir } = config;
    refuseConfigured(config, args.sink);
    if (!fs.existsSync(dataDir)) throw unknownSink(args.sink, []);
    const lock = acquireDataDir(dataDir);
    try {
      const content = await readStoredState(dataDir);
      const names = content.positions.sinkNames();
      if (!names.includes(args.sink)) throw unknownSink(args.sink, names);
      context.stdout(await describe(content, config, args.sink));
      await forget(content, config, args.sink, context);
      context.stdout(`Forgot sink "${args.sink}"\n`);
      return 0;
    } finally {
      lock.release();
    }
  });
}

function refuseConfigured({ sinks }: Config, name: string): void {
  if (!sinks.some((sink) => sink.name === name)) return;
  throw new StartError(
    "sink-configured",
    `Cannot forget sink "${name}": it is in the configuration, and would read every file anew`,
    "take it out of the configuration first",
  );
}

function unknownSink(name: string, names: readonly string[]): StartError {
  const near = nearest(name, names);
  const hint = near !== null
    ? `did you mean "${near}"?`
    : names.length === 0
    ? "nothing is stored of any sink"
    : `stored are: ${[...names].sort().map((each) => `"${each}"`).join(", ")}`;
  return new StartError("unknown-sink", `Cannot forget sink "${name}": nothing is stored of it`, hint);
}

async function describe(content: JournalContent, config: Config, sink: string): Promise<string> {
  const rows = (await positionRows(content, config)).filter((row) => row.sink === sink);
  const lagBytes = rows.reduce((sum, row) => sum + (row.lagBytes ?? 0), 0);
  const { batches, events } = new LiveBatches(content).ofSink(sink);
  const text = `Sink "${sink}" has positions in ${countOf(rows.length, "file")}, ` +
    `${formatBytes(lagBytes)} of which are not delivered to it\n`;
  if (batches === 0) return text;
  return `${text}${countOf(batches, "batch", "batches")} with ${countOf(events, "event")} of it ` +
    `${
      batches === 1 ? "is" : "are"
    } in doubt: nobody will find out whether they arrived, and they are not sent again\n`;
}

async function forget(
  content: JournalContent,
  config: Config,
  sink: string,
  context: CommandContext,
): Promise<void> {
  const { dataDir } = config;
  // What tells a copy of data_dir from the original stays as it was: the next run is to notice.
  const { machineId, dataDirInode } = content.checkpoint ?? originOf(dataDir);
  const journal = await Journal.open({
    dataDir,
    durability: "machine",
    onClonedState: "adopt",
    machineId,
    dataDirInode,
    log: commandLog(context),
    now: context.now,
  });
  journal.forgetSink(sink);
  if (await journal.close(CLOSE_MAX_MS)) return;
  throw new StartError(
    "journal-unwritable",
    `Cannot forget sink "${sink}": the journal in "${dataDir}" cannot be written`,
    "look at the disk, its free space and the owner of data_dir, and try again",
  );
}
