import fs from "node:fs";
import path from "node:path";
import { POSITIONS_FILE, readPositionFile } from "../checkpoint/position_file.ts";
import type { PositionStore } from "../checkpoint/position_store.ts";
import { errnoName } from "../errors.ts";
import type { Log } from "../telemetry/log.ts";

/** Positions of the first version stay under this name, for who wants to go back. */
export const MIGRATED_FILE = "positions.json.migrated";

/** Takes over what the first version has stored. Throws `StartError` when that is damaged or of a version that is not known. */
export function migratePositions(dataDir: string, positions: PositionStore): void {
  for (const { offsets, insideCutLine = {}, seenMs, ...record } of readPositionFile(dataDir)) {
    positions.migrate(record, seenMs, offsets, (sink) => insideCutLine[sink] === offsets[sink]);
  }
}

/** The journal is on disk: the old file is not read any more. */
export function setMigratedAside(dataDir: string, log: Log): void {
  const from = path.join(dataDir, POSITIONS_FILE);
  try {
    fs.renameSync(from, path.join(dataDir, MIGRATED_FILE));
    log.info(`Positions were taken over into the journal; "${from}" is kept as "${MIGRATED_FILE}"`);
  } catch (error) {
    if (errnoName(error) !== "ENOENT") {
      log.warn(`Cannot rename "${from}" (${errnoName(error)}): it is not read any more and can be removed`);
    }
  }
}
