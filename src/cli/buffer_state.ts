import fs from "node:fs";
import path from "node:path";
import { BUFFER_FOLDER } from "../buffer/buffer_frames.ts";
import {
  bufferEndIn,
  bufferIdIn,
  type BufferWalkOptions,
  type BufferWalkResult,
  walkBuffer,
} from "../buffer/buffer_walk.ts";
import { EventFates, type MissingEvents, type OpenEvents } from "../buffer/event_fates.ts";
import type { Ledger } from "../checkpoint/ledger.ts";
import type { Config } from "../config/config.ts";
import { nearest } from "../config/suggest.ts";
import { bufferDir } from "../disk_buffers.ts";
import { errnoName, StartError } from "../errors.ts";
import { type JournalContent, readJournal } from "../journal/journal_reader.ts";
import { LogChangedError, LogNewerError } from "../storage/log_errors.ts";
import { DAMAGED_FOLDER } from "../storage/segment_files.ts";
import { freeNumber, segmentNumber } from "../storage/segment_format.ts";
import { type StorageOps, systemOps } from "../storage/storage_ops.ts";
import { commandLog, type CommandOutput } from "./command_context.ts";
import { readStoredState } from "./stored_state.ts";

/** Each gap makes the journal be read anew; gaps beyond that are judged by what was read last. */
const JOURNAL_READS_MAX = 50;
const READ_AGAIN_MS = 25;

/** A disk buffer that is there, or that the configuration asks for. */
export interface BufferFolder {
  readonly sink: string;
  readonly dir: string;
  /** False for a sink that left the configuration. */
  readonly isConfigured: boolean;
  /** False also where the sink has its buffer in memory now: what is in this one is delivered first. */
  readonly isInUse: boolean;
  /** Null: nobody says. */
  readonly maxSizeBytes: number | null;
}

/** The disk buffers of a data_dir, by name; with `sink` only that one. Throws `StartError` "unknown-buffer", "buffer-unreadable". */
export function bufferFolders(config: Config, sink: string | null): BufferFolder[] {
  const configured = new Map(
    config.sinks.filter(({ buffer }) => buffer.type === "disk").map((each) => [each.name, each.buffer]),
  );
  const names = new Set([...configured.keys(), ...foldersIn(path.join(config.dataDir, BUFFER_FOLDER))]);
  const found = [...names].sort().map((name) => ({
    sink: name,
    dir: bufferDir(config.dataDir, name),
    isConfigured: config.sinks.some((each) => each.name === name),
    isInUse: configured.has(name),
    maxSizeBytes: configured.get(name)?.maxSizeBytes ?? null,
  }));
  if (sink === null) return found;
  const wanted = found.filter((each) => each.sink === sink);
  if (wanted.length > 0) return wanted;
  const near = nearest(sink, [...names]);
  throw new StartError(
    "unknown-buffer",
    `There is no disk buffer of sink "${sink}" in "${config.dataDir}"`,
    near !== null
      ? `did you mean "${near}"?`
      : names.size === 0
      ? "there is none of any sink"
      : `there are those of: ${[...names].sort().map((each) => `"${each}"`).join(", ")}`,
  );
}

/** "out", "old (not configured)", "out (in memory now)". */
export function labelOf({ sink, isConfigured, isInUse }: BufferFolder): string {
  return !isConfigured ? `${sink} (not configured)` : isInUse ? sink : `${sink} (in memory now)`;
}

/** What the files of a buffer take up. */
export interface BufferFiles {
  readonly segmentCount: number;
  /** Of segments, as they count against `buffer.max_size`. */
  readonly fileBytes: number;
  /** What all files of the folder take up of the disk, those that wait for their use too; without the damaged ones. */
  readonly diskBytes: number;
  /** Files that were set aside, by name. */
  readonly damaged: readonly { readonly name: string; readonly sizeBytes: number }[];
}

export function bufferFiles(dir: string): BufferFiles {
  const sum = { segmentCount: 0, fileBytes: 0, diskBytes: 0 };
  for (const name of namesIn(dir)) {
    const isSegment = segmentNumber(name) !== null;
    if (!isSegment && freeNumber(name) === null) continue;
    const stat = statOf(path.join(dir, name));
    if (stat === null) continue;
    if (isSegment) {
      sum.segmentCount++;
      sum.fileBytes += stat.size;
    }
    sum.diskBytes += stat.blocks * 512;
  }
  const aside = path.join(dir, DAMAGED_FOLDER);
  const damaged = namesIn(aside).sort().map((name) => ({
    name,
    sizeBytes: statOf(path.join(aside, name))?.size ?? 0,
  }));
  return { ...sum, damaged };
}

/** What the journal knows of a buffer. */
export interface BufferView {
  readonly fates: EventFates;
  /** Null: the journal does not know it, or cannot be read. */
  readonly ledger: Ledger | null;
  /** Events in front of this number had been stored. */
  readonly storedTo: number;
}

/** A sink's buffer by the journal: of the id, or the one that there is when the id is not known. */
export function viewOf(content: JournalContent | null, sink: string, bufferId: Buffer | null): BufferView {
  if (content === null) return { fates: new EventFates(null), ledger: null, storedTo: 0 };
  const { buffers } = content.positions;
  const known = buffers.buffersOf(sink);
  const id = bufferId?.toString("hex");
  const ledger = (id === undefined ? known.at(-1) : known.find((each) => each.id === id))?.ledger ?? null;
  if (ledger === null) return { fates: new EventFates(null), ledger, storedTo: 0 };
  return {
    fates: new EventFates(ledger, openEvents(content, ledger, sink)),
    ledger,
    storedTo: Math.max(ledger.trackedEnd, buffers.storedEvent(ledger)),
  };
}

function openEvents(content: JournalContent, { streamNumber }: Ledger, sink: string): OpenEvents[] {
  const open: OpenEvents[] = [];
  for (const { intent } of content.live.values()) {
    if (content.positions.sinkName(intent.sinkNumber) !== sink) continue;
    for (const { streamNumber: of, info, runs } of intent.segments) {
      if (of === streamNumber) open.push({ firstEvent: info.startOffset, runs });
    }
  }
  return open;
}

/**
 * Events of a sink's buffer that are in no batch yet, by their numbers: quick, as only the newest segment with events is read. Those that are missing
 * count too. Throws `StartError` as `walkStored` does.
 */
export function waitingEvents(content: JournalContent, sink: string, bufferId: string, dir: string): number {
  const { fates, storedTo } = viewOf(content, sink, Buffer.from(bufferId, "hex"));
  try {
    const end = bufferEndIn(dir, Buffer.from(bufferId, "hex"), systemOps);
    return fates.waitingTo(Math.max(storedTo, end));
  } catch (error) {
    throw asStartError(error, { sink, dir });
  }
}

/** Reads the journal for a command that can do without: null, with a warning, when it is damaged. */
export async function readJournalIfGood(
  dataDir: string,
  context: CommandOutput,
): Promise<JournalContent | null> {
  try {
    return await readStoredState(dataDir);
  } catch (error) {
    if (!(error instanceof StartError) || error.code === "journal-newer") throw error;
    commandLog(context).warn(`${error.message}; what is delivered is not known`, { hint: error.hint });
    return null;
  }
}

/** What a walk over a buffer is asked for; the rest comes from the journal. */
export interface StoredWalk extends Pick<BufferWalkOptions, "onProblem"> {
  readonly onEvents: (
    fates: EventFates,
    ...frame: Parameters<BufferWalkOptions["onEvents"]>
  ) => boolean | void;
}

/**
 * Walks over a buffer, beside what the journal said of it before. What is missing is looked up in the journal once more: a shipper that runs takes away what
 * it has delivered. Throws `StartError` "buffer-unreadable", "buffer-newer".
 */
export function walkStored(
  folder: BufferFolder,
  dataDir: string,
  content: JournalContent | null,
  walk: StoredWalk,
  ops: StorageOps = systemOps,
): BufferWalkResult & { readonly view: BufferView } {
  const { sink, dir } = folder;
  try {
    const bufferId = bufferIdIn(dir, ops);
    const view = viewOf(content, sink, bufferId);
    let reads = 0;
    let { fates } = view;
    const missingIn = (from: number, to: number): MissingEvents | null => {
      if (content !== null && fates.missingIn(from, to) !== null && reads++ < JOURNAL_READS_MAX) {
        fates = viewOf(readAgain(dataDir) ?? content, sink, bufferId).fates;
      }
      return fates.missingIn(from, to);
    };
    const result = walkBuffer({
      dir,
      ops,
      bufferId,
      firstWanted: view.fates.position,
      storedTo: view.storedTo,
      missingIn,
      onProblem: walk.onProblem,
      onEvents: (stored, origin) => walk.onEvents(view.fates, stored, origin),
    });
    return { ...result, view };
  } catch (error) {
    throw asStartError(error, folder);
  }
}

/** Null: it was replaced while it was read, or cannot be read any more. */
function readAgain(dataDir: string): JournalContent | null {
  for (let tries = 0; tries < 3; tries++) {
    try {
      return readJournal(dataDir);
    } catch (error) {
      if (error instanceof StartError) return null;
      if (!(error instanceof LogChangedError)) throw error;
      Bun.sleepSync(READ_AGAIN_MS);
    }
  }
  return null;
}

function asStartError(error: unknown, { sink, dir }: Pick<BufferFolder, "sink" | "dir">): unknown {
  if (error instanceof LogNewerError) {
    return new StartError(
      "buffer-newer",
      `Cannot read the disk buffer of sink "${sink}": "${error.file}" has version ${error.version}, which a newer shipper wrote`,
      "use the newer shipper",
    );
  }
  const code = errnoName(error);
  if (code === "UNKNOWN" || error instanceof StartError) return error;
  return new StartError(
    "buffer-unreadable",
    `Cannot read the disk buffer of sink "${sink}" in "${dir}": ${code}`,
    "make it readable for the user that runs this command",
  );
}

function foldersIn(dir: string): string[] {
  return namesIn(dir).filter((name) => statOf(path.join(dir, name))?.isDirectory() === true);
}

/** No names where there is no folder. Throws `StartError` "buffer-unreadable". */
function namesIn(dir: string): string[] {
  try {
    return fs.readdirSync(dir);
  } catch (error) {
    const code = errnoName(error);
    if (code === "ENOENT" || code === "ENOTDIR") return [];
    throw new StartError(
      "buffer-unreadable",
      `Cannot read the folder "${dir}" of a disk buffer: ${code}`,
      "make it readable for the user that runs this command",
    );
  }
}

/** Null: it is gone. */
function statOf(file: string): fs.Stats | null {
  return fs.statSync(file, { throwIfNoEntry: false }) ?? null;
}
