import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { JOURNAL_FOLDER } from "../../src/journal/journal_reader.ts";
import { readLog } from "../../src/storage/log_reader.ts";
import {
  GROUP_HEADER_BYTES,
  MACHINE_ALIGNMENT_BYTES,
  segmentName,
} from "../../src/storage/segment_format.ts";

/** A frame of a journal and where it lies. */
export interface FramePlace {
  readonly file: string;
  readonly type: number;
  readonly offset: number;
}

/** All frames of the journal in a data_dir, in order. */
export function journalFrames(dataDir: string): FramePlace[] {
  const dir = join(dataDir, JOURNAL_FOLDER);
  const places: FramePlace[] = [];
  readLog(dir, "journal", ({ segment, type, offset }) => {
    places.push({ file: join(dir, segmentName(segment)), type, offset });
  });
  return places;
}

/** Changes a bit of the file at `byte`. */
export function flipBit(file: string, byte: number): void {
  const fd = openSync(file, "r+");
  const cell = Buffer.alloc(1);
  readSync(fd, cell, 0, 1, byte);
  cell[0]! ^= 4;
  writeSync(fd, cell, 0, 1, byte);
  closeSync(fd);
}

/**
 * Damages the `index`-th frame of this type (from the end when negative). Returns its file and the byte where its group starts, which is
 * where the damage is found.
 */
export function damageFrame(
  dataDir: string,
  type: number,
  index: number,
): { readonly file: string; readonly byte: number } {
  const frames = journalFrames(dataDir);
  const place = frames.filter((each) => each.type === type).at(index);
  if (place === undefined) throw new Error(`There is no frame ${index} of type ${type}`);
  const starts = frames.map(({ offset }) => offset - GROUP_HEADER_BYTES).filter((byte) =>
    byte % MACHINE_ALIGNMENT_BYTES === 0 && byte < place.offset
  );
  flipBit(place.file, place.offset + 2);
  return { file: place.file, byte: starts.at(-1)! };
}
