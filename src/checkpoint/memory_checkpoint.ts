import type { Stream } from "../event/stream.ts";
import type { Checkpoint, PositionTracker } from "./checkpoint.ts";
import { RangeTracker } from "./position_tracker.ts";

/** Positions that are kept for the life of the process only: for streams that cannot be read again, such as stdin. */
export class MemoryCheckpoint implements Checkpoint {
  readonly #trackers = new Map<string, RangeTracker>();

  tracker(stream: Stream, sink: string, startOffset: number): PositionTracker {
    const key = `${stream.source}\u0000${sink}\u0000${stream.id}`;
    let found = this.#trackers.get(key);
    if (found === undefined) this.#trackers.set(key, found = new RangeTracker(startOffset, () => {}));
    return found;
  }
}
