import { StartError } from "../errors.ts";
import type { Log } from "../telemetry/log.ts";
import type { JournalContent } from "./journal_reader.ts";

export interface OriginOptions {
  readonly dataDir: string;
  /** Of this host; "" where it has none. */
  readonly machineId: string;
  /** "dev:ino:birthtime" of data_dir. */
  readonly dataDirInode: string;
  readonly onClonedState: "adopt" | "stop";
  readonly log: Log;
}

/** A data_dir that is a copy, or was moved here, is told of. Throws `StartError` "cloned-data-dir" when that was asked for. */
export function checkOrigin({ checkpoint }: JournalContent, options: OriginOptions): void {
  const { machineId, dataDirInode, onClonedState, log, dataDir } = options;
  if (checkpoint === null) return;
  const hasMoved = checkpoint.machineId !== "" && machineId !== "" && checkpoint.machineId !== machineId;
  const isCopy = checkpoint.dataDirInode !== dataDirInode;
  if (!hasMoved && !isCopy) return;
  const what = hasMoved ? "was written by another machine" : "is a copy, or was moved to another filesystem";
  if (onClonedState === "stop") {
    throw new StartError(
      "cloned-data-dir",
      `Cannot use data_dir "${dataDir}": it ${what}, and on_cloned_state is "stop"`,
      'remove it to start afresh, or set on_cloned_state = "adopt" once, if the original runs nowhere any more',
    );
  }
  log.warn(`data_dir "${dataDir}" ${what}: going on from it; if the original still runs, lines arrive twice`);
}
