import { type EventBatch, eventOffset } from "./event_batch.ts";
import { BUFFER_SOURCE, type Stream } from "./stream.ts";
import type { HeldLines } from "./tracked_region.ts";

/** Gaps that wait to be told; what comes beyond is joined to one gap a source and cause, without a file. */
export const GAPS_PENDING_MAX = 1_000;

/** The stream that is not named: of events of which only the number is known. */
const NO_STREAM: GapStream = { id: "", source: "", path: "" };

export type GapStream = Pick<Stream, "id" | "source" | "path" | "pipe">;

/** What was dropped or lost at once. */
export interface GapPart {
  readonly events: number;
  /** Bytes that were gone before anybody could split them into events; 0 where events are counted. */
  readonly bytes: number;
  /** It lies between these offsets of the stream, where they are known. */
  readonly fromOffset: number | null;
  readonly toOffset: number | null;
}

/** What was dropped or lost of one stream for one cause, since it was last told. */
export interface Gap {
  /** "" where it is not known. */
  readonly source: string;
  /** "" for stdin, and where it is not known. */
  readonly path: string;
  readonly pipe: Stream["pipe"] | null;
  /** A reason of `dropped` or a cause of `lost`. */
  readonly cause: string;
  events: number;
  bytes: number;
  fromOffset: number | null;
  toOffset: number | null;
  /** Milliseconds since the epoch. */
  readonly firstMs: number;
  lastMs: number;
}

/**
 * What a sink was to get and does not: the places that count a drop or a loss note it here too, so that it can be told downstream. Events of
 * the source `ownSource` (the tellings themselves) are not noted.
 */
export class Gaps {
  readonly #ownSource: string;
  readonly #now: () => number;
  #gaps = new Map<string, Gap>();
  #wake: (() => void) | null = null;

  constructor(ownSource: string, now: () => number) {
    this.#ownSource = ownSource;
    this.#now = now;
  }

  /** Gaps that wait to be told. */
  get size(): number {
    return this.#gaps.size;
  }

  /** Notes events `[first, first + count)` of a batch. */
  noteEvents(batch: EventBatch, first: number, count: number, cause: string): void {
    const { stream, startOffset } = batch.origin;
    this.note(stream, cause, {
      events: count,
      bytes: 0,
      fromOffset: eventOffset(batch, first),
      toOffset: startOffset + batch.rawEnds[first + count - 1]!,
    });
  }

  /** Notes `count` events of a batch of an earlier run, of which these lines are known. */
  noteHeld(lines: readonly HeldLines[], count: number, cause: string): void {
    let left = count;
    for (const { region, count: events } of lines) {
      const { startOffset, endOffset, stream } = region;
      // What is told of a disk buffer's events is their numbers, not whose they were.
      if (stream.source === BUFFER_SOURCE) continue;
      left -= events;
      this.note(stream, cause, { events, bytes: 0, fromOffset: startOffset, toOffset: endOffset });
    }
    this.noteCount(null, cause, left);
  }

  /** Notes events of which the place is not known; nor the stream, where it is null. */
  noteCount(stream: GapStream | null, cause: string, events: number): void {
    if (events > 0) {
      this.note(stream ?? NO_STREAM, cause, { events, bytes: 0, fromOffset: null, toOffset: null });
    }
  }

  note(stream: GapStream, cause: string, part: GapPart): void {
    if (stream.source === this.#ownSource) return;
    const key = `${stream.source}\u0000${cause}\u0000${stream.id}`;
    const isKnown = this.#gaps.has(key);
    if (isKnown || this.#gaps.size < GAPS_PENDING_MAX) this.#add(key, stream, cause, part);
    else {
      const { source } = stream;
      const nowhere = { ...part, fromOffset: null, toOffset: null };
      this.#add(`${source}\u0000${cause}`, { ...NO_STREAM, source }, cause, nowhere);
    }
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  }

  /** Takes the oldest ones out, at most `countMax`. */
  take(countMax: number): Gap[] {
    const taken: Gap[] = [];
    for (const [key, gap] of this.#gaps) {
      if (taken.length >= countMax) break;
      taken.push(gap);
      this.#gaps.delete(key);
    }
    return taken;
  }

  /** Resolves when there is one, or `signal` aborts. For one caller at a time. */
  async waitForGap(signal: AbortSignal): Promise<void> {
    if (this.#gaps.size > 0 || signal.aborted) return;
    await new Promise<void>((resolve) => {
      const done = () => {
        signal.removeEventListener("abort", done);
        resolve();
      };
      this.#wake = done;
      signal.addEventListener("abort", done, { once: true });
    });
  }

  #add(key: string, stream: GapStream, cause: string, part: GapPart): void {
    const nowMs = this.#now();
    const found = this.#gaps.get(key);
    if (found === undefined) {
      const { source, path, pipe = null } = stream;
      this.#gaps.set(key, { ...part, source, path, pipe, cause, firstMs: nowMs, lastMs: nowMs });
      return;
    }
    found.events += part.events;
    found.bytes += part.bytes;
    found.fromOffset = joined(found.fromOffset, part.fromOffset, Math.min);
    found.toOffset = joined(found.toOffset, part.toOffset, Math.max);
    found.lastMs = nowMs;
  }
}

/** Unknown when one of the two is. */
function joined(a: number | null, b: number | null, pick: (a: number, b: number) => number): number | null {
  return a === null || b === null ? null : pick(a, b);
}
