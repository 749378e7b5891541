import path from "node:path";
import { CodecError } from "../storage/byte_codec.ts";
import { readFileUntilDamage, type SalvageFile, salvageFiles } from "../storage/log_salvage.ts";
import type { LogReadResult } from "../storage/log_reader.ts";
import { FRAME_HEADER_BYTES } from "../storage/segment_format.ts";
import type { LogFrame } from "../storage/segment_reader.ts";
import { type StorageOps, systemOps } from "../storage/storage_ops.ts";
import { JournalFrame } from "./frames.ts";
import { JOURNAL_FOLDER, type JournalContent, JournalReader } from "./journal_reader.ts";

/** What a damaged journal still says. */
export interface SalvagedJournal {
  /** To be given to `Journal.goOn`. Without a checkpoint there is nothing in it. */
  readonly content: JournalContent;
  /** Where it was read from; null: nowhere was a checkpoint that can be read. */
  readonly from: SalvageFile | null;
  /** The first byte of that file that was not used. */
  readonly endByte: number;
}

/**
 * Reads a damaged journal from its last good CHECKPOINT up to the damage, and writes nothing. All that was journalled behind the damage is
 * missing: lines of those batches count as not read, and batches that were acknowledged there count as live. Throws the system's errors,
 * `LogNewerError` and `JournalVersionError`.
 */
export function salvageJournal(
  dataDir: string,
  options: { readonly now?: () => number; readonly ops?: StorageOps } = {},
): SalvagedJournal {
  const { ops = systemOps } = options;
  const files = salvageFiles(path.join(dataDir, JOURNAL_FOLDER), "journal", ops);
  const lastSegment = Math.max(0, ...files.map(({ number }) => number));
  for (const from of files) {
    const endByte = goodEnd(from, ops);
    if (endByte === null) continue;
    const reader = new JournalReader(options);
    readFileUntilDamage(from, "journal", (frame) => {
      if (frame.offset >= endByte) return false;
      reader.take(frame);
      return true;
    }, ops);
    return { content: reader.finish(foundOf(lastSegment)), from, endByte };
  }
  return { content: new JournalReader(options).finish(foundOf(lastSegment)), from: null, endByte: 0 };
}

/**
 * The byte up to which the file's frames can be used, null when it does not start with a checkpoint. A frame that cannot be read leaves what
 * is made of it half done, so that this is found out first, with a reader that is thrown away.
 */
function goodEnd(file: SalvageFile, ops: StorageOps): number | null {
  const trial = new JournalReader({});
  let endByte = 0;
  let isFirst = true;
  const take = (frame: LogFrame): boolean => {
    if (isFirst && frame.type !== JournalFrame.CHECKPOINT) return false;
    isFirst = false;
    try {
      trial.take(frame);
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      return false;
    }
    endByte = frame.offset + FRAME_HEADER_BYTES + frame.payload.length;
    return true;
  };
  const hasStart = readFileUntilDamage(file, "journal", take, ops);
  return hasStart && endByte > 0 ? endByte : null;
}

/** A fresh journal goes on from no segment, and has a number that none has had. */
function foundOf(lastSegment: number): LogReadResult {
  return { segments: [], lastSegment, isCleanStop: false, tornBytes: 0, endBytes: 0, syncedTo: 0, notes: [] };
}
