import type { SourcePositions } from "../checkpoint/checkpoint.ts";
import type { FileRecord } from "../checkpoint/position_file.ts";
import type { Gaps } from "../event/gaps.ts";
import type { Log } from "../telemetry/log.ts";
import type { SourceMetrics } from "../telemetry/metrics.ts";
import type { FileTailer } from "./file_tailer.ts";

/** Why bytes are gone that were never read for a sink. */
export type LossCause = "truncated_unread" | "unreadable" | "deleted";

export interface LostBytesOptions {
  readonly source: string;
  readonly sinks: readonly string[];
  readonly positions: SourcePositions;
  readonly metrics: SourceMetrics;
  readonly log: Log;
  /** Where losses of a sink are noted to be told downstream. */
  readonly gaps: (sink: string) => Gaps | null;
}

/** Counts bytes that were gone before a sink was given them, and says so. */
export class LostBytes {
  readonly #options: LostBytesOptions;

  constructor(options: LostBytesOptions) {
    this.#options = options;
  }

  /** Bytes of a tailer's file that are known of and that its sink was not given. */
  unreadBytes(tailer: FileTailer): number {
    const { file, outlet, offset } = tailer;
    const holes = this.#options.positions.holeBytes(this.#options.source, file.stream.id, outlet.sink);
    return holes + this.#newBytes(tailer, offset);
  }

  /** The file was truncated, and its old content is gone for this tailer. */
  truncated(tailer: FileTailer): void {
    const { positions, source } = this.#options;
    const { file, outlet, offset } = tailer;
    this.#truncated(tailer, this.unreadBytes(tailer), offset);
    const { id } = file.stream;
    // Nobody can read the holes again: what is on its way is all that the stream still waits for.
    if (positions.holeBytes(source, id, outlet.sink) > 0) {
      positions.rewind(source, id, outlet.sink, offset);
    }
  }

  /** A file is cut back, or was while shipper was stopped: what it still holds is read on. */
  tellCutBack(path: string, offset: number): void {
    const { log, source } = this.#options;
    log.warn(
      `File "${path}" lost its end, or it was written anew (a power cut, or a truncation): reading on at byte ${offset}, where it ` +
        `still holds what was read of it; lines behind that may be there twice`,
      { source },
    );
  }

  /**
   * The file was cut back to `sizeBytes` or less, and `tailer` goes on at `offset`. Counts what the others have not read either, for
   * they may never notice.
   */
  cutBack(tailer: FileTailer, offset: number, sizeBytes: number): void {
    const { file } = tailer;
    const end = Math.min(file.sizeBytes, Math.max(offset, sizeBytes));
    for (const other of file.tailers) {
      if (!other.hasEnded) this.#truncated(other, this.#newBytes(other, end), end);
    }
    this.#truncated(tailer, this.#rewind(file.stream.id, tailer.outlet.sink, offset), offset);
  }

  /** The tailer's file cannot be read, and is given up. */
  unreadable(tailer: FileTailer): void {
    const bytes = this.unreadBytes(tailer);
    const { file, outlet, offset } = tailer;
    if (bytes > 0) this.#count(file.stream.id, file.lastPath, outlet.sink, "unreadable", bytes, offset);
    this.#options.log.error(
      `Giving up on "${tailer.file.lastPath}" at byte ${tailer.offset}: what it holds from there on cannot be read`,
      { source: this.#options.source },
    );
  }

  /** The tailer's file cannot be read for now, and has a name still: what is newer does not wait any longer. */
  tellPassed({ file, offset, outlet }: FileTailer): void {
    this.#options.log.error(
      `Cannot read "${file.lastPath}" from byte ${offset} on: newer files are read now, and the rest of it when that works again`,
      { source: this.#options.source, sink: outlet.sink },
    );
  }

  /**
   * What a stored stream's file held behind its positions is gone since the last run. Counts what is known of it, the holes, for each
   * sink, once: they are forgotten. Returns the largest count.
   */
  gone(record: FileRecord, cause: "truncated_unread" | "deleted"): number {
    const { source, sinks, positions, log } = this.#options;
    const { id, lastPath } = record;
    let bytesMax = 0;
    let first = Infinity;
    let end = 0;
    for (const sink of sinks) {
      const bytes = positions.holeBytes(source, id, sink);
      if (bytes === 0) continue;
      bytesMax = Math.max(bytesMax, bytes);
      const offset = positions.resumeOffset(source, id, sink) ?? 0;
      first = Math.min(first, offset);
      end = Math.max(end, positions.knownEnd(source, id, sink));
      this.#count(id, lastPath, sink, cause, bytes, offset, positions.knownEnd(source, id, sink));
      positions.rewind(source, id, sink, offset);
    }
    if (bytesMax > 0) {
      log.error(
        `Lost ${bytesMax} bytes of "${lastPath}" between bytes ${first} and ${end}: it was ${
          cause === "deleted" ? "deleted" : "truncated"
        } while shipper was stopped, before they were delivered`,
        { source },
      );
    }
    return bytesMax;
  }

  /** A sink goes back to `offset` in a stream that lost its end while shipper was stopped. */
  rewind({ id, lastPath }: FileRecord, sink: string, offset: number): void {
    const bytes = this.#rewind(id, sink, offset);
    if (bytes === 0) return;
    this.#count(id, lastPath, sink, "truncated_unread", bytes, offset);
    this.#options.log.error(
      `Lost ${bytes} bytes of "${lastPath}" behind byte ${offset}: the file lost its end before they were delivered`,
      { source: this.#options.source, sink },
    );
  }

  /** The file is gone, and the copy of it does not reach behind `offset`, or not to where the sink is. */
  tornCopy({ id, lastPath }: FileRecord, sink: string, offset: number): void {
    const bytes = this.#rewind(id, sink, offset);
    if (bytes === 0) return;
    this.#count(id, lastPath, sink, "deleted", bytes, offset);
    this.#options.log.error(
      `Lost ${bytes} bytes of "${lastPath}" behind byte ${offset}: the file is gone, and they were not copied before shipper ended`,
      { source: this.#options.source, sink },
    );
  }

  /** Returns the bytes that the sink was to be given and that are not there any more. */
  #rewind(id: string, sink: string, offset: number): number {
    const { source, positions } = this.#options;
    const before = positions.holeBytes(source, id, sink);
    positions.rewind(source, id, sink, offset);
    return Math.max(0, before - positions.holeBytes(source, id, sink));
  }

  /** What was written behind all that the sink knows, and behind `from`. */
  #newBytes({ file, outlet, offset }: FileTailer, from: number): number {
    const knownEnd = this.#options.positions.knownEnd(this.#options.source, file.stream.id, outlet.sink);
    return Math.max(0, file.sizeBytes - Math.max(from, offset, knownEnd));
  }

  #truncated({ file, outlet }: FileTailer, bytes: number, offset: number): void {
    if (bytes === 0) return;
    this.#count(file.stream.id, file.lastPath, outlet.sink, "truncated_unread", bytes, offset);
    this.#options.log.error(
      `Lost at least ${bytes} bytes of "${file.lastPath}" from byte ${offset} on: it was truncated before they were read`,
      { source: this.#options.source, sink: outlet.sink },
    );
  }

  /** They lie behind `fromOffset`, and in front of `toOffset` where that is known. */
  #count(
    id: string,
    path: string,
    sink: string,
    cause: LossCause,
    bytes: number,
    fromOffset: number,
    toOffset: number | null = null,
  ): void {
    const { source, positions, metrics, gaps } = this.#options;
    metrics.lostBytes.add(cause, bytes);
    positions.lose(source, id, sink, cause, bytes);
    gaps(sink)?.note({ id, source, path }, cause, { events: 0, bytes, fromOffset, toOffset });
  }
}
