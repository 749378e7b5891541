import type { Stream } from "../event/stream.ts";
import { type StreamAccount, Tally } from "../event/tally.ts";

/** Tallies of streams that have nothing in the buffer are looked for among so many, and forgotten. */
const TALLIES_MAX = 1_000;

/** Whose account the events in a disk buffer belong to: that of their stream, as long as this run knows it. */
export class BufferAccounts {
  readonly #sink: string;
  readonly #tallyOf: (source: string, streamId: string) => Tally | null;
  readonly #tallies = new Map<string, Tally>();
  /** Events that an earlier run put in, of streams that this one does not know, by source. */
  readonly #carried = new Map<string, { readonly source: string; readonly tally: Tally }>();

  /** `tallyOf`: of a stream that the journal knows. */
  constructor(sink: string, tallyOf: (source: string, streamId: string) => Tally | null) {
    this.#sink = sink;
    this.#tallyOf = tallyOf;
  }

  /** Events of this stream are put in. */
  wrote({ source, id }: Stream, tally: Tally | null): void {
    if (tally === null) return;
    if (this.#tallies.size >= TALLIES_MAX) this.#forgetIdle();
    this.#tallies.set(keyOf(source, id), tally);
  }

  /** The account of events that are read back. */
  tallyFor({ source, id }: Stream): Tally {
    const known = this.#tallies.get(keyOf(source, id)) ?? this.#tallyOf(source, id);
    if (known !== null) return known;
    let carried = this.#carried.get(source);
    if (carried === undefined) this.#carried.set(source, carried = { source, tally: new Tally() });
    return carried.tally;
  }

  /** Everything was read back: what is still counted as buffered was in a place that is damaged. */
  settleMissing(lost: (tally: Tally, count: number) => void): void {
    for (const tally of this.#tallies.values()) if (tally.bufferedCount > 0) lost(tally, tally.bufferedCount);
  }

  *accounts(): Iterable<StreamAccount> {
    for (const { source, tally } of this.#carried.values()) {
      yield { source, sink: this.#sink, path: null, streamId: null, tally };
    }
  }

  #forgetIdle(): void {
    for (const [key, tally] of this.#tallies) if (tally.openCount === 0) this.#tallies.delete(key);
  }
}

function keyOf(source: string, id: string): string {
  return `${source}\u0000${id}`;
}
