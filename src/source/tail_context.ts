import type { SourcePositions } from "../checkpoint/checkpoint.ts";
import type { BufferPool } from "../event/pooled_buffer.ts";
import type { DeviceGate } from "./device_gate.ts";
import type { FileOps } from "./file_ops.ts";
import type { FileTailer } from "./file_tailer.ts";
import type { LostBytes } from "./lost_bytes.ts";
import type { OpenFiles } from "./open_files.ts";
import type { ReadScheduler } from "./read_scheduler.ts";
import type { TailedFile } from "./tailed_file.ts";

/** What every tailer of a source shares. */
export interface TailContext {
  readonly ops: FileOps;
  readonly gate: DeviceGate;
  readonly openFiles: OpenFiles;
  readonly pool: BufferPool;
  readonly scheduler: ReadScheduler;
  readonly positions: SourcePositions;
  readonly lost: LostBytes;
  readonly nowMs: () => number;
  readonly monotonicMs: () => number;
  readonly maxLineBytes: number;
  readonly fingerprintBytes: number;
  readonly rotateWaitMs: number;
  readonly partialFlushAfterMs: number;
  /** Read to the end that the file has at the start, then end. */
  readonly isOnce: boolean;
  /** With `isOnce`: to the end that is found there, however much is appended meanwhile. */
  readonly isToLastEnd: boolean;
  /** Nothing of what was read of `file` is there any more: it was truncated. Called once for a file, synchronously. */
  readonly onCutOff: (file: TailedFile, sizeBytes: number) => void;
  /**
   * Bytes of its file behind `offset` are not those that the tailer has given, but those in front are: it goes on there. `sizeBytes`: the
   * file's size now.
   */
  readonly onCutBack: (tailer: FileTailer, offset: number, sizeBytes: number) => void;
  /** `head` is what the file starts with; valid during the call. */
  readonly onHead: (file: TailedFile, head: Buffer) => void;
  /** A tailer has ended. */
  readonly onEnded: (file: TailedFile) => void;
  readonly onFailure: (file: TailedFile, error: unknown) => void;
}
