import type { Stream } from "../event/stream.ts";
import { type StreamAccount, Tally } from "../event/tally.ts";
import { Ledger } from "./ledger.ts";
import type { StreamEntry } from "./stream_entry.ts";

/** Forgotten streams whose tallies are kept by themselves, whatever they say. */
const LEAVING_MAX = 256;

interface ForgottenSum {
  readonly source: string;
  readonly sink: string;
  readonly tally: Tally;
}

/**
 * What has to be kept of a run for its account and is not stored: ledgers of streams that cannot be read again (stdin), and the figures of
 * streams that were forgotten, one sum for each (source, sink).
 */
export class RunAccounts {
  readonly #unstored = new Map<string, { readonly sink: string; readonly ledger: Ledger }>();
  readonly #forgotten = new Map<string, ForgottenSum>();
  /** Of streams that were forgotten with events still on their way, and the newest of the others. */
  #leaving: ForgottenSum[] = [];

  /** The ledger of a stream that nothing is stored of, the same one for every call. */
  unstoredLedger(stream: Stream, sink: string, startOffset: number): Ledger {
    const key = `${stream.source}\u0000${sink}\u0000${stream.id}`;
    const found = this.#unstored.get(key);
    if (found !== undefined) return found.ledger;
    const ledger = new Ledger(stream, 0, startOffset, () => {});
    this.#unstored.set(key, { sink, ledger });
    return ledger;
  }

  /** See `PositionStore.giveBack`, for what is kept here. */
  giveBack(sink: string, isOver: (stream: Stream) => boolean): number {
    const own = [...this.#unstored].filter(([, each]) => each.sink === sink);
    const sums = [...this.#leaving, ...this.#forgotten.values()].filter((each) => each.sink === sink);
    let count = 0;
    for (const { tally } of [...own.map(([, { ledger }]) => ledger), ...sums]) count += tally.giveBack();
    for (const [key, { ledger: { stream, tally } }] of own) {
      if (!isOver(stream)) continue;
      this.#unstored.delete(key);
      this.#leaving.push({ source: stream.source, sink, tally });
    }
    return count;
  }

  /** The stream is forgotten; its figures stay. */
  forget({ record: { source }, ledgers }: StreamEntry): void {
    for (const [sink, { tally }] of ledgers) this.#leaving.push({ source, sink, tally });
    this.#settle();
  }

  /** What became of all forgotten streams of a source on the way to a sink. */
  forgottenTally(source: string, sink: string): Tally {
    this.#settle();
    const sum = new Tally();
    sum.add(this.#sum(source, sink));
    for (const each of this.#leaving) if (each.source === source && each.sink === sink) sum.add(each.tally);
    return sum;
  }

  /** The accounts of all streams of this run. */
  *accounts(entries: Iterable<StreamEntry>): Iterable<StreamAccount> {
    for (const { record: { source, path, id }, ledgers } of entries) {
      for (const [sink, { tally }] of ledgers) yield { source, sink, path, streamId: id, tally };
    }
    for (const { sink, ledger: { stream: { source, path, id }, tally } } of this.#unstored.values()) {
      yield { source, sink, path, streamId: id, tally };
    }
    this.#settle();
    for (const { source, sink } of this.#leaving) this.#sum(source, sink);
    for (const { source, sink } of [...this.#forgotten.values()]) {
      yield { source, sink, path: null, streamId: null, tally: this.forgottenTally(source, sink) };
    }
  }

  /**
   * Adds up what nothing can happen to any more. Events of a stream that is forgotten may be read back from a disk buffer, or made again, at this
   * moment: its tally is known to them already and has not counted them yet.
   */
  #settle(): void {
    if (this.#leaving.length <= LEAVING_MAX) return;
    const open: ForgottenSum[] = [];
    const newest = this.#leaving.length - LEAVING_MAX;
    for (const [i, each] of this.#leaving.entries()) {
      if (i >= newest || each.tally.openCount !== 0) open.push(each);
      else this.#sum(each.source, each.sink).add(each.tally);
    }
    this.#leaving = open;
  }

  #sum(source: string, sink: string): Tally {
    const key = `${source}\u0000${sink}`;
    let found = this.#forgotten.get(key);
    if (found === undefined) this.#forgotten.set(key, found = { source, sink, tally: new Tally() });
    return found.tally;
  }
}
