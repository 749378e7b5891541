import type { HeldLines } from "../event/tracked_region.ts";

/** An intent that is neither acknowledged nor replaced. */
export interface KeptIntent {
  readonly payload: Buffer;
  readonly sinkNumber: number;
  readonly runNumber: number;
  readonly held: readonly HeldLines[];
}

/** The live intents of all sinks by id, with what they add up to. */
export class LiveIntents {
  readonly #byId = new Map<number, KeptIntent>();
  /** How many name a stream. */
  readonly #needed = new Map<number, number>();
  /** Bytes by sink. */
  readonly #bytes = new Map<number, number>();

  get size(): number {
    return this.#byId.size;
  }

  get(id: number): KeptIntent | undefined {
    return this.#byId.get(id);
  }

  entries(): Iterable<[number, KeptIntent]> {
    return this.#byId.entries();
  }

  values(): Iterable<KeptIntent> {
    return this.#byId.values();
  }

  /** Whether one of them holds lines of this stream. */
  names(streamNumber: number): boolean {
    return this.#needed.has(streamNumber);
  }

  bytesOf(sinkNumber: number): number {
    return this.#bytes.get(sinkNumber) ?? 0;
  }

  remember(id: number, live: KeptIntent): void {
    this.#byId.set(id, live);
    this.#countBytes(live, live.payload.length);
    for (const { streamNumber } of live.held) {
      this.#needed.set(streamNumber, (this.#needed.get(streamNumber) ?? 0) + 1);
    }
  }

  forget(id: number): void {
    const live = this.#byId.get(id);
    if (live === undefined) return;
    this.#byId.delete(id);
    this.#countBytes(live, -live.payload.length);
    for (const { streamNumber } of live.held) {
      const count = this.#needed.get(streamNumber)! - 1;
      if (count === 0) this.#needed.delete(streamNumber);
      else this.#needed.set(streamNumber, count);
    }
  }

  /** The lines of a batch are those of other regions now, which were made anew of the same journal. */
  setHeld(id: number, held: readonly HeldLines[]): void {
    const live = this.#byId.get(id)!;
    this.forget(id);
    this.remember(id, { ...live, held });
  }

  #countBytes({ sinkNumber }: KeptIntent, bytes: number): void {
    this.#bytes.set(sinkNumber, this.bytesOf(sinkNumber) + bytes);
  }
}
