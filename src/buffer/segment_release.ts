import type { Ledger } from "../checkpoint/ledger.ts";
import type { SegmentedLog } from "../storage/segmented_log.ts";
import { crashPoint } from "../telemetry/crash_point.ts";

export interface SegmentReleaseOptions {
  readonly log: SegmentedLog;
  readonly ledger: Ledger;
  /** Resolves when the journal has stored what was delivered, and where files are. Rejects when it was closed. */
  readonly store: () => Promise<void>;
  /** Segments in which something was found to be wrong. */
  readonly damaged: ReadonlySet<number>;
}

/**
 * Lets segments of a disk buffer be used again: when all their events are delivered or given up, and a restart knows that, and the positions of
 * files that follow from them, from the journal alone.
 */
export class SegmentRelease {
  readonly #options: SegmentReleaseOptions;
  readonly #damaged: Set<number>;
  /** Segments that were read to their end, and the number of the event behind them. */
  readonly #read = new Map<number, number>();
  #running: Promise<void> | null = null;
  #isClosed = false;

  constructor(options: SegmentReleaseOptions) {
    this.#options = options;
    this.#damaged = new Set(options.damaged);
  }

  /** Everything in this segment was read. */
  read(segment: number, nextEvent: number): void {
    this.#read.set(segment, nextEvent);
    this.look();
  }

  /** Its file is to be kept. */
  damaged(segment: number): void {
    this.#damaged.add(segment);
  }

  /** The position of the buffer has moved. */
  look(): void {
    if (this.#running !== null || this.#isClosed || this.#done().length === 0) return;
    this.#running = this.#run().finally(() => {
      this.#running = null;
      this.look();
    });
  }

  /** Finishes what is to be freed, unless that takes longer than `timeoutMs`. */
  async close(timeoutMs: number): Promise<void> {
    this.look();
    this.#isClosed = true;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, timeoutMs);
    await Promise.race([this.#running, promise]);
    clearTimeout(timer);
  }

  #done(): number[] {
    const { position } = this.#options.ledger;
    const done: number[] = [];
    for (const [segment, nextEvent] of this.#read) if (nextEvent <= position) done.push(segment);
    return done;
  }

  async #run(): Promise<void> {
    const { log, store } = this.#options;
    // Whoever moved the position tells the journal of it before the next turn.
    await Promise.resolve();
    for (let done = this.#done(); done.length > 0; done = this.#done()) {
      try {
        await store();
      } catch {
        this.#isClosed = true; // with the journal: the next run finds that nothing in them is wanted
        return;
      }
      crashPoint("before_buffer_release");
      log.release(done, this.#damaged);
      for (const segment of done) {
        this.#read.delete(segment);
        this.#damaged.delete(segment);
      }
    }
  }
}
