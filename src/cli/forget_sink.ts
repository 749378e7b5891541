import fs from "node:fs";
import { acquireDataDir } from "../checkpoint/data_dir_lock.ts";
import type { Config } from "../config/config.ts";
import { nearest } from "../config/suggest.ts";
import { Fate } from "../buffer/event_fates.ts";
import { checksumOf } from "../buffer/stored_events.ts";
import { errnoName, StartError } from "../errors.ts";
import { Journal } from "../journal/journal.ts";
import type { JournalContent } from "../journal/journal_reader.ts";
import { countOf, formatBytes } from "../telemetry/format.ts";
import type { ForgetSinkArgs } from "./args.ts";
import { type BufferFolder, bufferFolders, walkStored } from "./buffer_state.ts";
import { type CommandContext, commandLog, withConfig } from "./command_context.ts";
import { originOf } from "./data_dir_origin.ts";
import { positionRows } from "./positions.ts";
import { LiveBatches, readStoredState } from "./stored_state.ts";

/** A disk that takes nothing is not waited for longer. */
const CLOSE_MAX_MS = 10_000;

/**
 * `shipper positions forget --sink NAME`: takes what is stored of a sink that left the configuration out of data_dir, its disk buffer too. It says
 * beforehand what that is, batches in doubt and events in the buffer too, and asks nothing. Returns the exit code.
 */
export async function forgetSink(args: ForgetSinkArgs, context: CommandContext): Promise<number> {
  return await withConfig(args.configPaths, context, async (config) => {
    const { dataDir } = config;
    refuseConfigured(config, args.sink);
    if (!fs.existsSync(dataDir)) throw unknownSink(args.sink, []);
    const lock = acquireDataDir(dataDir);
    try {
      const content = await readStoredState(dataDir);
      const stored = content.positions.sinkNames();
      const [buffer] = bufferFolders(config, null).filter(({ sink }) => sink === args.sink);
      if (!stored.includes(args.sink) && buffer === undefined) {
        throw unknownSink(args.sink, [
          ...new Set([...stored, ...bufferFolders(config, null).map(({ sink }) => sink)]),
        ]);
      }
      context.stdout(await describe(content, config, args.sink));
      if (buffer !== undefined) context.stdout(describeBuffer(buffer, dataDir, content));
      if (stored.includes(args.sink)) await forget(content, config, args.sink, context);
      if (buffer !== undefined) removeBuffer(buffer);
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
  const rows = (await positionRows(content, config)).filter((row) =>
    row.sink === sink && row.unit === "bytes"
  );
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

/** What is lost with the sink's disk buffer. */
function describeBuffer(buffer: BufferFolder, dataDir: string, content: JournalContent): string {
  let events = 0;
  walkStored(buffer, dataDir, content, {
    onProblem: () => {},
    onEvents(fates, stored) {
      for (const fate of fates.of(stored.firstEvent, stored.count, () => checksumOf(stored))) {
        if (fate !== Fate.DONE) events++;
      }
    },
  });
  const what = events === 0
    ? "everything in it is delivered"
    : `${countOf(events, "event")} in it that ${events === 1 ? "is" : "are"} not delivered ${
      events === 1 ? "goes" : "go"
    } with it`;
  return `Its disk buffer "${buffer.dir}" is removed: ${what}\n`;
}

/** After the journal has forgotten it: what is left by a crash in between is found, and removed, by the next try. */
function removeBuffer({ sink, dir }: BufferFolder): void {
  try {
    fs.rmSync(dir, { recursive: true });
  } catch (error) {
    throw new StartError(
      "buffer-not-removed",
      `Forgot sink "${sink}", but its disk buffer "${dir}" cannot be removed (${errnoName(error)})`,
      "remove it by hand",
    );
  }
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
