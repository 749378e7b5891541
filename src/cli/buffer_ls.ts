import { Fate } from "../buffer/event_fates.ts";
import { checksumOf, receivedMsOf } from "../buffer/stored_events.ts";
import { formatBytes, formatCount, formatDuration } from "../telemetry/format.ts";
import { snakeCaseKeys } from "../telemetry/json_keys.ts";
import type { JournalContent } from "../journal/journal_reader.ts";
import type { LookAtBuffersArgs } from "./args.ts";
import {
  type BufferFiles,
  bufferFiles,
  type BufferFolder,
  bufferFolders,
  labelOf,
  walkStored,
} from "./buffer_state.ts";
import { type CommandContext, withConfig } from "./command_context.ts";
import { readStoredState } from "./stored_state.ts";
import { printable } from "../telemetry/printable.ts";
import { textTable } from "./text_table.ts";

/** Files whose events are listed, of each buffer; those of more are in the sums alone. */
const FILES_MAX = 1_000;

/** Events of one file, or of stdin, that are in a buffer and not delivered. */
interface FileEvents {
  readonly source: string;
  /** "" for stdin. */
  readonly file: string;
  events: number;
}

/** What is in a disk buffer, as `--json` prints it. */
export interface BufferListing extends BufferFolder, BufferFiles {
  /** Events that are not delivered, those in `fateOpen` too. */
  readonly events: number;
  /** Of those, events in batches of which nobody knows yet whether they arrived. */
  readonly fateOpen: number;
  /** When the oldest and the newest of these events were read, milliseconds since the epoch; null: there are none. */
  readonly oldestMs: number | null;
  readonly newestMs: number | null;
  readonly files: readonly FileEvents[];
  /** Of more files. */
  readonly unlistedEvents: number;
  /** What is wrong with it: `buffer verify` names it. */
  readonly problems: number;
}

/** `shipper buffer ls`: what is in the disk buffers. Writes nothing, and works while a shipper runs. Returns the exit code. */
export async function listBuffers(args: LookAtBuffersArgs, context: CommandContext): Promise<number> {
  return await withConfig(args.configPaths, context, async (config) => {
    const folders = bufferFolders(config, args.sink);
    const content = await readStoredState(config.dataDir);
    const buffers = folders.map((folder) => list(folder, config.dataDir, content));
    if (args.json) {
      context.stdout(
        `${JSON.stringify(snakeCaseKeys({ dataDir: config.dataDir, buffers }), null, 2)}\n`,
      );
      return 0;
    }
    context.stdout(
      buffers.length === 0
        ? `There is no disk buffer in "${config.dataDir}"\n`
        : text(buffers, context.now()),
    );
    return 0;
  });
}

function list(folder: BufferFolder, dataDir: string, content: JournalContent): BufferListing {
  const sum = { events: 0, fateOpen: 0, unlistedEvents: 0 };
  let oldestMs = Infinity;
  let newestMs = -Infinity;
  const byFile = new Map<string, FileEvents>();
  const { problemCount } = walkStored(folder, dataDir, content, {
    onProblem: () => {},
    onEvents(fates, stored, { stream: { source, path: file } }) {
      const { firstEvent, count } = stored;
      let left = 0;
      for (const fate of fates.of(firstEvent, count, () => checksumOf(stored))) {
        if (fate !== Fate.DONE) left++;
        if (fate === Fate.OPEN) sum.fateOpen++;
      }
      if (left === 0) return;
      const receivedMs = receivedMsOf(stored);
      sum.events += left;
      oldestMs = Math.min(oldestMs, receivedMs);
      newestMs = Math.max(newestMs, receivedMs);
      const key = `${source}\u0000${file}`;
      const known = byFile.get(key);
      if (known !== undefined) known.events += left;
      else if (byFile.size < FILES_MAX) byFile.set(key, { source, file, events: left });
      else sum.unlistedEvents += left;
    },
  });
  return {
    ...folder,
    ...bufferFiles(folder.dir),
    ...sum,
    oldestMs: sum.events === 0 ? null : oldestMs,
    newestMs: sum.events === 0 ? null : newestMs,
    files: [...byFile.values()].sort((a, b) => b.events - a.events),
    problems: problemCount,
  };
}

function text(buffers: readonly BufferListing[], nowMs: number): string {
  const lines = [textTable(
    [
      { title: "SINK" },
      { title: "FOLDER" },
      ...["SEGMENTS", "ON DISK", "MAX SIZE", "EVENTS", "FATE OPEN", "OLDEST", "NEWEST", "DAMAGED FILES"]
        .map((title) => ({ title, isNumber: true })),
    ],
    buffers.map((each) => [
      labelOf(each),
      each.dir,
      formatCount(each.segmentCount),
      formatBytes(each.diskBytes),
      each.maxSizeBytes === null ? "-" : formatBytes(each.maxSizeBytes),
      formatCount(each.events),
      formatCount(each.fateOpen),
      ago(each.oldestMs, nowMs),
      ago(each.newestMs, nowMs),
      formatCount(each.damaged.length),
    ]),
  )];
  const rows = buffers.flatMap((each) =>
    each.files.map(({ source, file, events }) => [
      each.sink,
      source,
      file === "" ? "(stdin)" : file,
      formatCount(events),
    ])
  );
  if (rows.length > 0) {
    const columns = [{ title: "SINK" }, { title: "SOURCE" }, { title: "FILE" }, {
      title: "EVENTS",
      isNumber: true,
    }];
    lines.push("\n", textTable(columns, rows));
  }
  for (const { sink, unlistedEvents, problems } of buffers) {
    const name = printable(sink);
    if (unlistedEvents > 0) {
      lines.push(`and ${formatCount(unlistedEvents)} events of more files in the buffer of sink "${name}"\n`);
    }
    if (problems > 0) {
      lines.push(
        `\nThe buffer of sink "${name}" is damaged: shipper buffer verify --sink ${name} says where\n`,
      );
    }
  }
  return lines.join("");
}

function ago(timeMs: number | null, nowMs: number): string {
  return timeMs === null ? "-" : `${formatDuration(nowMs - timeMs)} ago`;
}
