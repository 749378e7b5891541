import type { Log } from "../telemetry/log.ts";
import type { GroupWriter } from "./group_writer.ts";
import type { LogReadResult } from "./log_reader.ts";
import type { LogKind } from "./segment_format.ts";
import type { StorageOps } from "./storage_ops.ts";

/** What a commit survives: a power cut (each is synced), or a kill of the process (written to the system is enough). */
export type Durability = "machine" | "process";

/** Gives a checkpoint's frames, one call each. They are copied. */
export type AddFrame = (type: number, payload: Buffer) => void;

export interface SegmentedLogOptions {
  /** Made when missing (0700). The caller holds the lock on it. */
  readonly dir: string;
  readonly kind: LogKind;
  /** Usual size of a segment's file. The first ones are smaller, and one that a single group needs is larger. */
  readonly segmentBytes: number;
  readonly durability: Durability;
  readonly log: Log;
  /** The system's when not given. Others work on the calling thread, unless there is a `writer`. */
  readonly ops?: StorageOps;
  /** A Worker for "machine", the calling thread for "process" when not given. The log closes it. */
  readonly writer?: GroupWriter;
  /**
   * The frames that a new segment starts with. When given (journal), they hold the effect of everything that was appended so far: frames
   * that wait are dropped for them, and every older segment is recycled once they are on the device. Called whenever a segment is full or
   * failed, and again for each further try; it must not append. Null (buffer): segments stay until `release`.
   */
  readonly checkpoint: ((add: AddFrame) => void) | null;
  /** A commit failed, with the system's message, or works again (null). Called for each try: limiting the rate is for the callee. */
  readonly onProblem: (cause: string | null) => void;
  /** Longest pause between two tries of a commit that fails. */
  readonly retryMsMax?: number;
  /** Journal: a file for the next segment is kept ready from the start on, so that not even the next start needs room on a full disk. */
  readonly keepsSpare?: boolean;
  /** A segment was recycled: there is room again. */
  readonly onRecycled?: () => void;
}

/** What has to be known of what is in the folder, to go on from it. */
export type FoundLog = Pick<LogReadResult, "segments" | "lastSegment" | "endBytes" | "syncedTo">;
