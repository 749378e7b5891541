import path from "node:path";
import { PositionFrame } from "../checkpoint/position_frames.ts";
import { PositionStore } from "../checkpoint/position_store.ts";
import type { Region } from "../checkpoint/region.ts";
import { errnoName, StartError } from "../errors.ts";
import { ByteDecoder, CodecError } from "../storage/byte_codec.ts";
import { LogDamagedError, LogNewerError } from "../storage/log_errors.ts";
import { type LogReadResult, readLog } from "../storage/log_reader.ts";
import type { LogFrame } from "../storage/segment_reader.ts";
import { type StorageOps, systemOps } from "../storage/storage_ops.ts";
import {
  type CheckpointFrame,
  GONE_KINDS,
  JournalFrame,
  JournalVersionError,
  readCheckpoint,
  readRun,
  type RunFrame,
} from "./frames.ts";
import { readIntent, type StoredIntent } from "./intent_frames.ts";

/** Folder of the journal's segments in data_dir. */
export const JOURNAL_FOLDER = "journal";

/** An intent that was neither acknowledged nor replaced. */
export interface LiveIntent {
  readonly intent: StoredIntent;
  /** As it was read, to be written again by a checkpoint. */
  readonly payload: Buffer;
  /** The region of each of its segments; null where the stream was forgotten. Filled at the end. */
  regions: readonly (Region | null)[];
}

/** All that a journal holds. */
export interface JournalContent {
  readonly positions: PositionStore;
  /** By id, in the order in which they go out. */
  readonly live: Map<number, LiveIntent>;
  readonly runs: Map<number, RunFrame>;
  /** Null: there is no journal. */
  readonly checkpoint: CheckpointFrame | null;
  readonly found: LogReadResult;
  readonly nextBatchId: number;
  readonly nextRunNumber: number;
}

/**
 * Reads the journal of a data_dir and writes nothing. Throws `StartError`: "journal-damaged" (file and byte), "journal-newer",
 * "journal-unreadable".
 */
export function readJournal(
  dataDir: string,
  options: { readonly now?: () => number; readonly ops?: StorageOps } = {},
): JournalContent {
  const { ops = systemOps } = options;
  const dir = path.join(dataDir, JOURNAL_FOLDER);
  const reader = new JournalReader(options);
  let found: LogReadResult;
  try {
    found = readLog(dir, "journal", (frame) => reader.take(frame), ops);
  } catch (error) {
    throw asStartError(error, dir, reader.lastPlace);
  }
  return reader.finish(found);
}

/** Makes a journal's content of its frames. */
export class JournalReader {
  readonly #positions: PositionStore;
  readonly #live = new Map<number, LiveIntent>();
  readonly #runs = new Map<number, RunFrame>();
  #checkpoint: CheckpointFrame | null = null;
  #nextBatchId = 1;
  #nextRunNumber = 1;
  /** Of the frame that was read last. */
  lastPlace = { segment: 0, offset: 0 };

  constructor({ now }: { readonly now?: () => number }) {
    this.#positions = new PositionStore(now === undefined ? {} : { now });
  }

  /** Throws `CodecError`, `JournalVersionError`; nothing may be taken afterwards. */
  take(frame: LogFrame): void {
    this.lastPlace = { segment: frame.segment, offset: frame.offset };
    const input = new ByteDecoder(frame.payload);
    switch (frame.type) {
      case JournalFrame.CHECKPOINT:
        return this.#begin(readCheckpoint(input));
      case JournalFrame.RUN: {
        const run = readRun(input);
        this.#runs.set(run.number, run);
        this.#nextRunNumber = Math.max(this.#nextRunNumber, run.number + 1);
        return;
      }
      case JournalFrame.INTENT:
        this.#add(frame.payload);
        return;
      case JournalFrame.ACK:
        return this.#acknowledge(input.varint());
      case JournalFrame.REPLACE:
        return this.#replace(input);
      case PositionFrame.NO_SINK:
        this.#forgetSink(new ByteDecoder(frame.payload).varint());
        this.#positions.apply(frame.type, input);
        return;
      default:
        if (this.#positions.apply(frame.type, input)) return;
        throw new CodecError(`There is no frame of type ${frame.type}`);
    }
  }

  /** After the last frame. */
  finish(found: LogReadResult): JournalContent {
    this.#positions.finishRestore();
    const live = inOrder(this.#live);
    for (const each of newestFirst(live)) takeRegions(this.#positions, each);
    return {
      positions: this.#positions,
      live,
      runs: this.#runs,
      checkpoint: this.#checkpoint,
      found,
      nextBatchId: this.#nextBatchId,
      nextRunNumber: this.#nextRunNumber,
    };
  }

  #begin(checkpoint: CheckpointFrame): void {
    this.#checkpoint = checkpoint;
    this.#nextBatchId = checkpoint.nextBatchId;
    this.#positions.reset();
    this.#live.clear();
    this.#runs.clear();
  }

  #forgetSink(number: number): void {
    for (const [id, { intent }] of this.#live) if (intent.sinkNumber === number) this.#live.delete(id);
    for (const [run, { sinkNumber }] of this.#runs) if (sinkNumber === number) this.#runs.delete(run);
  }

  #add(bytes: Buffer): void {
    const payload = Buffer.from(bytes);
    const intent = readIntent(payload);
    // The positions of a checkpoint hold what its own intents cover, but for bytes that a file was cut back to and has others of now.
    if (intent.id >= (this.#checkpoint?.nextBatchId ?? 0)) {
      for (const { streamNumber, info, runs } of intent.segments) {
        this.#positions.coverStored(streamNumber, intent.sinkNumber, info, runs);
      }
    }
    this.#live.set(intent.id, { intent, payload, regions: [] });
    this.#nextBatchId = Math.max(this.#nextBatchId, intent.id + 1);
  }

  #acknowledge(id: number): void {
    const found = this.#live.get(id);
    if (found === undefined) return;
    this.#live.delete(id);
    const { segments, sinkNumber } = found.intent;
    for (const { streamNumber, lineCount } of segments) {
      const ledger = this.#positions.storedLedger(streamNumber, sinkNumber);
      if (ledger !== null) ledger.totals.deliveredCount += lineCount;
    }
  }

  #replace(input: ByteDecoder): void {
    let sinkNumber = 0;
    const cancelledIds: number[] = [];
    for (let left = input.varint(); left > 0; left--) {
      const id = input.varint();
      sinkNumber = this.#live.get(id)?.intent.sinkNumber ?? sinkNumber;
      cancelledIds.push(id);
    }
    for (let left = input.varint(); left > 0; left--) {
      const kind = input.uint8();
      const reason = input.text();
      for (let lines = input.varint(); lines > 0; lines--) {
        const ledger = this.#positions.storedLedger(input.varint(), sinkNumber);
        const count = input.varint();
        if (kind === GONE_KINDS.dropped) ledger?.totals.drop(reason, count);
        else if (kind === GONE_KINDS.lost) ledger?.totals.lose(reason, count);
        else if (ledger !== null) ledger.totals.coveredCount -= count;
      }
    }
    for (let left = input.varint(); left > 0; left--) this.#add(input.raw(input.varint()));
    if (!input.isAtEnd) throw new CodecError("A replacement has bytes behind its end");
    for (const id of cancelledIds) this.#live.delete(id);
  }
}

/** Opens the lines of an intent, whose fate is not known, in their ledgers; after those were restored, and in the order of `newestFirst`. */
export function takeRegions(positions: PositionStore, live: LiveIntent): void {
  live.regions = live.intent.segments.map(({ streamNumber, info, lineCount }) =>
    positions.storedLedger(streamNumber, live.intent.sinkNumber)?.reopen(info, lineCount) ?? null
  );
}

/** The order in which the batches of a partition go out: a part, and a batch with new numbers, where the first one was. */
export function inOrder(live: ReadonlyMap<number, LiveIntent>): Map<number, LiveIntent> {
  const sorted = [...live].sort(([a, { intent: one }], [b, { intent: other }]) =>
    one.place - other.place || a - b
  );
  return new Map(sorted);
}

/** Of `inOrder`: where a file was cut back, the newest names what is there now. */
export function newestFirst(live: ReadonlyMap<number, LiveIntent>): LiveIntent[] {
  return [...live.values()].reverse();
}

function asStartError(error: unknown, dir: string, at: { segment: number; offset: number }): unknown {
  const hint =
    "shipper buffer repair --journal --config FILE sets the damage aside and goes on from what is readable";
  if (error instanceof LogDamagedError) {
    return new StartError(
      "journal-damaged",
      `Cannot use the journal: "${error.file}" is damaged at byte ${error.byte}: ${error.cause}`,
      hint,
    );
  }
  if (error instanceof LogNewerError) return newer(error.file, error.version);
  if (error instanceof JournalVersionError) return newer(dir, error.version);
  if (error instanceof CodecError) {
    return new StartError(
      "journal-damaged",
      `Cannot use the journal: segment ${at.segment} of "${dir}" is damaged at byte ${at.offset}: ${error.message}`,
      hint,
    );
  }
  const code = errnoName(error);
  if (code === "UNKNOWN") return error;
  return new StartError(
    "journal-unreadable",
    `Cannot read the journal in "${dir}": ${code}`,
    "make it readable for the user that runs shipper",
  );
}

function newer(file: string, version: number): StartError {
  return new StartError(
    "journal-newer",
    `Cannot use the journal "${file}": it has version ${version}, which a newer shipper wrote`,
    "run the newer shipper, or move the journal away to read every file anew from read_from",
  );
}
