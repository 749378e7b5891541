import { crc32 } from "node:zlib";
import type { RegionInfo } from "../checkpoint/region.ts";
import type { EventBatch } from "../event/event_batch.ts";
import { type BufferPool, unpooled } from "../event/pooled_buffer.ts";
import { FIRST_GROUP_AT } from "../storage/group_scan.ts";
import { openSegmentFile, readSegmentFrames } from "../storage/segment_file.ts";
import type { StorageOps } from "../storage/storage_ops.ts";
import { BufferFrame } from "./buffer_frames.ts";
import { decodeEvents, originOf, readStoredEvents, type StoredEvents } from "./stored_events.ts";
import { firstEventOf } from "./found_segments.ts";

export interface StoredFramesOptions {
  readonly dir: string;
  readonly ops: StorageOps;
  readonly bufferId: Buffer;
  /** Segments that are there, ascending. */
  readonly segments: () => readonly number[];
}

/** A place where a frame was found: the next one that is wanted is behind it, as a rule. */
interface Place {
  readonly segment: number;
  readonly groupAt: number;
  readonly event: number;
}

/** Finds frames of a disk buffer again by the number of their first event, to rebuild batches in doubt. */
export class StoredFrames {
  readonly #options: StoredFramesOptions;
  readonly #firstEvents = new Map<number, number | null>();
  #last: Place | null = null;

  constructor(options: StoredFramesOptions) {
    this.#options = options;
  }

  /** The frame with exactly these events and this checksum, in memory of its own; null: it is not there. Blocks; throws the system's errors. */
  find(firstEvent: number, count: number, checksum: number): StoredEvents | null {
    const last = this.#last;
    if (last !== null && last.event <= firstEvent && this.#options.segments().includes(last.segment)) {
      const found = this.#findIn(last.segment, last.groupAt, firstEvent, count, checksum);
      if (found !== null) return found;
    }
    const segment = this.#segmentOf(firstEvent);
    return segment === null ? null : this.#findIn(segment, FIRST_GROUP_AT, firstEvent, count, checksum);
  }

  /**
   * Events of a frame as a batch, by what an intent says of them: `info` names the frame, `runs` are pairs of events skipped and meant. Null: they are
   * not there any more. Blocks; throws the system's errors.
   */
  batchOf(info: RegionInfo, runs: readonly number[], pool: BufferPool): EventBatch | null {
    const stored = this.find(info.startOffset, info.lineCount, info.crc32);
    if (stored === null) return null;
    const kept: number[] = [];
    for (let i = 0, event = 0; i < runs.length; i += 2) {
      event += runs[i]!;
      for (let left = runs[i + 1]!; left > 0; left--) kept.push(event++);
    }
    const origin = originOf(stored);
    const window = unpooled(stored.data);
    const batch = decodeEvents(stored, origin, origin.stream, window, pool, Uint32Array.from(kept));
    window.release();
    return batch;
  }

  /** The last segment that starts in front of the event. */
  #segmentOf(event: number): number | null {
    let found: number | null = null;
    for (const segment of this.#options.segments()) {
      const first = this.#firstEventOf(segment);
      if (first === null) continue;
      if (first > event) break;
      found = segment;
    }
    return found;
  }

  #firstEventOf(segment: number): number | null {
    const known = this.#firstEvents.get(segment);
    if (known !== undefined) return known;
    const first = firstEventOf(this.#options.dir, segment, this.#options.ops);
    // One that is empty may be so for now only.
    if (first !== null) this.#firstEvents.set(segment, first);
    return first;
  }

  #findIn(
    segment: number,
    from: number,
    firstEvent: number,
    count: number,
    checksum: number,
  ): StoredEvents | null {
    const { dir, ops, bufferId } = this.#options;
    const file = openSegmentFile(dir, segment, "buffer", ops);
    let found: StoredEvents | null = null;
    try {
      if (file.header === null) return null;
      readSegmentFrames({ fd: file.fd, header: file.header }, ops, ({ type, data, start, end, groupAt }) => {
        if (type !== BufferFrame.EVENTS) return;
        const stored = readStoredEvents(data, start, end, bufferId);
        if (stored.firstEvent > firstEvent) return false;
        if (stored.firstEvent !== firstEvent || stored.count !== count) return;
        if (crc32(data.subarray(start, end)) !== checksum) return;
        const copy = Buffer.from(data.subarray(start, end));
        found = { data: copy, start: 0, end: copy.length, firstEvent, count };
        this.#last = { segment, groupAt, event: firstEvent };
        return false;
      }, from);
    } catch (error) {
      if ((error as Error).name !== "CodecError") throw error;
    } finally {
      ops.close(file.fd);
    }
    return found;
  }
}
