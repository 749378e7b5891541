import fs from "node:fs";
import path from "node:path";
import zlib from "node:zlib";
import { errnoName, StartError } from "../errors.ts";

/**
 * Positions as the first version stored them; read once, when a journal is made in their place. `data_dir/positions.json`, one JSON document:
 *
 *     {"version": 1, "crc32": "9f1c20aa", "streams": [
 *       {"source": "app", "id": "65024:246947:1795260367005451003", "path": "/var/log/app.log", "lastPath": "/var/log/app.log.1",
 *        "dev": "65024", "ino": "246947", "birthtimeNs": "1795260367005451003", "generation": 0,
 *        "sinceNs": "1795260367005451003", "fingerprintBytes": 1024, "fingerprint": "0c3d...", "seenMs": 1795260367005, "offsets": {"events": 918233}}]}
 *
 * `crc32` is over `JSON.stringify(streams)`, so that a flipped digit is noticed.
 */
export const POSITIONS_FILE = "positions.json";
export const POSITIONS_VERSION = 1;

/** What is stored of one generation of a file. 64-bit numbers are strings: JSON's numbers end at 2^53. */
export interface FileRecord {
  /** Name of the source in the configuration. */
  readonly source: string;
  /** Stream id; unique within a source. */
  readonly id: string;
  /** The path that its events carry; never changes. "" for a file that came on stdin: its events carry none. */
  readonly path: string;
  /** Where it was last seen: the path, or a rotated name. */
  readonly lastPath: string;
  readonly dev: string;
  readonly ino: string;
  /** "0" where the filesystem does not know it. */
  readonly birthtimeNs: string;
  /** Counts truncations: the same inode, other content. */
  readonly generation: number;
  /** Unknown files under rotated names of `path` that were born before this are none of ours; nanoseconds since the epoch. */
  readonly sinceNs: string;
  /** Bytes from the start that `fingerprint` covers. */
  readonly fingerprintBytes: number;
  readonly fingerprint: string;
}

export interface StoredStream extends FileRecord {
  readonly seenMs: number;
  /** Position by sink. */
  readonly offsets: Readonly<Record<string, number>>;
  /**
   * The positions that lie inside a line whose head was delivered, cut: what follows up to its newline is skipped. An entry counts only
   * where it equals the one in `offsets`, for an older shipper that moved the position on has left it as it was.
   */
  readonly insideCutLine?: Readonly<Record<string, number>>;
}

/**
 * Reads the stored positions; none when the file does not exist. Throws `StartError` when it is damaged ("positions-damaged"), comes from
 * a newer shipper ("positions-newer") or cannot be read ("positions-unreadable"): going on would ship everything again.
 */
export function readPositionFile(dataDir: string): StoredStream[] {
  const file = path.join(dataDir, POSITIONS_FILE);
  let text: string;
  try {
    text = fs.readFileSync(file, "utf8");
  } catch (error) {
    if (errnoName(error) === "ENOENT") return [];
    throw new StartError(
      "positions-unreadable",
      `Cannot read the stored positions "${file}": ${errnoName(error)}`,
      "make the file readable for the user that runs shipper",
    );
  }
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    throw damaged(file, "it is not JSON");
  }
  if (!isObject(document)) throw damaged(file, "it holds no object");
  const version = document.version;
  if (typeof version === "number" && version > POSITIONS_VERSION) {
    throw new StartError(
      "positions-newer",
      `Cannot read the stored positions "${file}": they have version ${version}, this shipper knows ${POSITIONS_VERSION}`,
      "run the newer shipper that wrote them, or move the file away to read every file anew from read_from",
    );
  }
  if (version !== POSITIONS_VERSION) throw damaged(file, "its version is not a number that was ever used");
  if (!Array.isArray(document.streams)) throw damaged(file, "it holds no list of streams");
  if (document.crc32 !== checksum(document.streams)) {
    throw damaged(file, "its checksum does not match its content");
  }
  document.streams.forEach((stream, index) => {
    if (!isStoredStream(stream)) throw damaged(file, `entry ${index} is incomplete`);
  });
  return document.streams as StoredStream[];
}

function checksum(streams: readonly unknown[]): string {
  return zlib.crc32(JSON.stringify(streams)).toString(16).padStart(8, "0");
}

function damaged(file: string, cause: string): StartError {
  return new StartError(
    "positions-damaged",
    `Cannot use the stored positions "${file}": ${cause}`,
    `put a good copy in its place, or move it away to read every file anew from read_from: mv ${file} ${file}.damaged`,
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** Whether all that is stored of a file is there. */
export function isFileRecord(value: unknown): value is FileRecord {
  if (!isObject(value)) return false;
  const texts = [value.source, value.id, value.path, value.lastPath, value.fingerprint];
  const integers = [value.dev, value.ino, value.birthtimeNs, value.sinceNs];
  return texts.every((text) => typeof text === "string") &&
    integers.every((text) => typeof text === "string" && /^-?\d+$/.test(text)) &&
    [value.generation, value.fingerprintBytes].every(isCount);
}

function isStoredStream(value: unknown): value is StoredStream {
  if (!isFileRecord(value)) return false;
  const { seenMs, offsets, insideCutLine } = value as unknown as Record<string, unknown>;
  return isCount(seenMs) && isObject(offsets) && Object.values(offsets).every(isCount) &&
    (insideCutLine === undefined || (isObject(insideCutLine) && Object.values(insideCutLine).every(isCount)));
}
